"""The numbers that travel with a tagging head: ``NAME.json`` beside its checkpoint ``NAME.pt``."""

from __future__ import annotations

import json
from pathlib import Path

from wat_cli.errors import CheckpointError
from wat_cli.transcript import HeadTuning


def head_tuning(checkpoint: Path) -> HeadTuning:
    """The tuning kept beside `checkpoint`, or the defaults where there is none.

    The file is a JSON object with ``threshold`` (the probability at which this head is best cut) and ``lag`` (seconds
    by which it sees edges early), each optional; other keys are notes. CheckpointError where it is something else.
    """
    path = checkpoint.with_suffix(".json")
    try:
        data = path.read_bytes()
    except OSError:
        return HeadTuning()
    try:
        values = json.loads(data)
        default = HeadTuning()
        tuning = HeadTuning(float(values.get("threshold", default.threshold)), float(values.get("lag", default.lag)))
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(f"{path}: not the numbers of a tagging head; remove it to use the defaults") from None
    if not 0.0 < tuning.threshold < 1.0 or not abs(tuning.lag) <= 5.0:
        raise CheckpointError(f"{path}: threshold lies between 0 and 1, lag within five seconds")
    return tuning
