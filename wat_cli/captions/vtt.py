"""WebVTT text (https://www.w3.org/TR/webvtt1/), by a small writer: of the libraries looked at, none that is light
escapes what WebVTT wants escaped.
"""

from __future__ import annotations

from collections.abc import Sequence

from wat_cli.captions.characters import clean_text
from wat_cli.captions.rules import Cue, CueLine

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def vtt_text(cues: Sequence[Cue], origin: str = "", classes: bool = False) -> str:
    """The cues as a WebVTT file's text; the header and the note alone where there are none.

    `origin` is one line for a NOTE: which program and which models made the captions. `classes` marks sounds as
    ``<c.sound>``.
    """
    blocks = ["WEBVTT\n"]
    if origin:
        blocks.append("NOTE " + clean_text(origin).replace("-->", "->") + "\n")
    for cue in cues:
        payload = "\n".join([_line(line, classes) for line in cue.lines])
        blocks.append(f"{timestamp(cue.start_ms)} --> {timestamp(cue.end_ms)}\n{payload}\n")
    return "\n".join(blocks)


def timestamp(milliseconds: int) -> str:
    """``HH:MM:SS.mmm``, with more digits from 100 hours on."""
    seconds, fraction = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02d}:{minute:02d}:{second:02d}.{fraction:03d}"


def escape(text: str) -> str:
    """Cue text with what WebVTT reads as markup escaped; ``>`` too, so that no ``-->`` can form."""
    return text.translate(_ESCAPES) if "&" in text or "<" in text or ">" in text else text


def _line(line: CueLine, classes: bool) -> str:
    marks: list[tuple[int, int, str, str]] = []
    if classes and line.sound_length:
        marks.append((0, line.sound_length, "<c.sound>", "</c>"))
    if line.underlined is not None:
        marks.append((*line.underlined, "<u>", "</u>"))
    parts, place = [], 0
    for first, stop, opening, closing in marks:
        parts.append(escape(line.text[place:first]) + opening + escape(line.text[first:stop]) + closing)
        place = stop
    return "".join(parts) + escape(line.text[place:])
