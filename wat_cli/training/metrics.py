"""How good scores are: scikit-learn's average precision, AUC and accuracy, d', and intervals by bootstrap.

AudioSet's protocol (Gemmeke et al. 2017) is the mean over classes of average precision (mAP) and of AUC, with d' from
the mean AUC; ESC's is accuracy over its official folds. A class without a positive clip, or without a negative one for
AUC, is left out of the means, and the report says how many were counted.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
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


def bootstrap(
    targets: Scores,
    scores: Scores,
    figure: Callable[[Scores, Scores], float],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """`figure` with its percentile bootstrap interval: clips drawn with replacement, `resamples` times."""
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        rows = random.integers(len(targets), size=len(targets))
        drawn.append(figure(targets[rows], scores[rows]))
    known = np.array([value for value in drawn if not math.isnan(value)])
    value = figure(targets, scores)
    if not len(known):
        return Interval(value)
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
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
    wanted: dict[str, Callable[[Scores, Scores], float]] = {
        "mAP": lambda t, s: mean_of_known(average_precision(t, s)),
        "AUC": lambda t, s: mean_of_known(auc(t, s)),
        "d'": lambda t, s: d_prime(mean_of_known(auc(t, s))),
    }
    if single_label:
        wanted = {"accuracy": accuracy, **wanted}
    by_class = {
        label: {"AP": float(precision[column]), "AUC": float(areas[column]), "clips": float(targets[:, column].sum())}
        for column, label in enumerate(labels)
    }
    intervals = {
        name: bootstrap(targets, scores, figure, resamples) if resamples else Interval(figure(targets, scores))
        for name, figure in wanted.items()
    }
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
