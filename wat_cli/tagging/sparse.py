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

from wat_cli.tagging.table import FLOOR, ScoreTable, hundredths
from wat_cli.transcript import TAG_HOP, HeadTuning, Scores, TagTrack

MAX_STEPS = 900_000
"""A hundred hours: a longer track is not believed."""
MAX_CLASSES = 10_000


def sparse_tags(track: TagTrack, labels: Sequence[str] = ()) -> dict[str, Any]:
    """The track as JSON values, with the display names of the classes that occur in it.

    `tags_from` gives the track back with its scores rounded; events decided from either are the same.
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


def _table(scores: Scores) -> dict[str, list[Any]]:
    table = ScoreTable.of(scores)
    return {
        "step": table.first.tolist(),
        "count": np.where(table.unknown, -1, table.count).tolist(),
        "class": table.members.tolist(),
        "score": [_DECIMALS[score] for score in table.scores.tolist()],
    }


_DECIMALS = tuple(score / 100 for score in range(101))
"""Hundredths as they are written; one object each, however many scores there are."""


def tags_from(document: Mapping[str, Any]) -> tuple[TagTrack, tuple[str, ...]]:
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


def _scores(table: Mapping[str, Any], steps: int, classes: int) -> ScoreTable:
    starts, counts = table["step"], table["count"]
    members = [_whole(index, "class", 0, classes - 1) for index in table["class"]]
    values = [_number(value, "score", 0.0, 1.0) for value in table["score"]]
    if len(starts) != len(counts) or len(members) != len(values):
        raise ValueError("tags: the columns differ in length")
    for row, (start, end) in enumerate(zip(starts, [*starts[1:], steps], strict=True) if starts else ()):
        _whole(start, "step", 0, steps)
        if _whole(end, "step", 0, steps) <= start or (row == 0 and start != 0):
            raise ValueError("tags: the steps are not in order")
    signed = np.array([_whole(count, "count", -1, classes) for count in counts], np.int64)
    sizes = np.maximum(signed, 0)
    if sizes.sum() != len(members):
        raise ValueError("tags: the counts do not add up to the classes")
    if steps and not starts:
        starts, signed, sizes = [0], np.zeros(1, np.int64), np.zeros(1, np.int64)
    scores = hundredths(np.array(values, np.float64))
    kept = scores > 0
    rows = np.repeat(np.arange(len(sizes)), sizes)[kept]
    return ScoreTable(
        shape=(steps, classes),
        first=np.array(starts, np.int32),
        count=np.bincount(rows, minlength=len(sizes)).astype(np.int32),
        unknown=signed < 0,
        members=np.array(members, np.uint16)[kept],
        scores=scores[kept],
    )


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
