import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from wat_cli.tagging import table as module
from wat_cli.tagging.table import FLOOR, ScoreTable, quantized
from wat_cli.transcript import TagTrack


@st.composite
def dense_scores(draw: st.DrawFn) -> np.ndarray:
    """Scores that stay for some steps, with unknown steps among them."""
    steps, classes = draw(st.integers(0, 40)), draw(st.integers(1, 6))
    scores = draw(npst.arrays(np.float32, (steps, classes), elements=st.floats(0, 1, width=32), fill=st.just(0.0)))
    scores = np.repeat(scores, draw(npst.arrays(np.int64, steps, elements=st.integers(0, 4))), axis=0)
    scores[draw(npst.arrays(bool, len(scores)))] = np.nan
    return scores


@settings(max_examples=100, deadline=None)
@given(dense_scores(), st.data())
def test_a_table_reads_like_the_rounded_array(scores: np.ndarray, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", data.draw(st.integers(1, 50), "chunk"))
        table = ScoreTable.of(scores)
    expected = quantized(scores)
    assert table.shape == scores.shape and len(table) == len(scores)
    np.testing.assert_array_equal(np.asarray(table), expected)
    edges = st.integers(-len(scores) - 1, len(scores) + 1)
    span = slice(data.draw(edges), data.draw(edges))
    np.testing.assert_array_equal(table[span], expected[span])
    np.testing.assert_array_equal(table[:, 0], expected[:, 0])
    np.testing.assert_array_equal(table[:, [0, -1 % scores.shape[1]]], expected[:, [0, -1]])
    np.testing.assert_array_equal(table[span, [0]], expected[span][:, [0]])
    np.testing.assert_array_equal(table.heard(), (np.nan_to_num(expected) > 0).any(axis=0))
    np.testing.assert_array_equal(table.unknown_steps(), np.isnan(expected).any(axis=1))
    for step in range(len(scores)):
        np.testing.assert_array_equal(table[step], expected[step])


@given(npst.arrays(np.float32, 20, elements=st.floats(0, 1, width=32)))
def test_rounding_is_to_the_nearest_hundredth_above_the_floor(scores: np.ndarray) -> None:
    rounded = quantized(scores)
    np.testing.assert_array_equal(quantized(rounded), rounded)
    assert (np.abs(rounded - scores)[rounded > 0] <= 0.005001).all()
    assert (scores[rounded == 0] < FLOOR).all()
    assert not ((rounded > 0) & (rounded < np.float32(FLOOR))).any()


def test_a_table_takes_no_part_that_does_not_change() -> None:
    scores = np.zeros((90_000, 20), np.float32)
    scores[1000:80_000, 3] = 0.9
    table = ScoreTable.of(scores)
    assert table.first.tolist() == [0, 1000, 80_000]
    assert table.nbytes < 100
    assert ScoreTable.of(table) is table
    assert TagTrack(what=table, when=scores).steps == 90_000
