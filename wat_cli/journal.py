"""What a run did, for programs: JSON lines while it goes on, and one JSON document when it is over.

``data/log.schema.json`` describes a line. Names that are no text are written as Python's surrogate escapes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, TextIO

import wat_cli
from wat_cli.batch import Outcome, Progress, Report, Status
from wat_cli.discovery import Job
from wat_cli.errors import ExitCode, OutputError, UsageError, shown
from wat_cli.options import STDOUT
from wat_cli.outputs import replace_file

VERSION = 1
"""Version of a line's layout."""
LINE_START, SUMMARY_START = b'{"version": ', b'{\n "version": '
"""What a log and a summary begin with."""


def schema() -> dict[str, Any]:
    """The JSON Schema of a line, version `VERSION`."""
    text = resources.files("wat_cli").joinpath("data/log.schema.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def require_own(path: Path, option: str, start: bytes) -> None:
    """Make sure that `path`, given with `option`, can be written and is no file of another kind.

    Raises `UsageError` for a file that does not begin with `start`, a folder, or a path in a folder that is not there.
    """
    if not path.parent.is_dir():
        raise UsageError(f"{option} {shown(path)}: cannot be written (its folder is not there)")
    if path.is_dir():
        raise UsageError(f"{option} {shown(path)}: that is a folder")
    if path.is_file() and (head := _head(path, len(start))) and head != start:
        raise UsageError(f"{option} {shown(path)}: a file of another kind stands there, which stays as it is")


def _head(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(size)
    except OSError as error:
        raise UsageError(f"{shown(path)}: cannot be read ({error.strerror})") from error


def file_entry(outcome: Outcome) -> dict[str, Any]:
    """One input's outcome as JSON values."""
    return {
        "source": str(outcome.source),
        "status": outcome.status.value,
        "reason": outcome.reason,
        "up_to_date": outcome.up_to_date,
        "outputs": [str(path) for path in outcome.outputs],
        "notes": list(outcome.notes),
        "audio_seconds": round(outcome.audio_seconds, 3),
        "wall_seconds": round(outcome.wall_seconds, 3),
    }


def totals(report: Report, exit_code: ExitCode) -> dict[str, Any]:
    """What a run came to, as JSON values."""
    counts = report.counts
    return {
        "exit_code": int(exit_code),
        "files": {status.value: counts[status] for status in Status},
        "audio_seconds": round(report.audio_seconds, 3),
        "wall_seconds": round(report.wall_seconds, 3),
    }


class Journal(Progress):
    """Writes a line of JSON to `stream` for the run's start, each file's start and end, and the run's end."""

    def __init__(self, stream: TextIO, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._stream, self._now = stream, now

    def _write(self, event: str, **fields: Any) -> None:
        time = self._now().isoformat(timespec="milliseconds")
        # ASCII only: a name that is not UTF-8 cannot break the stream, and a line is a line
        self._stream.write(json.dumps({"version": VERSION, "time": time, "event": event, **fields}) + "\n")
        self._stream.flush()

    def started(self, jobs: int) -> None:
        """The run begins."""
        self._write("run-start", wat=wat_cli.__version__, files=jobs)

    def opened(self, job: Job) -> None:
        """Work on a file begins."""
        self._write("file-start", source=str(job.source))

    def closed(self, outcome: Outcome) -> None:
        """A file is done with."""
        self._write("file-end", **file_entry(outcome))

    def complained(self, source: Path, text: str) -> None:
        """A command of ``--on-file`` went wrong."""
        self._write("complaint", source=str(source), reason=text)

    def ended(self, report: Report, exit_code: ExitCode) -> None:
        """The run is over."""
        self._write("run-end", **totals(report, exit_code))


class Summary(Progress):
    """Writes one JSON document when the run is over: what it came to, and every file that is not as it should be."""

    def __init__(self, path: Path) -> None:
        self._path, self._begun = path, datetime.now(UTC)

    def ended(self, report: Report, exit_code: ExitCode) -> None:
        """Write it, whole or not at all, or print it. Raises `OutputError`."""
        document = {
            "version": VERSION,
            "wat": wat_cli.__version__,
            "started": self._begun.isoformat(timespec="seconds"),
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            **totals(report, exit_code),
            "failed": [file_entry(o) for o in report.outcomes if o.status is Status.FAILED],
            "partly": [file_entry(o) for o in report.outcomes if o.status is Status.PARTLY],
            "skipped": [file_entry(o) for o in report.outcomes if o.status is Status.SKIPPED and not o.up_to_date],
        }
        text = json.dumps(document, indent=1) + "\n"
        if self._path == STDOUT:
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        try:
            replace_file(self._path, text.encode())
        except OSError as error:
            raise OutputError(f"--summary {shown(self._path)}: cannot be written ({error.strerror})") from error
