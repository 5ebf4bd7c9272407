"""Workers on other machines, through joblib's Dask backend: the scheduler is Dask's, and was started by somebody else.

Every machine must see the inputs and the outputs' folder under the same names, as on a share. What crosses the network
is bundles of jobs, and the lines of the journals, as Dask's events. A bundle whose worker dies is given to another one,
which finds up to date what was done; one whose workers die again and again is taken apart by `run_crew`.
Imported only when a scheduler is named.
"""

from __future__ import annotations

import concurrent.futures
import logging
import queue
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import joblib
from joblib._dask import DaskDistributedBackend

import wat_cli
from wat_cli.batch import Outcome, Progress
from wat_cli.checkpoints import ResolvedWeights, WeightFile, resolve
from wat_cli.discovery import Job
from wat_cli.errors import MissingDependency, UsageError, WatError, WeightsMissing, shown
from wat_cli.options import RunOptions
from wat_cli.parallel import Heard, Load, Task, Told, caption_bundle, from_line, load_engine, run_crew

_CONNECT_SECONDS = 15
_POLL_SECONDS = 0.1
_SILENT_SECONDS = 60.0
"""How long a scheduler may be out of reach before the run ends."""


class ClusterLost(WatError):
    """The cluster went away in the middle; what is finished stays."""


def run_on_cluster(
    jobs: Sequence[Job],
    options: RunOptions,
    weights: ResolvedWeights,
    progress: Progress,
    load: Load = load_engine,
    in_work: dict[Path, Job] | None = None,
) -> Iterator[Outcome]:
    """Caption `jobs` on the cluster of ``--scheduler``; an outcome comes out as soon as its files are on disk.

    An interrupt leaves the workers to finish the bundles that they have begun. Raises `MissingDependency` without Dask,
    `UsageError` where no scheduler answers or a worker cannot do its part, `ClusterLost` where the scheduler goes away,
    and any `WatError` that ends a run in a worker.
    """
    address = options.batch.scheduler or ""
    with _client(address) as client:
        crew = ClusterCrew(client, address, options, weights, load)
        yield from run_crew(jobs, crew, progress, options.batch.batch_size, in_work)


@contextmanager
def _client(address: str) -> Iterator[Any]:
    """A connection to the scheduler, for as long as it is needed."""
    try:
        from distributed import Client
    except ImportError:
        raise MissingDependency("--scheduler needs Dask, which is not installed: pip install 'wat-cli[dask]'") from None
    # at INFO it tells, with a traceback, that a connection was closed, and whether it does is a matter of moments
    logging.getLogger("distributed").setLevel(logging.WARNING)
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"--scheduler {address}: no Dask scheduler answers there ({error})") from None
    try:
        yield client
    finally:
        client.close()


@dataclass(frozen=True)
class _Bundle:
    """What crosses the network to a worker."""

    number: int
    task: Task
    topic: str
    """Of the events that are the journal."""
    version: str


class _Backend(DaskDistributedBackend):  # type: ignore[misc]
    """joblib's Dask backend, but for what hurts in joblib 1.6.

    That one waits for ever for a bundle whose workers died, and where the cluster has a single thread joblib runs
    everything in this process.
    """

    def effective_n_jobs(self, n_jobs: int) -> int:
        return max(2, int(super().effective_n_jobs(n_jobs)))

    def submit(self, func: Any, callback: Any = None) -> Any:
        future = super().submit(func, callback)
        future.add_done_callback(lambda ended: callback(ended) if ended.exception() is not None else None)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        if isinstance(out, concurrent.futures.Future):
            return out.result()  # raises what went wrong outside of the bundle
        return super().retrieve_result_callback(out)


class ClusterCrew:
    """The workers of a Dask cluster."""

    def __init__(
        self, client: Any, address: str, options: RunOptions, weights: ResolvedWeights, load: Load = load_engine
    ) -> None:
        """`client` is a `distributed.Client` of this crew's own."""
        self._client, self._address, self._load = client, address, load
        self._options, self._weights = _absolute_options(options), _absolute_weights(weights)
        self.workers = max(1, sum(client.nthreads().values()))
        self._topic = f"wat-{uuid.uuid4().hex}"
        self._events: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        self._open: dict[Path, str] = {}
        """The worker that has an input in work."""
        self._begun: dict[int, str] = {}
        """The worker that has a bundle in work."""
        self._numbers = count()
        """Of bundles: none has that of an earlier one, whose end may be told late."""
        client.subscribe_topic(self._topic, lambda event: self._events.put(event[1]))

    @property
    def lost(self) -> frozenset[Path]:
        """What the dead workers had in work."""
        return frozenset(self._open)

    def follow(self, bundles: Sequence[tuple[Job, ...]]) -> Iterator[Told]:
        """Hand out the bundles from a thread of its own, and tell what the journals say meanwhile."""
        given = {_absolute(job.source): job for bundle in bundles for job in bundle}
        missing = set(given)
        self._open.clear()
        self._begun.clear()
        errors: list[BaseException] = []  # of these bundles: what joblib says late is nothing to those who come after
        thread = threading.Thread(target=self._drive, args=(bundles, errors), daemon=True)
        thread.start()
        for event in self._heard(thread, errors):
            worker, number = str(event["worker"]), int(event["bundle"])
            if event["line"] is None:
                if event["begins"]:
                    self._begun[number] = worker
                else:
                    self._begun.pop(number, None)
                continue
            told = from_line(event["line"].encode())
            if isinstance(told, str):
                yield told
                continue
            job = given.get(told.source)
            if job is None:  # of bundles that were given up
                continue
            if isinstance(told, Heard):
                yield replace(told, source=job.source)
                continue
            if isinstance(told, Job):
                self._open[job.source] = worker
                yield job
                continue
            self._open.pop(job.source, None)
            missing.discard(told.source)
            yield _as_given(told, job)
            if not missing:  # results that a dead worker kept are of no interest
                self.kill()
                return
        for error in errors:
            self._raise(error)

    def _heard(self, thread: threading.Thread, errors: Sequence[BaseException]) -> Iterator[Mapping[str, Any]]:
        """The events, until the bundles have ended and no living worker has one in work.

        Where they ended with an error, what no worker has begun is taken back.
        """
        answered = time.monotonic()
        over = False
        while True:
            if not over and not thread.is_alive():
                over = True
                if errors:
                    self.kill()
            try:
                event = self._events.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                if over and not (errors and self._still_in_work()):
                    return
            else:
                yield event
                continue
            if self._client.status == "running":
                answered = time.monotonic()
            elif time.monotonic() - answered > _SILENT_SECONDS:
                raise ClusterLost(f"--scheduler {self._address}: it does not answer any more. Run again to go on")

    def _still_in_work(self) -> bool:
        """Whether a bundle of a run that has ended, because others' workers died, is still in work somewhere."""
        if not self._begun:
            return False
        there = set(self._client.run(_worker_name, on_error="ignore").values())
        return any(worker in there for worker in self._begun.values())

    def _drive(self, bundles: Sequence[tuple[Job, ...]], errors: list[BaseException]) -> None:
        try:
            tasks = [
                _Bundle(
                    number,
                    Task(tuple(map(_absolute_job, bundle)), self._options, self._weights, self._load),
                    self._topic,
                    wat_cli.__version__,
                )
                for bundle, number in zip(bundles, self._numbers, strict=False)
            ]
            backend = _Backend(client=self._client, wait_for_workers_timeout=_CONNECT_SECONDS)
            with joblib.parallel_config(backend):
                joblib.Parallel(n_jobs=-1, batch_size=1)(joblib.delayed(_work)(task) for task in tasks)
        except BaseException as error:  # handed to the main thread; its frames hold on to what is to be cancelled
            errors.append(error.with_traceback(None))

    def _raise(self, error: BaseException) -> None:
        """Raise what ends a run; workers that died do not."""
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        # joblib cancels the other bundles when workers died of one, and may see a cancelled one first
        cancelled = isinstance(error, FutureCancelledError) and error.reason == "unknown"
        if cancelled or isinstance(error, KilledWorker):
            return
        if isinstance(error, WatError):
            raise error
        if isinstance(error, TimeoutError):
            raise UsageError(f"--scheduler {self._address}: it has no workers")
        if isinstance(error, ImportError):
            raise UsageError(f"--scheduler {self._address}: a worker lacks something that wat needs ({error})")
        raise ClusterLost(f"--scheduler {self._address}: {type(error).__name__}: {error}")

    def kill(self) -> None:
        """Take back what no worker has begun; they finish the rest."""
        from distributed import Future

        if self._client.status == "running":
            self._client.cancel([Future(key, self._client) for key in list(self._client.futures)], force=True)


# --- names that hold everywhere ---------------------------------------------------------------------------------------


def _absolute(path: Path) -> Path:
    return Path.cwd() / path


def _absolute_job(job: Job) -> Job:
    outputs = replace(job.outputs, folder=_absolute(job.outputs.folder))
    return Job(_absolute(job.source), outputs)


def _absolute_options(options: RunOptions) -> RunOptions:
    sounds = options.tags.sounds_file
    return options if sounds is None else replace(options, tags=replace(options.tags, sounds_file=_absolute(sounds)))


def _absolute_weights(weights: ResolvedWeights) -> ResolvedWeights:
    def absolute(file: WeightFile | None) -> WeightFile | None:
        return None if file is None else replace(file, path=_absolute(file.path))

    return ResolvedWeights(
        replace(weights.asr, path=_absolute(weights.asr.path)), absolute(weights.head), absolute(weights.second_encoder)
    )


def _as_given(outcome: Outcome, job: Job) -> Outcome:
    """An outcome with the names that the user gave."""
    outputs = tuple(job.outputs.folder / path.name for path in outcome.outputs)
    return replace(outcome, source=job.source, outputs=outputs)


# --- in a worker ------------------------------------------------------------------------------------------------------


def _worker_name(dask_worker: Any) -> str:
    return str(dask_worker.id)


def _work(bundle: _Bundle) -> None:
    """In a worker: caption a bundle, and tell of it in events."""
    from distributed import get_worker

    worker, task = get_worker(), bundle.task

    def tell(line: bytes | None, begins: bool = False) -> None:
        text = None if line is None else line.decode("ascii")
        worker.log_event(
            bundle.topic, {"worker": _worker_name(worker), "bundle": bundle.number, "line": text, "begins": begins}
        )

    _check(bundle)
    tell(None, begins=True)
    try:
        caption_bundle(replace(task, weights=_weights_here(task)), tell)
    finally:
        tell(None)


def _check(bundle: _Bundle) -> None:
    """Raise `UsageError` where this machine would fail every file."""
    host = socket.gethostname()
    if bundle.version != wat_cli.__version__:
        raise UsageError(f"{host} has wat {wat_cli.__version__}, and {bundle.version} is wanted: install the same one")
    folders = {job.source.parent for job in bundle.task.jobs}
    if not any(folder.is_dir() for folder in folders):
        raise UsageError(f"{shown(min(folders))} is not there on {host}: all machines must see the same folders")


def _weights_here(task: Task) -> ResolvedWeights:
    """The same weights, wherever they lie on this machine."""
    wanted = task.weights
    if all(file.path.exists() for file in (wanted.asr, wanted.head, wanted.second_encoder) if file is not None):
        return wanted
    host = socket.gethostname()
    try:
        here = resolve(task.options.model, tags=task.options.tags.tags)
    except WatError as error:
        raise WeightsMissing(f"on {host}: {error}") from None
    pairs = ((wanted.asr, here.asr), (wanted.head, here.head), (wanted.second_encoder, here.second_encoder))
    for one, other in pairs:
        if (one and one.sha256) != (other and other.sha256):
            raise WeightsMissing(f"{host} has other weights under the same name: put them on the share (--model-dir)")
    return here
