"""``RESULTS.md``: what each proof came to when it was last run, on which machine, and when."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import wat_cli

RESULTS = Path(__file__).with_name("RESULTS.md")
_HEAD = """# What the stress runs showed

Each section is written by the command that it names, when the proof held. [`stress`](__init__.py) says what this is.
"""


@dataclass(frozen=True)
class Result:
    """What a proof showed."""

    title: str
    said: str
    """What was done and held, in sentences."""
    table: tuple[tuple[str, ...], ...] = ()
    """Rows of cells, the head first."""

    def __str__(self) -> str:
        if not self.table:
            return self.said
        head, *rows = self.table
        lines = [head, tuple("---" for _ in head), *rows]
        return f"{self.said}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def keep(command: str, results: Sequence[Result], path: Path = RESULTS) -> None:
    """Put `results` in place of what `command` showed before."""
    text = path.read_text(encoding="utf-8") if path.exists() else _HEAD
    sections = dict(re.findall(r"^## `(.*?)`\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL))
    body = "\n\n".join(f"### {result.title}\n\n{result}" for result in results)
    sections[command] = f"\n{_circumstances()}\n\n{body}\n\n"
    told = "\n".join(f"## `{name}`\n{sections[name].rstrip()}\n" for name in sorted(sections))
    path.write_text(f"{_HEAD}\n{told}", encoding="utf-8")


def _circumstances() -> str:
    cores = len(os.sched_getaffinity(0))
    versions = f"wat {wat_cli.__version__}, torch {version('torch')}, Python {platform.python_version()}, {_ffmpeg()}"
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{date}; {_processor()}, {cores} core{'s' * (cores > 1)} of {os.cpu_count()}; {versions}."


def _processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else platform.machine()


def _ffmpeg() -> str:
    said = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout
    return " ".join(said.split()[:3]).replace(" version", "")
