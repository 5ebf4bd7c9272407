"""The tag track as a heat map: the strongest groups of sounds over time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wat_cli.tagging.labels import load_labels
from wat_cli.tagging.policy import Policy, load_policy
from wat_cli.tagging.voice import best_voice
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


def audioset(tags: TagTrack | None) -> TagTrack | None:
    """The track if its classes are AudioSet's; only such a head is known to hear voices."""
    usual = tags is not None and not tags.tuning.labels and tags.classes == len(load_labels())
    return tags if usual else None


def heat_rows(tags: TagTrack, events: Sequence[SoundEvent]) -> tuple[HeatRow, ...]:
    """The strongest groups, those of `events` first: at most `ROWS`, each in hundredths.

    The classes of a head that has labels of its own are a row each; classes without names are none.
    """
    policy = load_policy()
    eventful = {name for event in events if event.shown for name in (event.label, *_captions(policy, event))}
    rows = []
    for caption, members in _groups(tags, policy).items():
        best = np.asarray(tags.when[:, list(members)], np.float32).max(axis=1, initial=0.0)
        peak = float(np.nanmax(best, initial=0.0))
        if peak >= FAINTEST or (caption in eventful and peak > 0):
            row = HeatRow(caption, _hundredths(best))
            rows.append((caption in eventful, peak, float(np.nansum(best)), row))
    rows.sort(key=lambda row: row[:3], reverse=True)
    return tuple(row for *_, row in rows[:ROWS])


def _groups(tags: TagTrack, policy: Policy) -> dict[str, Sequence[int]]:
    """The classes of each row, by its name."""
    if audioset(tags) is not None:
        return {_caption(policy, group): policy.members(group) for group in policy.groups}
    return {label: (index,) for index, label in enumerate(tags.tuning.labels[: tags.classes])}


def _captions(policy: Policy, event: SoundEvent) -> list[str]:
    return [_caption(policy, event.group)] if event.group in policy.groups else []


def voice_row(tags: TagTrack) -> NDArray[np.uint8]:
    """How likely somebody speaks or sings just then, over time, in hundredths, from AudioSet's classes."""
    return _hundredths(best_voice(tags.when))


def _hundredths(scores: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.where(np.isnan(scores), UNKNOWN, np.round(100 * np.nan_to_num(scores))).astype(np.uint8)


def _caption(policy: Policy, group: str) -> str:
    members = [policy.classes[index] for index in policy.members(group)]
    return next((sound.caption for sound in members if sound.caption and not sound.general), group)
