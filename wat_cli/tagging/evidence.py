"""What speaks for and against each sound in each step, before any threshold."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wat_cli.tagging.policy import Policy
from wat_cli.tagging.scores import LOWEST, Curve, evidence, highest
from wat_cli.tagging.table import FLOOR, ScoreTable
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
    """Logits of single classes and whole groups.

    One class is looked at at a time, and of each only the steps in which it is heard are kept: all of them together
    would take a hundred times the memory.
    """

    def __init__(self, tags: TagTrack, policy: Policy, segments: Sequence[Segment] = ()) -> None:
        self.tags, self.policy = tags, policy
        self.spoken = confident_speech(segments, tags.steps, tags.hop)
        """Steps with words."""
        self.written = split_sound_text(segments)[1]
        """Sounds that the speech recogniser named."""
        self.threshold = tags.tuning.threshold
        tags = dataclasses.replace(tags, when=ScoreTable.of(tags.when), what=ScoreTable.of(tags.what))
        heard = np.flatnonzero(ScoreTable.of(tags.when).heard()).tolist()
        captioned = [index for index in heard if index < len(policy.classes) and policy.classes[index].caption]
        abrupt = {index for index in captioned if policy.classes[index].kind == "abrupt"}
        curves = evidence(tags, captioned, abrupt)
        self._heard = {index: _Sparse.of(curve) for index, curve in zip(captioned, curves, strict=True)}
        self._said: dict[str, NDArray[np.bool_]] = {}
        for text in self.written:
            if group := named_group(text.text, policy):
                said = self._said.setdefault(group, np.zeros(tags.steps, bool))
                said[step_slice(text.start - 1.0, text.end + 1.0, tags.steps, tags.hop)] = True

    def heard(self, index: int) -> bool:
        """Whether the class ever scores above the floor over two seconds."""
        return index in self._heard

    def logits(self, index: int, span: slice = slice(None)) -> Curve:
        """One class; [steps], or those of `span`. The lowest where it is never heard."""
        start, stop, _ = span.indices(self.tags.steps)
        found = self._heard.get(index)
        return np.full(stop - start, LOWEST, np.float32) if found is None else found.curve(start, stop)

    def probabilities(self, classes: Sequence[int], span: slice) -> Curve:
        """[steps of the span, classes]"""
        return probability(np.stack([self.logits(index, span) for index in classes], axis=1))

    def loudest(self, classes: Iterable[int]) -> Curve:
        """The greatest probability among `classes` in each step; 0 where there are none."""
        return probability(self._highest(self.logits(index) for index in classes if index in self._heard))

    def _highest(self, curves: Iterable[Curve]) -> Curve:
        best = np.full(self.tags.steps, LOWEST, np.float32)
        for curve in curves:
            np.maximum(best, curve, out=best)
        return best

    def members(self, group: str, only_enabled: bool = True) -> list[int]:
        """Classes of `group` that are heard somewhere, and one at least for each of its captions."""
        members, captions = [], set[str]()
        allowed = [i for i in self.policy.members(group) if not only_enabled or i in self.policy.enabled]
        for index in sorted(allowed, key=lambda index: index not in self._heard):
            caption = self.policy.classes[index].caption
            if index in self._heard or caption not in captions:
                members.append(index)
                captions.add(caption)
        return sorted(members)

    def margin(self, index: int) -> Curve:
        """Logits less the class's distance to the first tier, more where its sound was written; [steps]."""
        logits = self.logits(index)
        margin = logits - np.float32(self.policy.distance(index, self.threshold))
        highest_unheard = np.minimum(LOWEST, margin)
        if (said := self._said.get(self.policy.classes[index].group)) is not None:
            margin[said] += SAID
        return np.where(logits > LOWEST, margin, highest_unheard).astype(np.float32)

    def best(self, group: str, only_enabled: bool = True) -> Curve:
        """The group's greatest margin in each step."""
        members = self.members(group, only_enabled)
        return self._highest(self.margin(index) for index in members if index in self._heard)

    def explained(self, index: int) -> NDArray[np.bool_]:
        """Steps in which a more specific class of another group is what this class hears."""
        policy, own = self.policy, self.policy.classes[index]
        mask = np.zeros(self.tags.steps, bool)
        p = probability(self.logits(index))
        aliens = policy.rule(own.group).aliens
        for other in self.policy.descendants[index] & self._heard.keys():
            there = policy.classes[other]
            known = there.group in aliens or (other in policy.enabled and self._outranks(there.group, own.group))
            if known:
                mask |= self._near(probability(self.logits(other))) >= clearly(p)
        if aliens and mask.any():
            # A real piece of music has its instruments and genres; a bell alone only the general classes above it.
            below = self.policy.descendants[index]
            others = [i for i in policy.members(own.group) if i in below and not self._above_alien(i, aliens)]
            mask &= self.loudest(others) < p / 2
        return mask & (p >= FLOOR)

    def inherited(self, index: int) -> Curve:
        """The class's margin, or what a general class of another group lends it where it is as likely; [steps]."""
        policy, group = self.policy, self.policy.classes[index].group
        margin = self.margin(index)
        if index not in self._heard:
            return margin
        p = probability(self.logits(index))
        for general in policy.enabled & self._heard.keys():
            if index in self.policy.descendants[general] and self._outranks(group, policy.classes[general].group):
                clear = p >= np.maximum(clearly(probability(self.logits(general))), FLOOR)
                margin = np.where(clear, np.maximum(margin, self.margin(general)), margin)
        return margin

    def _outranks(self, specific: str, general: str) -> bool:
        """Whether a class of group `specific` stands for one above it in `general`, as the cross-rules allow."""
        return specific != general and general not in self.policy.rule(specific).rivals

    def _above_alien(self, index: int, aliens: Sequence[str]) -> bool:
        return any(self.policy.classes[below].group in aliens for below in self.policy.descendants[index])

    @staticmethod
    def _near(curve: Curve) -> Curve:
        return highest(curve, NEAR, NEAR)


@dataclass(frozen=True)
class _Sparse:
    """A curve that is at the lowest but in a few steps."""

    steps: NDArray[np.int32]
    logits: Curve

    @classmethod
    def of(cls, curve: Curve) -> _Sparse:
        steps = np.flatnonzero(curve != LOWEST).astype(np.int32)
        return cls(steps, curve[steps])

    def curve(self, start: int, stop: int) -> Curve:
        """From step `start` to `stop`."""
        a, b = np.searchsorted(self.steps, (start, stop))
        curve = np.full(stop - start, LOWEST, np.float32)
        curve[self.steps[a:b] - start] = self.logits[a:b]
        return curve


def clearly(general: Curve) -> Curve:
    """The probability from which a specific sound is clearly right, where the general one's is `general`."""
    less, share = CLEARLY
    least: Curve = np.maximum(general - less, general * share)
    return least


def probability(logits: Curve) -> Curve:
    """Of logits; 0 where they are the lowest."""
    return np.where(logits > LOWEST, 1 / (1 + np.exp(-logits)), 0).astype(np.float32)
