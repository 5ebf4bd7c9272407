"""From class probabilities over time to one curve a group, whose crossings of a threshold are the sound's edges.

Nothing here depends on the threshold that a user asks for. That is what makes a lower threshold never show less: each
step below only orders evidence, and `wat_cli.tagging.events` cuts it once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wat_cli.tagging.policy import logit
from wat_cli.transcript import TagTrack

FLOOR = 0.05
"""Scores below this are kept as 0: the sidecar holds no others, and events are decided the same with and without it."""

LOWEST, HIGHEST = logit(0.025), logit(0.995)
"""Logits that 0 and 1 stand for, once scores have two decimals."""

SCENE_SLACK = 1.5
"""Logits by which a two-second score may exceed its ten-second one: a short sound is diluted in a long decision."""

EDGE = 4
"""Steps to either side within which a two-second decision still hears a sound's edge."""

UNKNOWN_STEPS = 3
"""Longest run of unknown steps that is filled from its neighbours: one at most lies between two windows."""

Curve = NDArray[np.float32]


def quantized(scores: Curve) -> Curve:
    """Scores as the sidecar keeps them: two decimals, 0 below `FLOOR`; NaN stays."""
    rounded = np.round(scores.astype(np.float64), 2)
    with np.errstate(invalid="ignore"):
        rounded[rounded < FLOOR] = 0.0
    return rounded.astype(np.float32)


def audible(track: TagTrack) -> NDArray[np.bool_]:
    """Which classes ever score above the floor over two seconds."""
    heard = np.zeros(track.classes, bool)
    for first in range(0, track.steps, 4096):
        heard |= (quantized(track.when[first : first + 4096]) > 0).any(axis=0)
    return heard


def evidence(track: TagTrack, classes: list[int]) -> Curve:
    """Logits [steps, len(classes)] that each class sounds in each step.

    The short decision says when; the long one holds it back where the scene as a whole says no. Unknown steps take the
    line between their neighbours where they are few, and otherwise the lowest value.
    """
    curves = np.empty((track.steps, len(classes)), np.float32)
    for column, index in enumerate(classes):
        when, what = (_logits(quantized(scores[:, index])) for scores in (track.when, track.what))
        # A sound never heard in two seconds does not become one because the scene allows it.
        curves[:, column] = np.where(when > LOWEST, np.minimum(when, np.maximum(what + SCENE_SLACK, LOWEST)), when)
    return _filled(curves)


def _logits(scores: Curve) -> Curve:
    clipped = np.clip(scores.astype(np.float64), 0.025, 0.995)
    return np.log(clipped / (1 - clipped)).astype(np.float32)


def _filled(curves: Curve) -> Curve:
    unknown = np.isnan(curves[:, 0]) if curves.shape[1] else np.zeros(len(curves), bool)
    if not unknown.any():
        return curves
    filled = curves.copy()
    for start, stop in runs(unknown):
        if start == 0 or stop == len(curves) or stop - start > UNKNOWN_STEPS:
            filled[start:stop] = LOWEST
        else:
            weight = (np.arange(1, stop - start + 1, dtype=np.float32) / (stop - start + 1))[:, None]
            filled[start:stop] = (1 - weight) * curves[start - 1] + weight * curves[stop]
    return filled


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and one-past-last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def shaped(curve: Curve, sustained: bool) -> Curve:
    """A group's curve made ready for thresholds: blips smoothed away in sustained sounds, edges made steep."""
    if sustained:
        curve = _median_of_three(curve)
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


def _median_of_three(curve: Curve) -> Curve:
    before, after = np.concatenate((curve[:1], curve[:-1])), np.concatenate((curve[1:], curve[-1:]))
    low, high = np.minimum(before, after), np.maximum(before, after)
    return np.maximum(low, np.minimum(high, curve))
