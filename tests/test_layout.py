"""Where text is cut: characters, lines, captions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.captionable import segment, spoken, texts
from wat_cli.captions.characters import clean_text, units, width
from wat_cli.captions.layout import Flow, break_lines, flow_of, split_flow
from wat_cli.captions.phrasing import cut_penalty
from wat_cli.captions.rules import LayoutRules
from wat_cli.transcript import Segment, Word

DAY = 86_400_000
RULES = LayoutRules()


def flow(text: str, seconds: float = 6.0, limit: int = 42) -> Flow:
    found = flow_of(segment(0, seconds, text), limit, DAY)
    assert found is not None
    return found


def lines(part: Flow, limit: int = 42, count: int = 2) -> list[str] | None:
    borders = break_lines(part, limit, count)
    return None if borders is None else [part.text(first, stop) for first, stop in borders]


def captions(source: Segment, rules: LayoutRules = RULES) -> list[tuple[int, int, str]]:
    found = flow_of(source, rules.width, DAY)
    assert found is not None
    return [(part.starts[0], part.ends[-1], part.text(0, len(part.texts))) for part in split_flow(found, rules)]


# --- characters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("  two   spaces ", "two spaces"),
        ("line\r\n\r\nends\u2028of\x0bmany\x85kinds", "line ends of many kinds"),
        ("nul\0 and \ud800", "nul\ufffd and \ufffd"),
        ("\ufeffmark", "mark"),
        ("no\xa0break, \xa0but once", "no\xa0break, but once"),
        ("e\u0301 👨‍👩‍👧 שלום", "e\u0301 👨‍👩‍👧 שלום"),
    ],
)
def test_clean_text(text: str, clean: str) -> None:
    assert clean_text(text) == clean


@given(texts)
def test_clean_text_is_one_line_and_stays_clean(text: str) -> None:
    clean = clean_text(text)
    assert clean == clean_text(clean) and len(clean.splitlines()) <= 1
    clean.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "columns"),
    [("", 0), ("plain", 5), ("日本", 4), ("한국", 4), ("e\u0301", 1), ("👨‍👩‍👧", 2), ("🇩🇪", 2), ("שלום", 4)],
)
def test_width(text: str, columns: int) -> None:
    assert width(text) == columns


@given(texts, st.sampled_from([8, 20, 42]))
@settings(max_examples=100)
def test_units_fit_and_give_the_text_back(text: str, limit: int) -> None:
    clean = clean_text(text)
    pieces = units(clean, limit)
    assert "".join(piece + " " * space for piece, space in pieces) == clean
    assert all(width(piece) <= limit for piece, _ in pieces)


def test_units_keep_graphemes_and_punctuation_together() -> None:
    assert [piece for piece, _ in units("「はい」、そう。", 42)] == ["「は", "い」、", "そ", "う。"]
    family = "👨‍👩‍👧"
    assert [piece for piece, _ in units(family * 10, 8)] == [family * 4, family * 4, family * 2] or all(
        set(piece) == set(family) for piece, _ in units(family * 10, 8)
    )
    assert [piece for piece, _ in units("e\u0301" * 10, 8)] == ["e\u0301" * 8, "e\u0301" * 2]


# --- lines ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("Short enough.", ["Short enough."]),
        (
            "I would like to thank you, and your mother, for everything.",
            ["I would like to thank you,", "and your mother, for everything."],
        ),
        (
            "The quick brown fox jumped over the lazy dog and then it slept.",
            ["The quick brown fox jumped", "over the lazy dog and then it slept."],
        ),
        (
            "It happened in 1984 when nobody was looking at the old factory there.",
            ["It happened in 1984 when nobody", "was looking at the old factory there."],
        ),
        (
            "これは日本語の長い文章です。とても長いので分けます。",
            ["これは日本語の長い文章です。", "とても長いので分けます。"],
        ),
        (
            "오늘 우리는 강을 건너는 오래된 다리에 대해 이야기할 것입니다.",
            ["오늘 우리는 강을 건너는 오래된", "다리에 대해 이야기할 것입니다."],
        ),
        (
            "היום נדבר על הגשר הישן שחוצה את הנהר, כי אף אחד לא יודע",
            ["היום נדבר על הגשר הישן שחוצה", "את הנהר, כי אף אחד לא יודע"],
        ),
    ],
)
def test_lines_break_at_natural_places(text: str, broken: list[str]) -> None:
    assert lines(flow(text)) == broken


def test_a_word_longer_than_a_line_is_broken() -> None:
    assert lines(flow("x" * 60)) == ["x" * 42, "x" * 18]


def test_text_that_does_not_fit_is_said_to() -> None:
    assert break_lines(flow("word " * 30), 42, 2) is None
    assert lines(flow("one two three four five six"), 10, 3) == ["one two", "three four", "five six"]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (("stop.", "Then"), ("well,", "then")),
        (("well,", "then"), ("red", "house")),
        (("went", "and"), ("red", "house")),
        (("looked", "at"), ("red", "house")),
        (("red", "house"), ("the", "house")),
        (("”done.”", "He"), ("of", "the")),
    ],
)
def test_cut_penalty(better: tuple[str, str], worse: tuple[str, str]) -> None:
    assert cut_penalty(*better) < cut_penalty(*worse)


# --- captions -------------------------------------------------------------------------------------------------------

LONG = (
    "Today we are going to talk about the old bridge that crosses the river, because nobody knows when it was built, "
    "and the people who live there do not care."
)


def test_long_segments_are_cut_at_clause_ends_by_proportion() -> None:
    assert captions(segment(10, 19, LONG)) == [
        (10000, 14176, "Today we are going to talk about the old bridge that crosses the river,"),
        (14176, 19000, "because nobody knows when it was built, and the people who live there do not care."),
    ]


def test_long_segments_are_cut_at_word_times() -> None:
    found = captions(spoken(10, LONG, rate=3, pause_after={"river,": 1.0}))
    assert [(start, text.split()[0]) for start, _, text in found] == [(10000, "Today"), (15667, "because")]
    assert found[0][1] == 14667


def test_edited_text_falls_back_to_proportion() -> None:
    source = spoken(0, "one two three four", rate=1)
    edited = replace(source, text=" one too three for")
    assert flow_of(edited, 42, DAY) == flow_of(segment(0, source.end, " one too three for"), 42, DAY)


def test_words_that_come_in_pieces_keep_their_times() -> None:
    words = (
        Word(" 日本", 1.0, 2.0, 1.0),
        Word("語。", 2.0, 3.0, 1.0),
        Word(" well-", 4.0, 4.5, 1.0),
        Word("known", 4.5, 5.0, 1.0),
    )
    found = flow_of(segment(1, 5, " 日本語。 well-known", words), 42, DAY)
    assert found is not None
    assert list(zip(found.texts, found.starts, found.ends, strict=True)) == [
        ("日", 1000, 1500), ("本", 1500, 2000), ("語。", 2000, 3000), ("well-known", 4000, 5000),
    ]  # fmt: skip


def test_times_never_fall_back_or_leave_the_file() -> None:
    words = (Word(" a", 5.0, 4.0, 1.0), Word(" b", 3.0, float("nan"), 1.0), Word(" c", -1.0, 99.0, 1.0))
    found = flow_of(segment(0, 9, " a b c", words), 42, 10_000)
    assert found is not None
    assert (found.starts, found.ends) == ((5000, 5000, 5000), (5000, 5000, 10_000))


@given(st.text("ab ,.", min_size=1, max_size=400), st.sampled_from([0.1, 5.0, 29.0]), st.sampled_from([8, 42]))
@settings(max_examples=100)
def test_no_split_loses_text_or_overfills_a_caption(text: str, seconds: float, limit: int) -> None:
    rules = LayoutRules(width=limit)
    found = flow_of(segment(0, seconds, text), limit, DAY)
    if found is None:
        return
    parts = split_flow(found, rules)
    assert tuple(unit for part in parts for unit in part.texts) == found.texts
    for part in parts:
        broken = lines(part, limit)
        assert broken is not None and all(0 < width(line) <= limit for line in broken)
