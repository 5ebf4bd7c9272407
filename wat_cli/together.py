"""Several files heard together by one engine: a thread for each, so that the engine's slots stay full.

The threads decode media, wait for the engine (`wat_cli.engine` lets one of them drive it at a time), lay out and write.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from wat_cli.batch import Captioner, Outcome, Progress, run
from wat_cli.captioning import Dropped
from wat_cli.discovery import Job
from wat_cli.media import AudioStream, MediaInfo

PATIENCE = 5.0
"""Seconds that an interrupted run waits for its threads; what they leave behind is cleared by the next run."""


def run_jobs(jobs: Sequence[Job], captioner: Captioner, files: int) -> Iterator[Outcome]:
    """Caption `jobs` with one engine: one after the other, or as many as `files` together.

    Together, the largest come first, so that no long one is left alone at the end; those that find all of the engine's
    slots taken are read ahead, so that no slot waits for ffmpeg.
    """
    files = min(files, len(jobs))
    if files <= 1:
        return run(jobs, captioner)
    return run_together(sorted(jobs, key=_size, reverse=True), captioner, files)


def _size(job: Job) -> int:
    try:
        return job.source.stat().st_size
    except OSError:  # it fails when its turn comes
        return 0


def run_together(jobs: Sequence[Job], captioner: Captioner, files: int) -> Iterator[Outcome]:
    """Caption `jobs`, as many as `files` at a time; an outcome comes out as soon as its files are on disk.

    An interrupt drops what is in work. Raises what ends a run in any of the threads.
    """
    ahead: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        ahead.put(job)
    ended: queue.SimpleQueue[Outcome | BaseException | None] = queue.SimpleQueue()
    stop = threading.Event()
    captioner.progress = _Stoppable(captioner.progress, stop)
    threads = [threading.Thread(target=_work, args=(captioner, ahead, ended, stop), daemon=True) for _ in range(files)]
    for thread in threads:
        thread.start()
    at_work = len(threads)
    try:
        while at_work:
            told = ended.get()
            if told is None:
                at_work -= 1
            elif isinstance(told, BaseException):
                raise told
            else:
                yield told
    finally:
        stop.set()
        deadline = time.monotonic() + PATIENCE
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def _work(
    captioner: Captioner,
    ahead: queue.SimpleQueue[Job],
    ended: queue.SimpleQueue[Outcome | BaseException | None],
    stop: threading.Event,
) -> None:
    try:
        while not stop.is_set():
            ended.put(captioner.caption(ahead.get_nowait()))
    except (queue.Empty, Dropped):
        pass
    except BaseException as error:  # handed to the main thread
        ended.put(error)
    finally:
        ended.put(None)


class _Stoppable(Progress):
    """Passes on what several threads tell, one at a time, and stops them where they tell how far they are."""

    def __init__(self, target: Progress, stop: threading.Event) -> None:
        self._target, self._stop, self._lock = target, stop, threading.Lock()

    def opened(self, job: Job) -> None:
        with self._lock:
            self._target.opened(job)

    def probed(self, info: MediaInfo, track: AudioStream) -> None:
        self._check()
        with self._lock:
            self._target.probed(info, track)

    def heard(self, source: Path, seconds: float) -> None:
        self._check()
        with self._lock:
            self._target.heard(source, seconds)

    def note(self, text: str) -> None:
        with self._lock:
            self._target.note(text)

    def closed(self, outcome: Outcome) -> None:
        with self._lock:
            self._target.closed(outcome)

    def _check(self) -> None:
        if self._stop.is_set():
            raise Dropped
