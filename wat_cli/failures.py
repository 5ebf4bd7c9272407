"""Which inputs failed when they were last tried, so that ``--retry-failed`` can do those alone.

Kept in ``wat``'s own folder of the user's cache, a small file for each, and forgotten when the input is done.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from wat_cli.batch import Outcome, Progress, Status
from wat_cli.checkpoints.hashes import state_folder


def _place(source: Path) -> Path:
    key = hashlib.sha256(os.fsencode(os.path.realpath(source))).hexdigest()[:32]
    return state_folder() / "failed" / key


def failed_before(source: Path) -> bool:
    """Whether `source` failed when it was last tried on this machine."""
    return _place(source).exists()


class FailureList(Progress):
    """Notes each input that fails, and strikes out each that is done. Where it cannot be kept, it is not."""

    def closed(self, outcome: Outcome) -> None:
        """Note how it ended."""
        place = _place(outcome.source)
        with contextlib.suppress(OSError):
            if outcome.status is Status.FAILED:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(os.fsencode(outcome.source) + b"\n")
            elif outcome.status is not Status.SKIPPED or outcome.up_to_date:
                place.unlink(missing_ok=True)
