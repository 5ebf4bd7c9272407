"""For how long threads that wait for their team keep their cores busy: hardly, where others want these cores.

GNU's OpenMP, which torch brings on Linux, lets a waiting thread spin for 300,000 turns before it sleeps. Nothing is
faster for a run that is alone. Where another program computes on the same cores, the threads that a spinning one waits
for do not get to run: with one busy program beside it, a run of two threads on two cores took 189 s instead of 15, and
22 where its threads hardly spin.

OpenMP reads its settings once, but at each wait it looks whether there are more threads in teams than CPUs; then it
spins 100 turns only (libgomp, `do_spin` in ``config/linux/wait.h``). So a large team that sleeps makes the others give
way, and when its thread ends they spin as before. Whether others want the cores the kernel tells: it counts for how
long a thread could have run and waited for a core (``run_delay``: second in ``/proc/PID/task/TID/schedstat``).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from wat_cli.model.threads import compute_with

CHOSEN_BY = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
"""Environment variables with which the caller chose; nothing is done about it then."""
BETWEEN_LOOKS = 0.5
"""Seconds."""
WANTED = 0.05
"""Seconds that the team's threads waited for a core, all together, in each second: a run that is alone has 0.001."""
CALM_LOOKS = 4
"""Looks without that after which threads spin again."""
_TASKS = Path("/proc/self/task")
_ELEMENTS_PER_THREAD = 32768
"""torch gives a thread of its team no fewer (``at::internal::GRAIN_SIZE``)."""


def waited_for_a_core() -> dict[int, float]:
    """Seconds that the calling thread and the threads of teams ever waited for a core, each; empty if nobody counts."""
    if not _TASKS.is_dir():  # another system
        return {}
    others = {thread.native_id for thread in threading.enumerate()} - {threading.get_native_id()}
    found = {}
    for task in _TASKS.iterdir():
        if int(task.name) not in others:
            with suppress(OSError):  # it ended in between, or this kernel does not count
                found[int(task.name)] = int((task / "schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    return found


class Spinning:
    """Lets the process's threads spin, or give way: a context for the thread that computes."""

    def __init__(
        self,
        waited: Callable[[], Mapping[int, float]] = waited_for_a_core,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`waited` and `clock` stand for the kernel and the time."""
        self._waited, self._clock = waited, clock
        self._crowd: _Crowd | None = None
        self._calm = 0
        self._left_alone = any(name in os.environ for name in CHOSEN_BY)

    def __enter__(self) -> Self:
        """Begin to count."""
        self._at, self._before = self._clock(), {} if self._left_alone else self._waited()
        return self

    @property
    def gives_way(self) -> bool:
        """Whether threads hardly spin now."""
        return self._crowd is not None

    def look(self) -> None:
        """To be called often, by the thread that computes: see to it that threads spin, or do not."""
        if self._left_alone or (now := self._clock()) < self._at + BETWEEN_LOOKS:
            return
        after = self._waited()
        waited = sum(seconds - self._before.get(task, seconds) for task, seconds in after.items())
        self._calm = 0 if waited > WANTED * (now - self._at) else self._calm + 1
        self._at, self._before = now, after
        if self._calm == 0 and self._crowd is None:
            self._crowd = _Crowd()
        elif self._calm >= CALM_LOOKS:
            self._part()

    def _part(self) -> None:
        if self._crowd is not None:
            self._crowd.part()
            self._crowd = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave no thread behind."""
        self._part()


class _Crowd:
    """A thread with a team of more threads than there are CPUs, all asleep."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sleep, name="wat-crowd", daemon=True)
        self._thread.start()

    def _sleep(self) -> None:
        before, many = torch.get_num_threads(), (os.cpu_count() or 1) + 1
        compute_with(many)
        torch.zeros(many * _ELEMENTS_PER_THREAD).add_(1)
        compute_with(before)  # what other threads find at their first look
        self._over.wait()

    def part(self) -> None:
        """End the thread, and its team with it."""
        self._over.set()
        self._thread.join()
