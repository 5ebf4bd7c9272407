"""Whole runs: a data set to a head on disk with its card, and a cross-validation."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

import wat_cli
from wat_cli.errors import UsageError
from wat_cli.model.heads import Head, build_head, load_any_head
from wat_cli.training.card import HEAD_FILE, card, save_head, write_tuning
from wat_cli.training.cost import count_multiply_adds, count_parameters
from wat_cli.training.datasets import Dataset
from wat_cli.training.encoder import Encoder
from wat_cli.training.examples import Truth
from wat_cli.training.features import Features, Steps
from wat_cli.training.loop import Tell, predict, train
from wat_cli.training.metrics import RESAMPLES, Interval, Scores, best_threshold, bootstrap, figures
from wat_cli.training.recipes import Recipe


class Part:
    """Some clips' features, numbered anew."""

    def __init__(self, features: Features, clips: Sequence[int]) -> None:
        self._features, self._clips = features, clips
        self.layers, self.width = features.layers, features.width

    def steps(self, clip: int) -> int:
        """Steps of 0.4 s of a clip."""
        return self._features.steps(self._clips[clip])

    def read(self, clip: int, start: int, stop: int) -> Steps:
        """Some steps of a clip."""
        return self._features.read(self._clips[clip], start, stop)


@dataclass(frozen=True)
class Data:
    """A data set with its features."""

    dataset: Dataset
    features: Features

    def fold(self, fold: int) -> Data:
        """The clips of one fold."""
        self.dataset.fold(fold)  # a fold that is not there is an error
        return self._where([clip.fold == fold for clip in self.dataset.clips])

    def without_fold(self, fold: int) -> Data:
        """The clips of all others."""
        return self._where([clip.fold != fold for clip in self.dataset.clips])

    def _where(self, mask: Sequence[bool]) -> Data:
        chosen = [number for number, wanted in enumerate(mask) if wanted]
        return Data(self.dataset.only(self.dataset.clips[number] for number in chosen), Part(self.features, chosen))

    @property
    def targets(self) -> Scores:
        """[clips, classes]: 1 where a label occurs in the clip."""
        return Truth(self.dataset).clip_targets()


def single_label(dataset: Dataset) -> bool:
    """Whether every clip has exactly one label, as ESC's have."""
    return all(len(clip.labels) == 1 for clip in dataset.clips)


# --- training -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    head: Head
    path: Path
    figures: dict[str, float]
    """On the held-out clips; empty without any."""


def train_head(
    kind: str,
    data: Data,
    recipe: Recipe,
    encoder: Encoder,
    folder: Path,
    *,
    held_out: Data | None = None,
    seed: int = 0,
    tell: Tell = lambda epoch: None,
) -> Trained:
    """Train a head and write it: ``head.pt``, ``head.json`` (threshold and labels), ``README.md``, ``log.jsonl``.

    The head is whisper-at's state dict in half precision; for AudioSet's 527 classes its `ATModel` loads it. With
    `held_out` clips its figures are reported and, where clips may have any number of labels, the threshold is theirs.
    """
    _check_labels(data.dataset, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    head = build_head(kind, encoder.layers, encoder.width, len(data.dataset.labels))
    measure = None if held_out is None else _measure(held_out, recipe)
    device = encoder.model.device
    epochs = train(
        head, data.features, data.dataset, recipe, seed=seed, device=device, folder=folder, run=encoder.sha256,
        measure=measure, tell=tell,
    )  # fmt: skip
    path = folder / HEAD_FILE
    save_head(head, path)
    head = load_any_head(path, layers=encoder.layers, width=encoder.width).to(device)
    found, threshold = {}, None
    if held_out is not None:
        scores = predict(head, held_out.features, len(held_out.dataset.clips), recipe)
        found = figures(held_out.targets, scores, recipe.loss == "ce")
        threshold = best_threshold(held_out.targets, scores) if recipe.loss == "bce" else None
    notes = {
        "mode": head.mode,
        "parameters": count_parameters(head),
        "encoder": {"name": encoder.name, "sha256": encoder.sha256, "layers": encoder.layers, "width": encoder.width},
        "recipe": asdict(recipe),
        "seed": seed,
        "clips": len(data.dataset.clips),
        "held_out": None if held_out is None else len(held_out.dataset.clips),
        "loss": epochs[-1].loss,
        "figures": found,
        "wat": wat_cli.__version__,
    }
    write_tuning(path, data.dataset, threshold, notes)
    (folder / "README.md").write_text(card(data.dataset, threshold, notes), encoding="utf-8")
    return Trained(head, path, found)


def _check_labels(dataset: Dataset, recipe: Recipe) -> None:
    if recipe.loss == "ce" and not single_label(dataset):
        raise UsageError(f"--recipe {recipe.name} is for clips of exactly one label each; --recipe captions takes any")


def _measure(held_out: Data, recipe: Recipe) -> Callable[[Head], dict[str, float]]:
    targets = held_out.targets

    def measure(head: Head) -> dict[str, float]:
        scores = predict(head, held_out.features, len(targets), recipe)
        return figures(targets, scores, recipe.loss == "ce")

    return measure


# --- cross-validation -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One kind of head in a cross-validation."""

    head: str
    parameters: int
    multiply_adds: int
    """Of one 10 s decision."""
    seconds: float
    """Per clip, on this machine, from pooled features to scores: the fastest of three times."""
    folds: dict[int, float]
    """Accuracy (or mAP) on each fold held out."""
    overall: Interval
    """The same over all clips, each scored by the head that did not hear its fold."""
    figure: str


def cross_validate(
    kinds: Sequence[str],
    data: Data,
    recipe: Recipe,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    tell: Callable[[str, int, float], None] = lambda kind, fold, figure: None,
) -> list[Row]:
    """Train each kind of head once for each fold, on the others, and judge it on that fold."""
    _check_labels(data.dataset, recipe)
    if len(data.dataset.folds) < 2:
        raise UsageError("--cross-validate needs a data set with folds")
    rows = []
    layers, width, classes = data.features.layers, data.features.width, len(data.dataset.labels)
    single = recipe.loss == "ce"
    figure = "accuracy" if single else "mAP"
    for kind in kinds:
        truths, scored, folds, seconds = [], [], {}, 0.0
        for fold in data.dataset.folds:
            kept, out = data.without_fold(fold), data.fold(fold)
            head = build_head(kind, layers, width, classes)
            train(head, kept.features, kept.dataset, recipe, seed=seed, device=device)
            scores, took = _timed_scores(head, out, recipe)
            seconds += took
            folds[fold] = figures(out.targets, scores, single)[figure]
            truths.append(out.targets)
            scored.append(scores)
            tell(kind, fold, folds[fold])
        truth, scores = np.concatenate(truths), np.concatenate(scored)
        overall = bootstrap(truth, scores, single, RESAMPLES)[figure]
        empty = build_head(kind, layers, width, classes)
        parameters = count_parameters(empty)
        cost = count_multiply_adds(empty)
        rows.append(Row(kind, parameters, cost, seconds / len(truth), folds, overall, figure))
    return rows


def _timed_scores(head: Head, data: Data, recipe: Recipe) -> tuple[Scores, float]:
    """The clips' scores, and the seconds of the fastest of three times: others at work on the machine slow some."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        scores = predict(head, data.features, len(data.dataset.clips), recipe)
        seconds.append(time.perf_counter() - started)
    return scores, min(seconds)
