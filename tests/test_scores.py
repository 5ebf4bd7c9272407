import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from wat_cli.tagging.scores import LOWEST, evidence, highest, opened, runs, shaped
from wat_cli.tagging.table import quantized
from wat_cli.transcript import TagTrack

curves = npst.arrays(np.float32, st.integers(1, 60), elements=st.floats(-5, 5, width=32))


@given(curves, st.integers(0, 30), st.integers(0, 30))
def test_highest_is_scipys_maximum_filter(curve: np.ndarray, before: int, after: int) -> None:
    width = before + after + 1
    expected = ndimage.maximum_filter1d(curve, width, mode="nearest", origin=before - width // 2)
    np.testing.assert_array_equal(highest(curve, before, after), expected)


@given(curves, st.integers(1, 8))
def test_opening_keeps_what_lasts_and_nothing_else(curve: np.ndarray, steps: int) -> None:
    open_curve = opened(curve, steps)
    for level in np.unique(curve):
        lasting = np.zeros(len(curve), bool)
        for start, stop in runs(curve >= level):
            lasting[start:stop] = stop - start >= steps or level == curve.min()
        np.testing.assert_array_equal(open_curve >= level, lasting)


def test_sustained_curves_lose_blips_and_edges_become_steep() -> None:
    blip = np.array([-4, -4, -4, 3, -4, -4, -4], np.float32)
    assert shaped(blip, sustained=True).max() == -4
    assert shaped(blip, sustained=False).max() == 3
    ramp = np.array([-4] * 6 + [-2.4, -0.8, 0.8, 2.4] + [4] * 6, np.float32)
    np.testing.assert_array_equal(shaped(ramp, sustained=True), [-4] * 8 + [4] * 8)


@given(curves)
def test_shaping_is_monotone(curve: np.ndarray) -> None:
    assert shaped(curve, True).shape == curve.shape
    assert shaped(curve, True).max() <= curve.max()
    assert shaped(curve, True).min() >= curve.min()


def test_scores_are_kept_with_two_decimals_above_the_floor() -> None:
    scores = np.array([[0.049, 0.054, 0.996, np.nan]], np.float32)
    np.testing.assert_allclose(quantized(scores), [[0.05, 0.05, 1.0, np.nan]], atol=1e-6)
    assert quantized(np.array([0.0449], np.float32))[0] == 0


def test_few_unknown_steps_are_filled_and_many_are_not() -> None:
    when = np.full((20, 2), 0.9, np.float32)
    when[5:7] = when[12:18] = np.nan
    curves = list(evidence(TagTrack(what=np.full((20, 2), 0.9, np.float32), when=when), [0, 1]))
    assert len(curves) == 2
    for found in curves:
        assert found[5:7].min() > 2
        assert (found[12:18] == np.float32(LOWEST)).all()
