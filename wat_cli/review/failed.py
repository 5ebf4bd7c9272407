"""Why media files have no captions: what earlier runs wrote to their logs (``wat caption --log-json``)."""

from __future__ import annotations

import json
import os
from pathlib import Path

from wat_cli.errors import UsageError, shown


def read_failures(log: Path) -> dict[bytes, str]:
    """The reason of each input whose last entry in `log` is not a success, by `place`.

    Lines that are no entries of ``wat``'s are passed over. Names are taken as seen from the working directory, as when
    they were written. Raises `UsageError` where the log cannot be read.
    """
    reasons: dict[bytes, str] = {}
    try:
        with log.open(encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                _take(line, reasons)
    except OSError as error:
        raise UsageError(f"--log {shown(log)}: {(error.strerror or 'cannot be read').lower()}") from error
    return {key: reason for key, reason in reasons.items() if reason}


def _take(line: str, reasons: dict[bytes, str]) -> None:
    try:
        entry = json.loads(line)
        if entry["event"] != "file-end" or entry["up_to_date"]:
            return
        status, reason = str(entry["status"]), str(entry["reason"])
        reasons[place(Path(entry["source"]))] = "" if status == "written" else reason
    except (ValueError, KeyError, TypeError, RecursionError):
        return


def place(path: Path) -> bytes:
    """What makes two paths one file."""
    try:
        return os.fsencode(os.path.realpath(path))
    except ValueError:  # a NUL, from a sidecar that nobody should trust
        return os.fsencode(str(path).replace("\0", ""))
