"""From class probabilities over time to one curve a group, whose crossings of a threshold are the sound's edges.

Nothing here depends on the threshold that a user asks for. That is what makes a lower threshold never show less: each
step below only orders evidence, and `wat_cli.tagging.events` cuts it once.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from wat_cli.tagging.policy import logit
from wat_cli.tagging.table import VALUES, ScoreTable
from wat_cli.transcript import TagTrack

LOWEST, HIGHEST = logit(0.025), logit(0.995)
"""Logits that 0 and 1 stand for, once scores have two decimals."""

SCENE_SLACK = 1.5
"""Logits by which a two-second score may exceed its ten-second one."""
ABRUPT_SLACK = 4.5
"""The same for abrupt sounds, which are diluted in a long decision."""

BRIEF = 0.5
"""Logits that a sustained sound must be surer by where it is over in a second."""

EDGE = 3
"""Steps to either side within which a two-second decision still hears a sound's edge."""

UNKNOWN_STEPS = 3
"""Longest run of unknown steps that is filled from its neighbours: one at most lies between two windows."""

Curve = NDArray[np.float32]


def evidence(track: TagTrack, classes: Sequence[int], abrupt: Container[int] = ()) -> Iterator[Curve]:
    """Logits [steps] that each of `classes` sounds in each step, one class after the other.

    The short decision says when; the long one holds it back where the scene as a whole says no, less so for classes in
    `abrupt`. Unknown steps take the line between their neighbours where they are few, and otherwise the lowest value.
    """
    tables = ScoreTable.of(track.when), ScoreTable.of(track.what)
    gaps = _Gaps(tables[0].unknown_steps() | tables[1].unknown_steps())
    for index in classes:
        when, what = (_LOGITS[table.column(index)] for table in tables)
        # A sound never heard in two seconds does not become one because the scene allows it.
        slack = ABRUPT_SLACK if index in abrupt else SCENE_SLACK
        allowed = np.maximum(what + np.float32(slack), np.float32(LOWEST))
        yield gaps.filled(np.where(when > LOWEST, np.minimum(when, allowed), when))


def _logits(scores: Curve) -> Curve:
    clipped = np.clip(scores.astype(np.float64), 0.025, 0.995)
    return np.log(clipped / (1 - clipped)).astype(np.float32)


_LOGITS = _logits(VALUES)
"""Logit of each number of hundredths; NaN for unknown."""


class _Gaps:
    """The unknown steps of a file, and what each of its curves takes there."""

    def __init__(self, unknown: NDArray[np.bool_]) -> None:
        long, steps, left, right, weights = [np.zeros(0, np.intp)], list[int](), list[int](), list[int](), list[float]()
        for start, stop in runs(unknown):
            if start == 0 or stop == len(unknown) or stop - start > UNKNOWN_STEPS:
                long.append(np.arange(start, stop))
                continue
            for step in range(start, stop):
                steps.append(step)
                left.append(start - 1)
                right.append(stop)
                weights.append((step - start + 1) / (stop - start + 1))
        self._long, self._steps = np.concatenate(long), np.array(steps, np.intp)
        self._left, self._right = np.array(left, np.intp), np.array(right, np.intp)
        self._weights = np.array(weights, np.float32)

    def filled(self, curve: Curve) -> Curve:
        """`curve` without its unknown steps; changed in place."""
        curve[self._long] = LOWEST
        curve[self._steps] = (1 - self._weights) * curve[self._left] + self._weights * curve[self._right]
        return curve


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and one-past-last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def shaped(curve: Curve, sustained: bool) -> Curve:
    """A group's curve made ready for thresholds: blips smoothed away in sustained sounds, edges made steep."""
    if sustained:
        curve = np.maximum(_median(curve, 5), _median(curve, 3) - np.float32(BRIEF))
    return _sharpened(curve)


def _sharpened(curve: Curve) -> Curve:
    """Each step takes the highest or the lowest value near it, whichever is nearer: the morphological toggle contrast.

    A two-second decision that slides onto a sound hears more of it with each step, so its score is a ramp, and where a
    threshold cuts the ramp depends on the threshold. A head pools its input's features over time, so its logit grows
    about evenly with the share of the decision that sounds; half-way up, the centre lies on the edge. Kramer and
    Bruckner 1975, "Iterations of a non-linear transformation for enhancement of digital images".
    """
    high, low = highest(curve, EDGE, EDGE), -highest(-curve, EDGE, EDGE)
    return np.where(high - curve <= curve - low, high, low)


def highest(curve: Curve, before: int, after: int) -> Curve:
    """The greatest value from `before` steps back to `after` steps on."""
    width, span = before + after + 1, 1
    best: Curve = np.pad(curve, (before, after), mode="edge")
    while span < width:  # windows of twice the width each time, the last ones overlapping
        step = min(span, width - span)
        best = np.maximum(best[:-step], best[step:])
        span += step
    return best


def opened(curve: Curve, steps: int) -> Curve:
    """The curve without peaks narrower than `steps`."""
    if steps <= 1 or not len(curve):
        return curve
    lowest = -highest(-curve, 0, steps - 1)
    lowest[max(0, len(curve) - steps + 1) :] = curve.min()
    return highest(lowest, steps - 1, 0)


def _median(curve: Curve, steps: int) -> Curve:
    padded = np.pad(curve, steps // 2, mode="edge")
    median: Curve = np.median(np.lib.stride_tricks.sliding_window_view(padded, steps), axis=1).astype(np.float32)
    return median
