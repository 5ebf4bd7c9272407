"""SRT: four readers agree on what a file says."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pysrt
import pysubs2
import pytest
import srt
from hypothesis import HealthCheck, given, settings

from tests import captionable
from wat_cli.captions.cues import cues_from
from wat_cli.captions.rules import Cue, CueLine
from wat_cli.captions.srt import plain_line, srt_text
from wat_cli.captions.vtt import timestamp

Entries = list[tuple[int, int, str]]
HUNDRED_HOURS = 360_000_000


def cue(start: int, end: int, *lines: str) -> Cue:
    return Cue(start, end, tuple(CueLine(line) for line in lines))


def read_with_pysrt(text: str) -> Entries:
    items = pysrt.from_string(text, error_handling=pysrt.SubRipFile.ERROR_RAISE)
    return [(item.start.ordinal, item.end.ordinal, item.text) for item in items]


def read_with_srt(text: str) -> Entries:
    return [(ms(item.start), ms(item.end), item.content) for item in srt.parse(text)]


def ms(delta: object) -> int:
    return round(delta.total_seconds() * 1000)  # type: ignore[attr-defined]


def read_with_pysubs2(text: str) -> Entries:
    return [(event.start, event.end, event.plaintext) for event in pysubs2.SSAFile.from_string(text, format_="srt")]


def read_with_ffmpeg(text: str) -> Entries:
    command = ["ffmpeg", "-v", "error", "-f", "srt", "-i", "pipe:", "-f", "srt", "-"]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=True)
    assert not done.stderr
    return read_with_srt(done.stdout.decode())


def expected(cues: list[Cue]) -> Entries:
    return [(c.start_ms, c.end_ms, "\n".join(plain_line(line.text) for line in c.lines)) for c in cues]


def cues_of(scene, options) -> list[Cue]:
    """Captions that SRT's readers can all hold: pysubs2 ends at 99:59:59,999 and takes a bare number for an index."""
    layout = cues_from(*scene, replace(options, highlight_words=False))
    return [c for c in layout.cues if c.end_ms < HUNDRED_HOURS and not c.lines[-1].text.isdigit()]


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scene=captionable.scenes(), options=captionable.options)
def test_readers_agree(scene, options) -> None:
    cues = cues_of(scene, options)
    text = srt_text(cues)
    if text is None:
        assert not cues
        return
    assert read_with_pysrt(text) == expected(cues)
    assert read_with_srt(text) == expected(cues)
    assert read_with_pysubs2(text) == expected(cues)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scene=captionable.scenes(), options=captionable.options)
def test_ffmpeg_agrees(scene, options) -> None:
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    cues = cues_of(scene, options)
    if cues:
        assert read_with_ffmpeg(srt_text(cues) or "") == expected(cues)


def test_whole_file() -> None:
    text = srt_text(
        [cue(0, 1300, "[Music]"), cue(3_723_004, 3_725_000, "Fish & chips,", "5 < 6 --> <i>so</i> {\\an8}")]
    )
    assert text == (
        "1\n00:00:00,000 --> 00:00:01,300\n[Music]\n\n"
        "2\n01:02:03,004 --> 01:02:05,000\nFish & chips,\n5 < 6 -> ‹i>so‹/i> (\\an8)\n\n"
    )


def test_text_that_looks_like_a_time_stays_text() -> None:
    text = srt_text([cue(0, 900, "from 00:00:01,000 to 00:00:02.5 or 1:02:03")])
    assert text is not None and "from 00:00:01‚000 to 00:00:02‚5 or 1:02:03" in text
    assert len(read_with_pysubs2(text)) == 1


def test_hundred_hours_and_more() -> None:
    text = srt_text([cue(HUNDRED_HOURS, HUNDRED_HOURS + 1000, "still here")])
    assert text is not None and timestamp(HUNDRED_HOURS).replace(".", ",") in text
    assert read_with_pysrt(text) == read_with_srt(text) == [(HUNDRED_HOURS, HUNDRED_HOURS + 1000, "still here")]


def test_nothing_to_caption_is_no_file() -> None:
    assert srt_text([]) is None


def test_line_ends_can_be_windows() -> None:
    assert srt_text([cue(0, 1, "a", "b")], eol="\r\n") == "1\r\n00:00:00,000 --> 00:00:00,001\r\na\r\nb\r\n\r\n"


def test_word_being_spoken_is_underlined() -> None:
    text = srt_text([Cue(0, 500, (CueLine("two words", underlined=(4, 9)),))])
    assert text is not None and "two <u>words</u>" in text
