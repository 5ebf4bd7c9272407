"""Several workers: processes with one engine each, to which joblib hands bundles of jobs.

What crosses a process is small: a bundle goes in, and each outcome comes back as a line of its worker's journal while
the bundle is still in work. A worker that dies ends no run: what it had in work is tried again, alone. `run_crew` knows
nothing of where the workers are; `LocalCrew` has them on this machine, `wat_cli.cluster` on several.
Imported only when more than one worker is asked for.
"""

from __future__ import annotations

import os
import pickle
import signal
import tempfile
import threading
import time
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from wat_cli.batch import Captioner, Outcome, Progress, Status, setting_of
from wat_cli.captioning import Hearer
from wat_cli.checkpoints import ResolvedWeights
from wat_cli.cpus import allowed_cpus, within_quota
from wat_cli.discovery import Job
from wat_cli.options import ModelOptions, RunOptions
from wat_cli.together import run_jobs

Load = Callable[[ResolvedWeights, ModelOptions], Hearer]


@dataclass(frozen=True)
class Heard:
    """How far a worker is with a file, in seconds of its audio."""

    source: Path
    seconds: float


Told = Job | Outcome | Heard | str
"""What a journal tells: a job is begun, is so far, has ended, or something that a person may want to know."""

FILES_A_SLOT = 4
"""Files in a bundle for each file that a worker hears at once: its slots stay full for most of the bundle."""

HOUR = 3600.0
_BYTES_A_SECOND = {
    **dict.fromkeys(("wav", "w64", "aif", "aiff", "aifc", "au", "caf"), 32_000),
    **dict.fromkeys(("mp3", "m4a", "m4b", "aac", "ogg", "oga", "opus", "wma", "amr", "ac3", "mka", "spx"), 16_000),
}
_FILM_BYTES_A_SECOND = 150_000
"""By suffix, roughly: enough to keep hours of audio out of one bundle without opening every file beforehand."""

BARREN = 3
"""Deaths of workers, one after the other without a single file done, after which a run gives up."""

_POLL_SECONDS = 0.05
_WATCH, _WATCH_SECONDS = "wat-parent-watch", 0.5
_HEARD_SECONDS = 1.0
_PATIENCE = 30.0
DIED = "its worker died; memory may have been short. Run again"


def load_engine(weights: ResolvedWeights, options: ModelOptions) -> Hearer:
    """The engine of this process, imported where it is needed."""
    from wat_cli import engine

    return engine.load_engine(weights, within_quota(options))


# --- bundles ----------------------------------------------------------------------------------------------------------


def bundles(
    jobs: Sequence[Job], workers: int, slots: int, seconds: Callable[[Job], float] | None = None
) -> list[tuple[Job, ...]]:
    """`jobs` in their order, in bundles of four files a slot or an hour of audio, smaller ones towards the end.

    Jobs that the workers' slots can hold all at once are divided equally: a file that is heard alone takes as many
    decoder steps as eight together.

    Args:
        workers: among which they will be divided, so that all of them have something to do to the end.
        slots: files that a worker hears at once.
        seconds: how much audio a job is; estimated from the file's size if left out.
    """
    seconds, place = seconds or _estimated_seconds, 0
    made: list[tuple[Job, ...]] = []
    at_once = len(jobs) <= workers * slots
    while place < len(jobs):
        left = len(jobs) - place
        if at_once:
            fair = -(-left // max(1, workers - len(made)))
        else:
            fair = max(-(-left // (2 * workers)), min(slots, -(-left // workers)))
        audio, stop = 0.0, place
        while stop < min(len(jobs), place + min(fair, FILES_A_SLOT * slots)) and (audio < HOUR or stop == place):
            audio += seconds(jobs[stop])
            stop += 1
        made.append(tuple(jobs[place:stop]))
        place = stop
    return made


def _estimated_seconds(job: Job) -> float:
    try:
        size = job.source.stat().st_size
    except OSError:
        return 0.0
    return size / _BYTES_A_SECOND.get(job.source.suffix[1:].lower(), _FILM_BYTES_A_SECOND)


# --- the run ----------------------------------------------------------------------------------------------------------


class Crew(Protocol):
    """Workers, wherever they are."""

    workers: int
    """How many bundles are in work at once."""

    def follow(self, bundles: Sequence[tuple[Job, ...]]) -> Iterator[Told]:
        """What the journals tell while the bundles are in work; raises what ends a run."""

    @property
    def lost(self) -> frozenset[Path]:
        """The inputs that dead workers had in work, if the bundles ended because workers died; otherwise nothing."""

    def kill(self) -> None:
        """End the workers at once, where they are this run's own."""


def run_crew(
    jobs: Sequence[Job], crew: Crew, progress: Progress, slots: int, in_work: dict[Path, Job] | None = None
) -> Iterator[Outcome]:
    """Caption `jobs` with a crew; an outcome comes out as soon as its files are on disk.

    Where workers die, the other jobs go on; those that the dead had in work are tried again at the end, one by one, so
    that one which needs more memory than there is fails alone. `in_work` is kept up to date for whoever interrupts.
    """
    left = {job.source: job for job in jobs}
    in_work = {} if in_work is None else in_work
    suspects: set[Path] = set()
    begun: Counter[Path] = Counter()
    started = time.time()
    barren = 0
    while left and barren < BARREN:
        others = [job for source, job in left.items() if source not in suspects]
        alone = () if others else (next(iter(left.values())),)
        done = False
        try:
            for told in crew.follow(bundles(others, crew.workers, slots) if others else [alone]):
                if isinstance(told, str):
                    progress.note(told)
                elif isinstance(told, Heard):
                    progress.heard(told.source, told.seconds)
                elif isinstance(told, Job):
                    in_work[told.source] = told
                    begun[told.source] += 1
                    progress.opened(told)
                else:
                    in_work.pop(told.source, None)
                    if (ended := left.pop(told.source, None)) is not None:  # a bundle that is begun anew tells it twice
                        done = True
                        outcome = _as_written(told, ended, started) if begun[told.source] > 1 else told
                        progress.closed(outcome)
                        yield outcome
        except BaseException:
            crew.kill()
            raise
        in_work.clear()
        barren = 0 if done else barren + bool(others)
        suspects |= crew.lost
        for job in alone:
            if left.pop(job.source, None) is not None:
                yield _died(job, progress)
    for job in left.values():
        yield _died(job, progress)


def _as_written(outcome: Outcome, job: Job, started: float) -> Outcome:
    """The outcome of a job that was begun twice: written, where its first worker died after all was on disk."""
    paths = tuple(path for path in job.outputs.all() if path.exists() and path.stat().st_mtime >= started)
    if not outcome.up_to_date or job.outputs.sidecar not in paths:
        return outcome
    return replace(outcome, status=Status.WRITTEN, reason="", outputs=paths, up_to_date=False)


def _died(job: Job, progress: Progress) -> Outcome:
    outcome = Outcome(job.source, Status.FAILED, DIED)
    progress.closed(outcome)
    return outcome


def run_parallel(
    jobs: Sequence[Job],
    options: RunOptions,
    weights: ResolvedWeights,
    devices: Sequence[str],
    progress: Progress,
    load: Load = load_engine,
    in_work: dict[Path, Job] | None = None,
) -> Iterator[Outcome]:
    """Caption `jobs` in processes of this machine, one for each of `devices` (which may name one several times).

    Raises any `WatError` that ends a run in a worker.
    """
    threads = options.model.threads or max(1, allowed_cpus() // len(devices))
    options = replace(options, model=replace(options.model, threads=threads))
    with tempfile.TemporaryDirectory(prefix="wat-") as folder:
        crew = LocalCrew(Task((), options, weights, load), devices, Path(folder))
        yield from run_crew(jobs, crew, progress, options.batch.batch_size, in_work)


# --- workers of this machine ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What a worker has to know."""

    jobs: tuple[Job, ...]
    options: RunOptions
    weights: ResolvedWeights
    load: Load


class LocalCrew:
    """Processes of this machine, whose journals are files in a folder of our own."""

    def __init__(self, task: Task, devices: Sequence[str], folder: Path) -> None:
        self.workers = len(devices)
        self._task, self._devices, self._folder = task, tuple(devices), folder
        self._rounds = 0
        self._error: BaseException | None = None
        self._open: set[Path] = set()

    @property
    def lost(self) -> frozenset[Path]:
        """What all workers had in work when one died: joblib ends the others with it."""
        return frozenset(self._open)

    def follow(self, bundles: Sequence[tuple[Job, ...]]) -> Iterator[Told]:
        """Hand out the bundles from a thread of its own, and tell what the journals say meanwhile."""
        self._rounds += 1
        self._error, folder = None, self._folder / str(self._rounds)
        folder.mkdir()
        thread = threading.Thread(target=self._drive, args=(bundles, folder), daemon=True)
        thread.start()
        self._open.clear()
        for told in _follow(folder, thread):
            if isinstance(told, Job):
                self._open.add(told.source)
            elif isinstance(told, Outcome):
                self._open.discard(told.source)
            yield told
        if self._error is not None and not isinstance(self._error, TerminatedWorkerError):
            raise self._error

    def _drive(self, bundles: Sequence[tuple[Job, ...]], folder: Path) -> None:
        try:
            Parallel(n_jobs=max(2, self.workers), backend="loky", batch_size=1)(
                delayed(_work)(replace(self._task, jobs=bundle), self._devices, folder) for bundle in bundles
            )
        except BaseException as error:  # handed to the main thread
            self._error = error

    def kill(self) -> None:
        """End the workers at once; what they had in work is dropped, and its locks with them."""
        get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=True)


def _follow(folder: Path, thread: threading.Thread) -> Iterator[Told]:
    """What the workers' journals tell, as they are written."""
    places: dict[Path, int] = {}
    while True:
        over = not thread.is_alive()
        for journal in sorted(folder.glob("*.journal")):
            with journal.open("rb") as file:
                file.seek(places.get(journal, 0))
                for line in file:
                    if not line.endswith(b"\n"):  # still being written
                        break
                    places[journal] = places.get(journal, 0) + len(line)
                    yield from_line(line)
        if over:
            return
        time.sleep(_POLL_SECONDS)


def line_of(told: Told) -> bytes:
    """A line of a journal."""
    return b64encode(pickle.dumps(told)) + b"\n"


def from_line(line: bytes) -> Told:
    """What a line of one of our own workers tells."""
    told: Told = pickle.loads(b64decode(line))
    return told


class Journal(Progress):
    """A worker's side: a line for each job that it begins or ends, and one a second for each in work."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._told: dict[Path, float] = {}

    def opened(self, job: Job) -> None:
        """Work on `job` begins."""
        self._write(line_of(job))

    def heard(self, source: Path, seconds: float) -> None:
        """So many seconds of a file are done."""
        now = time.monotonic()
        if now - self._told.get(source, -_HEARD_SECONDS) >= _HEARD_SECONDS:
            self._told[source] = now
            self._write(line_of(Heard(source, seconds)))

    def note(self, text: str) -> None:
        """Something that a person may want to know."""
        self._write(line_of(text))

    def closed(self, outcome: Outcome) -> None:
        """A job is done with."""
        self._told.pop(outcome.source, None)
        self._write(line_of(outcome))


_engines: dict[tuple[Load, ResolvedWeights, ModelOptions], Hearer] = {}
"""This worker's engine."""
_loading = threading.Lock()
_held: dict[tuple[Path, tuple[str, ...]], tuple[str, FileLock]] = {}
"""The device that this worker took for itself, with the lock that keeps the others off it."""


def caption_bundle(task: Task, write: Callable[[bytes], object]) -> None:
    """In a worker: caption a bundle with this process's engine, and tell of it in the journal."""

    def load() -> Hearer:
        key = (task.load, task.weights, task.options.model)
        with _loading:  # a cluster's worker may have several threads, which share one engine
            if key not in _engines:
                _engines.clear()
                _engines[key] = task.load(task.weights, task.options.model)
            return _engines[key]

    captioner = Captioner(setting_of(task.options, task.weights), load, Journal(write))
    for _ in run_jobs(task.jobs, captioner, task.options.batch.batch_size):
        pass


def _work(task: Task, devices: tuple[str, ...], folder: Path) -> None:
    """In a process of this machine."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal interrupts us all; the parent decides
    if not any(thread.name == _WATCH for thread in threading.enumerate()):
        threading.Thread(target=_end_with, args=(os.getppid(),), name=_WATCH, daemon=True).start()
    device = _own_device(devices, folder.parent)
    task = replace(task, options=replace(task.options, model=replace(task.options.model, device=device)))
    with FileIO(folder / f"{os.getpid()}.journal", "a") as stream:
        caption_bundle(task, stream.write)


def _end_with(parent: int) -> None:
    """End this process, whatever it does, when its parent was killed: nobody would tell it to."""
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)


def _own_device(devices: tuple[str, ...], folder: Path) -> str:
    """The device of this process: the first that no other worker has; held as long as this process lives."""
    if len(set(devices)) == 1:
        return devices[0]
    if (folder, devices) not in _held:
        deadline = time.monotonic() + _PATIENCE
        while (taken := _take(devices, folder)) is None:  # one that ends may still hold it
            if time.monotonic() > deadline:
                raise RuntimeError(f"no device of {', '.join(devices)} is free")
            time.sleep(_POLL_SECONDS)
        _held.clear()
        _held[folder, devices] = taken
    return _held[folder, devices][0]


def _take(devices: tuple[str, ...], folder: Path) -> tuple[str, FileLock] | None:
    for number, device in enumerate(devices):
        lock = FileLock(folder / f"device-{number}.lock", blocking=False)
        with suppress(Timeout):
            lock.acquire()
            return device, lock
    return None
