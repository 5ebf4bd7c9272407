"""Pooled encoder features on disk: computed once, mapped into memory, safe against interruption.

A cache belongs to one encoder (``ROOT/HASH-OF-ITS-WEIGHTS``) and holds shards of half-precision steps, [steps, layers,
width] end to end, and ``index.jsonl`` with a line for each clip: its key, shard, first step and number of steps. A
clip's key is the hash of its file and where the clip lies in it, so that moved files are found again and changed ones
are not. Steps are written before the line that names them; what a killed run left without a line is cut off.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from wat_cli.errors import CheckpointError, UsageError, shown
from wat_cli.training.datasets import Clip

LAYOUT = 1
"""Version of the files' layout and of how features are made; a part of every key."""

SHARD_BYTES = 1 << 30

FileState = tuple[str, int, int]
"""Path, size and time of the last change (ns)."""


@dataclass(frozen=True)
class Place:
    """Where a clip's features lie."""

    shard: int
    first: int
    """Its first step in the shard."""
    steps: int


class FeatureCache:
    """The features of one encoder, on disk. A writer holds a lock; readers need none."""

    def __init__(
        self, root: Path, sha256: str, layers: int, width: int, *, write: bool = False, shard_bytes: int = SHARD_BYTES
    ) -> None:
        """Open, and with `write` create and mend, the cache of the encoder `sha256` (`layers` x `width`) under `root`.

        Raises UsageError where another process writes to it or the folder cannot be made, CheckpointError where its
        index is damaged.
        """
        self.folder, self.layers, self.width = root / sha256[:16], layers, width
        self._steps_in_shard = max(1, shard_bytes // self.bytes_per_step)
        self._places: dict[str, Place] = {}
        self._filled: dict[int, int] = {}
        """Steps that the index names in each shard."""
        self._digests: dict[FileState, str] = {}
        self._maps: dict[int, NDArray[np.float16]] = {}
        self._lock: FileLock | None = None
        if write:
            self._take_lock()
        self._read_index()
        if write:
            self._cut_off_unnamed()

    @property
    def bytes_per_step(self) -> int:
        """Bytes of one step of 0.4 s."""
        return 2 * self.layers * self.width

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let another process write."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def steps(self, key: str) -> int:
        """Steps of 0.4 s of a clip; 0 for one without audio."""
        return self._places[key].steps

    def read(self, key: str, start: int = 0, stop: int | None = None) -> NDArray[np.float16]:
        """Steps ``start`` to ``stop`` of a clip: [steps, layers, width], mapped, not copied."""
        place = self._places[key]
        stop = place.steps if stop is None else min(stop, place.steps)
        return self._shard(place.shard)[place.first + start : place.first + stop]

    def key(self, clip: Clip) -> str:
        """Key of a clip; its file is hashed unless one of this path, size and time of change was hashed before.

        OSError where there is no such file.
        """
        end = "" if clip.end is None else f"{clip.end:.3f}"
        what = f"{LAYOUT}:{self._digest(_state(clip))}:{clip.start:.3f}:{end}"
        return hashlib.sha256(what.encode()).hexdigest()[:32]

    def add(self, clips: Iterable[tuple[Clip, NDArray[np.float16]]]) -> None:
        """Append the features [steps, layers, width] of some clips; once this returns they are on disk."""
        lines = []
        for clip, features in clips:
            if features.shape[1:] != (self.layers, self.width):
                raise ValueError(f"features of shape {features.shape} for {self.layers} layers x {self.width}")
            key = self.key(clip)
            if key in self._places:
                continue
            place = self._append(features)
            self._place(key, place)
            state = _state(clip)
            row = {**asdict(place), "key": key, "file": [*state, self._digest(state)]}
            lines.append(json.dumps(row) + "\n")
        _write("".join(lines).encode(), self.folder / "index.jsonl")

    def _digest(self, state: FileState) -> str:
        if state not in self._digests:
            with Path(state[0]).open("rb") as file:
                self._digests[state] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digests[state]

    # --- files --------------------------------------------------------------------------------------------------------

    def _path(self, shard: int) -> Path:
        return self.folder / f"shard-{shard:05d}.f16"

    def _take_lock(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--cache {shown(self.folder)}: {error.strerror}") from None
        self._lock = FileLock(self.folder / "lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(f"--cache {shown(self.folder)}: another run of wat writes to it") from None

    def _read_index(self) -> None:
        path = self.folder / "index.jsonl"
        if not path.exists():
            return
        lines = path.read_bytes().split(b"\n")
        whole, torn = lines[:-1], lines[-1]
        if torn and self._lock is not None:  # a run was killed while it wrote its last line
            os.truncate(path, path.stat().st_size - len(torn))
        for number, line in enumerate(whole, 1):
            try:
                row = json.loads(line)
                place = Place(int(row["shard"]), int(row["first"]), int(row["steps"]))
                file, size, changed, digest = row["file"]
                if min(place.shard, place.first, place.steps) < 0:
                    raise ValueError
                self._place(str(row["key"]), place)
                self._digests[(str(file), int(size), int(changed))] = str(digest)
            except (ValueError, KeyError, TypeError, RecursionError):
                raise CheckpointError(f"{shown(path)}, line {number}: damaged; remove {shown(self.folder)}") from None
        for shard, steps in self._filled.items():
            path = self._path(shard)
            if not path.exists() or path.stat().st_size < steps * self.bytes_per_step:
                raise CheckpointError(f"{shown(path)}: shorter than its index says; remove {shown(self.folder)}")

    def _place(self, key: str, place: Place) -> None:
        self._places[key] = place
        self._filled[place.shard] = max(self._filled.get(place.shard, 0), place.first + place.steps)

    def _cut_off_unnamed(self) -> None:
        for path in self.folder.glob("shard-*.f16"):
            steps = self._filled.get(int(path.stem.removeprefix("shard-")), 0)
            os.truncate(path, steps * self.bytes_per_step)

    def _append(self, features: NDArray[np.float16]) -> Place:
        if self._lock is None:
            raise ValueError("the cache is open for reading")
        shard = max(self._filled, default=0)
        filled = self._filled.get(shard, 0)
        if filled and filled + len(features) > self._steps_in_shard:
            shard, filled = shard + 1, 0
        _write(np.ascontiguousarray(features, np.float16).tobytes(), self._path(shard))
        return Place(shard, filled, len(features))

    def _shard(self, shard: int) -> NDArray[np.float16]:
        steps = self._filled[shard]
        if steps == 0:
            return np.zeros((0, self.layers, self.width), np.float16)
        if shard not in self._maps or len(self._maps[shard]) < steps:
            self._maps[shard] = np.memmap(self._path(shard), np.float16, "r", shape=(steps, self.layers, self.width))
        return self._maps[shard]


def _state(clip: Clip) -> FileState:
    status = clip.path.stat()
    return str(clip.path), status.st_size, status.st_mtime_ns


def _write(data: bytes, path: Path) -> None:
    """Append `data`, down to the disk."""
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
