import math
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.event_metrics import NOTHING, Event, event_scores, scores_by_name

onsets = st.lists(st.integers(0, 60).map(lambda tick: tick / 10), max_size=5)


def test_onsets_within_the_collar_count_once() -> None:
    truth: list[Event] = [(1.0, 2.0, "dog"), (5.0, 9.0, "dog"), (20.0, 25.0, "music")]
    found: list[Event] = [(1.5, 9.0, "dog"), (1.6, 2.0, "dog"), (6.5, 7.0, "dog"), (19.2, 21.0, "music")]
    scores = event_scores(truth, found, collar=1.0, seconds=1800)
    assert (scores.matched, scores.reference, scores.found) == (2, 3, 4)
    assert scores.precision == 0.5
    assert scores.recall == pytest.approx(2 / 3)
    assert scores.f1 == pytest.approx(2 * 0.5 * (2 / 3) / (0.5 + 2 / 3))
    assert sorted(scores.onset_errors) == pytest.approx([-0.8, 0.5])
    assert scores.median_onset_error == pytest.approx(0.65)
    assert scores.false_per_hour == pytest.approx(4.0)


def test_another_name_is_another_sound() -> None:
    scores = event_scores([(1, 2, "dog")], [(1, 2, "cat")])
    assert (scores.f1, scores.precision, scores.recall) == (0, 0, 0)
    assert math.isnan(scores.median_onset_error)
    by_name = scores_by_name([(1, 2, "dog")], [(1, 2, "cat"), (1, 2, "dog")])
    assert (by_name["dog"].f1, by_name["cat"].f1) == (1.0, 0.0)


def test_nothing_found_where_nothing_was_is_perfect() -> None:
    assert (NOTHING.precision, NOTHING.recall, NOTHING.f1) == (1.0, 1.0, 1.0)
    assert event_scores([], []) == NOTHING


@given(onsets, onsets)
def test_matching_is_the_largest_possible(truth: list[float], found: list[float]) -> None:
    scores = event_scores([(t, t, "x") for t in truth], [(t, t, "x") for t in found])
    few, many = sorted((truth, found), key=len)
    best = max(
        (sum(abs(a - b) <= 1.0 + 1e-9 for a, b in zip(few, order, strict=False)) for order in permutations(many)),
        default=0,
    )
    assert scores.matched == best
    assert all(abs(error) <= 1.0 + 1e-9 for error in scores.onset_errors)


@given(onsets, onsets)
def test_scores_add_up(truth: list[float], found: list[float]) -> None:
    one = event_scores([(t, t, "x") for t in truth], [(t, t, "x") for t in found], seconds=60)
    two = one + one + NOTHING
    assert (two.f1, two.precision, two.hours) == pytest.approx((one.f1, one.precision, 2 * one.hours))
