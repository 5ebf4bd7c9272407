"""Which lines of speech deserve a second look, and why. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wat_cli.tagging.voice import CONFIDENT_LOGPROB, unvoiced
from wat_cli.transcript import Segment, TagTrack

REPETITIVE = 2.4
"""Compression ratio above which openai-whisper takes a text for a loop (``compression_ratio_threshold``)."""
SILENT = 0.6
"""No-speech probability above which openai-whisper, unsure of the words too, takes a window for silence."""
DESPERATE = 0.5
"""Temperature above which openai-whisper no longer trusts a text as the prompt of the next window."""


@dataclass(frozen=True)
class Doubt:
    """One reason to look at a line again."""

    reason: str
    hallucination: bool
    """Whether the line may be invented, not just misheard."""


def doubts_of(segments: Sequence[Segment], tags: TagTrack | None) -> tuple[tuple[Doubt, ...], ...]:
    """For each segment the reasons to doubt it; `tags`, where there are any, say whether a voice is heard at all."""
    voiceless = frozenset(unvoiced(tags, segments)) if tags is not None else frozenset()
    return tuple(tuple(_doubts(segment, place in voiceless)) for place, segment in enumerate(segments))


def _doubts(segment: Segment, voiceless: bool) -> list[Doubt]:
    if not segment.text.strip():
        return []
    found = []
    unsure = not segment.avg_logprob >= CONFIDENT_LOGPROB  # NaN, where nothing is known, is unsure too
    if voiceless:
        found.append(Doubt("no voice is heard here", True))
    if segment.compression_ratio > REPETITIVE:
        found.append(Doubt("it repeats itself", True))
    if segment.no_speech_prob > SILENT and unsure:
        found.append(Doubt("it may be silence", True))
    if unsure:
        found.append(Doubt("unsure of the words", False))
    if segment.temperature > DESPERATE:
        found.append(Doubt("found only after several tries", False))
    return found


def confidence(segment: Segment) -> float | None:
    """Mean probability of the segment's tokens (geometric), 0 to 1; None where it is not known."""
    return math.exp(min(0.0, segment.avg_logprob)) if math.isfinite(segment.avg_logprob) else None
