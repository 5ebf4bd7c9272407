"""Scores over time to sound events: which sounds were heard, when, and which of them a viewer is told about.

A group of classes is one curve (its best class, less what stricter tiers and classes ask for more). Where the curve
reaches the threshold a sound starts; it goes on while the curve stays above half that probability. Rules then decide
what is shown: the level of detail asked for, the specific sound over the general one, the alarm over its beeps, words
over ``[Shouting]``, one caption for a sound that comes back within ten seconds.

**Lower never shows less.** Each rule is a statement about single steps that does not know the threshold: *here this
class is explained by a more likely one*. An event is shown if one of its steps reaches the threshold and no rule speaks
against that step. A lower threshold makes longer events and more of them, with the same free steps in them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wat_cli.options import TagOptions
from wat_cli.tagging.evidence import NEAR, Evidence, clearly, probability
from wat_cli.tagging.policy import Policy, SoundClass, logit, resolve
from wat_cli.tagging.scores import LOWEST, Curve, highest, opened, runs, shaped
from wat_cli.tagging.table import FLOOR
from wat_cli.tagging.text import named_group
from wat_cli.transcript import Segment, SoundEvent, TagTrack

REPEAT_SECONDS = 10.0
"""A sound that comes back sooner, no stronger than before, gets no second caption."""
STRONG = 3.0
"""Logits (probability 0.95) above which one sound counts as no surer than another."""

OWN_TEXT = "asr"
"""Group of a sound that only the speech recogniser named, in words that the policy does not have."""

UNSHOWN = {
    "rival": "another sound is as likely",
    "words": "the words say it",
    "repeat": "repeats within ten seconds",
    "unheard": "only the speech recogniser's text names it",
}


@dataclass(frozen=True)
class _Group:
    """One group's curves over the steps of a file; [steps] each."""

    name: str
    members: list[int]
    """Class indices that may be captioned."""
    curve: Curve
    """What the members say together, ready for a threshold."""
    free: Curve
    """The same without the steps that a cross-rule explains otherwise."""
    wordless: Curve
    """`free` without the steps where words are spoken."""
    fresh: Curve
    """`wordless` without the steps that only repeat a sound."""


def events_from_tags(
    tags: TagTrack,
    options: TagOptions,
    policy: Policy | None = None,
    segments: Sequence[Segment] = (),
    duration: float | None = None,
) -> tuple[SoundEvent, ...]:
    """Decide the sound events of a file, in order of start; those not shown carry the reason.

    Args:
        tags: probabilities on the file's grid; ``tags.tuning`` holds what the head wants.
        options: level, inclusions, exclusions and threshold; ``--tags-threshold`` below 0.05 works as 0.05.
        policy: what `wat_cli.tagging.policy.resolve` made of `options`, if that was done already.
        segments: the speech, for sounds that words make needless.
        duration: seconds of the file, where events end at the latest.
    """
    policy = policy or resolve(options)
    duration = tags.steps * tags.hop if duration is None else duration
    threshold = tags.tuning.threshold if options.tags_threshold is None else options.tags_threshold
    if not tags.steps:
        return ()
    evidences = Evidence(tags, policy, segments)
    events: list[SoundEvent] = []
    for name in policy.groups:
        events += _group_events(evidences, name, threshold, duration)
    events += _only_written(evidences, events, duration)
    return tuple(sorted(events, key=lambda event: (event.start, event.end, event.group)))


def _group(evidences: Evidence, name: str) -> _Group:
    policy = evidences.policy
    rule, steps = policy.rule(name), evidences.tags.steps
    sustained = rule.kind == "sustained"
    members = evidences.members(name)
    # 1. What the group says as a whole. 2. What is left of it without the steps that another sound explains.
    raw, left = (np.full(steps, LOWEST, np.float32) for _ in range(2))
    for index in filter(evidences.heard, members):
        margin = np.where(_unclear(evidences, index, members), LOWEST, evidences.inherited(index))
        raw = np.maximum(raw, margin).astype(np.float32)
        left = np.maximum(left, np.where(evidences.explained(index), LOWEST, margin)).astype(np.float32)
    for rival in rule.rivals:
        beaten = np.minimum(highest(evidences.best(rival), NEAR, NEAR), STRONG) >= np.minimum(left, STRONG)
        left = np.where(beaten, LOWEST, left).astype(np.float32)
    free = np.minimum(shaped(raw, sustained), shaped(left, sustained))
    # 3. Without those that words or an earlier caption make needless.
    wordless = np.where(evidences.spoken, LOWEST, free).astype(np.float32) if rule.wordless else free
    back = round(REPEAT_SECONDS / evidences.tags.hop)
    told = np.minimum(opened(wordless, round(rule.shortest / evidences.tags.hop)), STRONG)
    before = np.concatenate(([LOWEST], highest(told, back - 1, 0)[:-1])) if steps else told
    fresh = np.where(before >= np.minimum(wordless, STRONG), LOWEST, wordless).astype(np.float32)
    return _Group(name, members, shaped(raw, sustained), free, wordless, fresh)


def _unclear(evidences: Evidence, index: int, members: Sequence[int]) -> NDArray[np.bool_]:
    """[steps]: whether a specific class whose general caption is off is not as likely as the general one."""
    classes = evidences.policy.classes
    general = classes[index].general
    if not general or any(classes[i].caption == general for i in members):
        return np.zeros(evidences.tags.steps, bool)
    above = [i for i in evidences.policy.members(classes[index].group) if classes[i].caption == general]
    return probability(evidences.logits(index)) < clearly(evidences.loudest(above))


def _group_events(evidences: Evidence, name: str, threshold: float, duration: float) -> list[SoundEvent]:
    policy, tags = evidences.policy, evidences.tags
    starts_at = logit(max(threshold, FLOOR))
    if evidences.best(name, only_enabled=False).max(initial=LOWEST) < starts_at:
        return []
    group = _group(evidences, name)
    rule = policy.rule(name)
    clock = _Clock(tags.hop, tags.tuning.lag, duration)
    events = []
    shown_spans = _spans(group.curve, threshold, rule.merge, rule.shortest, tags.hop)
    for start, stop in shown_spans:
        label, score = _label(evidences, group.members, slice(start, stop))
        event = clock.event(policy.classes[label], score, start, stop, _reason(group, start, stop, starts_at))
        if event is not None and event.shown:
            event = replace(event, shown_up_to=_shown_up_to(group.fresh[start:stop]))
        events.append(event)
    # What the rest of the group heard, where it may not be captioned.
    everyone = evidences.members(name, only_enabled=False)
    if len(group.members) < len(everyone):
        curve = shaped(evidences.best(name, only_enabled=False), rule.kind == "sustained")
        for start, stop in _spans(curve, threshold, rule.merge, rule.shortest, tags.hop):
            if all(stop <= a or start >= b for a, b in shown_spans):
                label, score = _label(evidences, everyone, slice(start, stop))
                reason = policy.hidden.get(label, UNSHOWN["rival"])
                events.append(clock.event(policy.classes[label], score, start, stop, reason))
    return [event for event in events if event is not None]


def _only_written(evidences: Evidence, heard: Sequence[SoundEvent], duration: float) -> list[SoundEvent]:
    """Sounds that the speech recogniser wrote and the tagger does not hear.

    Shown where the policy has no such sound, so that the tagger could not know.
    """
    events = []
    for text in evidences.written:
        group = named_group(text.text, evidences.policy)
        start, end = max(0.0, text.start), min(duration, text.end)
        known = any(event.group == group and event.start < end and event.end > start for event in heard)
        if not text.text or end <= start or known:
            continue
        caption = text.text[0].upper() + text.text[1:].lower()
        reason = UNSHOWN["unheard"] if group else None if evidences.policy.enabled else "shown with --sounds default"
        up_to = 1.0 if reason is None else None
        events.append(SoundEvent(start, end, group or OWN_TEXT, caption, text.text, 0.0, reason is None, reason, up_to))
    return events


def _reason(group: _Group, start: int, stop: int, starts_at: float) -> str | None:
    """Why nothing of the span is shown; None if something is."""
    for curve, reason in ((group.free, "rival"), (group.wordless, "words"), (group.fresh, "repeat")):
        if curve[start:stop].max() < starts_at:
            return UNSHOWN[reason]
    return None


def _shown_up_to(fresh: Curve) -> float:
    """The highest threshold that some step of `fresh` reaches, rounded down."""
    highest_logit = float(fresh.max())
    return math.floor(1000 / (1 + math.exp(-highest_logit))) / 1000


def _spans(curve: Curve, threshold: float, merge: float, shortest: float, hop: float) -> list[tuple[int, int]]:
    """Runs of steps that reach the threshold and stay above half of it, merged over gaps, the short ones left out."""
    starts_at, goes_on = logit(max(threshold, FLOOR)), logit(max(threshold / 2, FLOOR))
    spans: list[tuple[int, int]] = []
    for start, stop in runs(curve >= min(goes_on, starts_at)):
        if curve[start:stop].max() < starts_at:
            continue
        if spans and (start - spans[-1][1]) * hop <= merge + 1e-6:
            start = spans.pop()[0]
        spans.append((start, stop))
    return [(start, stop) for start, stop in spans if (stop - start) * hop >= shortest - 1e-6]


@dataclass(frozen=True)
class _Clock:
    """Turns steps into seconds of the file."""

    hop: float
    lag: float
    duration: float

    def event(self, sound: SoundClass, score: float, start: int, stop: int, reason: str | None) -> SoundEvent | None:
        """The event, or None where the file has ended."""
        begin = max(0.0, round(start * self.hop + self.lag, 3))
        end = min(self.duration, round(stop * self.hop + self.lag, 3))
        if end <= begin:
            return None
        return SoundEvent(begin, end, sound.group, sound.caption, sound.name, score, reason is None, reason)


def _label(evidences: Evidence, members: Sequence[int], span: slice) -> tuple[int, float]:
    """The class to name an event after, and the event's score.

    It is the general caption's class, or that of a specific one that is clearly right.
    """
    probabilities = evidences.probabilities(members, span)
    return _named(evidences.policy, members, probabilities.mean(axis=0)), round(float(probabilities.max()), 2)


def _named(policy: Policy, members: Sequence[int], means: Curve) -> int:
    scores = dict(zip(members, means.tolist(), strict=True))
    least = dict(zip(members, clearly(means).tolist(), strict=True))
    best: dict[str, int] = {}
    for index in sorted(members, key=lambda i: -scores[i]):
        best.setdefault(policy.classes[index].caption, index)
    general = {caption: policy.classes[index].general for caption, index in best.items()}
    tops = [index for caption, index in best.items() if general[caption] not in best]
    current = max(tops, key=lambda index: scores[index])
    while below := [i for c, i in best.items() if general[c] == policy.classes[current].caption]:
        below.sort(key=lambda index: -scores[index])
        ahead = len(below) == 1 or scores[below[1]] < least[below[0]]
        if not ahead or scores[below[0]] < least[current]:
            break
        current = below[0]
    return current
