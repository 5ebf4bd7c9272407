"""Every score of a file while it is heard: sums on disk, so that memory stays flat however long the file is."""

from __future__ import annotations

import tempfile
import weakref
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from wat_cli.errors import OutputError, shown

IN_MEMORY = 8 * 2**20
"""Bytes up to which nothing is put on disk: half an hour of 527 classes."""

_CHUNK = 1024
"""Steps that are read with all their classes at once."""


class ScoreSpool:
    """Sums of probabilities [steps, classes], added to in any order, read as averages; NaN where nothing was added.

    The file behind it has no name, so that nothing stays behind; it goes when the spool does.
    """

    ndim = 2

    def __init__(self, steps: int, classes: int) -> None:
        self.shape = steps, classes
        self._counts = np.zeros(steps, np.float32)
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 (closed by the finalizer)
        weakref.finalize(self, self._file.close)

    def add(self, first: int, sums: NDArray[np.float32], counts: NDArray[np.float32]) -> None:
        """Add `sums` [n, classes] of `counts` [n] answers to the steps from `first` on.

        Raises `OutputError` where the disk is full.
        """
        sums = self._read(first, first + len(sums)) + sums
        try:
            self._file.seek(4 * first * self.shape[1])
            self._file.write(sums.tobytes())
        except OSError as error:
            raise OutputError(
                f"{shown(Path(tempfile.gettempdir()))}: sound scores cannot be written there ({error.strerror}); "
                "make room, or set TMPDIR to a folder on a larger disk"
            ) from error
        self._counts[first : first + len(sums)] += counts

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        """Averages as numpy gives them for ``[a:b]`` and ``[a:b, classes]``; reads those steps from the disk."""
        steps, classes = key if isinstance(key, tuple) else (key, slice(None))
        start, stop, _ = steps.indices(self.shape[0])
        pieces = [np.zeros((0, self.shape[1]), np.float32)[:, classes]]
        for begin in range(start, stop, _CHUNK):
            end = min(begin + _CHUNK, stop)
            with np.errstate(invalid="ignore"):
                pieces.append((self._read(begin, end) / self._counts[begin:end, None])[:, classes])
        return np.concatenate(pieces)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or np.float32)

    def _read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Sums of these steps; 0 where the file has not come yet."""
        classes = self.shape[1]
        self._file.seek(4 * start * classes)
        known = np.frombuffer(self._file.read(4 * (stop - start) * classes), np.float32)
        sums = np.zeros((stop - start) * classes, np.float32)
        sums[: len(known)] = known
        return cast("NDArray[np.float32]", sums.reshape(stop - start, classes))
