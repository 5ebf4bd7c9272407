"""What the page shows of one file: frozen values made from its sidecar. Pure but for a look at the media file."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wat_cli import captioning
from wat_cli.captions.cues import Layout
from wat_cli.errors import UsageError
from wat_cli.options import CaptionOptions
from wat_cli.review.doubts import Doubt, confidence, doubts_of
from wat_cli.review.heat import HeatRow, audioset, heat_rows, voice_row
from wat_cli.sidecar import Record
from wat_cli.tagging.text import sound_text
from wat_cli.transcript import Segment, Transcript

EDITED_KEYS = ("text", "segments", "events", "notes", "hallucinations", "broken_rules")
"""Keys of the sidecar that the page writes anew when corrections are saved."""


@dataclass(frozen=True)
class Row:
    """One line in the list of files."""

    name: str
    status: str
    """``captioned``, ``edited``, ``silent``, ``failed``, ``uncaptioned`` or ``unreadable``."""
    detail: str
    """Why, or what else a reader should know."""
    language: str = ""
    duration: float | None = None
    speech: float | None = None
    """Share of the duration in which words are spoken."""
    doubts: int = 0
    """Lines that deserve a second look."""
    dropped: int = 0
    """Sounds that were heard and are not captioned."""


@dataclass(frozen=True)
class FileView:
    """Everything that the page shows of one captioned file."""

    transcript: Transcript
    parts: tuple[tuple[str, str | None], ...]
    """The sidecar's keys in order with their JSON text, which is what a corrected sidecar keeps to the letter; None
    for those of `EDITED_KEYS`."""
    layout: Layout
    left_out: frozenset[int]
    """Ids of segments that the captions leave out as hallucinations."""
    doubts: tuple[tuple[Doubt, ...], ...]
    heat: tuple[HeatRow, ...]
    voice: NDArray[np.uint8] | None

    def row(self, name: str, edited: bool, problems: Sequence[str]) -> Row:
        """The file's line in the list."""
        hearing = self.transcript.hearing
        status = "edited" if edited else "captioned" if self.layout.cues else "silent"
        return Row(
            name=name,
            status=status,
            detail="; ".join(filter(None, (*problems, self.transcript.incomplete, *self.transcript.notes))),
            language=hearing.language,
            duration=hearing.duration if math.isfinite(hearing.duration) else None,
            speech=speech_share(hearing.segments, hearing.duration),
            doubts=sum(bool(found) for found in self.doubts),
            dropped=sum(not event.shown for event in self.transcript.events),
        )


def file_view(record: Record, data: bytes) -> FileView:
    """The view of the sidecar `record`, read from `data`."""
    transcript = record.transcript
    hearing, tags = transcript.hearing, transcript.hearing.tags
    judge = audioset(tags)
    options = caption_options(transcript.settings)
    layout, _, left_out = captioning.laid_out(transcript, options)
    document = json.loads(data, parse_constant=lambda name: None)
    return FileView(
        transcript=dataclasses.replace(transcript, hearing=dataclasses.replace(hearing, tags=None)),
        parts=tuple((key, None if key in EDITED_KEYS else _json_text(value)) for key, value in document.items()),
        layout=layout,
        left_out=frozenset(segment.id for segment in left_out),
        doubts=doubts_of(hearing.segments, judge),
        heat=heat_rows(tags, transcript.events) if tags is not None else (),
        voice=voice_row(judge) if judge is not None else None,
    )


def _json_text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # a name that is not UTF-8 has lone surrogates, which no browser would write back
    return text if text.isascii() or _encodes(text) else json.dumps(value)


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def caption_options(settings: Mapping[str, Any]) -> CaptionOptions:
    """The layout that a sidecar's captions were made with; the default one where its settings make no sense."""
    names = [field.name for field in dataclasses.fields(CaptionOptions)]
    try:
        return CaptionOptions(**{name: settings[name] for name in names if name in settings})
    except (UsageError, TypeError):
        return CaptionOptions()


def speech_share(segments: Sequence[Segment], duration: float) -> float | None:
    """Share of `duration` that segments with words cover, 0 to 1; None for a file without length."""
    if not duration > 0:
        return None
    covered, until = 0.0, 0.0
    for segment in sorted(segments, key=lambda segment: segment.start):
        if segment.text.strip() and sound_text(segment.text) is None:
            covered += max(0.0, segment.end - max(segment.start, until))
            until = max(until, segment.end)
    return min(1.0, covered / duration)


def segment_values(segment: Segment) -> dict[str, Any]:
    """The segment as the sidecar has it, with None for numbers that JSON cannot say."""
    values = {key: value for key, value in dataclasses.asdict(segment).items() if value is not None}
    if "words" in values:
        values["words"] = [_finite(word) for word in values["words"]]
    return _finite(values)


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def speech_entries(view: FileView) -> list[dict[str, Any]]:
    """What the page lists of each segment besides the segment itself."""
    return [
        {
            "confidence": None if (sure := confidence(segment)) is None else round(sure, 3),
            "left_out": segment.id in view.left_out,
            "doubts": [dataclasses.asdict(doubt) for doubt in doubts],
        }
        for segment, doubts in zip(view.transcript.hearing.segments, view.doubts, strict=True)
    ]


def media_problem(path: Path, transcript: Transcript) -> str | None:
    """What is wrong with the media file that the sidecar was made of, as far as the file system knows."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return "the media file is not there"
    if status.st_size != transcript.source.size:
        return "the media file has changed since"
    return None
