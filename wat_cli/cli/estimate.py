"""How much work lies ahead and how long it will take: audio time, speed, and the time left.

What counts as work is audio that will be heard. Files that are up to date, are skipped, fail, or only get
another layout count for nothing, and what a resumed file has behind it is no speed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wat_cli.batch import planned
from wat_cli.captioning import Setting
from wat_cli.discovery import Job

LOOKING_BACK = 300.0
"""Seconds over which speed is measured: long enough to even out files, short enough to see a change."""

FASTEST = 10_000.0
"""A file that moves faster than so many times real time is not heard: what an earlier run heard is read again."""

SLOWEST = 1e-4
"""A run that moves more slowly than so many times real time has no speed yet: an hour of audio would take a year."""


@dataclass(frozen=True)
class Standing:
    """How a run stands; seconds."""

    heard: float
    """Of audio."""
    total: float | None
    """Of audio in the whole run; None while nothing is known."""
    certain: bool
    """Whether every file was looked at and says how long it is; otherwise the rest is taken for as long as those."""
    speed: float | None
    """Seconds of audio heard in a second; None until it can be told."""
    left: float | None
    """On the wall."""
    in_work: tuple[tuple[Path, float, float | None], ...]
    """Each file in work: its path, how far it is, and how long it is."""
    files: int
    """Done with."""
    of: int


@dataclass
class _File:
    length: float | None
    """None: due, of unknown length; 0: no work."""
    heard: float = 0.0
    recalled: float = 0.0
    """Seconds of those that count for no speed: an earlier run heard them, or this one before speed was measured."""
    moved: float = 0.0
    """When it was last told how far it is."""
    looked_at: bool = True


class Estimate:
    """Is told what happens, from any thread, and says how the run stands."""

    def __init__(self, files: int, now: Callable[[], float] = time.monotonic) -> None:
        self._count, self._now, self._lock = files, now, threading.Lock()
        self._files: dict[Path, _File] = {}
        self._open: dict[Path, float] = {}
        self._closed: set[Path] = set()
        self._marks: deque[tuple[float, float]] = deque()
        self._begun = 0.0
        """When the first mark was made."""

    def expected(self, source: Path, seconds: float | None) -> None:
        """A file was looked at: so much audio is to be heard, None if its length is unknown, 0 if there is no work."""
        with self._lock:
            if source not in self._closed:
                file = self._files.setdefault(source, _File(seconds))
                file.length, file.looked_at = seconds, True

    def opened(self, source: Path) -> None:
        """Work on a file begins."""
        with self._lock:
            self._open.setdefault(source, self._now())

    def heard(self, source: Path, seconds: float) -> None:
        """So many seconds of a file are done. What is told late, of a file that is done with, does not count."""
        with self._lock:
            if source in self._closed:
                return
            now, file = self._now(), self._files.get(source)
            if file is None:
                file = self._files[source] = _File(None, looked_at=False)
            if seconds < file.heard:  # begun anew, by another worker
                file.heard = file.recalled = 0.0
            if not file.heard and self._marks and self._open.get(source, now) <= self._begun:
                file.recalled = seconds  # begun before speed was measured
            elif file.heard and seconds - file.heard > FASTEST * (now - file.moved):
                file.recalled += seconds - file.heard
                self._marks.pop()
            file.heard, file.moved = seconds, now
            self._mark()

    def closed(self, source: Path, seconds: float) -> None:
        """A file is done with; so much of it was heard. One that was never begun or looked at does not count."""
        with self._lock:
            if self._open.pop(source, None) is None and source not in self._files:
                return
            self._closed.add(source)
            recalled = self._files[source].recalled if source in self._files and seconds else 0.0
            self._files[source] = _File(seconds, seconds, recalled)
            if seconds:
                self._mark()

    def is_closed(self, source: Path) -> bool:
        """Whether a file is done with."""
        return source in self._closed

    def busy(self, seconds: float) -> bool:
        """Whether a file has been in work for so long."""
        with self._lock:
            return any(self._now() - begun >= seconds for begun in self._open.values())

    def _mark(self) -> None:
        now, done = self._now(), sum(file.heard - file.recalled for file in self._files.values())
        self._begun = self._begun if self._marks else now
        self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[1][0] > LOOKING_BACK:
            self._marks.popleft()

    @property
    def standing(self) -> Standing:
        """How the run stands now."""
        with self._lock:
            looked = [file for file in self._files.values() if file.looked_at]
            known = [file.length for file in looked if file.length]
            done = sum(file.heard for file in self._files.values())
            mean = sum(known) / len(known) if known else None
            total = self._total(looked, mean)
            speed = self._speed()
            left = None
            if speed is not None and total is not None:
                left = max((total - done) / speed - (self._now() - self._marks[-1][0]), 0.0)
            certain = len(looked) >= self._count and all(file.length is not None for file in looked)
            in_work = tuple(
                (source, self._files[source].heard, self._files[source].length)
                if source in self._files
                else (source, 0.0, None)
                for source in self._open
            )
            return Standing(done, total, certain, speed, left, in_work, len(self._closed), self._count)

    def _total(self, looked: list[_File], mean: float | None) -> float | None:
        """Audio of the whole run: what is known, and as much as the others for files that it is not known of."""
        if mean is None:
            return 0.0 if looked and len(looked) >= self._count and all(f.length == 0 for f in looked) else None
        lengths = [max(mean if file.length is None else file.length, file.heard) for file in looked]
        begun = [max(mean, file.heard) for file in self._files.values() if not file.looked_at]
        unseen = max(self._count - len(self._files), 0)
        return sum(lengths) + sum(begun) + unseen * sum(lengths) / len(lengths)

    def _speed(self) -> float | None:
        """Over the marks, and over the time since the last one where that is longer than usual."""
        if len(self._marks) < 2:
            return None
        (begun, before), (latest, done) = self._marks[0], self._marks[-1]
        late = self._now() - latest - 2 * (latest - begun) / (len(self._marks) - 1)
        passed = latest - begun + max(late, 0.0)
        return (done - before) / passed if passed >= 1.0 and done - before >= SLOWEST * passed else None


def look_ahead(jobs: Sequence[Job], setting: Setting, estimate: Estimate, stop: threading.Event) -> None:
    """Tell `estimate` how much work each of `jobs` is, in their order, until `stop` is set.

    Begins when the run has come to a file that takes its time: what is done in no time needs no estimate.
    """
    while not estimate.busy(0.5):
        if stop.wait(0.1):
            return
    for job in jobs:
        if stop.is_set():
            return
        if estimate.is_closed(job.source):
            continue
        try:
            (plan,) = planned([job], setting)
        except Exception:  # the run itself will come to this file and say what is wrong
            continue
        due = plan.info is not None and not plan.heard
        estimate.expected(job.source, plan.info.duration if due and plan.info is not None else 0.0)
