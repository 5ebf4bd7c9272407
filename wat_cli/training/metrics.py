"""How good scores are: scikit-learn's average precision, AUC and accuracy, d', and intervals by bootstrap.

AudioSet's protocol (Gemmeke et al. 2017) is the mean over classes of average precision (mAP) and of AUC, with d' from
the mean AUC; ESC's is accuracy over its official folds. A class without a positive clip, or without a negative one for
AUC, is left out of the means, and the report says how many were counted.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from wat_cli.errors import MissingDependency

Scores = NDArray[np.float32]
"""[clips, classes]"""

CONFIDENCE = 0.95
RESAMPLES = 1000


@dataclass(frozen=True)
class Interval:
    """A figure with its confidence interval."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def __str__(self) -> str:
        around = "" if math.isnan(self.low) else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.4f}{around}"


def sklearn_metrics() -> ModuleType:
    """scikit-learn's metrics; MissingDependency with the way to get them."""
    try:
        from sklearn import metrics
    except ImportError:
        raise MissingDependency("Judging a head needs scikit-learn: pip install 'wat-cli[train]'") from None
    return metrics  # type: ignore[no-any-return]


def average_precision(targets: Scores, scores: Scores) -> NDArray[np.float64]:
    """[classes]: average precision of each class; NaN for one that no clip has."""
    return _by_class(sklearn_metrics().average_precision_score, targets, scores, needs_negatives=False)


def auc(targets: Scores, scores: Scores) -> NDArray[np.float64]:
    """[classes]: area under the ROC curve; NaN for a class that no clip has, or that all have."""
    return _by_class(sklearn_metrics().roc_auc_score, targets, scores, needs_negatives=True)


def d_prime(area: float) -> float:
    """d' of two unit-variance normals whose ROC curve has this area: sqrt(2) times the normal quantile of it."""
    if not 0 < area < 1:
        return math.nan if math.isnan(area) else math.copysign(math.inf, area - 0.5)
    return math.sqrt(2.0) * NormalDist().inv_cdf(area)


def accuracy(targets: Scores, scores: Scores) -> float:
    """Share of clips whose highest score is at their label (the first of several)."""
    return float(sklearn_metrics().accuracy_score(targets.argmax(axis=1), scores.argmax(axis=1)))


def _by_class(
    metric: Callable[[Scores, Scores], float], targets: Scores, scores: Scores, needs_negatives: bool
) -> NDArray[np.float64]:
    values = np.full(targets.shape[1], np.nan)
    for column, truth in enumerate(targets.T):
        positives = int(truth.sum())
        if positives and not (needs_negatives and positives == len(truth)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                values[column] = metric(truth, scores[:, column])
    return values


def mean_of_known(values: NDArray[np.float64]) -> float:
    """Mean without NaN; NaN where nothing is known."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def figures(targets: Scores, scores: Scores, single_label: bool) -> dict[str, float]:
    """The figures that a training reports: accuracy for single labels, mAP, AUC and d' otherwise."""
    if single_label:
        return {"accuracy": accuracy(targets, scores), "mAP": mean_of_known(average_precision(targets, scores))}
    area = mean_of_known(auc(targets, scores))
    return {"mAP": mean_of_known(average_precision(targets, scores)), "AUC": area, "d'": d_prime(area)}


# --- intervals ------------------------------------------------------------------------------------------------------

Weights = NDArray[np.float32]
"""[resamples, clips]: how often each clip was drawn."""

ByClass = Callable[[Scores, Scores, Weights], NDArray[np.float64]]
"""(truth [clips], scores [clips], weights) to a figure of each resample; NaN where it has none."""

_AT_ONCE = 2_000_000
"""Numbers in a block of weights; bounds memory."""


def resampled_precision(truth: Scores, scores: Scores, weights: Weights) -> NDArray[np.float64]:
    """Average precision of one class in each resample, as scikit-learn defines it, ties included."""
    found, drawn = _at_thresholds(truth, scores, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(drawn > 0, found / drawn, 0.0)
        recalled = np.diff(found, axis=1, prepend=0.0) / found[:, -1:]
    values: NDArray[np.float64] = (precision * recalled).sum(axis=1)
    return values


def resampled_auc(truth: Scores, scores: Scores, weights: Weights) -> NDArray[np.float64]:
    """Area under the ROC curve of one class in each resample, by trapezoids."""
    found, drawn = _at_thresholds(truth, scores, weights)
    missed = drawn - found
    steps = np.diff(missed, axis=1, prepend=0.0)
    before = np.concatenate([np.zeros((len(found), 1)), found[:, :-1]], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        values: NDArray[np.float64] = (steps * (found + before) / 2).sum(axis=1) / (found[:, -1] * missed[:, -1])
    return values


def _at_thresholds(truth: Scores, scores: Scores, weights: Weights) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[resamples, thresholds]: positives, and clips, that score at least each distinct score, the highest first."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    sorted_weights = weights[:, order].astype(np.float64)
    drawn = sorted_weights.cumsum(axis=1)[:, ends]
    found = (sorted_weights * (truth[order] > 0.5)).cumsum(axis=1)[:, ends]
    return found, drawn


def draw_weights(clips: int, resamples: int, seed: int = 0) -> Iterator[Weights]:
    """Bootstrap weights in blocks: clips drawn with replacement, as many as there are."""
    random = np.random.default_rng(seed)
    block = max(1, _AT_ONCE // clips)
    for first in range(0, resamples, block):
        count = min(block, resamples - first)
        yield random.multinomial(clips, np.full(clips, 1 / clips), size=count).astype(np.float32)


def bootstrap(
    targets: Scores, scores: Scores, single_label: bool, resamples: int, seed: int = 0
) -> dict[str, Interval]:
    """Every figure with its percentile bootstrap interval over clips; without one where `resamples` is 0."""
    values = {
        "mAP": mean_of_known(average_precision(targets, scores)),
        "AUC": mean_of_known(auc(targets, scores)),
    }
    values["d'"] = d_prime(values["AUC"])
    if single_label:
        values = {"accuracy": accuracy(targets, scores), **values}
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in values}
    right = (targets.argmax(axis=1) == scores.argmax(axis=1)).astype(np.float64)
    for weights in draw_weights(len(targets), resamples, seed):
        drawn["mAP"].append(_mean_over_classes(resampled_precision, targets, scores, weights))
        drawn["AUC"].append(_mean_over_classes(resampled_auc, targets, scores, weights))
        drawn["d'"].append(np.array([d_prime(area) for area in drawn["AUC"][-1]]))
        if single_label:
            drawn["accuracy"].append(weights @ right / len(targets))
    return {name: _interval(value, drawn[name]) for name, value in values.items()}


def _mean_over_classes(figure: ByClass, targets: Scores, scores: Scores, weights: Weights) -> NDArray[np.float64]:
    total, known = np.zeros(len(weights)), np.zeros(len(weights))
    for column in range(targets.shape[1]):
        values = figure(targets[:, column], scores[:, column], weights)
        total += np.nan_to_num(values)
        known += ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        means: NDArray[np.float64] = total / known
    return means


def _interval(value: float, drawn: list[NDArray[np.float64]]) -> Interval:
    values = np.concatenate(drawn) if drawn else np.zeros(0)
    values = values[np.isfinite(values)]
    if not len(values):
        return Interval(value)
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(value, float(low), float(high))


@dataclass(frozen=True)
class Judgement:
    """What `wat evaluate` reports of scores on clips."""

    clips: int
    classes: int
    """Classes with a clip that has them and one that has not: those that the means are over."""
    figures: dict[str, Interval]
    by_class: dict[str, dict[str, float]]
    """By label: average precision (``AP``), ``AUC``, and number of clips that have it."""


def judge(
    targets: Scores, scores: Scores, labels: tuple[str, ...], single_label: bool, resamples: int = RESAMPLES
) -> Judgement:
    """All figures with intervals, and those of each class."""
    precision, areas = average_precision(targets, scores), auc(targets, scores)
    by_class = {
        label: {"AP": float(precision[column]), "AUC": float(areas[column]), "clips": float(targets[:, column].sum())}
        for column, label in enumerate(labels)
    }
    intervals = bootstrap(targets, scores, single_label, resamples)
    return Judgement(len(targets), int((~np.isnan(areas)).sum()), intervals, by_class)


def best_threshold(targets: Scores, scores: Scores) -> float:
    """The probability at which decisions over all classes are best cut: where their F1 is highest.

    Halfway, in log odds, between that score and the next lower one.
    """
    order = np.argsort(-scores, axis=None, kind="stable")
    truth, values = targets.ravel()[order] > 0.5, scores.ravel()[order].astype(np.float64)
    found = np.cumsum(truth)
    f1 = 2 * found / (np.arange(1, len(truth) + 1) + max(1, truth.sum()))
    last_of_equals = np.append(values[1:] < values[:-1], True)
    best = int(np.argmax(np.where(last_of_equals, f1, -1.0)))
    pair = np.clip(values[best : best + 2], 1e-6, 1 - 1e-6)
    odds = float(np.mean(np.log(pair / (1 - pair))))
    return 1 / (1 + math.exp(-odds))
