"""The tag track as a heat map: the strongest groups of sounds over time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wat_cli.tagging.labels import load_labels
from wat_cli.tagging.policy import Policy, load_policy
from wat_cli.tagging.scores import quantized
from wat_cli.tagging.voice import voice_activity
from wat_cli.transcript import SoundEvent, TagTrack

ROWS = 12
"""Most groups that a timeline shows."""
FAINTEST = 0.2
"""A group that never reaches this score, and was not captioned, is not worth a row."""
UNKNOWN = 255
"""Value of a step that no encoder window covered; the others are hundredths, 0 to 100."""


@dataclass(frozen=True)
class HeatRow:
    """One group's score over time."""

    caption: str
    """Its most general caption."""
    scores: NDArray[np.uint8]
    """[steps]"""


def readable(tags: TagTrack | None) -> TagTrack | None:
    """The track if its classes are those of AudioSet; another head's could not be named."""
    return tags if tags is not None and tags.classes == len(load_labels()) else None


def heat_rows(tags: TagTrack, events: Sequence[SoundEvent]) -> tuple[HeatRow, ...]:
    """The strongest groups, those of `events` first: at most `ROWS`, each in hundredths."""
    policy = load_policy()
    rows = []
    eventful = {event.group for event in events if event.shown}
    for group in policy.groups:
        best = quantized(tags.when[:, list(policy.members(group))]).max(axis=1, initial=0.0)
        peak = float(np.nanmax(best, initial=0.0))
        if peak >= FAINTEST or (group in eventful and peak > 0):
            row = HeatRow(_caption(policy, group), _hundredths(best))
            rows.append((group in eventful, peak, float(np.nansum(best)), row))
    rows.sort(key=lambda row: row[:3], reverse=True)
    return tuple(row for *_, row in rows[:ROWS])


def voice_row(tags: TagTrack) -> NDArray[np.uint8]:
    """How likely somebody speaks or sings, over time, in hundredths."""
    return _hundredths(voice_activity(tags))


def _hundredths(scores: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.where(np.isnan(scores), UNKNOWN, np.round(100 * np.nan_to_num(scores))).astype(np.uint8)


def _caption(policy: Policy, group: str) -> str:
    members = [policy.classes[index] for index in policy.members(group)]
    return next((sound.caption for sound in members if sound.caption and not sound.general), group)
