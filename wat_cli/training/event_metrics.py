"""Event scores: do the sounds found match the sounds that were there?

An event is found if one with the same name starts within the collar; each event counts once. Matching is the largest
possible (as in sed_eval), so that two events close together never block each other, and among those the one with the
nearest onsets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Event = tuple[float, float, str]
"""Onset and offset in seconds, and a name: a label or a group."""


@dataclass(frozen=True)
class EventScores:
    """How well found events match the reference; may be added up over files with `+`."""

    matched: int
    reference: int
    found: int
    onset_errors: tuple[float, ...]
    """Found onset minus true onset of each matched event, in seconds."""
    hours: float

    @property
    def precision(self) -> float:
        """Share of the found events that were there; 1 where nothing was found."""
        return self.matched / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Share of the events that were found; 1 where there were none."""
        return self.matched / self.reference if self.reference else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of the two."""
        total = self.reference + self.found
        return 2 * self.matched / total if total else 1.0

    @property
    def median_onset_error(self) -> float:
        """Median of the absolute onset errors in seconds; NaN where nothing matched."""
        return float(np.median(np.abs(self.onset_errors))) if self.onset_errors else float("nan")

    @property
    def false_per_hour(self) -> float:
        """Found events that were not there, per hour of audio; NaN without a duration."""
        return (self.found - self.matched) / self.hours if self.hours else float("nan")

    def __add__(self, other: EventScores) -> EventScores:
        return EventScores(
            self.matched + other.matched,
            self.reference + other.reference,
            self.found + other.found,
            self.onset_errors + other.onset_errors,
            self.hours + other.hours,
        )


NOTHING = EventScores(0, 0, 0, (), 0.0)
"""The neutral element of `+`."""


def event_scores(
    reference: Iterable[Event], found: Iterable[Event], collar: float = 1.0, seconds: float = 0.0
) -> EventScores:
    """Score the events of one file of `seconds`; an event matches one of its name whose onset is within `collar`."""
    truth, guesses = _onsets(reference), _onsets(found)
    errors: list[float] = []
    for name in truth:
        errors += _matched_errors(truth[name], guesses.get(name, []), collar)
    return EventScores(
        matched=len(errors),
        reference=sum(map(len, truth.values())),
        found=sum(map(len, guesses.values())),
        onset_errors=tuple(errors),
        hours=seconds / 3600,
    )


def scores_by_name(
    reference: Sequence[Event], found: Sequence[Event], collar: float = 1.0, seconds: float = 0.0
) -> dict[str, EventScores]:
    """`event_scores` of each name alone, for a table."""
    names = sorted({event[2] for event in (*reference, *found)})
    return {
        name: event_scores(
            [event for event in reference if event[2] == name],
            [event for event in found if event[2] == name],
            collar,
            seconds,
        )
        for name in names
    }


def _onsets(events: Iterable[Event]) -> dict[str, list[float]]:
    onsets: dict[str, list[float]] = defaultdict(list)
    for onset, _, name in events:
        onsets[name].append(onset)
    return onsets


def _matched_errors(truth: Sequence[float], guesses: Sequence[float], collar: float) -> list[float]:
    if not truth or not guesses:
        return []
    errors: NDArray[np.float64] = np.asarray(guesses)[None, :] - np.asarray(truth)[:, None]
    within = np.abs(errors) <= collar + 1e-9
    # A pair outside the collar costs more than any number of pairs inside it can save.
    cost = np.where(within, np.abs(errors), (collar + 1) * (min(errors.shape) + 1))
    rows, columns = linear_sum_assignment(cost)
    return [float(errors[row, column]) for row, column in zip(rows, columns, strict=True) if within[row, column]]
