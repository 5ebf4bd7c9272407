"""Keeps decoded audio on disk, so that memory does not grow with the file."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from wat_cli.errors import OutputError, shown
from wat_cli.media.process import SAMPLE_RATE

BYTES_PER_SECOND = 2 * SAMPLE_RATE


class PcmSpool:
    """PCM of one file at 16 kHz on disk: written forward once, read anywhere, gone when closed.

    The file has no name, so nothing stays behind whatever happens; it is read by position, never mapped, so memory
    stays flat. `seconds`, where known, is checked against the free space before any work: `OutputError` if it is short.
    """

    def __init__(self, seconds: float | None = None, directory: Path | None = None) -> None:
        where = Path(directory or tempfile.gettempdir())
        needed = int((seconds or 0) * BYTES_PER_SECOND)
        if needed > shutil.disk_usage(where).free:
            raise OutputError(
                f"{shown(where)}: {-(-needed >> 20)} MB are needed there for the decoded audio and not free; "
                "make room, or set TMPDIR to a folder on a larger disk"
            )
        self._where = where
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=where, buffering=0)  # noqa: SIM115 (closed by close)
        self.samples = 0
        """Samples written so far."""

    def __enter__(self) -> PcmSpool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the space back."""
        self._file.close()

    def append(self, chunk: NDArray[np.int16]) -> None:
        """Add samples at the end. Raises `OutputError` if the disk is full."""
        data = memoryview(chunk.astype(np.int16, copy=False).tobytes())
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise OutputError(
                f"{shown(self._where)}: decoded audio cannot be written there ({error.strerror}); "
                "make room, or set TMPDIR to a folder on a larger disk"
            ) from error
        self.samples += len(chunk)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples ``start`` to ``stop`` as float32 in [-1, 1), cut to those that exist."""
        start, stop = max(0, start), min(stop, self.samples)
        if stop <= start:
            return np.zeros(0, dtype=np.float32)
        data = bytearray()
        while len(data) < 2 * (stop - start):
            data += os.pread(self._file.fileno(), 2 * (stop - start) - len(data), 2 * start + len(data))
        return np.frombuffer(data, dtype=np.int16).astype(np.float32) / 32768.0
