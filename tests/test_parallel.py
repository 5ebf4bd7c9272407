"""Several workers: the same outputs as one, every outcome told, and a worker that dies is no end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes import load_fake, load_fatal, load_nothing, write_wav
from wat_cli.batch import Captioner, Outcome, Progress, Status, run, setting_of
from wat_cli.checkpoints import ResolvedWeights, WeightFile
from wat_cli.discovery import Job, Outputs
from wat_cli.errors import WeightsMissing
from wat_cli.options import RunOptions
from wat_cli.parallel import BUNDLE, Load, bundles, run_parallel

WEIGHTS = ResolvedWeights(WeightFile("a", Path("a"), "a" * 64), WeightFile("b", Path("b"), "b" * 64), None)
OPTIONS = RunOptions()


def jobs_in(folder: Path, count: int, poisoned: int | None = None) -> list[Job]:
    made = []
    for number in range(count):
        first = 12345 if number == poisoned else None
        source = write_wav(folder / f"{number}.wav", 1.0 + number / 10, level=0.1 + number / 20, first=first)
        made.append(Job(source, Outputs(folder, source.stem)))
    return made


class Told(Progress):
    def __init__(self) -> None:
        self.opened_jobs: list[Path] = []
        self.outcomes: list[Outcome] = []

    def opened(self, job: Job) -> None:
        self.opened_jobs.append(job.source)

    def closed(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


def parallel(jobs: list[Job], load: Load, told: Progress | None = None) -> list[Outcome]:
    return list(run_parallel(jobs, OPTIONS, WEIGHTS, 2, told or Progress(), load))


@pytest.mark.parametrize(("count", "workers"), [(0, 2), (1, 2), (7, 2), (100, 4), (1000, 3)])
def test_bundles_hold_every_job_once_and_in_order(count: int, workers: int) -> None:
    jobs = [Job(Path(str(number)), Outputs(Path(), str(number))) for number in range(count)]
    made = bundles(jobs, workers)
    assert [job for bundle in made for job in bundle] == jobs
    assert all(1 <= len(bundle) <= BUNDLE for bundle in made)
    assert len(made) >= min(count, 4 * workers)


def test_two_workers_write_what_one_writes(tmp_path: Path) -> None:
    apart, together = jobs_in(tmp_path / "one", 9), jobs_in(tmp_path / "two", 9)
    list(run(apart, Captioner(setting_of(OPTIONS, WEIGHTS), lambda: load_fake(WEIGHTS, OPTIONS.model), Progress())))
    told = Told()
    outcomes = parallel(together, load_fake, told)
    assert {outcome.status for outcome in outcomes} == {Status.WRITTEN}
    assert sorted(outcome.source for outcome in outcomes) == [job.source for job in together]
    assert told.outcomes == outcomes
    assert sorted(told.opened_jobs) == [job.source for job in together]
    for one, two in zip(apart, together, strict=True):
        assert one.source.with_suffix(".srt").read_bytes() == two.source.with_suffix(".srt").read_bytes()
        documents = [json.loads(job.outputs.sidecar.read_text()) for job in (one, two)]
        differing = {key for key in documents[0] if documents[0][key] != documents[1][key]}
        assert differing <= {"source", "timings", "checksum"}


def test_a_broken_file_fails_alone(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, 6, poisoned=2)
    failed = [outcome for outcome in parallel(jobs, load_fake) if outcome.status is Status.FAILED]
    assert [outcome.source.name for outcome in failed] == ["2.wav"]


def test_a_worker_that_dies_fails_its_jobs_and_no_run_hangs(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, 6, poisoned=2)
    outcomes = {outcome.source.name: outcome for outcome in parallel(jobs, load_fatal)}
    assert len(outcomes) == 6
    assert outcomes["2.wav"].status is Status.FAILED
    assert "worker died" in outcomes["2.wav"].reason
    again = {outcome.source.name: outcome.status for outcome in parallel(jobs, load_fake)}
    assert again.pop("2.wav") is Status.FAILED  # the poison is still in it
    assert set(again.values()) <= {Status.WRITTEN, Status.SKIPPED}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_ends_a_run_ends_it_from_a_worker_too(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing):
        parallel(jobs_in(tmp_path, 3), load_nothing)


def test_an_interrupt_ends_the_workers(tmp_path: Path) -> None:
    class Impatient(Progress):
        def closed(self, outcome: Outcome) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parallel(jobs_in(tmp_path, 6), load_fake, Impatient())
