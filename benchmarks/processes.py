"""The parent's side of a program under test: start its process, give it work, read what it did."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from benchmarks.engines import Heard, Setup, Work

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "bench"
PEERS = BUILD / "venv" / "bin" / "python"
"""Python of the environment that ``make bench`` makes for the peers."""

COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
"""The peers' modules were compiled when they were installed: wat's, which lie in this checkout, stay compiled too."""


class ProgramFailed(Exception):
    """A program under test ended with an error; its own words are in its log."""


@dataclass(frozen=True)
class Run:
    """One timed work."""

    seconds: float
    peak: float
    """Largest resident size of the process until then, in MB (2^20 bytes)."""
    heard: Heard


class Program:
    """A program under test, its model loaded, waiting for work."""

    def __init__(self, setup: Setup, started: float | None = None) -> None:
        """Start the process and load the model; `ProgramFailed` where it cannot."""
        self.setup = setup
        self.started = time.perf_counter() if started is None else started
        log = BUILD / "logs" / f"{setup.program}-{setup.compute_type}.log".replace(" ", "-")
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log: IO[bytes] = log.open("ab")
        self._process = subprocess.Popen(
            [str(python_of(setup.program)), "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": str(setup.threads), **COMPILED, **setup.environment},
        )
        self.load_seconds = float(self._ask(dataclasses.asdict(setup))["seconds"])

    def run(self, work: Work) -> Run:
        """Let it do a work; `ProgramFailed` where it cannot."""
        answer = self._ask(dataclasses.asdict(work))
        heard = answer["heard"]
        files = [[(seek, tokens) for seek, tokens in windows] for windows in heard["files"]]
        return Run(answer["seconds"], answer["peak"], Heard(files, heard["text"], heard["extra"]))

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise ProgramFailed(f"{self.setup.program} ended; see {Path(str(self._log.name)).relative_to(ROOT)}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        if kind is not None:
            self._process.terminate()
        self._process.communicate()
        self._log.close()


def python_of(program: str) -> Path:
    """The Python that runs a program: the peers have an environment of their own."""
    return Path(sys.executable) if program == "wat" else PEERS
