"""Plain transcripts, TSV and TXT, in the layout of openai-whisper's writers (``whisper/utils.py``): a row for each
segment. Shown sounds are rows of their own, in order of time; without sounds the files are openai-whisper's.
"""

from __future__ import annotations

from collections.abc import Sequence

from wat_cli.captions.rules import LayoutRules
from wat_cli.captions.sounds import sound_text
from wat_cli.transcript import Segment, SoundEvent


def tsv_text(segments: Sequence[Segment], events: Sequence[SoundEvent], rules: LayoutRules) -> str:
    """``start``, ``end`` in milliseconds and ``text``, separated by tabs, with a header."""
    rows = _rows(segments, events, rules)
    lines = [f"{round(1000 * start)}\t{round(1000 * end)}\t{text}" for start, end, text in rows]
    return "\n".join(["start\tend\ttext", *lines]) + "\n"


def txt_text(segments: Sequence[Segment], events: Sequence[SoundEvent], rules: LayoutRules) -> str:
    """One line for each segment or sound."""
    return "".join(text + "\n" for _, _, text in _rows(segments, events, rules))


def _rows(
    segments: Sequence[Segment], events: Sequence[SoundEvent], rules: LayoutRules
) -> list[tuple[float, float, str]]:
    """Start, end and text; the text of a segment is openai-whisper's, with tabs and line ends as spaces."""
    shown = [event for event in events if event.shown]
    rows = [(segment.start, segment.end, _one_line(segment.text)) for segment in segments]
    rows += [(event.start, event.end, sound_text(event.caption, rules)) for event in shown]
    return sorted(rows, key=lambda row: row[0]) if shown else rows


def _one_line(text: str) -> str:
    return " ".join(filter(None, text.strip().replace("\t", " ").splitlines()))
