"""Several workers: the same outputs as one, every outcome told, and a worker that dies is no end."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.fakes import FakeEngine, load_fake, load_fatal, load_nothing, write_wav
from wat_cli.batch import Captioner, Outcome, Progress, Status, run, setting_of
from wat_cli.checkpoints import ResolvedWeights, WeightFile
from wat_cli.discovery import Job, Outputs
from wat_cli.errors import WeightsMissing
from wat_cli.options import BatchOptions, ModelOptions, RunOptions
from wat_cli.parallel import BARREN, DIED, FILES_A_SLOT, HOUR, Load, Told, bundles, run_crew, run_parallel

WEIGHTS = ResolvedWeights(WeightFile("a", Path("a"), "a" * 64), WeightFile("b", Path("b"), "b" * 64), None)
OPTIONS = RunOptions()
TESTS = Path(__file__).parent


def jobs_in(folder: Path, count: int, poisoned: int | None = None) -> list[Job]:
    made = []
    for number in range(count):
        first = 12345 if number == poisoned else None
        source = write_wav(folder / f"{number}.wav", 1.0 + number / 10, level=0.1 + number / 20, first=first)
        made.append(Job(source, Outputs(folder, source.stem)))
    return made


class Heard(Progress):
    def __init__(self) -> None:
        self.opened_jobs: list[Path] = []
        self.outcomes: list[Outcome] = []

    def opened(self, job: Job) -> None:
        self.opened_jobs.append(job.source)

    def closed(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


def parallel(
    jobs: list[Job],
    load: Load,
    told: Progress | None = None,
    options: RunOptions = OPTIONS,
    devices: Sequence[str] = ("cpu", "cpu"),
) -> list[Outcome]:
    return list(run_parallel(jobs, options, WEIGHTS, devices, told or Progress(), load))


# --- bundles ----------------------------------------------------------------------------------------------------------


def named(count: int) -> list[Job]:
    return [Job(Path(str(number)), Outputs(Path(), str(number))) for number in range(count)]


@pytest.mark.parametrize(("count", "workers", "slots"), [(0, 2, 1), (1, 2, 8), (7, 2, 1), (100, 4, 1), (1000, 3, 8)])
def test_bundles_hold_every_job_once_and_in_order(count: int, workers: int, slots: int) -> None:
    jobs = named(count)
    made = bundles(jobs, workers, slots, seconds=lambda job: 60.0)
    assert [job for bundle in made for job in bundle] == jobs
    sizes = [len(bundle) for bundle in made]
    assert all(1 <= size <= FILES_A_SLOT * slots for size in sizes)
    assert sizes == sorted(sizes, reverse=True)
    assert len(made) >= min(count, workers)


def test_bundles_keep_the_slots_full_and_end_together() -> None:
    assert [len(bundle) for bundle in bundles(named(100), 2, 8, lambda job: 1.0)] == [25, 19, 14, 11, 8, 8, 8, 4, 2, 1]
    assert [len(bundle) for bundle in bundles(named(8), 2, 8, lambda job: 1.0)] == [4, 4]
    assert [len(bundle) for bundle in bundles(named(12), 2, 1, lambda job: 1.0)] == [3, 3, 2, 1, 1, 1, 1]


def test_a_bundle_holds_an_hour_of_audio() -> None:
    made = bundles(named(1000), 2, 8, lambda job: 1000.0)
    assert {len(bundle) for bundle in made[:100]} == {4}
    assert {len(bundle) for bundle in bundles(named(50), 2, 8, lambda job: 3 * HOUR)} == {1}


def test_how_much_audio_a_file_holds_is_estimated_from_its_size(tmp_path: Path) -> None:
    """120 hours of films are no bundle, however short they are in files."""
    jobs = []
    for number in range(64):
        source = tmp_path / f"{number}.mkv"
        with source.open("wb") as file:
            file.truncate(600 << 20)
        jobs.append(Job(source, Outputs(tmp_path, source.stem)))
    assert {len(bundle) for bundle in bundles(jobs, 1, 8)} == {1}
    small = [dataclasses.replace(job, source=job.source.with_suffix(".mp3")) for job in jobs]
    assert len(bundles(small, 1, 8)[0]) == 32  # not there: nothing is known of them


# --- processes --------------------------------------------------------------------------------------------------------


def test_two_workers_write_what_one_writes(tmp_path: Path) -> None:
    apart, together = jobs_in(tmp_path / "one", 9), jobs_in(tmp_path / "two", 9)
    list(run(apart, Captioner(setting_of(OPTIONS, WEIGHTS), lambda: load_fake(WEIGHTS, OPTIONS.model), Progress())))
    told = Heard()
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


def load_noting(weights: ResolvedWeights, options: ModelOptions) -> FakeEngine:
    """Leaves a note of who loaded an engine for which device."""
    assert options.model_dir is not None
    (options.model_dir / f"{os.getpid()} {options.device} {options.threads}").touch()
    return FakeEngine()


@pytest.mark.parametrize("devices", [("cpu", "cpu"), ("cpu", "auto")])
def test_each_worker_has_an_engine_and_a_device_of_its_own(tmp_path: Path, devices: tuple[str, ...]) -> None:
    (tmp_path / "notes").mkdir()
    options = RunOptions(model=ModelOptions(model_dir=tmp_path / "notes", threads=3))
    outcomes = parallel(jobs_in(tmp_path, 12), load_noting, options=options, devices=devices)
    assert {outcome.status for outcome in outcomes} == {Status.WRITTEN}
    notes = [note.name.split() for note in (tmp_path / "notes").iterdir()]
    processes, used, threads = zip(*notes, strict=True)
    assert 1 <= len(processes) == len(set(processes)) <= 2
    assert set(threads) == {"3"} and str(os.getpid()) not in processes
    if len(processes) == 2:  # one may have done it all before the other had started
        assert sorted(used) == sorted(devices)


def test_a_worker_hears_several_files_together(tmp_path: Path) -> None:
    options = RunOptions(batch=BatchOptions(batch_size=3))
    outcomes = parallel(jobs_in(tmp_path, 9), load_fake, options=options)
    assert [outcome.status for outcome in outcomes] == [Status.WRITTEN] * 9


def test_a_broken_file_fails_alone(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, 6, poisoned=2)
    failed = [outcome for outcome in parallel(jobs, load_fake) if outcome.status is Status.FAILED]
    assert [outcome.source.name for outcome in failed] == ["2.wav"]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_file_that_kills_its_worker_fails_alone(tmp_path: Path, batch_size: int) -> None:
    jobs = jobs_in(tmp_path, 8, poisoned=2)
    options = RunOptions(batch=BatchOptions(batch_size=batch_size))
    told = Heard()
    outcomes = {outcome.source.name: outcome for outcome in parallel(jobs, load_fatal, told, options)}
    assert len(outcomes) == len(told.outcomes) == 8
    assert (outcomes.pop("2.wav").reason, {o.status for o in outcomes.values()}) == (DIED, {Status.WRITTEN})
    again = {outcome.source.name: outcome.status for outcome in parallel(jobs, load_fake)}
    assert again.pop("2.wav") is Status.FAILED  # the poison is still in it
    assert set(again.values()) == {Status.SKIPPED}
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


# --- workers that die, without processes ------------------------------------------------------------------------------


class FrailCrew:
    """Works in its bundles' order, and dies at every file of `poison`, with one that it had in work beside it."""

    workers = 2

    def __init__(self, poison: set[str], silent: bool = False) -> None:
        self._poison, self._silent = poison, silent
        self.lost: frozenset[Path] = frozenset()
        self.rounds: list[int] = []
        self.killed = False

    def follow(self, bundles: Sequence[tuple[Job, ...]]) -> Iterator[Told]:
        jobs = [job for bundle in bundles for job in bundle]
        self.lost = frozenset()
        self.rounds.append(len(jobs))
        for place, job in enumerate(jobs):
            if job.source.name in self._poison:
                beside = jobs[place + 1 : place + 2]
                yield from () if self._silent else (job, *beside)
                self.lost = frozenset() if self._silent else frozenset(j.source for j in (job, *beside))
                return
            yield job
            yield Outcome(job.source, Status.WRITTEN)

    def kill(self) -> None:
        self.killed = True


def through(crew: FrailCrew, count: int) -> dict[str, str]:
    return {o.source.name: o.reason or o.status.value for o in run_crew(named(count), crew, Progress(), 1)}


def test_what_the_dead_had_in_work_is_tried_again_alone() -> None:
    crew = FrailCrew({"3", "7"})
    assert through(crew, 10) == {str(n): DIED if n in (3, 7) else "written" for n in range(10)}
    assert crew.rounds == [10, 5, 1, 1, 1, 1, 1][: len(crew.rounds)]
    assert sum(crew.rounds[1:]) <= 10


def test_many_files_that_kill_their_worker_do_not_fail_the_others() -> None:
    poison = {str(number) for number in range(0, 40, 4)}
    told = through(FrailCrew(poison), 40)
    assert {name for name, reason in told.items() if reason == DIED} == poison


@pytest.mark.parametrize("age", [0.0, 60.0], ids=["by the dead", "before the run"])
def test_what_the_dead_had_written_counts_as_written(tmp_path: Path, age: float) -> None:
    """Its worker died before it could say so: whoever waits for the file (``--on-file``) must hear of it."""
    job = Job(tmp_path / "film.wav", Outputs(tmp_path, "film"))

    class Crew(FrailCrew):
        def follow(self, bundles: Sequence[tuple[Job, ...]]) -> Iterator[Told]:
            again, self.lost = bool(self.lost), frozenset({job.source})
            yield job
            if again:
                yield Outcome(job.source, Status.SKIPPED, "up to date", up_to_date=True)
                return
            job.outputs.sidecar.touch()
            os.utime(job.outputs.sidecar, (time.time() - age + 1,) * 2)

    told = Heard()
    (outcome,) = run_crew([job], Crew(set()), told, 1)
    assert told.outcomes == [outcome]
    if age:
        assert (outcome.status, outcome.outputs) == (Status.SKIPPED, ())
    else:
        assert (outcome.status, outcome.outputs) == (Status.WRITTEN, (job.outputs.sidecar,))


def test_workers_that_never_do_anything_end_the_run() -> None:
    crew = FrailCrew({"0"}, silent=True)
    assert set(through(crew, 50).values()) == {DIED}
    assert len(crew.rounds) == BARREN


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    """As the out-of-memory killer does it: nobody is left to tell them."""
    program = (
        "import sys; from pathlib import Path; from test_parallel import *\n"
        "list(run_parallel(jobs_in(Path(sys.argv[1]), 4), OPTIONS, WEIGHTS, ('cpu', 'cpu'), Progress(), load_stuck))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]), "STUCK": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "films")], env=environment) as parent:
        deadline = time.monotonic() + 60
        while len(pids := [int(path.suffix[1:]) for path in tmp_path.glob("stuck.*")]) < 2:
            assert time.monotonic() < deadline and parent.poll() is None
            time.sleep(0.05)
        parent.kill()
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def load_stuck(weights: ResolvedWeights, options: ModelOptions) -> FakeEngine:
    """Says that it is here, and never comes to an end."""
    (Path(os.environ["STUCK"]) / f"stuck.{os.getpid()}").touch()
    time.sleep(600)
    raise AssertionError


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
