"""Captions in the making: speech cut into drafts, each with the room it needs to be read.

A `Draft` is the one mutable value of this room; it never leaves it. Times are integer milliseconds.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from wat_cli.captions.characters import reads_from_right, units, width
from wat_cli.captions.layout import JOIN_PAUSE_MS, Flow, break_lines, flow_of, split_flow
from wat_cli.captions.rules import CueLine, LayoutRules
from wat_cli.captions.voicing import Span
from wat_cli.options import CaptionOptions
from wat_cli.transcript import Segment, Word

RIGHT_TO_LEFT_MARK = "\u200f"
APART_MS = 1000
"""A pause from which captions are never joined, however short they are."""

HURRIED = 0.25
"""Share of their mean reading time that two captions may lack before their words are shared out anew."""


@dataclass
class Draft:
    """A caption before its end is settled."""

    start: int
    spoken_end: int
    """Where its words or its sound end; what the screen shows may last longer."""
    flow: Flow | None = None
    """Its words; None for a sound alone."""
    sounds: list[str] = field(default_factory=list)
    """Its sound captions as shown: ``[Music]``."""
    end: int = 0
    """Where it leaves the screen."""

    def lines(self, rules: LayoutRules) -> tuple[CueLine, ...] | None:
        """The draft's lines; None where words and sounds together do not fit.

        Sounds come first, on a line of their own where the words leave one, otherwise before the words.
        """
        label = " ".join(self.sounds)
        if self.flow is None:
            return _sound_lines(self.sounds, rules)
        if not label:
            return _text_lines(self.flow, 0, rules.width, rules.lines)
        apart = _text_lines(self.flow, 0, rules.width, rules.lines - 1)
        if apart is not None and width(label) <= rules.width:
            return (CueLine(label, len(label)), *apart)
        if reads_from_right(self.flow.text(0, len(self.flow.texts))):
            label = RIGHT_TO_LEFT_MARK + label  # the line takes its direction from its first letter
        before = _label_flow(label, rules)
        return _text_lines(before + self.flow, len(before.texts), rules.width, rules.lines)

    def columns(self) -> int:
        """Columns to read; a line break counts nothing."""
        label = sum(width(sound) for sound in self.sounds) + max(0, len(self.sounds) - 1)
        return label + (self.flow.wide(0, len(self.flow.texts)) if self.flow else 0)

    def reading_ms(self, rules: LayoutRules) -> int:
        """Time that it should stay on screen: the least duration, or more to be read."""
        return max(rules.min_ms, -int(-self.columns() * 1000 // rules.cps))


def _sound_lines(sounds: Sequence[str], rules: LayoutRules) -> tuple[CueLine, ...] | None:
    """A line for each sound; one sound wider than a line is broken."""
    if len(sounds) <= rules.lines and all(width(sound) <= rules.width for sound in sounds):
        return tuple(CueLine(sound, len(sound)) for sound in sounds)
    flow = _label_flow(" ".join(sounds), rules)
    return _text_lines(flow, len(flow.texts), rules.width, rules.lines)


def _label_flow(label: str, rules: LayoutRules) -> Flow:
    """Sound captions as units: one that lines are not broken in, unless it is wider than a line."""
    if width(label) <= rules.width:
        return Flow((label,), (False,), (0,), (0,))
    texts, spaces = zip(*units(label, rules.width), strict=True)
    return Flow(texts, spaces, (0,) * len(texts), (0,) * len(texts))


def _text_lines(flow: Flow, sounds: int, limit: int, count: int) -> tuple[CueLine, ...] | None:
    """The flow in lines; its first `sounds` units are sound captions."""
    borders = break_lines(flow, limit, count)
    if borders is None:
        return None
    labels = (flow.text(first, min(stop, sounds)) if first < sounds else "" for first, stop in borders)
    texts = (flow.text(first, stop) for first, stop in borders)
    return tuple(CueLine(text, len(label)) for text, label in zip(texts, labels, strict=True))


def speech_drafts(
    segments: Iterable[Segment],
    options: CaptionOptions,
    rules: LayoutRules,
    duration_ms: int,
    voiced: Sequence[Span] | None = None,
) -> list[Draft]:
    """Speech as drafts in order of time, each fit for the screen, short ones joined where they can be.

    `voiced` are the stretches in which somebody may speak, if that is known: the others are no time of words without
    times of their own.

    Two of openai-whisper's options cut differently, where words have times: with `max_words_per_line` a segment is
    first cut after every so many words; with `max_line_width` and `max_line_count` both given, segments run on into
    each other up to a pause of three seconds.
    """
    parts = [part for segment in segments for part in _by_words(segment, options)]
    parts.sort(key=lambda part: (part.start, part.end))
    flows = [flow for part in parts if (flow := flow_of(part, rules.width, duration_ms, voiced)) is not None]
    if options.max_line_width is not None and options.max_line_count is not None:
        flows = _run_on(flows)
    drafts = [Draft(part.starts[0], part.ends[-1], part) for flow in flows for part in split_flow(flow, rules)]
    drafts.sort(key=lambda draft: draft.start)
    if options.max_words_per_line:
        return drafts
    return _lent(_join_short(drafts, rules), {flow.starts[0] for flow in flows}, rules)


def _by_words(segment: Segment, options: CaptionOptions) -> list[Segment]:
    """The segment cut after every `max_words_per_line` words, if that is asked for and its words are known."""
    count, words = options.max_words_per_line, segment.words
    if not count or not words or len(words) <= count or not _spell(words, segment.text):
        return [segment]
    groups = [words[first : first + count] for first in range(0, len(words), count)]
    texts = ["".join(word.word for word in group) for group in groups]
    return [
        replace(segment, start=group[0].start, end=group[-1].end, text=text, words=group)
        for group, text in zip(groups, texts, strict=True)
    ]


def _spell(words: Sequence[Word], text: str) -> bool:
    """Whether the words are still those of the text, which a person may have edited."""
    return "".join("".join(word.word for word in words).split()) == "".join(text.split())


def _run_on(flows: list[Flow]) -> list[Flow]:
    """Flows with word times joined where less than three seconds lie between them, as openai-whisper's writer does."""
    runs: list[list[Flow]] = []
    for flow in flows:
        last = runs[-1][-1] if runs else None
        if last and last.word_timed and flow.word_timed and flow.starts[0] - last.starts[-1] <= JOIN_PAUSE_MS:
            runs[-1].append(flow)
        else:
            runs.append([flow])
    return [_chain(run) for run in runs]


def _chain(run: list[Flow]) -> Flow:
    if len(run) == 1:
        return run[0]
    texts = tuple(text for flow in run for text in flow.texts)
    spaces = tuple(space for flow in run for space in (*flow.spaces[:-1], True))
    starts = tuple(start for flow in run for start in flow.starts)
    return Flow(texts, (*spaces[:-1], False), starts, tuple(end for flow in run for end in flow.ends), word_timed=True)


def _join_short(drafts: list[Draft], rules: LayoutRules) -> list[Draft]:
    """Drafts with too little time to be read joined with a neighbour, or the words of both shared out anew."""
    joined: list[Draft] = []
    for place, draft in enumerate(drafts):
        following = drafts[place + 1] if place + 1 < len(drafts) else None
        if _lacking(draft, following, rules):
            after = drafts[place + 2] if place + 2 < len(drafts) else None
            if following and (better := _shared(draft, following, after, rules)):
                joined.extend(better[:-1])
                drafts[place + 1] = better[-1]
                continue
            if joined and (better := _shared(joined[-1], draft, following, rules)):
                joined[-1:] = better
                continue
        joined.append(draft)
    return joined


def _lent(drafts: list[Draft], known: Container[int], rules: LayoutRules) -> list[Draft]:
    """Drafts that cannot be read with time from the next one, where that has some to spare.

    Only inside a segment without word times, where the words of the next one begin at a guess; `known` are the times at
    which segments start.
    """
    for place, (draft, following) in enumerate(pairwise(drafts)):
        lacking = _lacking(draft, following, rules)
        timed = following.start in known or (following.flow is not None and following.flow.word_timed)
        if not lacking or timed or draft.spoken_end != following.start:
            continue
        start = following.start + lacking
        after = drafts[place + 2] if place + 2 < len(drafts) else None
        if start < following.spoken_end and not _lacking(replace(following, start=start), after, rules):
            following.start = draft.spoken_end = start
    return drafts


def _room(draft: Draft, following: Draft | None, rules: LayoutRules) -> int:
    """Longest time that the draft may stay: to the next one, its end with linger, the greatest duration."""
    latest = min(max(draft.spoken_end + rules.linger_ms, draft.start + rules.min_ms), draft.start + rules.max_ms)
    if following is not None:
        latest = min(latest, following.start - rules.gap_ms)
    return latest - draft.start


def _lacking(draft: Draft, following: Draft | None, rules: LayoutRules) -> int:
    """Milliseconds that the draft would need beyond its room to be read."""
    return max(0, draft.reading_ms(rules) - _room(draft, following, rules))


def _shared(first: Draft, second: Draft, following: Draft | None, rules: LayoutRules) -> list[Draft] | None:
    """The words of both as one draft or two; None where they are apart, or the result is no easier to read."""
    if first.flow is None or second.flow is None or second.start - first.spoken_end >= APART_MS:
        return None
    parts = split_flow(first.flow + second.flow, rules)
    overlapping = second.start < first.spoken_end
    if len(parts) > 2 or (len(parts) == 2 and overlapping):
        return None
    shared = [Draft(part.starts[0], part.ends[-1], part) for part in parts]
    shared[-1].spoken_end = max(first.spoken_end, second.spoken_end)
    lacking = sum(_lacking(draft, after, rules) for draft, after in pairwise([*shared, following]) if draft)
    before = _lacking(first, second, rules) + _lacking(second, following, rules)
    if len(parts) == 1:
        lasts = shared[0].spoken_end - shared[0].start
        return shared if lacking < before and lasts <= rules.longest_speech_ms else None
    # words change their caption only where one could hardly be read otherwise
    least = min(_room(first, second, rules), _room(second, following, rules))
    hurried = least < rules.min_ms or before > HURRIED * (first.reading_ms(rules) + second.reading_ms(rules)) / 2
    return shared if hurried and 2 * lacking <= before else None


def settle_starts(drafts: list[Draft], duration_ms: int, rules: LayoutRules) -> None:
    """Make the drafts' starts rise and lie inside the file; where speech overlaps, share its time out.

    Starts move only where two captions start together or one would start where the file ends: one caption stands on
    screen at a time.
    """
    count = len(drafts)
    previous = -1
    for place, draft in enumerate(drafts):
        latest = duration_ms - (count - place)
        start = max(0, min(draft.start, latest))
        if place and drafts[place - 1].spoken_end > start:
            start = max(start, min(_share(drafts[place - 1], draft), latest))
        draft.start = max(start, previous + 1)
        draft.spoken_end = max(draft.start + 1, min(draft.spoken_end, duration_ms))
        previous = draft.start


def _share(first: Draft, second: Draft) -> int:
    """Where the second of two overlapping drafts starts: where it is said, unless the first had no time then."""
    least = min(first.spoken_end - first.start, 834) // 2
    if second.start - first.start >= least:
        return second.start
    end = max(first.spoken_end, second.spoken_end)
    parts = first.columns() + second.columns()
    return first.start + (end - first.start) * first.columns() // (parts or 1)


def settle_ends(drafts: Sequence[Draft], duration_ms: int, rules: LayoutRules) -> None:
    """Give each draft its end: long enough to be read where there is room, gaps kept or closed, never an overlap."""
    for place, draft in enumerate(drafts):
        following = drafts[place + 1] if place + 1 < len(drafts) else None
        latest = following.start if following else duration_ms
        end = min(held_end(draft, rules), latest)
        if following is not None and latest - end < max(rules.close_ms, rules.gap_ms):
            end = _closed(draft.start, end, latest, rules)
        draft.end = max(draft.start + 1, min(end, latest))


def held_end(draft: Draft, rules: LayoutRules) -> int:
    """Where the draft would end if nothing came after it: spoken, readable, not longer than it may."""
    readable = draft.start + draft.reading_ms(rules)
    lingering = max(draft.start + rules.min_ms, draft.spoken_end + rules.linger_ms)
    return min(max(draft.spoken_end, min(readable, lingering)), draft.start + rules.max_ms)


def _closed(start: int, end: int, latest: int, rules: LayoutRules) -> int:
    """The end of a caption that would leave less than the closing gap before the next one, which starts at `latest`."""
    target = latest - rules.gap_ms
    if target - start > rules.max_ms:
        return max(start + rules.min_ms, latest - rules.close_ms)
    # A caption of a few frames keeps them rather than the gap
    return target if target - start >= 2 * rules.gap_ms else latest
