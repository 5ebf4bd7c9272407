"""The tag track as a heat map: the strongest groups of sounds over time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wat_cli.tagging.labels import load_labels
from wat_cli.tagging.own_labels import spread
from wat_cli.tagging.policy import Policy, load_policy
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


@dataclass(frozen=True)
class NamedTags:
    """A tag track whose classes have names."""

    track: TagTrack
    """AudioSet's classes, then those of `extra`."""
    extra: tuple[str, ...] = ()
    """Labels of a head's own."""
    knows_voices: bool = True
    """Whether the head would hear somebody speak; another cannot say that nobody does."""


def named(tags: TagTrack | None) -> NamedTags | None:
    """The track with its names; None where there is none, or its classes are of no known kind."""
    if tags is None:
        return None
    try:
        track, extra = spread(tags)
    except ValueError:
        return None
    if track.classes != len(load_labels()) + len(extra):
        return None
    own = {label.casefold() for label in tags.tuning.labels}
    return NamedTags(track, extra, not own or "speech" in own)


def heat_rows(tags: NamedTags, events: Sequence[SoundEvent]) -> tuple[HeatRow, ...]:
    """The strongest groups, those of `events` first: at most `ROWS`, each in hundredths."""
    policy = load_policy()
    groups = {_caption(policy, group): policy.members(group) for group in policy.groups}
    groups |= {label: (len(load_labels()) + place,) for place, label in enumerate(tags.extra)}
    eventful = {name for event in events if event.shown for name in (event.label, *_captions(policy, event))}
    rows = []
    for caption, members in groups.items():
        best = np.asarray(tags.track.when[:, list(members)], np.float32).max(axis=1, initial=0.0)
        peak = float(np.nanmax(best, initial=0.0))
        if peak >= FAINTEST or (caption in eventful and peak > 0):
            row = HeatRow(caption, _hundredths(best))
            rows.append((caption in eventful, peak, float(np.nansum(best)), row))
    rows.sort(key=lambda row: row[:3], reverse=True)
    return tuple(row for *_, row in rows[:ROWS])


def _captions(policy: Policy, event: SoundEvent) -> list[str]:
    return [_caption(policy, event.group)] if event.group in policy.groups else []


def voice_row(tags: NamedTags) -> NDArray[np.uint8] | None:
    """How likely somebody speaks or sings, over time, in hundredths; None from a head that does not know voices."""
    return _hundredths(voice_activity(tags.track)) if tags.knows_voices else None


def _hundredths(scores: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.where(np.isnan(scores), UNKNOWN, np.round(100 * np.nan_to_num(scores))).astype(np.uint8)


def _caption(policy: Policy, group: str) -> str:
    members = [policy.classes[index] for index in policy.members(group)]
    return next((sound.caption for sound in members if sound.caption and not sound.general), group)
