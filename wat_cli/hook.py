"""A command after each file (``--on-file``): run without a shell, and never able to harm the captions.

The command is split into words as a shell would split it, and `{}` in a word becomes the path of the film. What it is
told stands in its environment; what it prints goes to stderr, since stdout is for data.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from wat_cli.batch import Outcome, Progress, Status
from wat_cli.errors import UsageError, printable

HOOK_SECONDS = 600.0
"""How long a command may take; what takes longer belongs into the background."""

_STDERR = 2
_TOLD = (Status.WRITTEN, Status.PARTLY, Status.FAILED)


def words_of(command: str) -> list[str]:
    """The words of a command line; raises `UsageError` where it has none, or a quote is left open."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--on-file {command}: {error}") from None
    if not words:
        raise UsageError("--on-file: it names no command")
    return words


def environment_of(outcome: Outcome) -> dict[str, str]:
    """What the command is told of a file: all paths absolute, so that none is taken for an option."""
    told = {
        "WAT_INPUT": _absolute(outcome.source),
        "WAT_STATUS": outcome.status.value,
        "WAT_REASON": outcome.reason,
        "WAT_OUTPUTS": json.dumps([_absolute(path) for path in outcome.outputs]),
    }
    return {name: value.replace("\0", "") for name, value in told.items()}


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 (Path.resolve would follow links)


class Hook(Progress):
    """Runs the command for each file that was written, was captioned in part, or failed."""

    def __init__(self, command: str, complain: Callable[[Path, str], None], seconds: float = HOOK_SECONDS) -> None:
        """`complain` is told of each command that did not end well, with the file that it was for."""
        self._words, self._complain, self._seconds = words_of(command), complain, seconds
        self.failed = 0
        """Commands that did not end well."""

    def closed(self, outcome: Outcome) -> None:
        """Run the command, and wait for it."""
        if outcome.status not in _TOLD:
            return
        problem = self._run(outcome)
        if problem:
            self.failed += 1
            self._complain(outcome.source, f"--on-file: {printable(self._words[0])} {problem}")

    def _run(self, outcome: Outcome) -> str:
        """What went wrong, in words; empty if nothing did."""
        told = environment_of(outcome)
        words = [word.replace("{}", told["WAT_INPUT"]) for word in self._words]
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=_STDERR,
                env={**os.environ, **told},
                start_new_session=True,  # Ctrl-C is for `wat` to handle
            )
        except (OSError, ValueError) as error:
            return f"cannot be run: {(error.strerror if isinstance(error, OSError) else None) or error}"
        try:
            code = process.wait(self._seconds)
        except subprocess.TimeoutExpired:
            return f"took more than {self._seconds:.0f} s and was ended"
        finally:
            _end(process)
        return "" if code == 0 else f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command that still runs, and what it started."""
    if process.poll() is not None:
        return
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sent)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + 1.0
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    process.wait()
