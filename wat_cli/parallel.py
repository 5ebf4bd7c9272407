"""Several workers: processes of this machine, each with one engine of its own, through joblib.

What crosses a process is small: a bundle of jobs goes in, and each outcome comes back as a line of its worker's journal
while the bundle is still in work. Imported only when more than one worker is asked for.
"""

from __future__ import annotations

import os
import pickle
import signal
import tempfile
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path

from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from wat_cli.batch import Captioner, Outcome, Progress, Status, setting_of
from wat_cli.captioning import Hearer
from wat_cli.checkpoints import ResolvedWeights
from wat_cli.discovery import Job
from wat_cli.options import ModelOptions, RunOptions

Load = Callable[[ResolvedWeights, ModelOptions], Hearer]

BUNDLE = 8
"""Jobs in a bundle at most: enough to keep a worker busy, few enough that all workers end together."""

_POLL_SECONDS = 0.05
_engines: dict[tuple[Load, ResolvedWeights, ModelOptions], Hearer] = {}
"""This worker's engine; a model belongs to one thread of one process."""


def load_engine(weights: ResolvedWeights, options: ModelOptions) -> Hearer:
    """The engine of this process, imported where it is needed."""
    from wat_cli import engine

    return engine.load_engine(weights, options)


def bundles(jobs: Sequence[Job], workers: int) -> list[tuple[Job, ...]]:
    """`jobs` in their order, in bundles of equal size, several for each worker."""
    size = max(1, min(BUNDLE, len(jobs) // (4 * workers)))
    return [tuple(jobs[start : start + size]) for start in range(0, len(jobs), size)]


@dataclass(frozen=True)
class _Task:
    """What a worker has to know."""

    jobs: tuple[Job, ...]
    options: RunOptions
    weights: ResolvedWeights
    load: Load
    journals: Path


def run_parallel(
    jobs: Sequence[Job],
    options: RunOptions,
    weights: ResolvedWeights,
    workers: int,
    progress: Progress,
    load: Load = load_engine,
) -> Iterator[Outcome]:
    """Caption `jobs` in `workers` processes; an outcome comes out as soon as its files are on disk.

    A worker that dies takes its bundle's unfinished jobs with it: they fail, and the next run does them. Raises any
    `WatError` that ends a run in a worker.
    """
    threads = options.model.threads or max(1, (os.cpu_count() or 1) // workers)
    options = replace(options, model=replace(options.model, threads=threads))
    with tempfile.TemporaryDirectory(prefix="wat-") as folder:
        tasks = [_Task(bundle, options, weights, load, Path(folder)) for bundle in bundles(jobs, workers)]
        pool = _Pool(tasks, workers)
        left = {job.source: job for job in jobs}
        try:
            for told in _follow(Path(folder), pool):
                if isinstance(told, Job):
                    progress.opened(told)
                    continue
                left.pop(told.source, None)
                progress.closed(told)
                yield told
        except BaseException:
            pool.kill()
            raise
    if pool.error is not None and not isinstance(pool.error, TerminatedWorkerError):
        raise pool.error
    for job in left.values():
        outcome = Outcome(job.source, Status.FAILED, "its worker died; memory may have been short. Run again")
        progress.closed(outcome)
        yield outcome


class _Pool:
    """The workers, driven by a thread of their own, so that the main thread can follow what they do."""

    def __init__(self, tasks: Sequence[_Task], workers: int) -> None:
        self.error: BaseException | None = None
        self._tasks, self._workers = tasks, workers
        self._thread = threading.Thread(target=self._drive, daemon=True)
        self._thread.start()

    @property
    def at_work(self) -> bool:
        return self._thread.is_alive()

    def _drive(self) -> None:
        try:
            Parallel(n_jobs=self._workers, backend="loky", batch_size=1)(delayed(_work)(task) for task in self._tasks)
        except BaseException as error:  # handed to the main thread
            self.error = error

    def kill(self) -> None:
        """End the workers at once; what they had in work is dropped, and its locks with them."""
        get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=True)


def _follow(folder: Path, pool: _Pool) -> Iterator[Job | Outcome]:
    """Jobs begun and outcomes, from the workers' journals, as they are written."""
    places: dict[Path, int] = {}
    while True:
        over = not pool.at_work
        for journal in sorted(folder.iterdir()):
            with journal.open("rb") as file:
                file.seek(places.get(journal, 0))
                for line in file:
                    if not line.endswith(b"\n"):  # still being written
                        break
                    places[journal] = places.get(journal, 0) + len(line)
                    told: Job | Outcome = pickle.loads(b64decode(line))  # our own worker's, in a folder of our own
                    yield told
        if over:
            return
        time.sleep(_POLL_SECONDS)


class _Journal(Progress):
    """A worker's side: a line for each job that it begins or ends."""

    def __init__(self, stream: FileIO) -> None:
        self._stream = stream

    def _write(self, told: Job | Outcome) -> None:
        self._stream.write(b64encode(pickle.dumps(told)) + b"\n")

    def opened(self, job: Job) -> None:
        """Work on `job` begins."""
        self._write(job)

    def closed(self, outcome: Outcome) -> None:
        """A job is done with."""
        self._write(outcome)


def _work(task: _Task) -> None:
    """In a worker: caption a bundle, and tell of it in the journal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal interrupts us all; the parent decides

    def load() -> Hearer:
        key = (task.load, task.weights, task.options.model)
        if key not in _engines:
            _engines.clear()
            _engines[key] = task.load(task.weights, task.options.model)
        return _engines[key]

    with FileIO(task.journals / str(os.getpid()), "a") as stream:
        captioner = Captioner(setting_of(task.options, task.weights), load, _Journal(stream))
        for job in task.jobs:
            captioner.caption(job)
