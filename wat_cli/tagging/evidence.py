"""What speaks for and against each sound in each step, before any threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wat_cli.tagging.policy import Policy
from wat_cli.tagging.scores import FLOOR, LOWEST, Curve, audible, evidence, highest
from wat_cli.tagging.text import named_group, split_sound_text
from wat_cli.tagging.voice import confident_speech, step_slice
from wat_cli.transcript import Segment, TagTrack

NEAR = 5
"""Steps (2 s) within which a rival counts as sounding at the same time."""
CLEARLY = 0.1, 0.75
"""A specific sound is clearly right if it is at most this much less probable than the general one, and
no less than this share of it."""
SAID = 2.0
"""Logits that a sound gains where the speech recogniser wrote its name: ``[Music]``."""


class Evidence:
    """Logits of single classes and whole groups, each made once."""

    def __init__(self, tags: TagTrack, policy: Policy, segments: Sequence[Segment] = ()) -> None:
        self.tags, self.policy = tags, policy
        self.spoken = confident_speech(segments, tags.steps, tags.hop)
        """Steps with words."""
        self.written = split_sound_text(segments)[1]
        """Sounds that the speech recogniser named."""
        self.threshold = tags.tuning.threshold
        heard = audible(tags)
        self._heard = [c.index for c in policy.classes if c.caption and heard[c.index]]
        self._column = {index: column for column, index in enumerate(self._heard)}
        self._logits = evidence(tags, self._heard)
        self._descendants = _descendants(policy)
        self._said: dict[str, NDArray[np.bool_]] = {}
        for text in self.written:
            if group := named_group(text.text, policy):
                said = self._said.setdefault(group, np.zeros(tags.steps, bool))
                said[step_slice(text.start - 1.0, text.end + 1.0, tags.steps, tags.hop)] = True

    def logits(self, classes: Sequence[int]) -> Curve:
        """[steps, classes]; the lowest for a class that is never heard."""
        logits = np.full((self.tags.steps, len(classes)), LOWEST, np.float32)
        for k, index in enumerate(classes):
            if index in self._column:
                logits[:, k] = self._logits[:, self._column[index]]
        return logits

    def members(self, group: str, only_enabled: bool = True) -> list[int]:
        """Classes of `group` that are heard somewhere, and one at least for each of its captions."""
        members, captions = [], set[str]()
        allowed = [i for i in self.policy.members(group) if not only_enabled or i in self.policy.enabled]
        for index in sorted(allowed, key=lambda index: index not in self._column):
            caption = self.policy.classes[index].caption
            if index in self._column or caption not in captions:
                members.append(index)
                captions.add(caption)
        return sorted(members)

    def margins(self, classes: Sequence[int]) -> Curve:
        """Logits less each class's distance to the first tier, more where its sound was written; [steps, classes]."""
        distance = np.array([self.policy.distance(index, self.threshold) for index in classes], np.float32)
        logits = self.logits(classes)
        margins = logits - distance
        for column, index in enumerate(classes):
            if (said := self._said.get(self.policy.classes[index].group)) is not None:
                margins[said, column] += SAID
        return np.where(logits > LOWEST, margins, np.minimum(LOWEST, logits - distance)).astype(np.float32)

    def best(self, group: str, only_enabled: bool = True) -> Curve:
        """The group's greatest margin in each step."""
        best: Curve = self.margins(self.members(group, only_enabled)).max(axis=1, initial=LOWEST)
        return best

    def explained(self, index: int) -> NDArray[np.bool_]:
        """Steps in which a more specific class of another group is what this class hears."""
        policy, own = self.policy, self.policy.classes[index]
        mask = np.zeros(self.tags.steps, bool)
        p = probability(self.logits([index]))[:, 0]
        aliens = policy.rule(own.group).aliens
        for other in self._descendants[index]:
            there = policy.classes[other]
            known = there.group in aliens or (other in policy.enabled and self._outranks(there.group, own.group))
            if known:
                mask |= self._near(probability(self.logits([other]))[:, 0]) >= clearly(p)
        if aliens and mask.any():
            # A real piece of music has its instruments and genres; a bell alone only the general classes above it.
            below = self._descendants[index]
            others = [i for i in policy.members(own.group) if i in below and not self._above_alien(i, aliens)]
            mask &= probability(self.logits(others)).max(axis=1, initial=0.0) < p / 2
        return mask & (p >= FLOOR)

    def inherited(self, members: Sequence[int]) -> Curve:
        """What general classes of other groups lend to `members` where these are as likely; [steps, members]."""
        policy = self.policy
        margins = self.margins(members)
        group = policy.classes[members[0]].group if members else ""
        for general in policy.enabled:
            below = [k for k, index in enumerate(members) if index in self._descendants[general]]
            if not below or not self._outranks(group, policy.classes[general].group):
                continue
            p, margin = probability(self.logits([general])), self.margins([general])
            for k in below:
                clear = probability(self.logits([members[k]])) >= np.maximum(clearly(p), FLOOR)
                own = margins[:, k : k + 1]
                own[:] = np.where(clear, np.maximum(own, margin), own)
        return margins

    def _outranks(self, specific: str, general: str) -> bool:
        """Whether a class of group `specific` stands for one above it in `general`, as the cross-rules allow."""
        return specific != general and general not in self.policy.rule(specific).rivals

    def _above_alien(self, index: int, aliens: Sequence[str]) -> bool:
        return any(self.policy.classes[below].group in aliens for below in self._descendants[index])

    @staticmethod
    def _near(curve: Curve) -> Curve:
        return highest(curve, NEAR, NEAR)


def _descendants(policy: Policy) -> dict[int, frozenset[int]]:
    """Captioned classes below each class in AudioSet's ontology."""
    below: dict[int, set[int]] = {sound.index: set() for sound in policy.classes}
    for sound in policy.classes:
        todo, seen = list(sound.parents), set[int]()
        while todo:
            parent = todo.pop()
            if parent not in seen:
                seen.add(parent)
                todo += policy.classes[parent].parents
                if sound.caption:
                    below[parent].add(sound.index)
    return {index: frozenset(members - {index}) for index, members in below.items()}


def clearly(general: Curve) -> Curve:
    """The probability from which a specific sound is clearly right, where the general one's is `general`."""
    less, share = CLEARLY
    least: Curve = np.maximum(general - less, general * share)
    return least


def probability(logits: Curve) -> Curve:
    """Of logits; 0 where they are the lowest."""
    return np.where(logits > LOWEST, 1 / (1 + np.exp(-logits)), 0).astype(np.float32)
