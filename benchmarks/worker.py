"""A program under test in a process of its own: takes requests as JSON lines, answers with what it did and how long.

``python -m benchmarks.worker``, started by `benchmarks.processes`. The first line is the `Setup`, each further one a
`Work`. The model is loaded at the first line, so the clock of a work starts with a loaded model.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.engines import load, setup_from, work_from


def peak_megabytes() -> float:
    """Largest resident size of this process so far."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def main() -> None:
    """Answer requests until the input ends."""
    # what a program prints must not get between the answers
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    started = time.perf_counter()
    run = load(setup_from(json.loads(sys.stdin.readline())))
    answer(seconds=time.perf_counter() - started, peak=peak_megabytes())
    for line in sys.stdin:
        work = work_from(json.loads(line))
        started = time.perf_counter()
        heard = run(work)
        seconds = time.perf_counter() - started
        answer(seconds=seconds, peak=peak_megabytes(), heard=dataclasses.asdict(heard))


if __name__ == "__main__":
    main()
