"""Which layer knows which sound: linear probes of every encoder layer (the paper's Figures 1, below, and 3).

Each layer's features are averaged over the clip and a linear classifier is fitted to them alone, as whisper-at's
``baseline_sound_classification.py`` does; every fold is judged by the classifier that did not hear it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wat_cli.errors import MissingDependency, UsageError
from wat_cli.training.metrics import sklearn_metrics
from wat_cli.training.runs import Data, single_label

ITERATIONS = 500


@dataclass(frozen=True)
class Probed:
    """What linear probes make of each layer."""

    labels: tuple[str, ...]
    truth: NDArray[np.int64]
    """[clips]: column of each clip's label."""
    predicted: NDArray[np.int64]
    """[layers, clips]: the column that each layer's probe finds."""

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """[layers]"""
        values: NDArray[np.float64] = (self.predicted == self.truth).mean(axis=1)
        return values

    @property
    def f1(self) -> NDArray[np.float64]:
        """[layers, classes]"""
        score = sklearn_metrics().f1_score
        columns = list(range(len(self.labels)))
        rows = [score(self.truth, row, labels=columns, average=None, zero_division=0.0) for row in self.predicted]
        return np.stack(rows)

    @property
    def best_layer(self) -> NDArray[np.int64]:
        """[classes]: the first layer, counted from 1, at which a class's F1 is highest."""
        best: NDArray[np.int64] = self.f1.argmax(axis=0) + 1
        return best


def probe_layers(data: Data) -> Probed:
    """Probe every layer, over the data set's folds; clips of one label each."""
    if not single_label(data.dataset) or len(data.dataset.folds) < 2:
        raise UsageError("Probing needs clips of exactly one label each, in folds (ESC-50, ESC-10)")
    pooled = np.stack([_mean(data, clip) for clip in range(len(data.dataset.clips))])  # [clips, layers, width]
    truth = data.targets.argmax(axis=1)
    folds = np.array([clip.fold for clip in data.dataset.clips])
    predicted = np.zeros((pooled.shape[1], len(truth)), np.int64)
    for layer in range(pooled.shape[1]):
        for fold in data.dataset.folds:
            kept = folds != fold
            predicted[layer, ~kept] = _fit(pooled[kept, layer], truth[kept]).predict(pooled[~kept, layer])
    return Probed(data.dataset.labels, truth, predicted)


def _mean(data: Data, clip: int) -> NDArray[np.float32]:
    steps = data.features.read(clip, 0, data.features.steps(clip))
    mean: NDArray[np.float32] = np.asarray(steps, np.float32).mean(axis=0)
    return mean


def _fit(features: NDArray[np.float32], truth: NDArray[np.int64]):  # type: ignore[no-untyped-def]
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        raise MissingDependency("Probing needs scikit-learn: pip install 'wat-cli[train]'") from None
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=ITERATIONS)).fit(features, truth)
