"""Which stretches of a window the tagging head is asked about, and how its answers become a `TagTrack`.

The file is laid out in steps of 0.4 s on its own clock: step ``i`` is ``[0.4 i, 0.4 (i + 1))``, wherever the encoder's
windows begin. A *decision* is one call of the head on a run of steps that lie inside one encoder window. Long ones, up
to the 10 s that the published heads were trained on, say *what* is in the scene; each of their steps takes the answer.
Short ones of about 2 s say *when*; only the step at their centre takes the answer, because a decision that hears a
sound anywhere in its two seconds would, filed on all of them, start it a second early. They are asked at every second
step; a step between two takes the mean of their logits, which is where a head's logit lies that slides onto a sound.

Windows overlap where whisper's seek goes back to the last timestamp; there the answers are averaged. A step that a
window holds only in part is not covered by it, and a step that no window covers is NaN: unknown, not silent.

This module knows nothing of torch or of the head: it deals in step numbers and logits. An engine does::

    place = place_window(seek, content_frames)
    pooled = ...                                # encoder frames place.frames pooled 20:1, [layers, place.steps, width]
    for kind in (WHAT, WHEN):
        decisions = kind.decisions(place.steps)
        logits = head(pooled[:, d.start : d.stop]) for each of them
        track.add(kind, place, decisions, logits)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wat_cli.tagging.spool import ScoreSpool
from wat_cli.tagging.table import ScoreTable
from wat_cli.transcript import TAG_HOP, HeadTuning, TagTrack

STEP_MEL_FRAMES = 40
"""Mel frames (10 ms) in a step."""
STEP_ENCODER_FRAMES = 20
"""Encoder frames (20 ms) in a step: Whisper-AT pools 20:1 (Gong et al. 2023, section 3)."""
WINDOW_MEL_FRAMES = 3000
WINDOW_ENCODER_FRAMES = 1500


@dataclass(frozen=True)
class Placement:
    """Where one encoder window lies on the file's grid."""

    first: int
    """Number of the first step that the window holds whole, counted from the file's start."""
    steps: int
    """How many steps from there the window covers; at the file's end those that hold some of its audio."""
    frame: int
    """Encoder frame (20 ms) of the window at which the first step begins."""

    @property
    def frames(self) -> slice:
        """The window's encoder frames that make up these steps; their number is a multiple of 20."""
        return slice(self.frame, self.frame + self.steps * STEP_ENCODER_FRAMES)


@dataclass(frozen=True)
class Decision:
    """One question to the head, in steps counted from a `Placement`'s first."""

    start: int
    stop: int
    """The head hears ``[start, stop)``."""
    filed_start: int
    filed_stop: int
    """Its answer is filed on ``[filed_start, filed_stop)``."""

    @property
    def length(self) -> int:
        """Steps that the head hears."""
        return self.stop - self.start


@dataclass(frozen=True)
class DecisionKind:
    """How decisions of one kind lie in a window."""

    name: str
    length: int
    """Steps that a decision hears, where the window has room for them."""
    hop: int
    """Steps from one decision to the next."""
    shortest: int
    """A decision centred near an edge of the window is cut there, to this many steps at the least."""
    centred: bool
    """File the answer on the centre only, not on every step; steps between two centres lie between their answers."""

    def decisions(self, steps: int) -> tuple[Decision, ...]:
        """Decisions that together file an answer on each of a window's `steps`; in order, none outside the window."""
        if steps <= 0:
            return ()
        return tuple(self._centred(steps) if self.centred else self._spread(steps))

    def _spread(self, steps: int) -> Iterator[Decision]:
        length = min(self.length, steps)
        starts = list(range(0, steps - length + 1, self.hop))
        if starts[-1] != steps - length:
            starts.append(steps - length)
        for start in starts:
            yield Decision(start, start + length, start, start + length)

    def _centred(self, steps: int) -> Iterator[Decision]:
        before, after = self.length // 2, self.length - self.length // 2
        for centre in sorted({*range(0, steps, self.hop), steps - 1}):
            start, stop = max(0, centre - before), min(steps, centre + after)
            # A very short stretch tells the head too little: let it reach further in, on the side that has room.
            if stop - start < self.shortest:
                start = max(0, min(start, stop - self.shortest))
                stop = min(steps, max(stop, start + self.shortest))
            yield Decision(start, stop, centre, centre + 1)


WHAT = DecisionKind("what", length=25, hop=10, shortest=25, centred=False)
"""10 s every 4 s: a whole window takes 6 decisions."""
WHEN = DecisionKind("when", length=5, hop=2, shortest=3, centred=True)
"""2 s every 0.8 s, cut to 1.2 s at a window's edges: a whole window takes 38 decisions."""


def place_window(seek: int, content_frames: int) -> Placement:
    """Lay the encoder window that starts at mel frame `seek` on the grid of a file of `content_frames` mel frames.

    Both count 10 ms frames. A step that begins before the window, or ends after it, is left to another window. The
    file's last step counts however little of it is real audio, if the window reaches to its end. An odd `seek` shifts
    the steps by 10 ms.
    """
    if seek < 0:
        raise ValueError(f"a window cannot start at frame {seek}")
    first = -(-seek // STEP_MEL_FRAMES)
    frame = -(-(first * STEP_MEL_FRAMES - seek) // 2)
    room = (WINDOW_ENCODER_FRAMES - frame) // STEP_ENCODER_FRAMES
    return Placement(first, max(0, min(room, grid_steps(content_frames) - first)), frame)


def grid_steps(content_frames: int) -> int:
    """Number of steps that a file of `content_frames` mel frames (10 ms) has: the last one may be part full."""
    return -(-content_frames // STEP_MEL_FRAMES)


class TagAccumulator:
    """Collects the head's answers for one file, window after window, and gives its `TagTrack`."""

    def __init__(self, content_frames: int, classes: int = 527, tuning: HeadTuning | None = None) -> None:
        self._tuning = tuning or HeadTuning()
        steps = grid_steps(content_frames)
        self._spools = {kind.name: ScoreSpool(steps, classes) for kind in (WHAT, WHEN)}

    def add(self, kind: DecisionKind, place: Placement, decisions: Sequence[Decision], logits: ArrayLike) -> None:
        """File the head's answers to all `decisions` of a kind in one window, in order.

        `logits` are [decisions, classes], before the sigmoid. What is averaged, within a window and over overlapping
        ones, is the probability.
        """
        logits, spool = np.asarray(logits, np.float32), self._spools[kind.name]
        classes = spool.shape[1]
        if logits.shape != (len(decisions), classes):
            expected = f"{len(decisions)} decisions on {classes} classes"
            raise ValueError(f"logits of shape {logits.shape} for {expected}")
        if not decisions:
            return
        start, stop = decisions[0].filed_start, decisions[-1].filed_stop
        if kind.centred:
            between = _between([decision.filed_start for decision in decisions], logits)
            spool.add(place.first + start, _sigmoid(between), np.ones(stop - start, np.float32))
            return
        sums, counts = np.zeros((stop - start, classes), np.float32), np.zeros(stop - start, np.float32)
        for decision, answer in zip(decisions, _sigmoid(logits), strict=True):
            filed = slice(decision.filed_start - start, decision.filed_stop - start)
            sums[filed] += answer
            counts[filed] += 1
        spool.add(place.first + start, sums, counts)

    def track(self) -> TagTrack:
        """The averages; NaN where no decision was filed."""
        what, when = self._spools["what"], self._spools["when"]
        exact = TagTrack(what=what, when=when, hop=TAG_HOP, tuning=self._tuning)
        return dataclasses.replace(exact, what=ScoreTable.of(what), when=ScoreTable.of(when), exact=exact)


def _between(centres: Sequence[int], logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits [steps, classes] of each step from the first to the last of `centres`, on lines between theirs."""
    place = np.interp(np.arange(centres[0], centres[-1] + 1), centres, np.arange(len(centres)))
    before, after = np.floor(place).astype(np.intp), np.ceil(place).astype(np.intp)
    share = (place - before)[:, None].astype(np.float32)
    return (1 - share) * logits[before] + share * logits[after]


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return (1 / (1 + np.exp(-np.clip(logits, -30, 30)))).astype(np.float32)
