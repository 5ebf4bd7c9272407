"""A batch with a fake engine: what is done, what is skipped and why, and that one bad file harms no other."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from tests.fakes import FakeEngine, write_wav
from wat_cli import captioning, outputs, sidecar
from wat_cli.batch import Captioner, Outcome, Progress, Report, Status, planned, run, setting_of
from wat_cli.checkpoints import ResolvedWeights, WeightFile
from wat_cli.discovery import Job, Outputs
from wat_cli.errors import ExitCode, WeightsMissing
from wat_cli.media import AudioStream, MediaInfo, find_ffmpeg
from wat_cli.options import BatchOptions, CaptionOptions, OutputOptions, RunOptions, TagOptions, TranscribeOptions

WEIGHTS = ResolvedWeights(
    WeightFile("mini", Path("mini.pt"), "a" * 64), WeightFile("mini_head", Path("h"), "b" * 64), None
)


DEFAULTS = RunOptions()


def job_for(source: Path) -> Job:
    return Job(source, Outputs(source.parent, source.stem))


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "talk.wav", 2.0)


def captioner(options: RunOptions = DEFAULTS, engine: FakeEngine | None = None) -> Captioner:
    return Captioner(setting_of(options, WEIGHTS), lambda: engine or FakeEngine(), Progress())


def caption(source: Path, options: RunOptions = DEFAULTS, engine: FakeEngine | None = None) -> Outcome:
    (outcome,) = run([job_for(source)], captioner(options, engine))
    return outcome


def formats(names: str, **changes: object) -> RunOptions:
    return RunOptions(output=OutputOptions(output_format=names), **changes)  # type: ignore[arg-type]


# --- done -------------------------------------------------------------------------------------------------------------


def test_a_file_gets_its_captions_and_its_sidecar(talk: Path) -> None:
    outcome = caption(talk)
    assert outcome.status is Status.WRITTEN
    assert [path.name for path in outcome.outputs] == ["talk.srt", "talk.vtt", "talk.json"]
    assert "Level 7." in talk.with_suffix(".srt").read_text()
    assert talk.with_suffix(".vtt").read_text().startswith("WEBVTT\n\nNOTE ")
    assert "mini" in talk.with_suffix(".vtt").read_text().split("\n\n")[1]
    document = json.loads(talk.with_suffix(".json").read_text())
    jsonschema.validate(document, sidecar.schema())
    assert document["source"]["path"] == "talk.wav"
    assert (document["encoder_passes"], document["windows"]) == (1, 1)
    assert document["models"]["asr"] == {"name": "mini", "sha256": "a" * 64, "path": None}
    assert set(document["outputs"]) == {"talk.srt", "talk.vtt"}
    assert document["timings"]["hear"] >= 0
    told = subprocess.run([find_ffmpeg().ffmpeg, "-version"], capture_output=True, text=True).stdout
    assert document["versions"]["ffmpeg"] == told.split()[2]
    assert document["versions"].keys() == {"wat", "torch", "openai-whisper", "numpy", "ffmpeg"}
    assert outcome.audio_seconds == 2.0


def test_loud_sound_becomes_a_caption(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "concert.wav", 8.0, level=0.8)
    caption(source)
    assert "[Music]" in source.with_suffix(".srt").read_text()
    document = json.loads(source.with_suffix(".json").read_text())
    assert [event["label"] for event in document["events"]] == ["Music"]
    assert document["tags"]["labels"] == {"137": "Music"}


def test_without_tags_there_is_no_tag_track(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "concert.wav", 8.0, level=0.8)
    caption(source, RunOptions(tags=TagOptions(tags=False)))
    document = json.loads(source.with_suffix(".json").read_text())
    assert document["tags"] is None
    assert document["events"] == []


def test_scores_are_saved_on_request(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "concert.wav", 8.0, level=0.8)
    outcome = caption(source, RunOptions(tags=TagOptions(save_scores=True)))
    assert source.with_suffix(".npz") in outcome.outputs
    with np.load(source.with_suffix(".npz"), allow_pickle=False) as scores:
        assert scores["when"].shape == scores["what"].shape == (20, 527)
        assert scores["labels"][137] == "Music"
        assert scores["hop"] == 0.4


def test_silence_gives_no_srt_and_says_so(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "still.wav", 2.0, level=0.0)
    outcome = caption(source)
    assert outcome.status is Status.WRITTEN
    assert not source.with_suffix(".srt").exists()
    assert source.with_suffix(".vtt").exists()
    assert any("srt" in note for note in outcome.notes)
    assert caption(source).up_to_date


def test_another_tuning_of_the_head_makes_the_work_to_be_done_again(talk: Path, tmp_path: Path) -> None:
    """The numbers beside a head's checkpoint decide its captions as its weights do."""
    head = tmp_path / "head.pt"
    weights = ResolvedWeights(WEIGHTS.asr, WeightFile("head", head, "b" * 64), None)

    def again() -> tuple[Status, str]:
        worker = Captioner(setting_of(DEFAULTS, weights), FakeEngine, Progress())
        (outcome,) = run([job_for(talk)], worker)
        return outcome.status, outcome.reason

    assert again() == (Status.WRITTEN, "")
    assert again() == (Status.SKIPPED, "up to date")
    for text in ('{"threshold": 0.4}', '{"threshold": 0.3}', '{"threshold": 0.3, "lag": 0.2}'):
        head.with_suffix(".json").write_text(text)
        assert again() == (Status.WRITTEN, ""), text
        assert again() == (Status.SKIPPED, "up to date")
    head.with_suffix(".json").write_text('{"threshold": 0.3, "lag": 0.2, "note": "read by people"}')
    assert again() == (Status.SKIPPED, "up to date")


# --- done before ------------------------------------------------------------------------------------------------------


def again(talk: Path, options: RunOptions = DEFAULTS) -> tuple[Outcome, int]:
    """A second run: its outcome, and how many files it heard."""
    engine = FakeEngine()
    return caption(talk, options, engine), len(engine.heard)


def test_a_second_run_does_nothing(talk: Path) -> None:
    caption(talk)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in talk.parent.iterdir()}
    outcome, heard = again(talk)
    assert (outcome.status, outcome.reason, heard) == (Status.SKIPPED, "up to date", 0)
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in talk.parent.iterdir()}


def test_a_run_with_nothing_to_do_loads_no_engine(talk: Path) -> None:
    caption(talk)

    def load() -> FakeEngine:
        raise AssertionError("the engine was loaded")

    assert list(run([job_for(talk)], Captioner(setting_of(RunOptions(), WEIGHTS), load, Progress())))[0].up_to_date


@pytest.mark.parametrize(
    "options",
    [
        RunOptions(transcribe=TranscribeOptions(temperature=0.5)),
        RunOptions(tags=TagOptions(tags_threshold=0.3)),
        RunOptions(output=OutputOptions(overwrite=True)),
    ],
)
def test_other_settings_do_it_again(talk: Path, options: RunOptions) -> None:
    caption(talk)
    outcome, heard = again(talk, options)
    assert (outcome.status, heard) == (Status.WRITTEN, 1)


def test_another_model_does_it_again(talk: Path) -> None:
    caption(talk)
    other = dataclasses.replace(WEIGHTS, asr=WeightFile("mini", Path("mini.pt"), "e" * 64))
    (outcome,) = run([job_for(talk)], Captioner(setting_of(RunOptions(), other), FakeEngine, Progress()))
    assert outcome.status is Status.WRITTEN


def test_a_changed_input_is_done_again(talk: Path) -> None:
    caption(talk)
    write_wav(talk, 3.0)
    assert again(talk)[0].audio_seconds == 3.0


def test_an_input_replaced_by_one_of_the_same_size_is_done_again(talk: Path) -> None:
    caption(talk)
    write_wav(talk, 2.0, level=0.4)
    assert again(talk)[0].status is Status.WRITTEN


def test_another_layout_is_written_from_what_was_heard(talk: Path) -> None:
    caption(talk)
    plain = talk.with_suffix(".srt").read_text(encoding="utf-8")
    brief = RunOptions(captions=CaptionOptions(max_duration=1.0))
    assert again(talk, brief)[1] == 0
    assert talk.with_suffix(".srt").read_text(encoding="utf-8") != plain
    record = sidecar.read(talk.with_suffix(".json"))
    assert record.unchanged and record.transcript.settings["max_duration"] == 1.0
    assert again(talk, brief)[0].up_to_date
    outcome, heard = again(talk)
    assert (outcome.status, heard) == (Status.WRITTEN, 0)
    assert talk.with_suffix(".srt").read_text(encoding="utf-8") == plain


def test_a_missing_output_is_written_again(talk: Path) -> None:
    caption(talk)
    talk.with_suffix(".srt").unlink()
    assert again(talk)[0].status is Status.WRITTEN
    assert talk.with_suffix(".srt").exists()


def test_a_format_more_is_made_without_hearing_again(tmp_path: Path) -> None:
    once, twice = (write_wav(tmp_path / name / "show.wav", 70.0, level=0.8) for name in ("once", "twice"))
    scored = TagOptions(save_scores=True)
    caption(once, formats("all", tags=scored))
    caption(twice, formats("srt", tags=scored))
    scores = twice.with_suffix(".npz").read_bytes()
    outcome, heard = again(twice, formats("all", tags=scored))
    assert (outcome.status, heard) == (Status.WRITTEN, 0)
    assert twice.with_suffix(".npz").read_bytes() == scores
    for suffix in (".srt", ".vtt", ".txt", ".tsv"):
        assert twice.with_suffix(suffix).read_bytes() == once.with_suffix(suffix).read_bytes()
    one, two = (json.loads(path.with_suffix(".json").read_text()) for path in (once, twice))
    differing = {key for key in one if one[key] != two[key]}
    assert differing <= {"source", "timings", "outputs", "checksum"}  # the source's time; the .npz holds the time
    assert again(twice, formats("all", tags=scored))[0].up_to_date


def test_captions_made_by_render_stay_wats(talk: Path) -> None:
    caption(talk)
    data = b"1\n00:00:00,000 --> 00:00:01,000\nHi\n"
    extra = talk.with_name("talk.en.srt")
    sidecar_path = talk.with_suffix(".json")
    record = sidecar.with_outputs(sidecar_path.read_bytes(), {extra.name: sidecar.sha256(data)})
    outputs.commit(sidecar_path, record, {extra: data})
    caption(talk, RunOptions(output=OutputOptions(overwrite=True)))
    assert "talk.en.srt" in json.loads(sidecar_path.read_text())["outputs"]


def test_a_format_more_leaves_all_formats_saying_the_same(talk: Path) -> None:
    caption(talk, formats("vtt"))
    caption(talk, formats("srt", transcribe=TranscribeOptions(temperature=0.5)))
    document = json.loads(talk.with_suffix(".json").read_text())
    assert set(document["outputs"]) == {"talk.srt", "talk.vtt"}
    # the VTT, not asked for now, was written by wat and belongs to the same sidecar
    assert again(talk, formats("srt,vtt", transcribe=TranscribeOptions(temperature=0.5)))[0].up_to_date


# --- nobody's work is lost ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["talk.srt", "talk.vtt", "talk.json"])
def test_somebody_elses_file_stays(talk: Path, name: str) -> None:
    theirs = talk.with_name(name)
    theirs.write_text("a person's")
    outcome = caption(talk)
    assert (outcome.status, theirs.read_text()) == (Status.SKIPPED, "a person's")
    assert name in outcome.reason
    assert not outcome.up_to_date
    assert len(list(talk.parent.iterdir())) == 2
    assert caption(talk, RunOptions(output=OutputOptions(overwrite=True))).status is Status.WRITTEN
    assert theirs.read_text() != "a person's"


def test_a_corrected_file_stays_whatever_changed(talk: Path) -> None:
    caption(talk)
    talk.with_suffix(".srt").write_text("corrected")
    write_wav(talk, 3.0)
    outcome, heard = again(talk)
    assert (outcome.status, heard) == (Status.SKIPPED, 0)
    assert "talk.srt was changed since" in outcome.reason
    assert talk.with_suffix(".srt").read_text() == "corrected"


def test_a_corrected_file_in_a_format_not_asked_for_stays(talk: Path) -> None:
    caption(talk)
    talk.with_suffix(".vtt").write_text("corrected")
    assert caption(talk, formats("srt", transcribe=TranscribeOptions(temperature=0.5))).status is Status.WRITTEN
    assert talk.with_suffix(".vtt").read_text() == "corrected"
    assert "changed since" in again(talk)[0].reason


# --- one bad file ---------------------------------------------------------------------------------------------------


def bad_text(path: Path) -> None:
    path.write_text("this is a letter\n" * 100)


def bad_empty(path: Path) -> None:
    path.write_bytes(b"")


def bad_cut(path: Path) -> None:
    whole = write_wav(path).read_bytes()
    path.write_bytes(whole[:40])


def bad_engine(path: Path) -> None:
    write_wav(path, first=12345)


def bad_folder(path: Path) -> None:
    path.mkdir()


def bad_gone(path: Path) -> None:
    """Seen by discovery, gone when its turn comes."""


@pytest.mark.parametrize("make", [bad_text, bad_empty, bad_cut, bad_engine, bad_folder, bad_gone])
def test_one_bad_file_fails_with_its_reason_and_the_rest_go_on(tmp_path: Path, make: Callable[[Path], None]) -> None:
    sources = [tmp_path / name for name in ("a.wav", "b.wav", "c.wav")]
    write_wav(sources[0])
    make(sources[1])
    write_wav(sources[2])
    report = Report()
    for outcome in run(map(job_for, sources), captioner()):
        report.add(outcome)
    assert [outcome.status for outcome in report.outcomes] == [Status.WRITTEN, Status.FAILED, Status.WRITTEN]
    assert report.outcomes[1].reason
    assert str(tmp_path) not in report.outcomes[1].reason
    assert report.exit_code == ExitCode.SOME_FAILED
    assert not list(tmp_path.glob("b.[sj]*")) and not list(tmp_path.glob(".wat*"))


def test_a_broken_decoder_is_named_and_traced(tmp_path: Path) -> None:
    outcome = caption(write_wav(tmp_path / "b.wav", first=12345))
    assert outcome.reason == "internal error: RuntimeError: the decoder broke down"
    assert "Traceback" in outcome.trace


def test_a_file_that_grows_while_it_is_read_is_no_result(talk: Path) -> None:
    class Recorder(FakeEngine):
        def hear(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            with talk.open("ab") as file:
                file.write(b"more")
            return super().hear(*args, **kwargs)

    outcome = caption(talk, engine=Recorder())
    assert (outcome.status, outcome.reason) == (
        Status.FAILED,
        "it changed while it was read; run again when it is finished",
    )


def test_missing_weights_end_the_run(talk: Path) -> None:
    def load() -> FakeEngine:
        raise WeightsMissing("no weights")

    with pytest.raises(WeightsMissing):
        list(run([job_for(talk)], Captioner(setting_of(RunOptions(), WEIGHTS), load, Progress())))


def test_outcomes_come_one_by_one(tmp_path: Path) -> None:
    sources = [write_wav(tmp_path / name) for name in ("a.wav", "b.wav")]
    outcomes = run(map(job_for, sources), captioner())
    next(outcomes)
    assert sources[0].with_suffix(".json").exists()
    assert not sources[1].with_suffix(".json").exists()


def test_progress_is_told(talk: Path) -> None:
    told: list[object] = []

    class Teller(Progress):
        def probed(self, info, track):  # type: ignore[no-untyped-def]
            told.append(info.duration)

        def heard(self, source: Path, seconds: float) -> None:
            told.append(seconds)

        def closed(self, outcome: Outcome) -> None:
            told.append(outcome.status)

    list(run([job_for(talk)], Captioner(setting_of(RunOptions(), WEIGHTS), FakeEngine, Teller())))
    assert told == [2.0, 2.0, Status.WRITTEN]


def test_what_cannot_be_read_leaves_no_folder_behind(tmp_path: Path) -> None:
    bad_text(tmp_path / "b.wav")
    job = Job(tmp_path / "b.wav", Outputs(tmp_path / "out" / "deep", "b"))
    assert captioner().caption(job).status is Status.FAILED
    assert not (tmp_path / "out").exists()


# --- several runs -----------------------------------------------------------------------------------------------------


def test_a_file_that_another_run_works_on_is_left_to_it(talk: Path) -> None:
    engine = FakeEngine()
    with outputs.locked(talk.with_suffix(".json")):
        outcome = caption(talk, engine=engine)
    assert (outcome.status, outcome.reason) == (Status.SKIPPED, "another run is working on it")
    assert engine.heard == []


def test_a_file_that_another_run_finished_meanwhile_is_not_done_again(
    talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = outputs.locked

    def late(sidecar: Path) -> AbstractContextManager[None]:
        monkeypatch.setattr(outputs, "locked", locked)
        caption(talk)
        return locked(sidecar)

    monkeypatch.setattr(outputs, "locked", late)
    outcome, heard = again(talk)
    assert (outcome.status, outcome.up_to_date, heard) == (Status.SKIPPED, True, 0)


@pytest.mark.parametrize("left", [outputs.lock_path, outputs.resume_path, outputs.part_path])
def test_what_a_run_killed_at_its_last_step_left_is_cleared_by_the_next(
    talk: Path, left: Callable[[Path], Path]
) -> None:
    caption(talk)
    left(talk.with_suffix(".json")).touch()
    outcome, heard = again(talk)
    assert (outcome.status, outcome.up_to_date, heard) == (Status.SKIPPED, True, 0)
    assert [path.name for path in talk.parent.iterdir() if path.name.startswith(".")] == []


def test_a_run_cut_off_between_two_renames_is_finished_by_the_next(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.replace

    def dying(path: Path, target: Path) -> None:
        if target.suffix == ".vtt":
            raise KeyboardInterrupt
        replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            caption(talk)
    assert sorted(path.name for path in talk.parent.glob("talk.*")) == ["talk.srt", "talk.wav"]
    outcome, heard = again(talk)
    assert (outcome.up_to_date, heard) == (True, 0)
    assert sorted(path.name for path in talk.parent.iterdir()) == ["talk.json", "talk.srt", "talk.vtt", "talk.wav"]


# --- the plan ---------------------------------------------------------------------------------------------------------


def test_the_plan_says_what_a_run_would_do_and_writes_nothing(tmp_path: Path) -> None:
    due, done, foreign, broken = (tmp_path / f"{name}.wav" for name in ("due", "done", "foreign", "broken"))
    for path in (due, done, foreign):
        write_wav(path)
    caption(done)
    foreign.with_suffix(".srt").write_text("theirs")
    broken.write_text("text")
    before = sorted(tmp_path.iterdir())
    plans = list(planned(map(job_for, (due, done, foreign, broken)), setting_of(RunOptions(), WEIGHTS)))
    assert [plan.outcome.status for plan in plans] == [Status.WRITTEN, Status.SKIPPED, Status.SKIPPED, Status.FAILED]
    assert plans[0].info is not None and plans[0].info.duration == 1.0
    assert plans[1].outcome.reason == "up to date"
    assert "foreign.srt was not written by wat" in plans[2].outcome.reason
    assert sorted(tmp_path.iterdir()) == before


def test_a_report_counts(tmp_path: Path) -> None:
    report = Report()
    assert (report.exit_code, str(report)) == (ExitCode.OK, "nothing to do")
    report.add(Outcome(tmp_path, Status.SKIPPED))
    report.add(Outcome(tmp_path, Status.WRITTEN))
    assert (report.exit_code, str(report)) == (ExitCode.OK, "1 written, 1 skipped")
    report.add(Outcome(tmp_path, Status.FAILED))
    assert (report.exit_code, str(report)) == (ExitCode.SOME_FAILED, "1 written, 1 skipped, 1 failed")


# --- what is left for later ---------------------------------------------------------------------------------------


def test_a_file_that_was_just_changed_waits(talk: Path) -> None:
    fresh = RunOptions(batch=BatchOptions(min_age=3600))
    outcome = caption(talk, fresh)
    assert (outcome.status, outcome.up_to_date) == (Status.SKIPPED, False)
    assert "--min-age 3600" in outcome.reason
    hour_ago = time.time() - 3601
    os.utime(talk, (hour_ago, hour_ago))
    assert caption(talk, fresh).status is Status.WRITTEN


def test_a_file_from_the_future_is_not_left_for_ever(talk: Path) -> None:
    os.utime(talk, (time.time() + 9999, time.time() + 9999))
    assert caption(talk).status is Status.WRITTEN


@pytest.mark.parametrize("there", ["talk.srt", "talk.vtt", "talk.json"])
def test_what_exists_can_be_left_alone_whatever_made_it(talk: Path, there: str) -> None:
    talk.with_name(there).write_text("whoever")
    outcome = caption(talk, RunOptions(output=OutputOptions(skip_existing=True)))
    assert (outcome.status, outcome.reason) == (Status.SKIPPED, f"{there} exists")


def test_what_exists_in_a_format_not_asked_for_does_not_count(talk: Path) -> None:
    talk.with_suffix(".vtt").write_text("whoever")
    outcome = caption(talk, RunOptions(output=OutputOptions(skip_existing=True, output_format="srt")))
    assert outcome.status is Status.WRITTEN


# --- partly -----------------------------------------------------------------------------------------------------------


def test_audio_that_ends_early_is_reported(tmp_path: Path) -> None:
    whole = write_wav(tmp_path / "whole.wav", 60.0)
    command = [find_ffmpeg().ffmpeg, "-v", "error", "-i", str(whole), str(tmp_path / "talk.flac")]
    subprocess.run(command, check=True)
    data = (tmp_path / "talk.flac").read_bytes()
    (tmp_path / "talk.flac").write_bytes(data[: len(data) // 3])
    outcome = caption(tmp_path / "talk.flac")
    if outcome.status is Status.FAILED:  # an ffmpeg that takes the cut for an error
        return
    assert outcome.status is Status.PARTLY
    assert "of 60.0 s: the file is cut off" in outcome.reason
    report = Report([outcome])
    assert report.exit_code == ExitCode.SOME_FAILED
    assert json.loads((tmp_path / "talk.json").read_text())["incomplete"] == outcome.reason


def info_of(duration: float | None, track: float | None, start: float = 0.0, video: bool = False) -> MediaInfo:
    stream = AudioStream(0, "aac", None, None, True, start, track, 1, 16000)
    return MediaInfo(Path("a"), duration, 0.0, "mov", (stream,), video, ())


@pytest.mark.parametrize(
    ("info", "heard", "short"),
    [
        (info_of(100.0, 100.0), 60.0, True),
        (info_of(100.0, 100.0), 96.0, False),
        (info_of(100.0, 50.0, start=40.0), 90.0, False),
        (info_of(100.0, 50.0, start=40.0), 50.0, True),
        (info_of(100.0, None), 50.0, True),
        (info_of(100.0, None, video=True), 50.0, False),  # a film may outlast its sound
        (info_of(None, None), 50.0, False),
        (info_of(1.0, 1.0), 0.2, False),
    ],
)
def test_how_short_is_too_short(info: MediaInfo, heard: float, short: bool) -> None:
    assert bool(captioning.shortfall(info, info.audio[0], heard)) is short


# --- what nobody foresaw ----------------------------------------------------------------------------------------------


def test_a_fault_before_hearing_fails_one_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [write_wav(tmp_path / name) for name in ("a.wav", "b.wav", "c.wav")]
    judge = captioning.judge

    def faulty(job: Job, setting: captioning.Setting) -> captioning.Verdict:
        if job.source.name == "b.wav":
            raise RecursionError("too deep")
        return judge(job, setting)

    monkeypatch.setattr(captioning, "judge", faulty)
    outcomes = list(run(map(job_for, sources), captioner()))
    assert [outcome.status for outcome in outcomes] == [Status.WRITTEN, Status.FAILED, Status.WRITTEN]
    assert outcomes[1].reason == "internal error: RecursionError: too deep"
    assert "Traceback" in outcomes[1].trace


def test_fewer_slots_are_told_of_once(tmp_path: Path) -> None:
    class Shrinking(FakeEngine):
        slots = 8

        def hear(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            self.slots = 4
            return super().hear(*args, **kwargs)

    notes: list[str] = []

    class Teller(Progress):
        def note(self, text: str) -> None:
            notes.append(text)

    jobs = [job_for(write_wav(tmp_path / name)) for name in ("a.wav", "b.wav")]
    list(run(jobs, Captioner(setting_of(DEFAULTS, WEIGHTS), Shrinking, Teller())))
    assert notes == ["the memory ran out; from now on 4 are heard together where there were 8"]
