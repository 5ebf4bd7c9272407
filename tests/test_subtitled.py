"""Which films have subtitles already: tracks and files by language and kind, and that wat's own are none."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from tests.fakes import FakeEngine, write_wav
from tests.test_batch import WEIGHTS, caption, job_for
from wat_cli import outputs, subtitled
from wat_cli.batch import Status, planned, setting_of
from wat_cli.discovery import Job, Outputs
from wat_cli.media import AudioStream, MediaInfo, SubtitleStream, find_ffmpeg
from wat_cli.options import BatchOptions, ModelOptions, OutputOptions, RunOptions, TranscribeOptions

SKIPPING = RunOptions(batch=BatchOptions(skip_subtitled=True))
TRACK = AudioStream(1, "aac", None, None, True, 0.0, 1.0, 1, 16000)
GERMAN = dataclasses.replace(TRACK, language="ger")


@pytest.fixture(autouse=True)
def _fresh_look() -> None:
    subtitled._subtitle_files.cache_clear()


def options(**changes: object) -> RunOptions:
    return dataclasses.replace(SKIPPING, transcribe=TranscribeOptions(**changes))  # type: ignore[arg-type]


def info(path: Path, *subtitles: SubtitleStream) -> MediaInfo:
    return MediaInfo(path, 1.0, 0.0, "matroska", (TRACK,), True, subtitles)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "talk.mp4")


def found(film: Path, run: RunOptions = SKIPPING, track: AudioStream = TRACK, *subtitles: SubtitleStream) -> str | None:
    return subtitled.found_subtitles(job_for(film), info(film, *subtitles), track, run)


@pytest.mark.parametrize(
    ("run", "track", "language"),
    [
        (options(), TRACK, None),
        (options(), GERMAN, "de"),
        (options(language="French"), GERMAN, "fr"),
        (options(language="de", task="translate"), GERMAN, "en"),
        (dataclasses.replace(SKIPPING, model=ModelOptions(model="small.en")), GERMAN, "en"),
    ],
)
def test_the_wanted_language_is_that_of_the_captions(run: RunOptions, track: AudioStream, language: str) -> None:
    assert subtitled.wanted_language(run, track) == language


@pytest.mark.parametrize(
    ("streams", "language", "there"),
    [
        ([SubtitleStream("eng")], "en", True),
        ([SubtitleStream("deu")], "German", True),
        ([SubtitleStream("ger")], "de", True),
        ([SubtitleStream("ger"), SubtitleStream("fre")], "en", False),
        ([SubtitleStream("ger"), SubtitleStream("eng")], "en", True),
        ([SubtitleStream(None)], "en", True),
        ([SubtitleStream("eng", forced=True)], "en", False),
        ([SubtitleStream("ger")], None, True),
        ([], None, False),
    ],
)
def test_tracks(film: Path, streams: list[SubtitleStream], language: str | None, there: bool) -> None:
    assert bool(found(film, options(language=language), TRACK, *streams)) is there


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("talk.srt", True),
        ("talk.SRT", True),
        ("talk.en.srt", True),
        ("talk.eng.vtt", True),
        ("talk.en-US.ass", True),
        ("talk.English.srt", True),
        ("talk.en.sdh.srt", True),
        ("talk.sdh.en.srt", True),
        ("talk.en.hi.srt", True),
        ("talk.mp4.srt", True),
        ("talk.mp4.en.vtt", True),
        ("talk.und.srt", True),
        ("talk.hi.srt", False),  # Hindi
        ("talk.de.srt", False),
        ("talk.en.forced.srt", False),
        ("talk.part2.srt", False),  # of another film
        ("talk.2.srt", False),
        ("talking.srt", False),
        ("talk.txt", False),
        ("talk.en.txt", False),
        ("talk", False),
    ],
)
def test_files_beside_an_english_film(film: Path, name: str, there: bool) -> None:
    film.with_name(name).write_text("theirs")
    assert (found(film, options(language="en")) == name) is there


def test_any_language_counts_where_none_is_wanted(film: Path) -> None:
    film.with_name("talk.de.srt").write_text("theirs")
    assert found(film) == "talk.de.srt"
    assert found(film, track=dataclasses.replace(TRACK, language="fre")) is None


def test_files_where_the_outputs_go_count_too(film: Path, tmp_path: Path) -> None:
    job = Job(film, Outputs(tmp_path / "captions", "talk"))
    assert subtitled.found_subtitles(job, info(film), TRACK, SKIPPING) is None
    (tmp_path / "captions").mkdir()
    (tmp_path / "captions" / "talk.vtt").write_text("theirs")
    subtitled._subtitle_files.cache_clear()
    assert subtitled.found_subtitles(job, info(film), TRACK, SKIPPING) == "talk.vtt"


def test_names_that_are_no_text(tmp_path: Path) -> None:
    film = write_wav(tmp_path / os.fsdecode(b"caf\xe9\n.mp4"))
    film.with_suffix(".en.srt").write_text("theirs")
    outcome = caption(film, SKIPPING)
    assert (outcome.status, outcome.reason) == (Status.SKIPPED, "it has subtitles: caf\\udce9\\n.en.srt")


# --- in a batch -------------------------------------------------------------------------------------------------------


def test_a_film_with_a_track_is_skipped_and_the_plan_says_so(film: Path, tmp_path: Path) -> None:
    words, both = tmp_path / "words.srt", tmp_path / "both.mkv"
    words.write_text("1\n00:00:00,000 --> 00:00:00,500\nhello\n")
    command = [find_ffmpeg().ffmpeg, "-v", "error", "-i", str(film), "-i", str(words), "-map", "0:a", "-map", "1"]
    subprocess.run([*command, "-metadata:s:s:0", "language=eng", str(both)], check=True)
    engine = FakeEngine()
    outcome = caption(both, SKIPPING, engine)
    assert (outcome.status, outcome.reason) == (Status.SKIPPED, "it has subtitles: subtitle track 0 (eng)")
    assert not outcome.up_to_date and engine.heard == []
    (plan,) = planned([job_for(both)], setting_of(SKIPPING, WEIGHTS))
    assert plan.outcome.reason == outcome.reason
    french = dataclasses.replace(SKIPPING, transcribe=TranscribeOptions(language="fr"))
    assert caption(both, french).status is Status.WRITTEN
    assert caption(both).status is Status.WRITTEN


def test_wats_own_captions_are_no_subtitles(film: Path) -> None:
    assert caption(film, SKIPPING).status is Status.WRITTEN
    subtitled._subtitle_files.cache_clear()
    assert caption(film, SKIPPING).up_to_date
    again = dataclasses.replace(SKIPPING, output=OutputOptions(overwrite=True))
    assert caption(film, again).status is Status.WRITTEN
    film.with_name("talk.en.srt").write_text("theirs")
    subtitled._subtitle_files.cache_clear()
    assert caption(film, again).reason == "it has subtitles: talk.en.srt"


def test_captions_of_a_run_that_was_cut_off_are_no_subtitles(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.replace

    def dying(path: Path, target: Path) -> None:
        if target.suffix == ".json":
            raise KeyboardInterrupt
        replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            caption(film, SKIPPING)
    assert film.with_suffix(".srt").exists() and outputs.is_unfinished(film.with_suffix(".json"))
    subtitled._subtitle_files.cache_clear()
    assert caption(film, SKIPPING).up_to_date
