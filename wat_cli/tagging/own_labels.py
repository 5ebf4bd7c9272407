"""Heads whose classes are not AudioSet's: their scores in AudioSet's columns, and in columns of their own behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wat_cli.tagging.labels import load_labels
from wat_cli.transcript import TagTrack


def spread(tags: TagTrack) -> TagTrack:
    """The track with a column for each AudioSet class, then one for each label that AudioSet lacks.

    Captions are decided by rules about AudioSet's classes; a class that the head does not know is never heard. A label
    that is spelled as AudioSet spells it means the same. Tracks of AudioSet's own classes come back as they are. Raises
    ValueError where the labels are not as many as the classes.
    """
    labels = tags.tuning.labels
    if not labels:
        return tags
    if len(labels) != tags.classes:
        raise ValueError(f"{len(labels)} labels for {tags.classes} classes")
    known = audioset_columns()
    extra = new_labels(labels)
    own = {label: len(known) + position for position, label in enumerate(extra)}
    columns = [own[label] if label in own else known[label.casefold()] for label in labels]
    classes = len(known) + len(extra)
    what, when = SpreadScores(tags.what, columns, classes), SpreadScores(tags.when, columns, classes)
    return replace(tags, what=what, when=when)


def audioset_columns() -> dict[str, int]:
    """Column of each AudioSet class by its name, without regard to case."""
    return {label.name.casefold(): label.index for label in load_labels()}


def new_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Those labels that are not AudioSet's, in order."""
    known = audioset_columns()
    return tuple(label for label in labels if label.casefold() not in known)


class SpreadScores:
    """Scores of a few columns read as if there were many: 0 elsewhere, NaN where the step is unknown."""

    ndim = 2

    def __init__(self, scores: Any, columns: Sequence[int], classes: int) -> None:
        """`scores` [steps, len(columns)] is read by ``[a:b]``; its column ``i`` is column ``columns[i]`` here."""
        self._scores, self._columns, self._classes = scores, np.asarray(columns), classes

    @property
    def shape(self) -> tuple[int, int]:
        """Steps and classes."""
        return int(self._scores.shape[0]), self._classes

    def __getitem__(self, key: Any, /) -> NDArray[np.float32]:
        rows, wanted = key if isinstance(key, tuple) else (key, slice(None))
        scores = np.asarray(self._scores[rows], np.float32)
        wide = np.zeros((*scores.shape[:-1], self._classes), np.float32)
        wide[np.isnan(scores).any(axis=-1)] = np.nan
        wide[..., self._columns] = scores
        return wide[..., wanted]
