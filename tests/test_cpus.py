"""Threads for a run: torch's choice, but for quotas; hints where the CPUs are too few."""

from __future__ import annotations

import pytest

from wat_cli import cpus
from wat_cli.options import ModelOptions


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight idle CPUs, and nobody's wish in the environment."""
    for variable in cpus.VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(cpus, "_load", lambda: 0.5)
    monkeypatch.setattr(cpus, "_affinity", lambda: 8)
    monkeypatch.setattr(cpus.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(cpus, "allowed_cpus", lambda: 8)


def test_torch_chooses_where_it_knows_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cpus.within_quota(ModelOptions()).threads == 0


def test_a_quota_bounds_the_threads_that_nobody_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "allowed_cpus", lambda: 2)
    assert cpus.within_quota(ModelOptions()).threads == 2
    assert cpus.within_quota(ModelOptions(threads=4)).threads == 4
    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")
    assert cpus.within_quota(ModelOptions()).threads == 0


def test_the_cpus_are_those_that_joblib_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert cpus.allowed_cpus() == 1


@pytest.mark.parametrize(
    ("threads", "workers", "mends"),
    [(0, 1, []), (8, 1, []), (9, 1, ["--threads 8"]), (4, 4, ["--threads 2"]), (2, 16, ["--threads 1"]), (0, 16, [])],
)
def test_more_threads_than_cpus(threads: int, workers: int, mends: list[str]) -> None:
    assert [hint.mend for hint in cpus.hints(threads, workers)] == mends


def test_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "_load", lambda: 10.5)
    (hint,) = cpus.hints(0)
    assert hint.text.startswith("others are at work: a load of 10.5 on 8 CPUs")
    monkeypatch.setattr(cpus, "_load", lambda: 8.5)
    assert cpus.hints(0) == []
