"""What was heard of a long file so far, kept on disk window by window, so that a killed run goes on where it stopped.

A window's record holds the answers that its seek was given (`wat_cli.seek`): the language, what was decoded, the words'
times, and the tagging head's logits. A resumed run gives the same answers again without asking a model, and so comes to
the same place with the same prompt: its text is that of a run that was never interrupted. A record is complete or does
not count; its checksum says which.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

FIRST_BYTES = b"wat-resume-3\n"
_FRAME = struct.Struct(">II")
_LARGEST = 64 * 2**20
"""Bytes of a record; one with every word's time and all logits has a tenth of a MiB or two."""


@dataclass(frozen=True)
class WindowRecord:
    """Everything that one window was answered."""

    seek: int
    """First mel frame (10 ms)."""
    size: int
    """Mel frames of content."""
    answers: tuple[Any, ...]
    """JSON values, in the order in which they were asked for."""
    logits: tuple[NDArray[np.float32], ...] = ()
    """What the tagging head said, in the order of its calls."""


class ResumeLog:
    """The records of one file: those of an earlier run, and those that are added.

    A file that is cut into shards has its windows heard in no order; each shard has `pages` of its own in the log, and
    the log itself is that of a file that is not cut.

    Context manager: leaving it closes the file, which stays for the next run unless `discard` was called.
    """

    def __init__(self, path: Path, key: str) -> None:
        """`key` says what the records hold for: the input and all settings. A log with another key counts for nothing.

        Raises OSError where `path` cannot be written.
        """
        if path.is_symlink():  # never through somebody's link
            path.unlink()
        self._path, self._head = path, FIRST_BYTES + key.encode() + b"\n"
        self._file: BinaryIO = path.open("r+b" if path.exists() else "w+b")
        self._found: list[_Place] = []
        self._pages: list[Pages] = []
        if self._file.read(len(self._head)) == self._head:
            self._found = list(self._places())
            self.cut(self._file.tell())
        else:
            self._file.seek(0)
            self._file.write(self._head)
            self.cut(len(self._head))
        self.recalled = 0
        """Windows that were not heard again."""

    def pages(self, first: int, stop: int) -> Pages:
        """The records of the windows that begin at mel frames from `first` on and before `stop`."""
        self._pages.append(Pages(self, deque(place for place in self._found if first <= place.seek < stop)))
        return self._pages[-1]

    def recall(self, seek: int, size: int) -> WindowRecord | None:
        """The record of the window that is to be heard next; None from the first one on that is not there."""
        whole = self._pages[0] if self._pages else self.pages(0, sys.maxsize)
        return whole.recall(seek, size)

    def keep(self, record: WindowRecord) -> None:
        """Add a record; it outlasts this process at once."""
        self._file.seek(0, os.SEEK_END)
        self._file.write(_pack(record))
        self._file.flush()

    def record(self, offset: int) -> WindowRecord | None:
        """The record that begins at this byte; None if there is none."""
        self._file.seek(offset)
        return self._read()

    def cut(self, offset: int) -> None:
        """Forget the records from this byte on."""
        self._file.truncate(offset)
        self._file.flush()
        for pages in self._pages:
            pages.forget(offset)

    def _places(self) -> Iterator[_Place]:
        """Where the whole records begin; ends at the end of the last one."""
        offset = self._file.tell()
        while (record := self._read()) is not None:
            yield _Place(record.seek, record.size, offset)
            offset = self._file.tell()
        self._file.seek(offset)

    def _read(self) -> WindowRecord | None:
        frame = self._file.read(_FRAME.size)
        if len(frame) < _FRAME.size:
            return None
        length, checksum = _FRAME.unpack(frame)
        if length > _LARGEST:
            return None
        data = self._file.read(length)
        if len(data) < length or zlib.crc32(data) != checksum:
            return None
        return _unpack(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def discard(self) -> None:
        """Remove the log: the file is done, or what it holds is of no use."""
        self._path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Place:
    """Where a record lies in the log."""

    seek: int
    size: int
    offset: int


class Pages:
    """The records of a file or of one of its shards, first read again in the order in which they were kept."""

    def __init__(self, log: ResumeLog, ahead: deque[_Place]) -> None:
        self._log, self._ahead = log, ahead

    def recall(self, seek: int, size: int) -> WindowRecord | None:
        """The record of the window that is to be heard next; None from the first one on that is not there."""
        if not self._ahead:
            return None
        place = self._ahead.popleft()
        if (place.seek, place.size) == (seek, size) and (record := self._log.record(place.offset)) is not None:
            self._log.recalled += 1
            return record
        self._ahead.clear()
        self._log.cut(place.offset)
        return None

    def forget(self, offset: int) -> None:
        """Leave out the records from this byte on: they are gone, and their windows will be heard again."""
        while self._ahead and self._ahead[-1].offset >= offset:
            self._ahead.pop()

    def keep(self, record: WindowRecord) -> None:
        """Add a record; it outlasts this process at once."""
        self._ahead.clear()
        self._log.keep(record)


def _pack(record: WindowRecord) -> bytes:
    shapes = [list(array.shape) for array in record.logits]
    head = json.dumps(
        {"seek": record.seek, "size": record.size, "answers": record.answers, "shapes": shapes}, default=float
    ).encode()
    body = b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in record.logits)
    data = _FRAME.pack(len(head), 0) + head + zlib.compress(body, 1)
    return _FRAME.pack(len(data), zlib.crc32(data)) + data


def _unpack(data: bytes) -> WindowRecord:
    length, _ = _FRAME.unpack_from(data)
    head = json.loads(data[_FRAME.size : _FRAME.size + length])
    body = np.frombuffer(zlib.decompress(data[_FRAME.size + length :]), "<f4")
    ends = np.cumsum([int(np.prod(shape)) for shape in head["shapes"]], dtype=np.int64)
    pieces = np.split(body, ends[:-1]) if len(ends) else []
    logits = tuple(piece.reshape(shape) for piece, shape in zip(pieces, head["shapes"], strict=True))
    return WindowRecord(head["seek"], head["size"], tuple(head["answers"]), logits)
