"""The tag track as the sidecar keeps it: only scores above 0.05, with two decimals, in columns.

``when`` and ``what`` are each a table of *rows*: a row holds from its step on until the next row begins, so that a
ten-second score that stays is written once. ``step`` is each row's first step, ``count`` the number of its classes (-1
where no encoder window covered the file: unknown, not silent), and ``class`` and ``score`` are the classes and scores
of all rows, end to end. An hour takes about a megabyte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wat_cli.tagging.scores import FLOOR, quantized
from wat_cli.transcript import TAG_HOP, HeadTuning, TagTrack

MAX_STEPS = 900_000
"""A hundred hours: a longer track is not believed."""
MAX_CLASSES = 10_000
_CHUNK = 4096


def sparse_tags(track: TagTrack, labels: Sequence[str] = ()) -> dict[str, Any]:
    """The track as JSON values, with the display names of the classes that occur in it.

    `dense_tags` gives the track back with its scores rounded; events decided from either are the same.
    """
    when, what = _table(track.when), _table(track.what)
    present = sorted({*when["class"], *what["class"]})
    return {
        "hop": track.hop,
        "steps": track.steps,
        "classes": track.classes,
        "floor": FLOOR,
        "tuning": {name: value for name, value in asdict(track.tuning).items() if value != ()},
        "labels": {str(index): labels[index] for index in present if index < len(labels)},
        "when": when,
        "what": what,
    }


def _table(scores: NDArray[np.float32]) -> dict[str, list[Any]]:
    steps: list[int] = []
    counts: list[int] = []
    classes: list[int] = []
    values: list[float] = []
    before: NDArray[np.float32] | None = None
    for first in range(0, len(scores), _CHUNK):
        for step, row in enumerate(quantized(scores[first : first + _CHUNK]), first):
            if before is not None and np.array_equal(row, before, equal_nan=True):
                continue
            before = row
            steps.append(step)
            if np.isnan(row).any():
                counts.append(-1)
                continue
            found = np.flatnonzero(row)
            counts.append(len(found))
            classes += found.tolist()
            values += [round(value, 2) for value in row[found].tolist()]
    return {"step": steps, "count": counts, "class": classes, "score": values}


def dense_tags(document: Mapping[str, Any]) -> tuple[TagTrack, tuple[str, ...]]:
    """The track, and the display names by class ("" where the document has none).

    The document may come from anywhere: ValueError, KeyError or TypeError where it is not what `sparse_tags` makes.
    """
    steps = _whole(document["steps"], "steps", 0, MAX_STEPS)
    classes = _whole(document["classes"], "classes", 1, MAX_CLASSES)
    hop = document["hop"]
    if hop != TAG_HOP:
        raise ValueError(f"tags at a hop of {hop!r} s; this wat reads {TAG_HOP}")
    labels = [""] * classes
    for index, name in dict(document.get("labels", {})).items():
        if not isinstance(name, str):
            raise TypeError("tags: a label is a text")
        labels[_whole(int(index), "label", 0, classes - 1)] = name
    when, what = (_scores(document[kind], steps, classes) for kind in ("when", "what"))
    tuning = _tuning(document.get("tuning", {}))
    if len(tuning.labels) not in (0, classes):
        raise ValueError(f"tags: {len(tuning.labels)} labels for {classes} classes")
    return TagTrack(what=what, when=when, hop=TAG_HOP, tuning=tuning), tuple(labels) if any(labels) else ()


def _scores(table: Mapping[str, Any], steps: int, classes: int) -> NDArray[np.float32]:
    scores = np.zeros((steps, classes), np.float32)
    starts, counts = table["step"], table["count"]
    members = [_whole(index, "class", 0, classes - 1) for index in table["class"]]
    values = [_number(value, "score", 0.0, 1.0) for value in table["score"]]
    if len(starts) != len(counts) or len(members) != len(values):
        raise ValueError("tags: the columns differ in length")
    at, ends = 0, [*starts[1:], steps][: len(starts)]
    for row, (start, end, count) in enumerate(zip(starts, ends, counts, strict=True)):
        _whole(start, "step", 0, steps)
        if _whole(end, "step", 0, steps) <= start or (row == 0 and start != 0):
            raise ValueError("tags: the steps are not in order")
        if _whole(count, "count", -1, classes) < 0:
            scores[start:end] = np.nan
            continue
        scores[start:end, members[at : at + count]] = values[at : at + count]
        at += count
    if at != len(members):
        raise ValueError("tags: the counts do not add up to the classes")
    return scores


def _tuning(values: Mapping[str, Any]) -> HeadTuning:
    default = HeadTuning()
    return HeadTuning(
        threshold=_number(values.get("threshold", default.threshold), "threshold", 0.001, 0.999),
        lag=_number(values.get("lag", default.lag), "lag", -5.0, 5.0),
        labels=tuple(_text(label) for label in values.get("labels", ())),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("tags: a label is a text")
    return value


def _whole(value: Any, name: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"tags: {name} {value!r:.40} is not a number from {least} to {most}")
    return value


def _number(value: Any, name: str, least: float, most: float) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"tags: {name} {value!r:.40} is not a number from {least} to {most}")
    return float(value)
