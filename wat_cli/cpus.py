"""How many CPU threads a run computes with, and what speaks against so many on this machine now.

Threads of one product wait for each other at its end: with more of them than CPUs are free, or with other programs on
the same CPUs, a run becomes many times slower, not a little.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import joblib

from wat_cli.options import ModelOptions

BUSY = 1.25
"""Load for each of the machine's CPUs from which others are at work on all of them."""
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Which torch obeys."""


@dataclass(frozen=True)
class Hint:
    """One thing that makes a run slow, and what to do about it."""

    text: str
    mend: str


def allowed_cpus() -> int:
    """CPUs that this process may use: of its affinity, and as many as a container's quota lets it keep busy."""
    return int(joblib.cpu_count())


def within_quota(options: ModelOptions) -> ModelOptions:
    """The options with as many threads as a container's quota keeps busy, where nobody asked for a number.

    torch chooses well by itself but for that: it knows the affinity and the cores, no quota.
    """
    allowed = allowed_cpus()
    if options.threads or _told() or allowed >= _affinity():
        return options
    return replace(options, threads=allowed)


def hints(threads: int, workers: int = 1) -> list[Hint]:
    """What speaks against the threads of a run; `threads` and `workers` are ``--threads`` and ``--jobs``."""
    cpus, found = allowed_cpus(), []
    asked = threads or (_told() if workers == 1 else 0)  # workers share the CPUs out, unless told otherwise
    if asked * workers > cpus:
        source = "--threads " if threads else next(f"{name}=" for name in VARIABLES if os.environ.get(name))
        several = f" in each of {workers} workers" if workers > 1 else ""
        text = f"{source}{asked}{several}, but {_cpus(cpus)} to use: that can make a run many times slower"
        found.append(Hint(text, f"{source}{cpus // workers or 1}"))
    every, load = os.cpu_count() or 1, _load()
    if load > BUSY * every:
        text = f"others are at work: a load of {load:.1f} on {_cpus(every)}; a run may take many times as long"
        found.append(Hint(text, "wait until they are done, or try --threads 1"))
    return found


def _told() -> int:
    """Threads that the environment asks for; 0 if it does not."""
    for name in VARIABLES:
        if (value := os.environ.get(name, "").split(",")[0].strip()).isdecimal():
            return int(value)
    return 0


def _affinity() -> int:
    """CPUs that torch takes for its own."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpus(count: int) -> str:
    return "1 CPU" if count == 1 else f"{count} CPUs"


def _load() -> float:
    """Programs that ran or waited to run in the last minute, on average; 0 where the system does not count them."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return 0.0
