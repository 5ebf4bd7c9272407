"""When threads that wait for their team give way to others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from wat_cli.engine.spinning import BETWEEN_LOOKS, CALM_LOOKS, CHOSEN_BY, Spinning, waited_for_a_core

TASKS = Path("/proc/self/task")
needs_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere nobody counts, and torch brings another OpenMP"
)


@pytest.fixture(autouse=True)
def _nobody_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CHOSEN_BY:
        monkeypatch.delenv(name, raising=False)


class Machine:
    """A kernel's count and a clock that tests set."""

    def __init__(self) -> None:
        self.now, self.waited = 0.0, {1: 7.0, 2: 9.0}

    def goes_on(self, spinning: Spinning, seconds: float, **waited: float) -> bool:
        """Whether threads give way after another look; threads `t1`, `t2` waited so long for a core since the last."""
        self.now += seconds
        for name, more in waited.items():
            self.waited[int(name[1:])] = self.waited.get(int(name[1:]), 0.0) + more
        spinning.look()
        return spinning.gives_way

    def spinning(self) -> Spinning:
        return Spinning(lambda: dict(self.waited), lambda: self.now)


def test_threads_give_way_while_they_wait_for_cores() -> None:
    machine = Machine()
    with machine.spinning() as spinning:
        assert not machine.goes_on(spinning, BETWEEN_LOOKS, t1=0.01)
        assert not machine.goes_on(spinning, BETWEEN_LOOKS / 2, t1=0.5)  # nobody looks so soon
        assert machine.goes_on(spinning, BETWEEN_LOOKS / 2)
        for _ in range(CALM_LOOKS - 1):
            assert machine.goes_on(spinning, BETWEEN_LOOKS)
        assert machine.goes_on(spinning, 1.0, t1=0.04, t2=0.04)  # each a little, together too much
        for _ in range(CALM_LOOKS - 1):
            assert machine.goes_on(spinning, 1.0, t2=0.04)
        assert not machine.goes_on(spinning, 1.0)


def test_what_a_thread_waited_before_it_was_seen_does_not_count() -> None:
    machine = Machine()
    with machine.spinning() as spinning:
        assert not machine.goes_on(spinning, 1.0, t3=5.0)
        del machine.waited[2]
        assert not machine.goes_on(spinning, 1.0)
        assert machine.goes_on(spinning, 1.0, t3=0.1)


@pytest.mark.parametrize("name", CHOSEN_BY)
def test_what_the_caller_chose_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "77")
    machine = Machine()
    with machine.spinning() as spinning:
        assert not machine.goes_on(spinning, 1.0, t1=0.9)


@needs_linux
def test_a_larger_team_than_there_are_cpus_makes_them_give_way_and_is_gone_afterwards() -> None:
    """More threads in teams than CPUs is what libgomp looks at."""
    machine, before, threads = Machine(), len(list(TASKS.iterdir())), torch.get_num_threads()
    with machine.spinning() as spinning:
        assert machine.goes_on(spinning, 1.0, t1=0.9)
        wait_until(lambda: len(list(TASKS.iterdir())) > before + (os.cpu_count() or 1))
    assert not spinning.gives_way and torch.get_num_threads() == threads
    wait_until(lambda: len(list(TASKS.iterdir())) <= before)


@needs_linux
def test_the_kernel_counts_for_how_long_a_core_was_not_to_be_had() -> None:
    """This thread and a busy program on one CPU: each waits for the other."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})  # of this thread, and of what it starts
    try:
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
            before = sum(waited_for_a_core().values())
            wait_until(lambda: sum(waited_for_a_core().values()) > before + 0.2, sleep=0.0)
            busy.kill()
    finally:
        os.sched_setaffinity(0, cpus)


def wait_until(condition: Callable[[], bool], sleep: float = 0.01) -> None:
    """For a minute at most."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        if sleep:
            time.sleep(sleep)
