"""Scores of a whole file in little memory: hundredths above a floor, in rows that hold until they change.

Of 527 classes a handful sound at any time. A `ScoreTable` keeps those alone, some megabytes for ten hours where every
score takes 190, and reads like the array that it stands for. The sidecar holds the same (`wat_cli.tagging.sparse`),
so that events decided from the one are those decided from the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wat_cli.transcript import Scores

FLOOR = 0.05
"""Scores below this are kept as 0: the sidecar holds no others, and events are decided the same with and without it."""

UNKNOWN = 255
"""Stands for NaN among hundredths."""

_CHUNK = 1024
"""Steps that are handled with all their classes at once."""

VALUES: NDArray[np.float32] = (np.arange(256) / 100).astype(np.float32)
"""Score of each number of hundredths."""
VALUES[UNKNOWN] = np.nan


def hundredths(scores: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Scores, 0 to 1, to two decimals; 0 below `FLOOR`, `UNKNOWN` for NaN."""
    rounded = np.round(np.asarray(scores, np.float64), 2)
    with np.errstate(invalid="ignore"):
        rounded[rounded < FLOOR] = 0.0
        whole = np.rint(np.clip(rounded, 0.0, 1.0) * 100)
    return np.where(np.isnan(whole), UNKNOWN, whole).astype(np.uint8)


def quantized(scores: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Scores as the sidecar keeps them: two decimals, 0 below `FLOOR`; NaN stays."""
    return VALUES[hundredths(scores)]


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Scores [steps, classes], 0 to 1 or NaN, as `quantized` gives them; see `TagTrack` for what they mean."""

    shape: tuple[int, int]
    """Steps and classes."""
    first: NDArray[np.int32]
    """[rows] Step from which each row holds, until the next one begins; the first is 0."""
    count: NDArray[np.int32]
    """[rows] How many classes sound in each row; 0 in one that is unknown."""
    unknown: NDArray[np.bool_]
    """[rows]"""
    members: NDArray[np.uint16]
    """[entries] The classes that sound, row after row."""
    scores: NDArray[np.uint8]
    """[entries] Their scores in hundredths."""

    ndim = 2

    @classmethod
    def of(cls, scores: Scores) -> ScoreTable:
        """The table of any scores; a table stays itself."""
        if isinstance(scores, ScoreTable):
            return scores
        pieces: list[Sequence[Any]] = [([],) * len(_KINDS)]
        before: NDArray[np.uint8] | None = None
        for begin in range(0, scores.shape[0], _CHUNK):
            rows = hundredths(scores[begin : begin + _CHUNK])
            changed = np.ones(len(rows), bool)
            changed[1:] = (rows[1:] != rows[:-1]).any(axis=1)
            changed[0] = before is None or bool((rows[0] != before).any())
            before = rows[-1].copy()
            pieces.append(_piece(rows[changed], begin + np.flatnonzero(changed)))
        columns = [np.concatenate([np.asarray(piece[k], kind) for piece in pieces]) for k, kind in enumerate(_KINDS)]
        return cls((int(scores.shape[0]), int(scores.shape[1])), *columns)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(column.nbytes for column in (self.first, self.count, self.unknown, self.members, self.scores))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        """What numpy gives for ``[step]``, ``[a:b]``, ``[:, class]`` and ``[:, [class, ...]]``, all as float32."""
        steps, classes = key if isinstance(key, tuple) else (key, None)
        if classes is None:
            span = steps if isinstance(steps, slice) else slice(steps, steps + 1)
            found = VALUES[self._rows(*span.indices(len(self))[:2])]
            return found if isinstance(steps, slice) else found[0]
        if isinstance(classes, (int, np.integer)):
            return VALUES[self.column(int(classes))][steps]
        columns = np.empty((len(self), len(classes)), np.float32)
        for k, index in enumerate(classes):
            columns[:, k] = VALUES[self.column(index)]
        return columns[steps]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or np.float32)

    def heard(self) -> NDArray[np.bool_]:
        """[classes] Which ones ever score above the floor."""
        heard = np.zeros(self.shape[1], bool)
        heard[self.members] = True
        return heard

    def unknown_steps(self) -> NDArray[np.bool_]:
        """[steps]"""
        return np.repeat(self.unknown, self._lengths)

    def column(self, index: int) -> NDArray[np.uint8]:
        """One class in hundredths; [steps]."""
        entries = np.flatnonzero(self.members == index)
        column = np.where(self.unknown, UNKNOWN, 0).astype(np.uint8)
        column[self._row_of[entries]] = self.scores[entries]
        return np.repeat(column, self._lengths)

    def _rows(self, start: int, stop: int) -> NDArray[np.uint8]:
        """All classes from step `start` to `stop`, in hundredths."""
        if stop <= start:
            return np.zeros((0, self.shape[1]), np.uint8)
        top = int(np.searchsorted(self.first, start, side="right")) - 1
        end = int(np.searchsorted(self.first, stop, side="left"))
        before, among = int(self.count[:top].sum()), int(self.count[top:end].sum())
        rows = np.zeros((end - top, self.shape[1]), np.uint8)
        entries = slice(before, before + among)
        rows[np.repeat(np.arange(end - top), self.count[top:end]), self.members[entries]] = self.scores[entries]
        rows[self.unknown[top:end]] = UNKNOWN
        edges = np.clip(np.append(self.first[top:end], self._end(end)), start, stop)
        return np.repeat(rows, np.diff(edges), axis=0)

    @cached_property
    def _row_of(self) -> NDArray[np.int32]:
        """[entries] The row of each."""
        return np.repeat(np.arange(len(self.count), dtype=np.int32), self.count)

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        """[rows] Steps that each row holds for."""
        return np.diff(np.append(self.first, self.shape[0]))

    def _end(self, row: int) -> int:
        return int(self.first[row]) if row < len(self.first) else self.shape[0]


_KINDS = (np.int32, np.int32, np.bool_, np.uint16, np.uint8)
"""Number formats of a table's columns."""


def _piece(rows: NDArray[np.uint8], first: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
    """The columns of a `ScoreTable`, in order, for these rows."""
    unknown = (rows == UNKNOWN).any(axis=1)
    known = np.where(unknown[:, None], 0, rows)
    row, members = np.nonzero(known)
    return first, np.bincount(row, minlength=len(rows)), unknown, members, known[row, members]
