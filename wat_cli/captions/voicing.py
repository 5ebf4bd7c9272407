"""When the words of a segment without word times are said: in its time, less the stretches without a voice.

Whisper often gives a segment the silence, music or applause around its words too, up to the whole of a window. Where
voices are is known from elsewhere: `wat_cli.tagging.voice`. Times are integer milliseconds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise

from wat_cli.captions.phrasing import cut_penalty

Span = tuple[int, int]

SLOWEST_CPS = 5
"""Columns a second below which nobody speaks."""
FASTEST_CPS = 22
"""Columns a second above which nobody speaks: with less time than that, a voice was missed."""
QUIET_MS = 1500
"""A shorter stretch without a voice is a pause of the speaker."""
WORD_MS = 500
"""A shorter voice at a segment's edge is the rest of somebody else's words, or none."""
TO_AND_FRO = 0.25
"""Share of a segment's text by which a pause may lie elsewhere than its time says, at the end of a clause."""


def spoken_parts(start: int, end: int, columns: int, voiced: Sequence[Span]) -> tuple[Span, ...]:
    """The parts of ``[start, end)``, in order and apart, in which text of so many columns is said.

    `voiced` are the stretches, in order and apart, in which somebody may speak. The whole is its one part where no
    voice is, or where the voices' time is too short for the text.
    """
    whole = ((start, end),)
    parts: list[Span] = []
    for first, stop in _within(start, end, voiced):
        if parts and first - parts[-1][1] < QUIET_MS:
            parts[-1] = (parts[-1][0], stop)
        else:
            parts.append((first, stop))
    parts = [(first, stop) for first, stop in parts if stop - first >= WORD_MS]
    if not parts:
        return whole
    if parts[0][0] - start < QUIET_MS:
        parts[0] = (start, parts[0][1])
    if end - parts[-1][1] < QUIET_MS:
        parts[-1] = (parts[-1][0], end)
    spoken = sum(stop - first for first, stop in parts)
    if 1000 * columns > FASTEST_CPS * spoken:
        return whole
    if 1000 * columns < SLOWEST_CPS * spoken:  # in which of the parts is anybody's guess
        return ((parts[0][0], parts[-1][1]),)
    return tuple(parts)


def _within(start: int, end: int, voiced: Sequence[Span]) -> list[Span]:
    """What of `voiced` lies in ``[start, end)``."""
    found = []
    for place in range(max(0, bisect_right(voiced, (start, start)) - 1), len(voiced)):
        first, stop = voiced[place]
        if first >= end:
            break
        if stop > start:
            found.append((max(first, start), min(stop, end)))
    return found


def shared_out(texts: Sequence[str], wides: Sequence[int], parts: Sequence[Span]) -> list[Span]:
    """Start and end of each unit of a text, `wides` columns wide, in the order of the `parts` that they are said in.

    Time goes by columns. A pause between two parts lies between two units, at the end of a clause where one is near.
    """
    if len(texts) < len(parts):
        parts = [(parts[0][0], parts[-1][1])]
    cuts = _cuts(texts, wides, parts)
    times: list[Span] = []
    for (first, stop), (start, end) in zip(pairwise(cuts), parts, strict=True):
        ends = list(accumulate(wides[first:stop]))
        scale = max(0, end - start) / (ends[-1] or 1)
        stops = [start + round(place * scale) for place in ends]
        times.extend(pairwise((start, *stops)))
    return times


def _cuts(texts: Sequence[str], wides: Sequence[int], parts: Sequence[Span]) -> list[int]:
    """Unit with which each part begins, and the number of units; no part is without any."""
    columns = list(accumulate(wides, initial=0))
    spoken = list(accumulate((stop - start for start, stop in parts), initial=0))
    cuts = [0]
    for place in range(1, len(parts)):
        wanted = columns[-1] * spoken[place] / (spoken[-1] or 1)
        choices = range(cuts[-1] + 1, len(texts) - (len(parts) - place) + 1)
        cuts.append(min(choices, key=lambda cut: _misplaced(texts, columns, cut, wanted)))
    return [*cuts, len(texts)]


def _misplaced(texts: Sequence[str], columns: Sequence[int], cut: int, wanted: float) -> tuple[bool, float, float]:
    """How bad it is that the pause which by its time lies after `wanted` columns lies before the unit `cut`."""
    away = abs(columns[cut] - wanted)
    if away > TO_AND_FRO * columns[-1]:
        return True, away, 0.0
    return False, cut_penalty(texts[cut - 1], texts[cut]), away
