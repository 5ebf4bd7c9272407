"""A command in a terminal of fixed size, and what the terminal shows as an SVG picture."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

COLUMNS, ROWS = 104, 30

FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""rich's own picture without the fonts that it would fetch."""


@dataclass(frozen=True)
class Recording:
    """What a command wrote to its terminal, each piece with the seconds since it began."""

    pieces: tuple[tuple[float, bytes], ...]

    def screen(self, share: float = 1.0) -> pyte.Screen:
        """The terminal when this share of the time had passed; 1 is the end."""
        screen = pyte.Screen(COLUMNS, ROWS)
        stream = pyte.ByteStream(screen)
        until = share * self.pieces[-1][0]
        for second, piece in self.pieces:
            if second <= until:
                stream.feed(piece)
        return screen


def record(command: Sequence[str], folder: Path) -> Recording:
    """Run `command` in `folder` and in a terminal. Raises CalledProcessError where it fails."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    pieces = []
    with suppress(OSError):  # Linux tells the end of a terminal as an error
        while piece := os.read(ours, 65536):
            pieces.append((time.monotonic() - started, piece))
    os.close(ours)
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command, b"".join(piece for _, piece in pieces))
    return Recording(tuple(pieces))


def text_of(screen: pyte.Screen) -> Text:
    """What the terminal shows, with its colours, without the empty lines at its end."""
    rows = len("\n".join(screen.display).rstrip().splitlines())
    return Text("\n").join(_line(screen, row) for row in range(rows))


def _line(screen: pyte.Screen, row: int) -> Text:
    cells = [screen.buffer[row][column] for column in range(screen.columns)]
    line = Text()
    for style, run in groupby(cells, _style):
        line.append("".join(cell.data for cell in run), style)
    line.rstrip()
    return line


def _style(cell: pyte.screens.Char) -> Style:
    return Style(
        color=_colour(cell.fg),
        bgcolor=_colour(cell.bg),
        bold=cell.bold,
        italic=cell.italics,
        underline=cell.underscore,
        reverse=cell.reverse,
    )


def _colour(name: str) -> str | None:
    """pyte's name of a colour as rich has it."""
    if name == "default":
        return None
    if len(name) == 6 and all(digit in "0123456789abcdef" for digit in name):
        return f"#{name}"
    return {"brown": "yellow"}.get(name, name).replace("bright", "bright_").replace("__", "_")


def picture(text: Text, title: str, name: str) -> str:
    """The text in a terminal's window as SVG; `name` tells the picture's styles from those of another."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(text, soft_wrap=True)
    return console.export_svg(title=title, code_format=FORMAT, unique_id=name)


def prompt(command: str) -> Text:
    """The line on which `command` was typed."""
    return Text.assemble(("$ ", "bold green"), command, "\n")
