from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wat_cli.tagging.grid import WHAT, WHEN, TagAccumulator, grid_steps, place_window
from wat_cli.tagging.table import quantized

windows = st.tuples(st.integers(0, 10_000), st.integers(1, 15_000)).filter(lambda pair: pair[0] < pair[1])


@given(windows)
def test_a_window_covers_exactly_the_steps_that_lie_inside_it(window: tuple[int, int]) -> None:
    seek, content = window
    place = place_window(seek, content)
    # an odd seek may cost one step more, because encoder frames are two mel frames long
    inside = [i for i in range(grid_steps(content)) if 40 * i >= seek and 40 * i + 40 <= seek + 3000 - seek % 2]
    assert list(range(place.first, place.first + place.steps)) == inside
    assert place.frames.stop <= 1500
    assert abs((seek + 2 * place.frame) - 40 * place.first) <= 1


def test_windows_that_do_not_start_on_the_grid() -> None:
    assert place_window(0, 9000) == place_window(0, 3000)
    assert (place_window(0, 3000).first, place_window(0, 3000).steps, place_window(0, 3000).frame) == (0, 75, 0)
    late = place_window(2740, 9000)
    assert (late.first, late.steps, late.frame) == (69, 74, 10)
    assert place_window(0, 30).steps == 1
    assert place_window(2990, 3000).steps == 0


@pytest.mark.parametrize("kind", [WHAT, WHEN])
@given(steps=st.integers(0, 75))
def test_every_step_gets_an_answer_from_decisions_inside_the_window(kind, steps: int) -> None:
    decisions = kind.decisions(steps)
    filed = np.zeros(steps, int)
    for decision in decisions:
        assert 0 <= decision.start <= decision.filed_start < decision.filed_stop <= decision.stop <= steps
        assert min(kind.shortest, steps) <= decision.length <= kind.length
        filed[decision.filed_start : decision.filed_stop] += 1
    if kind is WHAT:
        assert (filed >= 1).all()
    else:  # the steps between two lie on the line between their answers
        assert (filed <= 1).all() and filed[:1].all() and filed[-1:].all()
        assert not steps or (np.diff(np.flatnonzero(filed)) <= 2).all()


def test_a_full_window_costs_44_head_decisions() -> None:
    assert len(WHAT.decisions(75)) == 6
    assert len(WHEN.decisions(75)) == 38
    assert [decision.length for decision in WHEN.decisions(75)] == [3, *[5] * 36, 3]


def test_short_decisions_are_centred_on_their_step() -> None:
    for number, decision in enumerate(WHEN.decisions(75)):
        step = 2 * number
        assert (decision.filed_start, decision.filed_stop) == (step, step + 1)
        if 2 <= step < 73:
            assert (decision.start, decision.stop) == (step - 2, step + 3)


@pytest.mark.parametrize("steps", [1, 2, 3, 74, 75])
def test_a_step_between_two_decisions_takes_the_mean_of_their_logits(steps: int) -> None:
    place = place_window(0, 40 * steps)
    decisions = WHEN.decisions(steps)
    logits = np.random.default_rng(steps).normal(0, 2, (len(decisions), 2)).astype(np.float32)
    accumulator = TagAccumulator(40 * steps, classes=2)
    accumulator.add(WHEN, place, decisions, logits)
    exact = accumulator.track().exact
    assert exact is not None
    found = np.log(exact.when[:] / (1 - exact.when[:]))
    centres = [decision.filed_start for decision in decisions]
    np.testing.assert_allclose(found[centres], logits, atol=1e-4)
    for before, after in pairwise(range(len(centres))):
        if centres[after] - centres[before] == 2:
            mean = (logits[before] + logits[after]) / 2
            np.testing.assert_allclose(found[centres[before] + 1], mean, atol=1e-4)


def test_overlapping_windows_are_averaged_and_the_rest_is_unknown() -> None:
    content = 12_000
    accumulator = TagAccumulator(content, classes=2)
    for seek, logit in ((0, 20.0), (2400, -20.0)):
        place = place_window(seek, content)
        for kind in (WHAT, WHEN):
            decisions = kind.decisions(place.steps)
            accumulator.add(kind, place, decisions, np.full((len(decisions), 2), logit))
    track = accumulator.track()
    assert track.steps == 300
    assert track.when[:60].min() == pytest.approx(1)
    assert track.when[60:75] == pytest.approx(0.5)
    assert track.when[75:135].max() == pytest.approx(0, abs=1e-6)
    assert np.isnan(track.when[135:]).all() and np.isnan(track.what[135:]).all()
    assert track.what[:60].min() == pytest.approx(1)


def test_a_step_split_between_two_windows_is_unknown() -> None:
    content = 8720
    accumulator = TagAccumulator(content, classes=1)
    for seek in (0, 2740, 5740):
        place = place_window(seek, content)
        decisions = WHEN.decisions(place.steps)
        accumulator.add(WHEN, place, decisions, np.zeros((len(decisions), 1)))
    assert np.flatnonzero(np.isnan(accumulator.track().when[:, 0])).tolist() == [143]


def test_answers_of_another_shape_are_refused() -> None:
    place = place_window(0, 3000)
    with pytest.raises(ValueError, match="6 decisions"):
        TagAccumulator(3000).add(WHAT, place, WHAT.decisions(75), np.zeros((5, 527)))


def test_the_track_is_every_score_rounded() -> None:
    """Windows out of order, as clips may be."""
    content, rng = 12_000, np.random.default_rng(0)
    accumulator = TagAccumulator(content, classes=3)
    for seek in (6000, 0, 2000):
        place = place_window(seek, content)
        for kind in (WHAT, WHEN):
            decisions = kind.decisions(place.steps)
            accumulator.add(kind, place, decisions, rng.normal(-2, 2, (len(decisions), 3)))
    track = accumulator.track()
    assert track.exact is not None and track.exact.tuning == track.tuning
    for kept, exact in ((track.when, track.exact.when), (track.what, track.exact.what)):
        np.testing.assert_array_equal(np.asarray(kept), quantized(np.asarray(exact)))
        assert np.isnan(kept[:, 0]).sum() == 300 - 125 - 75
