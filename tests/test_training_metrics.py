"""Figures are scikit-learn's and the closed forms'; intervals hold what they should."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn: pip install 'wat-cli[train]'")

from wat_cli.training import metrics  # noqa: E402


def data(seed: int, clips: int = 60, classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    targets = (random.random((clips, classes)) < 0.3).astype(np.float32)
    scores = (0.5 * targets + random.random((clips, classes))).astype(np.float32)
    return targets, np.round(scores, 1)  # with ties


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_scikit_learns(seed: int) -> None:
    targets, scores = data(seed)
    precision = sklearn.average_precision_score(targets, scores, average=None)
    np.testing.assert_allclose(metrics.average_precision(targets, scores), precision)
    np.testing.assert_allclose(metrics.auc(targets, scores), sklearn.roc_auc_score(targets, scores, average=None))
    found = metrics.figures(targets, scores, single_label=False)
    assert found["mAP"] == pytest.approx(sklearn.average_precision_score(targets, scores, average="macro"))
    assert found["AUC"] == pytest.approx(sklearn.roc_auc_score(targets, scores, average="macro"))


def test_average_precision_and_auc_by_their_definitions() -> None:
    truth = np.array([[1], [0], [1], [1], [0], [0]], np.float32)
    scores = np.array([[0.9], [0.8], [0.7], [0.6], [0.5], [0.4]], np.float32)
    assert metrics.average_precision(truth, scores)[0] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[truth == 1] for n in scores[truth == 0]]
    assert metrics.auc(truth, scores)[0] == pytest.approx(np.mean(pairs))


def test_d_prime_of_two_normals_is_their_distance() -> None:
    for distance in (0.0, 1.0, 2.63):  # the area under the ROC curve of N(0, 1) and N(d, 1) is Phi(d / sqrt(2))
        assert metrics.d_prime(NormalDist().cdf(distance / math.sqrt(2))) == pytest.approx(distance, abs=1e-9)
    assert metrics.d_prime(0.970639) == pytest.approx(2.673240, abs=1e-4)  # whisper-at's log of large-v1
    assert metrics.d_prime(1.0) == math.inf and math.isnan(metrics.d_prime(math.nan))


def test_classes_that_say_nothing_are_left_out() -> None:
    targets, scores = data(5)
    targets[:, 0], targets[:, 1] = 0, 1
    precision, areas = metrics.average_precision(targets, scores), metrics.auc(targets, scores)
    assert np.isnan(precision[0]) and precision[1] == pytest.approx(1) and np.isnan(areas[:2]).all()
    judged = metrics.judge(targets, scores, tuple("abcdefg"), single_label=False, resamples=0)
    assert judged.classes == 5
    assert judged.figures["AUC"].value == pytest.approx(sklearn.roc_auc_score(targets[:, 2:], scores[:, 2:]))


def test_accuracy() -> None:
    targets = np.eye(4, dtype=np.float32)
    scores = np.array([[9, 1, 1, 1], [1, 9, 1, 1], [9, 1, 1, 1], [1, 1, 1, 9]], np.float32)
    assert metrics.accuracy(targets, scores) == 0.75


@pytest.mark.parametrize("seed", range(3))
def test_resampled_figures_are_scikit_learns_on_the_drawn_clips(seed: int) -> None:
    targets, scores = data(seed, clips=25)
    [weights] = metrics.draw_weights(25, 8, seed)
    assert (weights.sum(axis=1) == 25).all()
    precision = metrics.resampled_precision(targets[:, 0], scores[:, 0], weights)
    areas = metrics.resampled_auc(targets[:, 0], scores[:, 0], weights)
    for row, drawn in enumerate(weights.astype(int)):
        truth, score = (np.repeat(values[:, 0], drawn) for values in (targets, scores))
        assert precision[row] == pytest.approx(sklearn.average_precision_score(truth, score))
        assert areas[row] == pytest.approx(sklearn.roc_auc_score(truth, score))


def test_a_resample_without_the_class_has_no_figure() -> None:
    truth, scores = np.array([1, 0, 0], np.float32), np.array([0.9, 0.5, 0.1], np.float32)
    weights = np.array([[0, 2, 1], [3, 0, 0], [1, 1, 1]], np.float32)
    np.testing.assert_array_equal(metrics.resampled_precision(truth, scores, weights), [np.nan, 1, 1])
    np.testing.assert_array_equal(metrics.resampled_auc(truth, scores, weights), [np.nan, np.nan, 1])


def test_the_bootstrap_interval_of_a_share_is_the_binomials() -> None:
    random = np.random.default_rng(0)
    right = random.random(400) < 0.8
    targets = np.tile([[1.0, 0.0]], (400, 1)).astype(np.float32)
    targets[::2] = targets[::2, ::-1]
    scores = np.where(right[:, None], targets, 1 - targets).astype(np.float32)
    found = metrics.bootstrap(targets, scores, True, resamples=2000)["accuracy"]
    spread = 1.96 * math.sqrt(0.8 * 0.2 / 400)
    assert found.value == right.mean()
    assert found.low == pytest.approx(right.mean() - spread, abs=0.006)
    assert found.high == pytest.approx(right.mean() + spread, abs=0.006)
    assert math.isnan(metrics.bootstrap(targets, scores, True, resamples=0)["accuracy"].low)


@pytest.mark.parametrize("seed", range(3))
def test_no_threshold_is_better_than_the_best(seed: int) -> None:
    targets, scores = data(seed, clips=30)
    scores = np.clip(scores / 1.5, 0.01, 0.99)
    best = metrics.best_threshold(targets, scores)
    reached = sklearn.f1_score(targets.ravel(), scores.ravel() >= best)
    for threshold in np.linspace(0.01, 0.99, 15):
        assert reached >= sklearn.f1_score(targets.ravel(), scores.ravel() >= threshold) - 1e-12
