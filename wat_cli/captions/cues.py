"""Cues from what was heard: speech laid out to be read, sounds beside it. Pure; knows no file format.

::

    segments -> speech_drafts -> settle_starts -> place_sounds -> settle_ends -> cues -> broken_rules
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wat_cli.captions.drafts import Draft, settle_ends, settle_starts, speech_drafts
from wat_cli.captions.layout import to_ms
from wat_cli.captions.rules import BrokenRule, Cue, CueLine, LayoutRules, broken_rules, rules_for
from wat_cli.captions.sounds import place_sounds
from wat_cli.options import CaptionOptions
from wat_cli.transcript import Segment, SoundEvent

__all__ = ["Cue", "CueLine", "Layout", "cues_from"]


@dataclass(frozen=True)
class Layout:
    """The captions of one file, and what the layout could not keep."""

    cues: tuple[Cue, ...]
    """In order, never overlapping, inside the file."""
    broken_rules: tuple[BrokenRule, ...]
    """Soft rules for which the speech left no room, by cue."""
    events: tuple[SoundEvent, ...]
    """The events as captioned: marked ``shown=False`` with the reason where there was no room."""


def cues_from(
    segments: Sequence[Segment],
    events: Sequence[SoundEvent],
    duration: float,
    options: CaptionOptions,
    voiced: Sequence[tuple[float, float]] | None = None,
) -> Layout:
    """Lay out speech and sounds of one file of `duration` seconds (0: unknown) as captions.

    `segments` are speech: what the recogniser wrote of sounds (``[Music]``) belongs among the `events`. `voiced` are
    the seconds in which somebody may speak, in order and apart, if that is known (`tagging.voice.voiced_spans`): a
    segment without word times is then captioned where in its time a voice is. Style ``plain`` keeps its times.

    Always: cues in order, without overlap, inside the file, at most as many lines of at most the width that `options`
    say, no text lost. Where the speech leaves room: durations, reading speed and gaps of the style. Sounds never move
    speech. Should more captions than milliseconds be asked for, the file's end gives way.

    Differences to openai-whisper's writers under its four options: lines are broken for balance and sense rather than
    filled; `max_line_count` holds also for text without word times, and the style's two lines also where only
    `max_line_width` is given; punctuation and pauses decide where a caption ends, not the line count alone.
    """
    rules = rules_for(options)
    ends = [segment.end for segment in segments] + [event.end for event in events]
    duration_ms = to_ms(duration) or to_ms(max(ends, default=0.0))
    spans = None if voiced is None or options.style == "plain" else [(to_ms(a), to_ms(b)) for a, b in voiced]
    drafts = speech_drafts(segments, options, rules, duration_ms, spans)
    duration_ms = max(duration_ms, len(drafts))
    settle_starts(drafts, duration_ms, rules)
    placed = place_sounds(drafts, events, rules, duration_ms)
    settle_ends(drafts, duration_ms, rules)
    cues = tuple(cue for draft in drafts for cue in _cues(draft, rules, options.highlight_words))
    broken = () if options.highlight_words else broken_rules(cues, rules, duration_ms)
    return Layout(cues, broken, placed)


def _cues(draft: Draft, rules: LayoutRules, highlight: bool) -> list[Cue]:
    lines = draft.lines(rules)
    assert lines is not None, "a draft is made to fit"
    cue = Cue(draft.start, draft.end, lines)
    return _highlighted(cue, draft) if highlight and draft.flow and draft.flow.word_timed else [cue]


def _highlighted(cue: Cue, draft: Draft) -> list[Cue]:
    """One cue for each word with the word underlined while it is spoken, and one for each pause between words."""
    assert draft.flow is not None
    places = _unit_places(cue, draft.flow.texts)
    cues: list[Cue] = []
    now = cue.start_ms
    for (line, span), start, end in zip(places, draft.flow.starts, draft.flow.ends, strict=True):
        start, end = min(max(start, now), cue.end_ms), min(max(end, now), cue.end_ms)
        if start > now:
            cues.append(replace(cue, start_ms=now, end_ms=start))
        if end > start:
            spoken = replace(cue.lines[line], underlined=span)
            cues.append(Cue(start, end, (*cue.lines[:line], spoken, *cue.lines[line + 1 :])))
        now = max(now, end)
    if now < cue.end_ms:
        cues.append(replace(cue, start_ms=now))
    return cues


def _unit_places(cue: Cue, texts: Sequence[str]) -> list[tuple[int, tuple[int, int]]]:
    """For each unit of the words, its line and its characters there."""
    places: list[tuple[int, tuple[int, int]]] = []
    line, at = 0, cue.lines[0].sound_length
    for text in texts:
        found = cue.lines[line].text.find(text, at)
        while found < 0:
            line += 1
            found = cue.lines[line].text.find(text, cue.lines[line].sound_length)
        at = found + len(text)
        places.append((line, (found, at)))
    return places
