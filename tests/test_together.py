"""Several files heard together: the same outputs, every outcome once, and an interrupt that drops them cleanly."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import WINDOW, FakeEngine, load_nothing, write_wav
from wat_cli import captioning, outputs
from wat_cli.batch import Captioner, Outcome, Progress, Status, run, setting_of
from wat_cli.checkpoints import ResolvedWeights, WeightFile
from wat_cli.discovery import Job, Outputs
from wat_cli.errors import WeightsMissing
from wat_cli.options import RunOptions
from wat_cli.together import run_jobs, run_together

WEIGHTS = ResolvedWeights(WeightFile("a", Path("a"), "a" * 64), WeightFile("b", Path("b"), "b" * 64), None)
SETTING = setting_of(RunOptions(), WEIGHTS)


def jobs_in(folder: Path, count: int, seconds: float = 1.0) -> list[Job]:
    sources = [write_wav(folder / f"{number}.wav", seconds + number / 10, 0.1 + number / 20) for number in range(count)]
    return [Job(source, Outputs(folder, source.stem)) for source in sources]


class Meeting(FakeEngine):
    """Hears nothing until three files have come together."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier = threading.Barrier(3, timeout=30)

    def hear(self, *arguments: Any, **rest: Any) -> Any:
        self.barrier.wait()
        return super().hear(*arguments, **rest)


def test_files_are_heard_together_and_come_out_as_alone(tmp_path: Path) -> None:
    alone, together = jobs_in(tmp_path / "one", 6), jobs_in(tmp_path / "two", 6)
    list(run(alone, Captioner(SETTING, FakeEngine, Progress())))
    told: list[Outcome] = []

    class Told(Progress):
        def closed(self, outcome: Outcome) -> None:
            told.append(outcome)

    engine = Meeting()
    outcomes = list(run_together(together, Captioner(SETTING, lambda: engine, Told()), 3))
    assert {outcome.status for outcome in outcomes} == {Status.WRITTEN}
    assert sorted(outcome.source for outcome in outcomes) == [job.source for job in together]
    assert sorted(outcome.source for outcome in told) == [job.source for job in together]
    for one, two in zip(alone, together, strict=True):
        documents = [json.loads(job.outputs.sidecar.read_text()) for job in (one, two)]
        differing = {key for key in documents[0] if documents[0][key] != documents[1][key]}
        assert differing <= {"source", "timings", "checksum"}


def test_one_engine_is_loaded_for_all(tmp_path: Path) -> None:
    loaded: list[FakeEngine] = []

    def load() -> FakeEngine:
        loaded.append(FakeEngine())
        return loaded[-1]

    assert len(list(run_together(jobs_in(tmp_path, 8), Captioner(SETTING, load, Progress()), 4))) == 8
    assert len(loaded) == 1


def test_a_bad_file_fails_alone(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, 5)
    jobs[2].source.write_text("text")
    outcomes = list(run_together(jobs, Captioner(SETTING, FakeEngine, Progress()), 3))
    assert [outcome.source.name for outcome in outcomes if outcome.status is Status.FAILED] == ["2.wav"]
    assert len(outcomes) == 5


def test_what_ends_a_run_ends_it(tmp_path: Path) -> None:
    captioner = Captioner(SETTING, lambda: load_nothing(WEIGHTS, RunOptions().model), Progress())
    with pytest.raises(WeightsMissing):
        list(run_together(jobs_in(tmp_path, 4), captioner, 2))


def test_an_interrupt_drops_what_is_in_work_and_the_next_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captioning, "LONG_SECONDS", 60)
    quick, slow = jobs_in(tmp_path, 1), jobs_in(tmp_path / "long", 2, seconds=200.0)
    interrupted, reached = threading.Event(), threading.Semaphore(0)

    class Waiting(FakeEngine):
        """Hears two windows of a long file, then waits for the interrupt."""

        def _level(self, window: Any, start: int, notebook: Any) -> int:
            if start == 2 * WINDOW:
                reached.release()
                assert interrupted.wait(30)
            return super()._level(window, start, notebook)

    outcomes = run_together([*slow, *quick], Captioner(SETTING, Waiting, Progress()), 3)
    assert next(outcomes).source == quick[0].source
    assert all(reached.acquire(timeout=30) for _ in slow)
    timer = threading.Timer(0.3, interrupted.set)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        outcomes.throw(KeyboardInterrupt)  # type: ignore[attr-defined]
    assert not any(job.outputs.sidecar.exists() for job in slow)
    assert all(outputs.resume_path(job.outputs.sidecar).exists() for job in slow)
    engine = FakeEngine()
    assert all(o.status is Status.WRITTEN for o in run(slow, Captioner(SETTING, lambda: engine, Progress())))
    assert engine.windows <= 2 * 5  # of seven each
    hidden = [path for path in (tmp_path / "long").iterdir() if path.name.startswith(".")]
    assert hidden == []


def test_the_largest_come_first_where_files_are_heard_together(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, 4)
    opened: list[Path] = []

    class Opened(Progress):
        def opened(self, job: Job) -> None:
            opened.append(job.source)

    assert len(list(run_jobs(jobs, Captioner(SETTING, FakeEngine, Opened()), 2))) == 4
    assert opened[0] == jobs[-1].source
    opened.clear()
    assert len(list(run_jobs(jobs_in(tmp_path / "b", 3), Captioner(SETTING, FakeEngine, Opened()), 1))) == 3
    assert [path.name for path in opened] == ["0.wav", "1.wav", "2.wav"]
