"""Judge a head on held-out clips: their labels, and when sounds begin where the labels say so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from wat_cli.errors import UsageError, shown
from wat_cli.model.deciding import Decider
from wat_cli.model.heads import Head, load_any_head
from wat_cli.options import TagOptions
from wat_cli.tagging.events import events_from_tags
from wat_cli.tagging.grid import STEP_MEL_FRAMES, WHAT, WHEN, Placement, TagAccumulator
from wat_cli.tagging.own_labels import spread
from wat_cli.tagging.policy import resolve
from wat_cli.tagging.tuning import head_tuning
from wat_cli.training.datasets import audioset_names
from wat_cli.training.encoder import Encoder
from wat_cli.training.event_metrics import NOTHING, event_scores
from wat_cli.training.features import Steps
from wat_cli.training.loop import predict
from wat_cli.training.metrics import RESAMPLES, Judgement, best_threshold, judge
from wat_cli.training.recipes import TEN_SECONDS, Recipe
from wat_cli.training.runs import Data, single_label
from wat_cli.transcript import HeadTuning, TagTrack


@dataclass(frozen=True)
class EventFigures:
    """How well captions' events match strong labels; onsets within `collar` seconds."""

    precision: float
    recall: float
    f1: float
    onset_error: float
    """Median of the absolute errors, in seconds."""
    collar: float


@dataclass(frozen=True)
class Report:
    """What `wat evaluate` says of a head."""

    judgement: Judgement
    single_label: bool
    threshold: float
    """Probability at which decisions over all classes are best cut on these clips."""
    events: EventFigures | None = None


def labels_of(path: Path) -> tuple[str, ...]:
    """The labels of a head in its order: its own beside it, or AudioSet's."""
    return head_tuning(path).labels or audioset_names()


def evaluate(
    path: Path,
    data: Data,
    encoder: Encoder,
    *,
    resamples: int = RESAMPLES,
    longest: int = TEN_SECONDS,
    collar: float = 1.0,
) -> Report:
    """Judge the head at `path` on `data`; events too where the labels say when."""
    head = load_any_head(path, layers=encoder.layers, width=encoder.width).to(encoder.model.device)
    labels = labels_of(path)
    if len(labels) != head.classes:
        beside = path.with_suffix(".json").name
        raise UsageError(f"{shown(path)} has {head.classes} classes; {beside} names {len(labels)}")
    recipe = Recipe("evaluation", 1, 0.0, lengths=(longest,))
    scores = predict(head, data.features, len(data.dataset.clips), recipe)
    single = single_label(data.dataset)
    judgement = judge(data.targets, scores, labels, single, resamples)
    timed = any(event.end != float("inf") for clip in data.dataset.clips for event in clip.events)
    events = event_figures(head, head_tuning(path), data, collar) if timed else None
    return Report(judgement, single, best_threshold(data.targets, scores), events)


def tag_track(decider: Decider, steps: Steps, tuning: HeadTuning) -> TagTrack:
    """What `wat caption`'s engine would make of a clip's features: decisions of what and of when, on the grid."""
    count = len(steps)
    tags = TagAccumulator(count * STEP_MEL_FRAMES, decider.head.classes, tuning)
    features = torch.from_numpy(np.array(steps)).transpose(0, 1).to(next(decider.head.parameters()).device)
    for kind in (WHAT, WHEN):
        if decisions := kind.decisions(count):
            logits = decider.decide(features, [(decision.start, decision.stop) for decision in decisions])
            tags.add(kind, Placement(0, count, 0), decisions, logits.cpu().numpy())
    return tags.track()


def event_figures(head: Head, tuning: HeadTuning, data: Data, collar: float) -> EventFigures:
    """F1 of the events that captions would show against the strong labels; both by caption group."""
    options = TagOptions(sounds="all")
    total, decider = NOTHING, Decider(head)
    for number, clip in enumerate(data.dataset.clips):
        steps = data.features.read(number, 0, data.features.steps(number))
        tags = spread(tag_track(decider, steps, tuning))
        policy = resolve(options, tuning.labels)
        seconds = len(steps) * tags.hop
        groups = {sound.name: sound.group for sound in policy.classes if sound.caption}
        found = [(e.start, e.end, e.group) for e in events_from_tags(tags, options, policy, (), seconds) if e.shown]
        truth = [(e.start, min(e.end, seconds), groups[e.label]) for e in clip.events if e.label in groups]
        total += event_scores(truth, found, collar, seconds)
    return EventFigures(total.precision, total.recall, total.f1, total.median_onset_error, collar)
