"""`wat render`: captions again from a sidecar, whoever touched it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from tests.captionable import segment, sound, spoken
from wat_cli import sidecar
from wat_cli.captioning import spoken_segments
from wat_cli.cli import app
from wat_cli.options import RunOptions
from wat_cli.tagging.labels import load_labels
from wat_cli.transcript import TAG_HOP, Hearing, ModelIdentity, Segment, SoundEvent, Source, TagTrack, Transcript

LABELS = tuple(label.name for label in load_labels())
SPEECH = " Hello there, and welcome."


def sounding(seconds: float, label: str, start: float, end: float, probability: float) -> TagTrack:
    """A tag track in which `label` sounds from `start` to `end`."""
    scores = np.full((round(seconds / TAG_HOP), len(LABELS)), 0.001, np.float32)
    scores[round(start / TAG_HOP) : round(end / TAG_HOP), LABELS.index(label)] = probability
    return TagTrack(scores, scores.copy())


def transcript(
    segments: tuple[Segment, ...] = (segment(2, 4, SPEECH),),
    events: tuple[SoundEvent, ...] = (),
    tags: TagTrack | None = None,
    **changes: Any,
) -> Transcript:
    made = Transcript(
        source=Source("talk.mp4", 1234, 1, 30.0, 0, "eng"),
        hearing=Hearing(30.0, "en", segments, tags, windows=1, encoder_passes=1),
        events=events,
        models={"asr": ModelIdentity("mini", "a" * 64)},
        settings=RunOptions().settings,
        versions={"wat": "0.1.0"},
        labels=LABELS if tags is not None else (),
        fingerprint="c" * 64,
    )
    return dataclasses.replace(made, **changes)


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Path of a sidecar of one spoken caption and music, in the working folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "talk.json"
    tags = sounding(30, "Music", 10, 16, 0.6)
    path.write_bytes(sidecar.to_json(transcript(events=(sound(10, 16),), tags=tags)))
    return path


def wat(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["render", *arguments])


def code(done: Result) -> int:
    return int(getattr(done.exception, "exit_code", done.exit_code))


def edit(path: Path, **changes: Any) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**document, **changes}), encoding="utf-8")


def test_formats_beside_the_sidecar_which_learns_of_them(talk: Path) -> None:
    assert code(wat("talk.json", "-f", "srt,vtt,tsv,txt")) == 0
    assert {path.name for path in talk.parent.iterdir()} == {
        "talk.json",
        "talk.srt",
        "talk.vtt",
        "talk.tsv",
        "talk.txt",
    }
    record = sidecar.read(talk)
    assert record.unchanged and record.transcript.outputs["talk.vtt"] == sidecar.sha256_of_file(
        talk.with_suffix(".vtt")
    )
    assert talk.with_suffix(".vtt").read_text(encoding="utf-8") == (
        "WEBVTT\n\nNOTE Machine-made captions by wat 0.1.0 with mini; sound labels: AudioSet\n\n"
        "00:00:02.000 --> 00:00:04.000\nHello there, and welcome.\n\n00:00:10.000 --> 00:00:14.000\n[Music]\n"
    )
    assert talk.with_suffix(".tsv").read_text(encoding="utf-8") == (
        "start\tend\ttext\n2000\t4000\tHello there, and welcome.\n10000\t16000\t[Music]\n"
    )
    assert talk.with_suffix(".txt").read_text(encoding="utf-8") == "Hello there, and welcome.\n[Music]\n"


def test_again_in_another_style(talk: Path) -> None:
    wat("talk.json")
    assert code(wat("talk.json", "-f", "vtt", "--style", "netflix", "--vtt-classes")) == 0
    assert "<c.sound>[music]</c>" in talk.with_suffix(".vtt").read_text(encoding="utf-8")


def test_options_that_are_not_given_are_as_they_were(talk: Path) -> None:
    talk.write_bytes(
        sidecar.to_json(transcript(events=(sound(10, 16),), settings={"style": "netflix", "max_cps": "x"}))
    )
    assert "[music]" in wat("talk.json", "-f", "srt", "-o", "-").stdout
    assert "[Music]" in wat("talk.json", "-f", "srt", "-o", "-", "--style", "default").stdout


def test_settings_edited_into_nonsense_do_not_stop_it(talk: Path) -> None:
    edit(talk, settings={"style": "baroque", "max_line_width": -3, "max_line_count": "two", "tags_threshold": [1]})
    assert "welcome" in wat("talk.json", "-f", "txt", "-o", "-").stdout


@pytest.mark.parametrize(("threshold", "shown"), [("0.3", True), ("0.9", False)])
def test_sounds_are_decided_again_from_the_tag_track(talk: Path, threshold: str, shown: bool) -> None:
    done = wat("talk.json", "-f", "srt", "-o", "-", "--tags-threshold", threshold)
    assert code(done) == 0 and ("[Music]" in done.stdout) is shown


def test_sounds_can_be_left_out(talk: Path) -> None:
    assert "[Music]" not in wat("talk.json", "-f", "srt", "-o", "-", "--sounds", "none").stdout


def test_without_a_tag_track_sounds_cannot_be_decided(talk: Path) -> None:
    talk.write_bytes(sidecar.to_json(transcript()))
    done = wat("talk.json", "--sounds", "all")
    assert code(done) == 1 and "--no-tags" in done.stderr


def test_a_persons_edit_is_rendered_and_stays_a_persons(talk: Path) -> None:
    wat("talk.json")
    document = json.loads(talk.read_text(encoding="utf-8"))
    document["segments"][0]["text"] = " Good evening, and welcome."
    talk.write_text(json.dumps(document), encoding="utf-8")
    for _ in range(2):
        assert code(wat("talk.json")) == 0
        assert "Good evening" in talk.with_suffix(".srt").read_text(encoding="utf-8")
        assert not sidecar.read(talk).unchanged
        assert sidecar.read(talk).transcript.hearing.segments[0].text == " Good evening, and welcome."


@pytest.mark.parametrize("text", ["my own captions", None])
def test_a_persons_captions_are_never_replaced(talk: Path, text: str | None) -> None:
    wat("talk.json")
    srt = talk.with_suffix(".srt")
    if text is None:
        edit(talk, outputs={})
        text = srt.read_text(encoding="utf-8")
    srt.write_text(text, encoding="utf-8")
    before = talk.read_bytes()
    assert code(wat("talk.json", "--style", "netflix")) == 1
    assert srt.read_text(encoding="utf-8") == text and talk.read_bytes() == before
    assert code(wat("talk.json", "--style", "netflix", "--overwrite")) == 0
    assert "[music]" in srt.read_text(encoding="utf-8")


def test_captions_follow_the_voice_of_the_tag_track(talk: Path) -> None:
    heard = transcript(segments=(segment(1, 29, SPEECH),), tags=sounding(30, "Speech", 24, 27.2, 0.9))
    talk.write_bytes(sidecar.to_json(heard))
    assert "00:00:24,400 --> 00:00:26,800" in wat("talk.json", "-f", "srt", "-o", "-").stdout
    assert "00:00:01,000 --> 00:00:29,000" in wat("talk.json", "-f", "srt", "-o", "-", "--style", "plain").stdout
    edit(talk, tags=None)
    assert "00:00:01,000 --> 00:00:08,000" in wat("talk.json", "-f", "srt", "-o", "-").stdout


def test_silence_is_a_header_and_no_srt(talk: Path) -> None:
    wat("talk.json")
    talk.write_bytes(
        sidecar.to_json(dataclasses.replace(transcript(segments=()), outputs=sidecar.read(talk).transcript.outputs))
    )
    done = wat("talk.json")
    assert code(done) == 0 and "no srt file" in done.stderr
    assert not talk.with_suffix(".srt").exists()
    assert talk.with_suffix(".vtt").read_text(encoding="utf-8").startswith("WEBVTT\n\nNOTE ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["missing.json"], 2),
        (["talk.json", "-f", "json"], 2),
        (["talk.json", "-f", "srt,vtt", "-o", "-"], 2),
        (["talk.json", "-o", "elsewhere"], 2),
        (["talk.json", "--highlight-words"], 2),
        (["talk.json", "--max-line-width", "3"], 2),
        (["other.json"], 1),
    ],
)
def test_exit_codes(talk: Path, arguments: list[str], expected: int) -> None:
    (talk.parent / "other.json").write_text("{}", encoding="utf-8")
    assert code(wat(*arguments)) == expected


def test_one_bad_sidecar_does_not_stop_the_others(talk: Path) -> None:
    (talk.parent / "a.json").write_text("{}", encoding="utf-8")
    done = wat("a.json", "talk.json", "-f", "txt")
    assert code(done) == 1 and talk.with_suffix(".txt").exists()


@pytest.mark.parametrize("names", [[], ["--player-names"]])
def test_wat_check_knows_the_length_of_the_film_from_the_sidecar(talk: Path, names: list[str]) -> None:
    wat("talk.json", "-f", "srt", *names)
    (srt,) = talk.parent.glob("*.srt")
    assert CliRunner().invoke(app, ["check", srt.name]).exit_code == 0
    srt.write_text(srt.read_text(encoding="utf-8").replace("00:00:14,000", "00:00:31,000"), encoding="utf-8")
    done = CliRunner().invoke(app, ["check", srt.name])
    assert done.exit_code == 1 and "inside-file" in done.stdout


def test_words_are_highlighted_where_they_have_times(talk: Path) -> None:
    talk.write_bytes(sidecar.to_json(transcript(segments=(spoken(1, "You are here"),))))
    assert "<u>are</u>" in wat("talk.json", "-f", "vtt", "-o", "-", "--highlight-words").stdout


def test_sound_text_gives_way_to_events_and_hallucinations_to_the_option() -> None:
    parts = (
        segment(0, 2, " [Music]"),
        segment(3, 5, " (door slams)"),
        segment(6, 7, " [BLANK_AUDIO]"),
        segment(8, 9, " Thanks."),
    )
    numbered = tuple(dataclasses.replace(part, id=number) for number, part in enumerate(parts))
    made = transcript(segments=numbered, events=(sound(0.5, 2),), hallucinations=(3,))
    spoken_parts, left_out = spoken_segments(made, drop_hallucinations=False)
    assert [part.id for part in spoken_parts] == [1, 3] and left_out == []
    spoken_parts, left_out = spoken_segments(made, drop_hallucinations=True)
    assert [part.id for part in spoken_parts] == [1] and [part.id for part in left_out] == [3]


def test_the_sidecar_names_rules_that_gave_way(talk: Path) -> None:
    fast = transcript(
        segments=(
            segment(0, 1, " This is far too much to be read in a second."),
            segment(1, 4, " And on it goes, as if nothing had happened."),
        )
    )
    from wat_cli.captioning import render

    rendered, _ = render(fast, ["srt"], RunOptions())
    (broken,) = rendered.broken_rules
    assert (broken.cue, broken.start, broken.rule) == (1, 0.0, "reading-speed")
    assert sidecar.from_json(sidecar.to_json(rendered)).transcript.broken_rules == (broken,)
