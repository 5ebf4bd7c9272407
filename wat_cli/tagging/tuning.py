"""The numbers that travel with a tagging head: ``NAME.json`` beside its checkpoint ``NAME.pt``."""

from __future__ import annotations

import json
from pathlib import Path

from wat_cli.errors import CheckpointError
from wat_cli.transcript import HeadTuning


def head_tuning(checkpoint: Path) -> HeadTuning:
    """The tuning kept beside `checkpoint`, or the defaults where there is none.

    The file is a JSON object with ``threshold`` (the probability at which this head is best cut) and perhaps ``lag``
    (seconds by which it sees edges early), and ``labels`` where its classes are not AudioSet's; other keys are notes. A
    file without a threshold is about something else. CheckpointError where the numbers are out of range.
    """
    path = checkpoint.with_suffix(".json")
    try:
        data = path.read_bytes()
    except OSError:
        return HeadTuning()
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return HeadTuning()
    if not isinstance(values, dict) or "threshold" not in values:
        return HeadTuning()
    threshold, lag = values["threshold"], values.get("lag", 0.0)
    if not (_is_number(threshold) and _is_number(lag) and 0.0 < threshold < 1.0 and abs(lag) <= 5.0):
        raise CheckpointError(f"{path}: threshold lies between 0 and 1, lag within 5 s; remove it for the defaults")
    labels = values.get("labels", [])
    if not isinstance(labels, list) or not all(isinstance(label, str) and label.strip() for label in labels):
        raise CheckpointError(f"{path}: labels is a list of names, one for each class of the head")
    return HeadTuning(float(threshold), float(lag), tuple(labels))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
