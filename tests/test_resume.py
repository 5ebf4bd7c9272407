"""Long files that are interrupted: the next run goes on where the last one stopped, and ends the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import FakeEngine, write_wav
from wat_cli import captioning, outputs
from wat_cli.batch import Captioner, Outcome, Progress, Status, setting_of
from wat_cli.checkpoints import ResolvedWeights, WeightFile
from wat_cli.discovery import Job, Outputs
from wat_cli.options import RunOptions, TranscribeOptions
from wat_cli.resume import ResumeLog, WindowRecord

RECORDS = [
    WindowRecord(
        seek,
        3000,
        (["en", 0.123456789], {"tokens": [seek, 2], "avg_logprob": -0.1 / 3}),
        (np.full((2, 3), seek / 7, np.float32), np.ones((0, 3), np.float32)),
    )
    for seek in (0, 2800, 5600)
]


def keep(path: Path, records: list[WindowRecord], key: str = "key") -> None:
    with ResumeLog(path, key) as log:
        for record in records:
            log.keep(record)


def recalled(path: Path, key: str = "key") -> list[WindowRecord]:
    """What a log gives when it is asked for `RECORDS` in turn."""
    found = []
    with ResumeLog(path, key) as log:
        for record in RECORDS:
            answer = log.recall(record.seek, record.size)
            if answer is None:
                break
            found.append(answer)
    return found


def same(one: WindowRecord, other: WindowRecord) -> bool:
    plain = (one.seek, one.size, one.answers) == (other.seek, other.size, other.answers)
    return plain and all(np.array_equal(a, b) for a, b in zip(one.logits, other.logits, strict=True))


def test_records_come_back_exactly(tmp_path: Path) -> None:
    keep(tmp_path / "log", RECORDS)
    assert all(map(same, recalled(tmp_path / "log"), RECORDS))
    assert len(recalled(tmp_path / "log")) == 3


def test_another_key_counts_for_nothing(tmp_path: Path) -> None:
    keep(tmp_path / "log", RECORDS)
    assert recalled(tmp_path / "log", "other settings") == []
    assert recalled(tmp_path / "log") == []  # and it was begun anew


def test_where_the_file_goes_elsewhere_the_log_ends(tmp_path: Path) -> None:
    keep(tmp_path / "log", RECORDS)
    with ResumeLog(tmp_path / "log", "key") as log:
        assert log.recall(0, 3000) is not None
        assert log.recall(2900, 3000) is None
        assert log.recall(5600, 3000) is None
        log.keep(RECORDS[1])
    assert len(recalled(tmp_path / "log")) == 2


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_log_cut_or_damaged_anywhere_gives_whole_records_only(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    keep(path, RECORDS)
    whole = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    else:
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(whole)
    found = recalled(path)
    assert all(map(same, found, RECORDS))
    keep(path, [])  # a torn end is no obstacle to going on
    with ResumeLog(path, "key") as log:
        for record in found:
            assert log.recall(record.seek, record.size) is not None
        for record in RECORDS[len(found) :]:
            assert log.recall(record.seek, record.size) is None
            log.keep(record)
    assert len(recalled(path)) == 3


# --- in a batch -------------------------------------------------------------------------------------------------------

WEIGHTS = ResolvedWeights(WeightFile("a", Path("a"), "a" * 64), WeightFile("b", Path("b"), "b" * 64), None)


@pytest.fixture
def long_talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of five windows, long by the standards of this test."""
    monkeypatch.setattr(captioning, "LONG_SECONDS", 60)
    return write_wav(tmp_path / "talk.wav", 145.0, level=0.4)


def caption(source: Path, engine: FakeEngine, options: RunOptions) -> Outcome:
    captioner = Captioner(setting_of(options, WEIGHTS), lambda: engine, Progress())
    return captioner.caption(Job(source, Outputs(source.parent, source.stem)))


class Killed(BaseException):
    """The process dies."""


class Mortal(FakeEngine):
    """Dies while it hears its fourth window."""

    def _level(self, *arguments: Any) -> int:
        if self.windows == 3:
            raise Killed
        return super()._level(*arguments)


def document(source: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(source.with_suffix(".json").read_text())
    return {key: value for key, value in read.items() if key not in ("timings", "checksum")}


def hidden(source: Path) -> list[str]:
    return [path.name for path in source.parent.iterdir() if path.name.startswith(".")]


def test_a_killed_run_goes_on_near_where_it_stopped(long_talk: Path) -> None:
    options = RunOptions()
    undisturbed = FakeEngine()
    assert caption(long_talk, undisturbed, options).status is Status.WRITTEN
    expected = document(long_talk)
    assert undisturbed.windows == 5 and hidden(long_talk) == []
    for suffix in (".json", ".srt", ".vtt"):
        long_talk.with_suffix(suffix).unlink()
    with pytest.raises(Killed):
        caption(long_talk, Mortal(), options)
    assert outputs.resume_path(long_talk.with_suffix(".json")).exists()
    next_run = FakeEngine()
    assert caption(long_talk, next_run, options).status is Status.WRITTEN
    assert next_run.windows == 2
    assert document(long_talk) == expected
    assert hidden(long_talk) == []


def test_other_settings_start_from_the_beginning(long_talk: Path) -> None:
    with pytest.raises(Killed):
        caption(long_talk, Mortal(), RunOptions())
    engine = FakeEngine()
    caption(long_talk, engine, RunOptions(transcribe=TranscribeOptions(temperature=0.5)))
    assert engine.windows == 5


def test_a_changed_file_starts_from_the_beginning(long_talk: Path) -> None:
    with pytest.raises(Killed):
        caption(long_talk, Mortal(), RunOptions())
    write_wav(long_talk, 145.0, level=0.5)
    engine = FakeEngine()
    caption(long_talk, engine, RunOptions())
    assert engine.windows == 5


def test_a_short_file_keeps_nothing(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "talk.wav", 145.0)
    with pytest.raises(Killed):
        caption(source, Mortal(), RunOptions())
    assert hidden(source) == []


def test_a_file_that_fails_keeps_nothing(long_talk: Path) -> None:
    class Broken(FakeEngine):
        def _level(self, *arguments: Any) -> int:
            if self.windows == 3:
                raise RuntimeError("broken")
            return super()._level(*arguments)

    assert caption(long_talk, Broken(), RunOptions()).status is Status.FAILED
    assert hidden(long_talk) == []


# --- with a real engine -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"logprob_threshold": -4.6, "temperature_increment_on_fallback": 0.8, "best_of": 1, "language": "de"},
        {"word_timestamps": True, "language": "en"},
    ],
)
def test_an_engine_that_goes_on_hears_the_same(tmp_path: Path, changes: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    from random_whisper import Samples, noises, random_whisper

    from wat_cli.engine import Engine
    from wat_cli.model.tltr import TLTR
    from wat_cli.model.whisper_at import WhisperAT

    model = random_whisper(1, ending=0.6)
    torch.manual_seed(5)
    head = TLTR(model.dims.n_audio_layer, model.dims.n_audio_state, 7).eval().requires_grad_(False)
    plain = TranscribeOptions(
        beam_size=None, temperature_increment_on_fallback=None, logprob_threshold=None, compression_ratio_threshold=None
    )
    options = dataclasses.replace(plain, **changes)
    audio = Samples(noises(75.0, seed=2))
    engine = Engine(WhisperAT(model), head)
    passes = 0

    def count(*_: Any) -> None:
        nonlocal passes
        passes += 1

    hook = model.encoder.conv1.register_forward_hook(count)
    expected = engine.hear(audio, options)
    undisturbed = passes
    assert undisturbed == expected.windows >= 3

    def die(seconds: float) -> None:
        if seconds > 25.0:
            raise Killed

    with pytest.raises(Killed), ResumeLog(tmp_path / "log", "key") as log:
        engine.hear(audio, options, progress=die, notebook=log)
    # the window under way is lost; those before it are not
    with pytest.raises(Killed), ResumeLog(tmp_path / "log", "key") as log:
        engine.hear(audio, options, progress=lambda seconds: die(seconds - 30.0), notebook=log)
    passes = 0
    with ResumeLog(tmp_path / "log", "key") as log:
        heard = engine.hear(audio, options, notebook=log)
        assert log.recalled >= 1
        assert passes == undisturbed - log.recalled
    hook.remove()
    assert heard.segments == expected.segments
    assert (heard.language, heard.language_probability) == (expected.language, expected.language_probability)
    assert (heard.windows, heard.encoder_passes) == (expected.windows, expected.encoder_passes)
    assert heard.tags is not None and expected.tags is not None
    np.testing.assert_array_equal(heard.tags.when, expected.tags.when)
    np.testing.assert_array_equal(heard.tags.what, expected.tags.what)
