"""Where text is cut: a segment into captions at clause ends, a caption into balanced lines at natural places.

Times are integer milliseconds, widths are columns (`wat_cli.captions.characters`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from operator import add

from wat_cli.captions.characters import clean_text, units, width
from wat_cli.captions.phrasing import cut_penalty
from wat_cli.captions.rules import LayoutRules
from wat_cli.captions.voicing import SLOWEST_CPS, Span, shared_out, spoken_parts
from wat_cli.transcript import Segment, Word

PAUSE_MS = 300
"""A pause between words from which a cut there is as good as one at a clause end."""
LONG_PAUSE_MS = 2000
"""A pause that no caption should span."""
FAIR_EDGE = 0.7
"""Cost of a caption's end that is no worse than between any two words."""
JOIN_PAUSE_MS = 3000
"""Pause from which openai-whisper's writer starts a new caption although segments are joined (``utils.py``)."""
STAMP_MS = 20
"""From one of Whisper's time tokens to the next."""
FIRST_STAMPS = (50363, 50365)
"""Least and greatest number of the token for the time 0: English models have the one, large-v3 the other."""


@dataclass(frozen=True)
class Flow:
    """A run of text in unbreakable units, each with its time: what captions are cut from."""

    texts: tuple[str, ...]
    spaces: tuple[bool, ...]
    """Whether a space follows the unit."""
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    word_timed: bool = False
    """Whether the times come from words; otherwise they are shared out by width over the segment's time."""

    @cached_property
    def columns(self) -> tuple[int, ...]:
        """Column at which each unit starts were the flow one line; one more for its end."""
        return tuple(accumulate(map(add, map(width, self.texts), self.spaces), initial=0))

    def wide(self, first: int, stop: int) -> int:
        """Columns of the units ``[first, stop)`` on one line."""
        return self.columns[stop] - self.columns[first] - (1 if self.spaces[stop - 1] else 0)

    def text(self, first: int, stop: int) -> str:
        """The units ``[first, stop)`` as one line."""
        spaced = zip(self.texts[first:stop], self.spaces[first:stop], strict=True)
        return "".join([text + " " if space else text for text, space in spaced]).strip()

    def cut(self, first: int, stop: int) -> Flow:
        """The units ``[first, stop)`` as a flow."""
        spaces = (*self.spaces[first : stop - 1], False)
        return Flow(self.texts[first:stop], spaces, self.starts[first:stop], self.ends[first:stop], self.word_timed)

    def guessed(self, first: int, stop: int) -> bool:
        """Whether nobody can say when the units ``[first, stop)`` are said: few in a long time, without word times.

        That is not slow speech but speech beside silence.
        """
        spoken = sum(self.ends[first:stop]) - sum(self.starts[first:stop])
        return not self.word_timed and 1000 * (self.columns[stop] - self.columns[first]) <= SLOWEST_CPS * spoken

    def __add__(self, other: Flow) -> Flow:
        """Two flows joined by a space."""
        spaces = (*self.spaces[:-1], True, *other.spaces)
        texts, timed = self.texts + other.texts, self.word_timed and other.word_timed
        return Flow(texts, spaces, self.starts + other.starts, self.ends + other.ends, timed)


def flow_of(segment: Segment, limit: int, duration_ms: int, voiced: Sequence[Span] | None = None) -> Flow | None:
    """The segment's text with a time inside the file for every unit of at most `limit` columns; None without text.

    Units take the times of the segment's words if it has any and they spell its text; otherwise the segment's time is
    shared out by width. Of it count only the parts in which, as `voiced` tells, somebody may speak
    (`voicing.spoken_parts`), unless a person set it.
    """
    text = clean_text(segment.text)
    pieces = units(text, limit)
    if not pieces:
        return None
    texts, spaces = zip(*pieces, strict=True)
    times = _word_times(texts, segment.words, duration_ms) if segment.words else None
    if times is not None:
        return Flow(texts, spaces, *times, word_timed=True)
    start, end = min(to_ms(segment.start), duration_ms), min(to_ms(segment.end), duration_ms)
    wides = [width(piece) for piece in texts]
    parts = [(start, end)] if voiced is None or retimed(segment) else spoken_parts(start, end, width(text), voiced)
    starts, ends = zip(*shared_out(texts, wides, parts), strict=True)
    return Flow(texts, spaces, starts, ends)


def to_ms(seconds: float) -> int:
    """Seconds as whole milliseconds, rounded once; 0 for what is no number or lies before the file."""
    return round(seconds * 1000) if 0 < seconds < 1e9 else 0


def retimed(segment: Segment) -> bool:
    """Whether a person changed the segment's times: they are not those that its time tokens say.

    False where it cannot be told: without such tokens, or where a time moved by two of them or less.
    """
    stamps = [token for token in segment.tokens if token >= FIRST_STAMPS[0]]
    if not stamps:
        return False
    start, end = to_ms(segment.start) - 10 * segment.seek, to_ms(segment.end) - 10 * segment.seek
    # a window that is one segment starts with the window, whatever its first token says
    if start and not _may_say(stamps[0], start):
        return True
    return segment.tokens[-1] == stamps[-1] and not _may_say(stamps[-1], end)


def _may_say(stamp: int, time: int) -> bool:
    """Whether a time token means `time` in its window, for any of Whisper's vocabularies."""
    first, last = ((stamp - zero) * STAMP_MS for zero in reversed(FIRST_STAMPS))
    return first - STAMP_MS // 2 <= time <= last + STAMP_MS // 2


def _word_times(
    texts: Sequence[str], words: Sequence[Word], duration_ms: int
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Start and end of each unit from the words' times; None where the words do not spell the units."""
    spelled = [(clean_text(word.word).replace(" ", ""), to_ms(word.start), to_ms(word.end)) for word in words]
    spelled = [entry for entry in spelled if entry[0]]
    if [entry[0] for entry in spelled] == list(texts):  # a unit is a word nearly everywhere
        return _rising([(start, end) for _, start, end in spelled], duration_ms)
    if "".join(texts) != "".join(entry[0] for entry in spelled):
        return None
    stops = list(accumulate(len(entry[0]) for entry in spelled))

    def time_at(place: int, side: int) -> int:
        """Time of the character border `place`, as the end (0) or start (1) of what touches it."""
        word = bisect_right(stops, place - (1 - side))
        letters, start, end = spelled[word]
        inside = place - (stops[word] - len(letters))
        return start + round(max(0, end - start) * inside / len(letters))

    borders = list(accumulate(map(len, texts), initial=0))
    return _rising([(time_at(first, 1), time_at(stop, 0)) for first, stop in pairwise(borders)], duration_ms)


def _rising(times: list[tuple[int, int]], duration_ms: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Starts and ends that never fall back and lie inside the file."""
    rising = list(accumulate((min(time, duration_ms) for pair in times for time in pair), max))
    return tuple(rising[::2]), tuple(rising[1::2])


def reach(flow: Flow, limit: int) -> list[int]:
    """For each unit, the first unit that no longer fits on a line started with it."""
    columns, spaces, count = flow.columns, flow.spaces, len(flow.texts)
    stops, stop = [], 0
    for first in range(count):
        stop = max(stop, first + 1)
        edge = columns[first] + limit
        while stop < count and columns[stop + 1] - spaces[stop] <= edge:
            stop += 1
        stops.append(stop)
    return stops


def break_lines(flow: Flow, limit: int, count: int) -> tuple[tuple[int, int], ...] | None:
    """The flow in at most `count` lines of `limit` columns: as few as hold it, balanced, broken at natural places.

    Each line as its units ``(first, stop)``; None where the flow does not fit.
    """
    total = len(flow.texts)
    if count < 1:
        return None
    if flow.wide(0, total) <= limit:
        return ((0, total),)
    stops = reach(flow, limit)
    needed = _lines_needed(stops, total)
    if needed > count:
        return None
    _, cuts = _best_lines(flow, stops, 0, needed, flow.wide(0, total) / needed, limit)
    borders = (0, *cuts, total)
    return tuple(pairwise(borders))


def _best_lines(
    flow: Flow, stops: list[int], first: int, lines: int, mean: float, limit: int
) -> tuple[float, tuple[int, ...]]:
    """Least cost of the units from `first` on in exactly `lines` lines, and where they are cut."""
    total = len(flow.texts)
    if lines == 1:
        if stops[first] < total:
            return float("inf"), ()
        return ((flow.wide(first, total) - mean) / limit) ** 2, ()
    best: tuple[float, tuple[int, ...]] = (float("inf"), ())
    for stop in range(first + 1, min(stops[first], total - lines + 1) + 1):
        rest, cuts = _best_lines(flow, stops, stop, lines - 1, mean, limit)
        ragged = ((flow.wide(first, stop) - mean) / limit) ** 2
        cost = rest + ragged + 0.12 * cut_penalty(flow.texts[stop - 1], flow.texts[stop])
        if cost < best[0]:
            best = (cost, (stop, *cuts))
    return best


def fits(flow: Flow, rules: LayoutRules) -> bool:
    """Whether the flow can be one caption: its lines, its duration, no long pause inside."""
    if _too_long(flow, 0, len(flow.texts), rules):
        return False
    if any(start - end > LONG_PAUSE_MS for end, start in zip(flow.ends, flow.starts[1:], strict=False)):
        return False
    if flow.columns[-1] <= rules.width:
        return True
    return _lines_needed(reach(flow, rules.width), len(flow.texts)) <= rules.lines


def _too_long(flow: Flow, first: int, stop: int, rules: LayoutRules) -> bool:
    """Whether the units ``[first, stop)`` are spoken for longer than a caption may stay.

    Where it is not known when they are said, there is nothing to cut at.
    """
    if flow.ends[stop - 1] - flow.starts[first] <= rules.longest_speech_ms:
        return False
    return not flow.guessed(first, stop)


def _lines_needed(stops: list[int], total: int) -> int:
    first, lines = 0, 0
    while first < total:
        first, lines = stops[first], lines + 1
    return lines


def split_flow(flow: Flow, rules: LayoutRules) -> list[Flow]:
    """The flow in captions, cut where sentences, clauses or pauses end, each within lines and duration.

    Dynamic programming over the cuts: as few captions as the rules allow, at the most natural places, none too short
    to be read where the neighbours can give room.
    """
    if fits(flow, rules):
        return [flow]
    stops, total = reach(flow, rules.width), len(flow.texts)
    edges = _edges(flow)
    pauses = _long_pauses(flow)
    costs: list[float] = [0.0] + [float("inf")] * total
    origins = [0] * (total + 1)
    # cuts that tear a phrase come into question only where nothing else fits
    fair = [stop for stop in range(1, total + 1) if edges[stop] <= FAIR_EDGE]
    for first in range(total):
        if costs[first] == float("inf"):
            continue
        furthest = first
        for _ in range(rules.lines):
            furthest = stops[furthest] if furthest < total else total
        before = costs[first]
        for stop in (furthest, *fair[bisect_right(fair, first) : bisect_left(fair, furthest)]):
            cost = before + 1.0 + edges[stop] + 4.0 * (pauses[stop - 1] - pauses[first])
            if cost < costs[stop]:
                cost += _haste(flow, first, stop, rules)
                if cost < costs[stop]:
                    costs[stop], origins[stop] = cost, first
    borders = [total]
    while borders[-1] > 0:
        borders.append(origins[borders[-1]])
    borders.reverse()
    return [flow.cut(first, stop) for first, stop in pairwise(borders)]


def _edges(flow: Flow) -> list[float]:
    """How bad it is that a caption ends before each unit; nothing at the end and where the speech pauses."""
    texts, starts, ends = flow.texts, flow.starts, flow.ends
    inner = [
        0.0 if starts[stop] - ends[stop - 1] >= PAUSE_MS else 0.6 * cut_penalty(texts[stop - 1], texts[stop])
        for stop in range(1, len(texts))
    ]
    return [0.0, *inner, 0.0]


def _long_pauses(flow: Flow) -> list[int]:
    """How many long pauses lie before each unit."""
    gaps = zip(flow.ends, flow.starts[1:], strict=False)
    return list(accumulate((start - end > LONG_PAUSE_MS for end, start in gaps), initial=0))


def _haste(flow: Flow, first: int, stop: int, rules: LayoutRules) -> float:
    """How far the units ``[first, stop)`` as one caption are too long, too short or too fast; 0 for a good one."""
    start, end = flow.starts[first], flow.ends[stop - 1]
    room = end - start if stop == len(flow.texts) else flow.starts[stop] - start - rules.gap_ms
    columns = flow.columns[stop] - flow.columns[first]
    cost = 0.0
    if end - start > rules.longest_speech_ms and stop - first > 1 and _too_long(flow, first, stop, rules):
        cost += 20.0 + (end - start) / 1000
    if room < rules.min_ms:
        cost += 2.0
    if room > 0 and columns * 1000 > rules.cps * room:
        cost += min(2.0, columns * 1000 / (rules.cps * room) - 1)
    return cost + 0.5 if columns < 12 or stop - first == 1 else cost
