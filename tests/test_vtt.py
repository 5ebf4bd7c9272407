"""WebVTT: judged by the W3C's own parser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from tests import captionable, webvtt
from wat_cli.captions.cues import cues_from
from wat_cli.captions.rules import Cue, CueLine
from wat_cli.captions.vtt import timestamp, vtt_text
from wat_cli.options import CaptionOptions


@pytest.fixture(scope="module")
def w3c() -> Iterator[webvtt.Judge]:
    if reason := webvtt.missing():
        pytest.skip(reason)
    with webvtt.Judge() as judge:
        yield judge


def cue(start: int, end: int, *lines: str) -> Cue:
    return Cue(start, end, tuple(CueLine(line) for line in lines))


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scene=captionable.scenes(), options=captionable.options)
def test_any_text_is_valid_and_comes_back(w3c: webvtt.Judge, scene, options) -> None:
    cues = cues_from(*scene, options).cues
    verdict = w3c(vtt_text(cues, "made by --> \n\nme", options.vtt_classes))
    assert verdict["errors"] == []
    assert [entry["text"] for entry in verdict["cues"]] == [cue.text for cue in cues]
    times = [(round(entry["start"] * 1000), round(entry["end"] * 1000)) for entry in verdict["cues"]]
    assert times == [(cue.start_ms, cue.end_ms) for cue in cues]


def test_the_judge_finds_faults(w3c: webvtt.Judge) -> None:
    fault = "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nfish & <chips\n"
    assert w3c(fault)["errors"], "a judge that finds nothing proves nothing"


def test_whole_file() -> None:
    cues = [
        Cue(0, 1300, (CueLine("[Music]", 7),)),
        cue(3_723_004, 3_725_000, "Fish & chips <i>cost</i> > 5 -->", "or so."),
        Cue(360_000_000, 360_001_000, (CueLine("[Door slams] Who's there?", 12),)),
    ]
    assert vtt_text(cues, "Machine-made", classes=True) == (
        "WEBVTT\n\nNOTE Machine-made\n\n"
        "00:00:00.000 --> 00:00:01.300\n<c.sound>[Music]</c>\n\n"
        "01:02:03.004 --> 01:02:05.000\nFish &amp; chips &lt;i&gt;cost&lt;/i&gt; &gt; 5 --&gt;\nor so.\n\n"
        "100:00:00.000 --> 100:00:01.000\n<c.sound>[Door slams]</c> Who's there?\n"
    )


def test_no_cues_leave_the_header() -> None:
    assert vtt_text([]) == "WEBVTT\n"
    assert vtt_text([], "by wat\n\nand <you> -->") == "WEBVTT\n\nNOTE by wat and <you> ->\n"


def test_word_being_spoken_is_underlined() -> None:
    line = CueLine("a < b & c", underlined=(2, 3))
    assert vtt_text([Cue(0, 500, (line,))]).endswith("\na <u>&lt;</u> b &amp; c\n")


@pytest.mark.parametrize(
    ("milliseconds", "text"), [(0, "00:00:00.000"), (59_999, "00:00:59.999"), (359_999_999, "99:59:59.999")]
)
def test_timestamp(milliseconds: int, text: str) -> None:
    assert timestamp(milliseconds) == text


def test_default_options_mark_no_classes() -> None:
    layout = cues_from([], [captionable.sound(1, 3)], 10, CaptionOptions())
    assert "<c" not in vtt_text(layout.cues)
