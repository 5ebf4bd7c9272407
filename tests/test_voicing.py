"""Where in its time a segment without word times is said."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.captionable import segment
from wat_cli.captions.layout import retimed
from wat_cli.captions.voicing import FASTEST_CPS, QUIET_MS, Span, shared_out, spoken_parts
from wat_cli.transcript import Segment

FORTY = 40
"""Columns of a text of usual length."""


@pytest.mark.parametrize(
    ("voiced", "parts"),
    [
        ([], [(31000, 59000)]),
        ([(0, 90000)], [(31000, 59000)]),
        ([(55000, 60000)], [(55000, 59000)]),
        ([(20000, 34000)], [(31000, 34000)]),
        ([(45000, 48000)], [(45000, 48000)]),
        ([(32400, 57600)], [(31000, 59000)]),  # short silence at both ends
        ([(32000, 34000), (36000, 38000)], [(31000, 34000), (36000, 38000)]),
        ([(35000, 36000), (37000, 38000)], [(35000, 38000)]),  # the speaker's own pause
        ([(30000, 31400), (55000, 58000)], [(55000, 59000)]),  # the rest of somebody else's words
        ([(50000, 50400)], [(31000, 59000)]),  # no word is that short
        ([(50000, 51500)], [(31000, 59000)]),  # too short for the text: a voice was missed
        ([(35000, 42000), (50000, 57000)], [(35000, 57000)]),  # too long: where it is said is not known
        ([(1000, 2000), (31000, 31001), (59000, 60000)], [(31000, 59000)]),
    ],
)
def test_parts_in_which_a_segment_is_said(voiced: list[Span], parts: list[Span]) -> None:
    assert list(spoken_parts(31000, 59000, FORTY, voiced)) == parts


@st.composite
def spans(draw: st.DrawFn) -> list[Span]:
    edges = sorted(draw(st.lists(st.integers(0, 70000), unique=True, max_size=12)))
    return list(zip(edges[::2], edges[1::2], strict=False))


@given(spans(), st.integers(0, 60000), st.integers(0, 30000), st.integers(0, 200))
def test_parts_lie_apart_inside_the_segment_and_cut_no_voice(
    voiced: list[Span], start: int, length: int, columns: int
) -> None:
    parts, end = spoken_parts(start, start + length, columns, voiced), start + length
    assert parts[0][0] >= start and parts[-1][1] <= end
    assert all(later[0] - sooner[1] >= QUIET_MS for sooner, later in pairwise(parts))
    if parts != ((start, end),):
        assert 1000 * columns <= FASTEST_CPS * sum(stop - first for first, stop in parts)
    for first, stop in voiced:
        if min(stop, end) - max(first, start) >= QUIET_MS:
            assert any(a <= max(first, start) and min(stop, end) <= b for a, b in parts)


def test_time_goes_by_columns() -> None:
    assert shared_out(["ab", "cdef", "gh"], [2, 4, 2], [(1000, 1800)]) == [(1000, 1200), (1200, 1600), (1600, 1800)]


def test_a_pause_lies_at_the_end_of_a_sentence() -> None:
    texts = ["He", "sat", "down.", "Then", "we", "all", "went", "home", "again."]
    times = shared_out(texts, [len(text) for text in texts], [(0, 1500), (6000, 8000)])
    assert [time[0] for time in times][:4] == [0, 300, 750, 6000] and times[2][1] == 1500 and times[-1][1] == 8000


def test_a_pause_lies_where_its_time_says_if_no_clause_ends_there() -> None:
    texts = ["aaaa"] * 10
    times = shared_out(texts, [4] * 10, [(0, 3000), (10000, 17000)])
    assert times[2] == (2000, 3000) and times[3] == (10000, 11000)


def test_every_part_has_its_words_if_there_are_enough() -> None:
    assert shared_out(["a", "long-long-word"], [1, 14], [(0, 5000), (9000, 9600)]) == [(0, 5000), (9000, 9600)]
    assert shared_out(["word"], [4], [(0, 500), (9000, 9600)]) == [(0, 9600)]
    assert shared_out(["\u0301", "\u0301"], [0, 0], [(5, 9)]) == [(5, 5), (5, 5)]


@given(st.lists(st.sampled_from(["a", "and", "word,", "end.", "\u0301"]), min_size=1, max_size=20), spans())
def test_shared_time_never_falls_back_and_stays_in_the_parts(texts: list[str], parts: list[Span]) -> None:
    parts = parts or [(0, 0)]
    times = shared_out(texts, [len(text) for text in texts], parts)
    assert len(times) == len(texts) and times[0][0] == parts[0][0]
    edges = [edge for time in times for edge in time]
    assert edges == sorted(edges) and edges[-1] <= parts[-1][1]


ZERO = 50364


def heard(start: float, end: float, *tokens: int, seek: int = 3000) -> Segment:
    return replace(segment(start, end, " Some words."), seek=seek, tokens=tokens)


@pytest.mark.parametrize("zero", [50363, 50364, 50365])
def test_times_of_the_tokens_are_nobodys_edit(zero: int) -> None:
    assert not retimed(heard(31.0, 59.3, zero + 50, 400, 401, zero + 1465))
    assert not retimed(heard(30.0, 59.3, zero + 50, 400, 401, zero + 1465)), "a window that is one segment"
    assert not retimed(heard(30.0, 60.0, zero + 50, 400, 401)), "no time at its end"
    assert not retimed(segment(31.0, 59.3, " No tokens."))


@pytest.mark.parametrize(
    ("start", "end"), [(50.2, 59.3), (31.0, 53.1), (31.1, 59.3), (-5.0, 59.3), (float("nan"), 59.3), (31.0, 1e300)]
)
def test_times_that_the_tokens_do_not_say_are_an_edit(start: float, end: float) -> None:
    assert retimed(heard(start, end, ZERO + 50, 400, 401, ZERO + 1465))


def test_numbers_without_sense_are_no_error() -> None:
    assert retimed(heard(1.0, 2.0, 10**400, seek=-(10**400)))
