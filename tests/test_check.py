"""`wat check`: planted faults, each in a file written by hand and none by the layout code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests import captionable
from tests.test_sidecar import transcript
from wat_cli import sidecar
from wat_cli.captions.check import check, passes
from wat_cli.captions.cues import cues_from
from wat_cli.captions.reading import read_captions
from wat_cli.captions.rules import HARD_RULES, SOFT_RULES, LayoutRules, rules_for
from wat_cli.captions.srt import srt_text
from wat_cli.captions.vtt import vtt_text
from wat_cli.cli import app
from wat_cli.errors import UsageError
from wat_cli.options import STYLES, CaptionOptions

RULES = LayoutRules()

GOOD_SRT = """\
1
00:00:01,000 --> 00:00:03,000
[Music]
Hello, and welcome.

2
00:00:03,084 --> 00:00:05,000
<i>Thank</i> you & good night < 9.

"""
GOOD_VTT = """\
WEBVTT a title

NOTE made by hand

STYLE
::cue(.sound) { color: yellow }

first
00:01.000 --> 00:03.000 line:0 align:start
<c.sound>[Music]</c>
Hello, and <v Ann>welcome

00:00:03.084 --> 00:00:05.000
<i>Thank</i> you &amp; good&nbsp;night &lt; 9 > 8 <00:00:04.000>end
"""


def rules_broken(
    text: str | bytes, rules: LayoutRules = RULES, duration_ms: int | None = None
) -> list[tuple[int, str]]:
    data = text if isinstance(text, bytes) else text.encode()
    return [(broken.cue, broken.rule) for broken in check(data, rules, duration_ms)]


def srt(*cues: str) -> str:
    return "".join(f"{number}\n{cue}\n\n" for number, cue in enumerate(cues, 1))


def vtt(*cues: str) -> str:
    return "WEBVTT\n\n" + "\n\n".join(cues) + "\n"


@pytest.mark.parametrize("text", [GOOD_SRT, GOOD_VTT, GOOD_SRT.replace("\n", "\r\n"), "\ufeff" + GOOD_VTT, "WEBVTT\n"])
def test_good_files_have_no_faults(text: str) -> None:
    assert rules_broken(text, duration_ms=5000) == []


# --- planted: timing and lines --------------------------------------------------------------------------------------

PLANTED = {
    "order": ["00:00:05.000 --> 00:00:07.000\nLater.", "00:00:01.000 --> 00:00:03.000\nEarlier."],
    "overlap": ["00:00:01.000 --> 00:00:03.000\nOne.", "00:00:02.900 --> 00:00:05.000\nTwo."],
    "inside-file": ["00:00:58.000 --> 00:01:00.001\nPast the end."],
    "empty": ["00:00:01.000 --> 00:00:03.000", "00:00:04.000 --> 00:00:06.000\nText."],
    "line-count": ["00:00:01.000 --> 00:00:06.000\none\ntwo\nthree"],
    "line-width": ["00:00:01.000 --> 00:00:06.000\n" + "forty-three columns are one too many, you se" + "e"],
    "min-duration": ["00:00:01.000 --> 00:00:01.833\nOh."],
    "max-duration": ["00:00:01.000 --> 00:00:08.001\nVery slow."],
    "reading-speed": ["00:00:01.000 --> 00:00:02.000\ntwenty-one columns it"],
    "gap": ["00:00:01.000 --> 00:00:03.000\nOne.", "00:00:03.083 --> 00:00:05.000\nTwo."],
}


@pytest.mark.parametrize("rule", PLANTED)
@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_planted_fault_is_found_and_alone(rule: str, form: str) -> None:
    cues = PLANTED[rule]
    text = (
        vtt(*cues)
        if form == "vtt"
        else srt(*(cue.replace(".0", ",0").replace(".8", ",8").replace(".9", ",9") for cue in cues))
    )
    assert rules_broken(text, duration_ms=60_000) == [(1, rule)]


def test_every_rule_is_planted() -> None:
    assert set(PLANTED) | {"syntax"} == set(HARD_RULES) | set(SOFT_RULES)


@pytest.mark.parametrize("gap", [1, 83, 85, 499])
def test_gaps_that_are_neither_least_nor_wide(gap: int) -> None:
    cues = ["00:00:01.000 --> 00:00:03.000\nOne.", f"00:00:03.{gap:03} --> 00:00:05.000\nTwo."]
    assert rules_broken(vtt(*cues)) == [(1, "gap")]


def test_widths_are_columns() -> None:
    assert rules_broken(vtt("00:00:01.000 --> 00:00:07.000\n" + "漢" * 21)) == []
    assert rules_broken(vtt("00:00:01.000 --> 00:00:07.000\n" + "漢" * 22)) == [(1, "line-width")]
    assert rules_broken(vtt("00:00:01.000 --> 00:00:07.000\n" + "e\u0301" * 42)) == []


def test_a_start_that_is_also_the_end() -> None:
    assert (1, "order") in rules_broken(vtt("00:00:01.000 --> 00:00:01.000\nNow."))


# --- planted: syntax ------------------------------------------------------------------------------------------------

ONE = "00:00:01.000 --> 00:00:03.000\n"

BROKEN_SRT = {
    "empty file": "",
    "no number": GOOD_SRT.replace("2\n", "", 1),
    "a number twice": GOOD_SRT.replace("\n2\n", "\n1\n"),
    "text before the number": GOOD_SRT.replace("\n2\n", "\nsurprise\n2\n"),
    "a full stop in the time": GOOD_SRT.replace("05,000", "05.000"),
    "one digit of hours": GOOD_SRT.replace("00:00:03,084", "0:00:03,084"),
    "sixty-one minutes": GOOD_SRT.replace("00:00:05,000", "00:61:05,000"),
    "two digits of milliseconds": GOOD_SRT.replace("05,000", "05,00"),
    "a blank line in the text": GOOD_SRT.replace("[Music]\n", "[Music]\n\n"),
    "an arrow in the text": GOOD_SRT.replace("welcome.", "welcome --> here"),
    "no blank line between": GOOD_SRT.replace("welcome.\n\n", "welcome.\n"),
    "NUL": GOOD_SRT.replace("good", "go\0d"),
    "VTT's settings": GOOD_SRT.replace("05,000", "05,000 align:start"),
}
BROKEN_VTT = {
    "a word after the header's": GOOD_VTT.replace("WEBVTT a", "WEBVTTa"),
    "a blank line before the header": "\n" + GOOD_VTT,
    "no blank line after the header": GOOD_VTT.replace("title\n\n", "title\n", 1),
    "a comma in the time": GOOD_VTT.replace("05.000", "05,000"),
    "one digit of hours": vtt("0:00:01.000 --> 0:00:03.000\nHi."),
    "sixty seconds": vtt("00:00:01.000 --> 00:00:60.000\nHi."),
    "no space around the arrow": vtt("00:00:01.000-->00:00:03.000\nHi."),
    "a bare ampersand": vtt(ONE + "Fish & chips"),
    "an unknown entity": vtt(ONE + "Fish &chips; and more"),
    "a bare less-than": vtt(ONE + "5 < 6"),
    "an unknown tag": vtt(ONE + "<em>No</em>"),
    "a tag left open": vtt(ONE + "<i>No"),
    "a tag that closes nothing": vtt(ONE + "No</i>"),
    "tags that cross": vtt(ONE + "<i><b>No</i></b>"),
    "an arrow in the text": vtt(ONE + "Look --> here"),
    "an arrow in a note": "WEBVTT\n\nNOTE a --> b\n\n" + ONE + "Hi.\n",
    "a blank line in the text": vtt(ONE + "One\n\ntwo"),
    "a setting twice": vtt(ONE.replace("\n", " line:0 line:1\n") + "Hi."),
    "an unknown setting": vtt(ONE.replace("\n", " colour:red\n") + "Hi."),
    "an identifier twice": vtt("a\n" + ONE + "One.", "a\n00:00:04.000 --> 00:00:06.000\nTwo."),
    "a style after a cue": vtt(ONE + "Hi.", "STYLE\n::cue {}"),
    "a time outside the cue": vtt(ONE + "Now <00:00:09.000>then"),
    "NUL": vtt(ONE + "go\0d"),
}


@pytest.mark.parametrize("text", BROKEN_SRT.values(), ids=BROKEN_SRT)
def test_broken_srt(text: str) -> None:
    assert {rule for _, rule in rules_broken(text)} & {"syntax"}


@pytest.mark.parametrize("text", BROKEN_VTT.values(), ids=BROKEN_VTT)
def test_broken_vtt(text: str) -> None:
    assert {rule for _, rule in rules_broken(text)} & {"syntax"}


def test_not_utf8() -> None:
    assert rules_broken(GOOD_SRT.replace("good", "g\xf6d").encode("latin-1")) == [(0, "syntax")]


def test_detail_names_the_line() -> None:
    (broken,) = check(GOOD_SRT.replace("05,000", "05.000").encode(), RULES)
    assert broken.detail.startswith("line 7: ")


@given(st.binary(max_size=300) | st.text("WEBVTT\n0123:.,-> <>&;/ci", max_size=300).map(str.encode))
@settings(max_examples=200)
def test_any_bytes_can_be_read(data: bytes) -> None:
    read_captions(data)
    read_captions(b"WEBVTT\n\n" + data)


# --- wat's own ------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scene=captionable.scenes(), options=captionable.options)
def test_no_hard_fault_in_own_files_and_the_layout_names_the_soft_ones(scene, options) -> None:
    layout = cues_from(*scene, options)
    rules = rules_for(options)
    duration_ms = max(1, round(1000 * scene[2]))
    named = {(rule.cue, rule.rule) for rule in layout.broken_rules}
    for text in (srt_text(layout.cues), vtt_text(layout.cues, "note", options.vtt_classes)):
        if text is None:
            continue
        broken = check(text.encode(), rules, duration_ms)
        assert passes(broken)
        if not options.highlight_words and text.startswith("WEBVTT"):
            assert {(rule.cue, rule.rule) for rule in broken} == named


FILMS = json.loads((Path(__file__).parents[1] / "sample_media" / "truth.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("film", FILMS)
def test_the_sample_films_true_captions_break_no_rule(film: str, style: str) -> None:
    truth = FILMS[film]
    segments = [captionable.segment(part["start"], part["end"], part["text"]) for part in truth["speech"]]
    sounds = [captionable.sound(event["start"], event["end"], event["caption"]) for event in truth["events"]]
    options = CaptionOptions(style=style)
    layout = cues_from(segments, sounds, truth["duration"], options)
    assert all(event.shown for event in layout.events)
    duration_ms = round(1000 * truth["duration"])
    assert check(vtt_text(layout.cues).encode(), rules_for(options), duration_ms) == ()


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.srt").write_text(GOOD_SRT, encoding="utf-8")
    (tmp_path / "soft.vtt").write_text(vtt(*PLANTED["reading-speed"]), encoding="utf-8")
    (tmp_path / "hard.vtt").write_text(vtt(*PLANTED["overlap"]), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("files", "code"),
    [
        (["good.srt"], 0),
        (["soft.vtt"], 0),
        (["soft.vtt", "--strict"], 1),
        (["soft.vtt", "--strict", "--max-cps", "25"], 0),
        (["good.srt", "hard.vtt"], 1),
        (["good.srt", "--max-line-width", "10"], 1),
        (["missing.srt"], 2),
        ([], 2),
    ],
)
def test_exit_codes(folder: Path, files: list[str], code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, ["check", *files])
    assert getattr(done.exception, "exit_code", done.exit_code) == code


def test_report(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, ["check", "good.srt", "soft.vtt", "hard.vtt"])
    assert done.stdout.splitlines() == [
        "soft.vtt: caption 1 (00:00:01.000): soft: reading-speed: 21.0 columns a second, at most 20",
        "hard.vtt: caption 1 (00:00:01.000): hard: overlap: the next caption starts 100 ms before this one ends",
    ]
    assert done.stderr == "3 files: 1 hard, 1 soft\n"


def test_a_json_file_that_is_no_sidecar_is_left_aside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "good.json").write_text(json.dumps({"schema": 1}), encoding="utf-8")
    monkeypatch.chdir(folder)
    assert CliRunner().invoke(app, ["check", "good.srt"]).exit_code == 0


def test_sidecars_among_the_files_are_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``wat check captions/*``: what is no caption file is not one with faults."""
    (folder / "good.json").write_bytes(sidecar.to_json(transcript()))
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, ["check", "good.json", "good.srt"])
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "1 file: 0 hard, 0 soft\n")
    alone = CliRunner().invoke(app, ["check", "good.json"])
    assert isinstance(alone.exception, UsageError)
    assert "give the caption files" in str(alone.exception)


def test_plain_style_asks_for_the_hard_rules_only() -> None:
    plain = rules_for(CaptionOptions(style="plain"))
    for rule in SOFT_RULES:
        assert rules_broken(vtt(*PLANTED[rule]), plain) == []
    for rule in set(HARD_RULES) - {"syntax"}:
        assert (1, rule) in rules_broken(vtt(*PLANTED[rule]), plain, 60_000)
