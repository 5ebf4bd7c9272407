"""Runs of ``wat`` as programs of their own: started, watched from outside, killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DIFFERING = ("timings", "checksum")
"""What a sidecar says about the run that wrote it; everything else follows from the input and the settings."""
_POLL = 0.002


class Broken(AssertionError):
    """A promise that was not kept."""


def hold(promise: bool, otherwise: str) -> None:
    """Raise `Broken`, also where assertions are switched off."""
    if not promise:
        raise Broken(otherwise)


@dataclass(frozen=True)
class Program:
    """What is run: a module that is `wat` and traces, and what it needs."""

    module: str = "stress.traced_wat"
    arguments: tuple[str, ...] = ("--model", "mini")
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """A line of the trace."""

    at: float
    """Monotonic seconds, the same clock for all processes of the machine."""
    process: int
    what: str
    """file, hear, write (and each with ``-end``), window, end."""
    source: str = ""
    second: float = 0.0
    """Where a window begins, in seconds of its file."""
    resident: int = 0
    """Bytes of memory when a file begins or the run ends, as the next three."""
    peak: int = 0
    threads: int = 0
    files: int = 0
    """Open files."""


def events(trace: Path) -> list[Event]:
    """All whole lines of a trace, oldest first."""
    if not trace.exists():
        return []
    lines = trace.read_bytes().split(b"\n")[:-1]
    return [Event(**json.loads(line)) for line in lines]


class Run:
    """One run of ``wat caption`` in a process group of its own."""

    def __init__(
        self,
        program: Program,
        arguments: Sequence[str | Path],
        trace: Path,
        slow: float = 0.0,
        before: Sequence[str] = (),
        paths: Sequence[Path] | None = None,
    ) -> None:
        """`before` is put in front of the command, `paths` are listed on standard input. Lines are added to `trace`."""
        self.trace, self._read = trace, trace.stat().st_size if trace.exists() else 0
        self.errors = trace.with_suffix(".stderr")
        self.log = trace.with_suffix(".jsonl")
        environment = {**os.environ, **program.environment, "STRESS_TRACE": str(trace), "STRESS_SLOW": str(slow)}
        command = [*before, sys.executable, "-m", program.module, "caption", *program.arguments]
        command += [str(argument) for argument in arguments] + ["--log-json", str(self.log)]
        self.started = time.monotonic()
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                command if paths is None else [*command, "-0"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL if paths is None else subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        if paths is not None:
            assert self.process.stdin is not None
            self.process.stdin.write(b"\0".join(os.fsencode(path) for path in paths))
            self.process.stdin.close()

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait_for(self, wanted: Callable[[Event], bool]) -> Event | None:
        """Wait for an event; None if the run ended without it."""
        while True:
            ended = self.ended
            if self.trace.exists():
                with self.trace.open("rb") as file:
                    file.seek(self._read)
                    for line in file:
                        if not line.endswith(b"\n"):
                            break
                        self._read += len(line)
                        if wanted(event := Event(**json.loads(line))):
                            return event
            if ended:
                return None
            time.sleep(_POLL)

    def sleep(self, seconds: float) -> None:
        """Wait, at most until the run ends."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def kill(self) -> bool:
        """End the whole group at once; whether there was anything left to end."""
        alive = not self.ended
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return alive

    def finish(self, code: int = 0, timeout: float | None = None) -> float:
        """Wait until it ended with `code`; seconds since its start. Raises `Broken`."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Broken(f"still running after {timeout} s: {self.stderr()[-2000:]}") from None
        text = self.stderr()
        hold(self.process.returncode == code, f"exit code {self.process.returncode}, not {code}: {text[-2000:]}")
        hold("Traceback" not in text, f"a traceback: {text[-4000:]}")
        return time.monotonic() - self.started

    def stderr(self) -> str:
        """All that the runs of this trace said."""
        return self.errors.read_text(encoding="utf-8", errors="replace")


def outcomes(log: Path) -> list[dict[str, Any]]:
    """The ends of files that a journal tells of, oldest first."""
    lines = log.read_bytes().split(b"\n")
    entries = [json.loads(line) for line in lines if line.endswith(b"}")]
    return [entry for entry in entries if entry["event"] == "file-end"]


def comparable(name: str, data: bytes) -> Any:
    """A file's content without what differs from run to run. Raises ValueError for a torn sidecar."""
    if not name.endswith(".json"):
        return data
    document = json.loads(data)
    return {key: value for key, value in document.items() if key not in DIFFERING}


def visible(folder: Path) -> dict[str, Any]:
    """Content of every file under a folder that has a visible name, as far as it can be compared."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return {str(path.relative_to(folder)): comparable(path.name, path.read_bytes()) for path in paths}


def hidden(folder: Path) -> list[str]:
    """Names of the hidden files under a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*"))


def hold_same(expected: Mapping[str, Any], folder: Path) -> None:
    """Raise `Broken` unless a folder's visible files are those `expected`, and nothing hidden was left behind."""
    found = visible(folder)
    hold(found.keys() == expected.keys(), f"other files: {sorted(found.keys() ^ expected.keys())[:10]}")
    differing = [name for name in expected if found[name] != expected[name]]
    hold(not differing, f"other content: {differing[:10]}")
    hold(not hidden(folder), f"left behind: {hidden(folder)[:10]}")
