"""Files on disk that are ``wat``'s own: told from a person's, and written whole or not at all.

A set of outputs becomes visible in three steps: every file is written under a hidden name beside its target, flushed to
the disk; the captions are renamed to their names; the sidecar is renamed last. The hidden sidecar is complete before
the first rename and lists the hash of every caption, so a run that was cut off between two renames is finished by the
next one (`recover`), and no file of ``wat``'s own is ever taken for a person's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from wat_cli import sidecar as sidecars
from wat_cli.errors import ForeignOutput, InWork, OutputError, shown

Content = bytes | IO[bytes]
"""What is written to a file: bytes, or an open file from its beginning on where it would be large."""

_PIECE = 2**20
_LEAST_ROOM, _ROOM_A_SECOND = 64 * 2**10, 1000
"""Bytes that a film's outputs take, and each second more: an hour has about 3 MB, most of it tags."""


def part_path(final: Path) -> Path:
    """Hidden name beside `final` under which it is written: short, whatever the length of the final name."""
    return final.with_name(f".wat-{_key(final)}.part")


def resume_path(sidecar: Path) -> Path:
    """Hidden name of what was heard so far of a long file."""
    return sidecar.with_name(f".wat-{_key(sidecar)}.resume")


def is_unfinished(sidecar: Path) -> bool:
    """Whether a run was cut off while it worked for this sidecar, be it at its last step; or is working for it now."""
    return any(path.exists() for path in (part_path(sidecar), resume_path(sidecar), lock_path(sidecar)))


def lock_path(sidecar: Path) -> Path:
    """Hidden name of the lock that a run holds while it works for `sidecar`."""
    return sidecar.with_name(f".wat-{_key(sidecar)}.lock")


def _key(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]


@contextmanager
def locked(sidecar: Path) -> Iterator[None]:
    """Keep other runs, on this machine or another that shares the folder, off this sidecar and its outputs.

    The lock is the kernel's, so that it ends with its holder, however that ends; the file that carries it is removed.
    Raises `InWork` where another run holds it, `OutputError` where the folder cannot be written.
    """
    path = lock_path(sidecar)
    lock = FileLock(path, blocking=False)
    try:
        sidecar.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InWork("another run is working on it") from None
    except OSError as error:
        raise _unwritable(sidecar, error) from error
    try:
        yield
    finally:
        # removed while it is still held: who waits for the old file finds it unlinked, and starts over
        _remove(path)
        lock.release()


@dataclass(frozen=True)
class Standing:
    """What is on disk where outputs would go."""

    record: sidecars.Record | None
    """The sidecar that stands there, if it is one of ``wat``'s."""
    settled: frozenset[str]
    """Names of the outputs that are as ``wat`` left them: there as written, or absent because nothing was to write."""


def inspect(sidecar: Path, targets: Mapping[str, Path]) -> Standing:
    """Look at what stands under the sidecar's and the outputs' names.

    Args:
        sidecar: path of the sidecar.
        targets: path of each output by its format, all in the sidecar's folder.

    Raises:
        ForeignOutput: one of the files is not ``wat``'s, or was changed since ``wat`` wrote it.
    """
    record = _own_record(sidecar)
    pending = _own_record(part_path(sidecar), hidden=True)
    known: dict[str, set[str]] = {}
    for found in (record, pending):
        for name, digest in found.transcript.outputs.items() if found else ():
            if digest is not None:
                known.setdefault(name, set()).add(digest)
    settled = {name for name, digest in record.transcript.outputs.items() if digest is None} if record else set()
    for path in targets.values():
        if path == sidecar or not os.path.lexists(path):
            continue
        if path.name not in known:
            raise ForeignOutput(f"{shown(path)} was not written by wat; --overwrite replaces it")
        if not any(holds(path, digest) for digest in known[path.name]):
            raise ForeignOutput(f"{shown(path)} was changed since wat wrote it; --overwrite replaces it")
        settled.add(path.name)
    return Standing(record, frozenset(settled))


def _own_record(path: Path, hidden: bool = False) -> sidecars.Record | None:
    if not os.path.lexists(path):
        return None
    try:
        record = sidecars.read(path, tags=False)
    except (sidecars.NotASidecar, OSError) as error:
        if hidden:  # half-written: nothing was renamed yet
            return None
        raise ForeignOutput(f"{shown(path)} is no sidecar of wat ({_reason(error)}); --overwrite replaces it") from None
    if not record.unchanged:
        if hidden:
            return None
        raise ForeignOutput(f"{shown(path)} was changed since wat wrote it; --overwrite replaces it")
    return record


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) else str(error).rpartition(": ")[2]
    return text or type(error).__name__


def own_outputs(sidecar: Path) -> dict[str, str | None]:
    """Names and hashes that the sidecar lists; nothing if there is none, or if it is not ``wat``'s."""
    try:
        return dict(sidecars.read(sidecar, tags=False).transcript.outputs)
    except (sidecars.NotASidecar, OSError):
        return {}


def recover(sidecar: Path, others: Iterable[Path] = ()) -> bool:
    """Finish a set of outputs whose writing was cut off, or clear what is left of it.

    Call it only while no other run works for this sidecar. `others` are further names whose unfinished parts are
    cleared. Returns whether a set was finished.
    """
    pending = _own_record(part_path(sidecar), hidden=True)
    finished = pending is not None and _finish(sidecar, pending)
    listed = [sidecar.with_name(Path(name).name) for name in pending.transcript.outputs] if pending else []
    for path in {sidecar, *listed, *others}:
        _remove(part_path(path))
    return finished


def _finish(sidecar: Path, pending: sidecars.Record) -> bool:
    digests = {sidecar.with_name(Path(name).name): digest for name, digest in pending.transcript.outputs.items()}
    try:
        before = _own_record(sidecar)
    except ForeignOutput:  # a person's, put there since; the run that was cut off may have been told to overwrite
        return False
    if not all(_may_become(path, digest, before) for path, digest in digests.items()):
        return False
    for path, digest in digests.items():
        if digest is None:
            _remove_own(path, before)
        elif not holds(path, digest):
            part_path(path).replace(path)
    part_path(sidecar).replace(sidecar)
    _flush_folder(sidecar.parent)
    return True


def _may_become(path: Path, digest: str | None, before: sidecars.Record | None) -> bool:
    """Whether `path` has the content of that hash, or can be given it without replacing anybody's work."""
    if digest is None or holds(path, digest):
        return True
    known = before.transcript.outputs.get(path.name) if before else None
    free = not os.path.lexists(path) or (known is not None and holds(path, known))
    return free and holds(part_path(path), digest)


def holds(path: Path, digest: str) -> bool:
    """Whether a file is there and has this SHA-256."""
    try:
        return sidecars.sha256_of_file(path) == digest
    except OSError:
        return False


def _remove_own(path: Path, before: sidecars.Record | None) -> None:
    """Remove an output of an earlier run, if it still is as the earlier sidecar says."""
    digest = before.transcript.outputs.get(path.name) if before else None
    if digest is not None and holds(path, digest):
        _remove(path)


def commit(sidecar: Path, record: bytes, outputs: Mapping[Path, Content | None]) -> None:
    """Write `outputs` and then the sidecar `record` that lists their hashes, so that each appears whole.

    None in place of an output's content removes what stands there: nothing is to be said any more.

    Raises:
        OutputError: the folder or a file cannot be written; nothing partial is left under any final name.
    """
    # the sidecar's part is written last: where it is whole, so are the others
    written: dict[Path, Content] = {
        **{path: data for path, data in outputs.items() if data is not None},
        sidecar: record,
    }
    try:
        sidecar.parent.mkdir(parents=True, exist_ok=True)
        try:
            for path, data in written.items():
                _write_part(path, data)
        except BaseException:
            for path in written:
                _remove(part_path(path))
            raise
        # cut off from here on, `recover` goes on
        for path in outputs:
            if path not in written:
                _remove(path)
        for path in written:
            part_path(path).replace(path)
        _flush_folder(sidecar.parent)
    except OSError as error:
        raise _unwritable(sidecar, error) from error


def require_room(sidecar: Path, seconds: float | None) -> None:
    """Raise `OutputError` where there is no room for the outputs of so much audio, before it is heard for nothing."""
    needed = _LEAST_ROOM + int((seconds or 0.0) * _ROOM_A_SECOND)
    try:
        free = shutil.disk_usage(sidecar.parent).free
    except OSError:
        return
    if free < needed:
        raise OutputError(
            f"{shown(sidecar)}: cannot be written: {free >> 10} KB are free on the disk, {needed >> 10} KB are needed"
        )


def _unwritable(sidecar: Path, error: OSError) -> OutputError:
    return OutputError(f"{shown(sidecar)}: cannot be written ({error.strerror or error})")


def replace_file(path: Path, data: bytes) -> None:
    """Write one file of its own, whole or not at all. Raises OSError."""
    try:
        _write_part(path, data)
        part_path(path).replace(path)
    finally:
        _remove(part_path(path))


def digest(content: Content) -> str:
    """SHA-256 of what is to be written."""
    if isinstance(content, bytes):
        return sidecars.sha256(content)
    content.seek(0)
    found = hashlib.sha256()
    while piece := content.read(_PIECE):
        found.update(piece)
    return found.hexdigest()


def _write_part(path: Path, content: Content) -> None:
    part = part_path(path)
    _remove(part)
    # a new file of our own, never through somebody's link; permissions as the umask has them
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content.seek(0)
            shutil.copyfileobj(content, file, _PIECE)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the renames last through a power cut, where the system lets a folder be flushed."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
