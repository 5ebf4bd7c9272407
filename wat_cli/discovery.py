"""Paths to jobs: which files are media, where their captions go, and which of them would get in each other's way.

Everything is decided before any work, from names and first bytes; nothing is written. What only ffmpeg can tell is
asked of a function that is handed in, so this room runs no programs.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from wat_cli.errors import UsageError, shown
from wat_cli.options import COPY_MARK, FORMATS

_SUFFIXES = """
3g2 3gp aac ac3 aif aifc aiff amr ape asf au avi caf divx dsf eac3 f4v flac flv m2ts m4a m4b m4v mka mkv mov mp2 mp3 mp4
mpeg mpg mxf oga ogg ogm ogv opus rm rmvb spx tta vob w64 wav webm wma wmv wv
"""
MEDIA_SUFFIXES = frozenset(_SUFFIXES.split())
"""Files of these names are taken for media unseen. Names that also mean something else (ts, mts, dts) are not here."""

_OTHER_SIGNATURES = (
    b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"%PDF", b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ",
    b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd", b"\x7fELF", b"MZ", b"SQLite format 3",
    b"\xca\xfe\xba\xbe", b"\xd0\xcf\x11\xe0",
)  # fmt: skip
_OUTPUT_SUFFIXES = frozenset((*FORMATS, "npz"))
_FIRST_LOOK = 4096
_LONGEST_NAME = 255


@dataclass(frozen=True)
class Outputs:
    """Where the outputs of one input go: `folder`, and the name that they share before their suffixes."""

    folder: Path
    name: str

    @property
    def sidecar(self) -> Path:
        """The JSON sidecar."""
        return self.folder / f"{self.name}.json"

    @property
    def captions(self) -> Mapping[str, Path]:
        """The caption file of every format but JSON, asked for or not."""
        return {suffix: self.folder / f"{self.name}.{suffix}" for suffix in FORMATS if suffix != "json"}

    @property
    def scores(self) -> Path:
        """Every class's score (``--save-scores``)."""
        return self.folder / f"{self.name}.npz"

    def all(self) -> tuple[Path, ...]:
        """Every path that may be written for this input."""
        return (self.sidecar, *self.captions.values(), self.scores)


@dataclass(frozen=True)
class Job:
    """One input and the place of its outputs: small, picklable, all that crosses a process."""

    source: Path
    outputs: Outputs


@dataclass(frozen=True)
class Refused:
    """A path that gives no job."""

    path: Path
    reason: str
    failed: bool
    """Whether the run failed for it; otherwise it is just none of its business."""


@dataclass(frozen=True)
class Discovery:
    """What the paths came to, in the order of the arguments, and of names within a folder."""

    jobs: tuple[Job, ...]
    refused: tuple[Refused, ...]


def read_paths(stream: BinaryIO, null: bool = False) -> tuple[Path, ...]:
    """The paths of a list, one a line or, with `null`, separated by NUL; names that are no text stay what they are.

    Raises `UsageError` for a list by NUL that is read by line.
    """
    data = stream.read()
    if not null and b"\0" in data:
        raise UsageError("the list of paths holds NUL characters: read it with -0")
    names = data.split(b"\0") if null else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return tuple(Path(os.fsdecode(name)) for name in names if name)


def discover(
    named: Iterable[Path],
    is_media: Callable[[Path], bool],
    *,
    listed: Iterable[Path] = (),
    output_dir: Path | None = None,
    names: str = "stem",
    folds_case: Callable[[Path], bool] | None = None,
) -> Discovery:
    """Find the jobs in files and folders.

    A file is always tried; in a folder, and the folders in it, media are found by suffix or by looking into the file:
    first for text and other well-known kinds, then with `is_media` (`wat_cli.media.holds_audio`). Hidden names, folders
    that were seen already (symlink loops) and ``wat``'s own outputs are left out. Outputs go beside their source; with
    `output_dir` those of a folder's files are laid out there as in the folder, those of single files flat.

    Args:
        named: paths from the command line. One that does not exist ends everything with `UsageError`.
        is_media: whether ffmpeg finds audio in a file.
        listed: paths from a list; one that does not exist is refused, the others go on.
        output_dir: root of the outputs, or None for beside the source.
        names: ``stem`` (``talk.srt``) or ``full`` (``talk.mp4.srt``).
        folds_case: whether names in a folder differ by more than case; asked of the file system if left out.
    """
    named = tuple(named)
    missing = [f"{shown(path)}: {problem}" for path in named if (problem := _problem(path))]
    if missing:
        raise UsageError("; ".join(missing[:3]) + (f"; and {len(missing) - 3} more" if len(missing) > 3 else ""))
    walk = _Walk(is_media)
    found = [item for path in named for item in walk.visit(path)]
    for path in listed:
        problem = _problem(path)
        found += [Refused(path, problem, failed=True)] if problem else walk.visit(path)
    refused = [item for item in found if isinstance(item, Refused)]
    jobs = [_job(item, output_dir, names) for item in found if isinstance(item, _Found)]
    if output_dir is not None:
        jobs, outside = _within(jobs, output_dir)
        refused += outside
    jobs, clashes = _without_clashes(jobs, folds_case or _folds_case)
    return Discovery(tuple(jobs), (*refused, *clashes))


def _job(found: _Found, output_dir: Path | None, names: str) -> Job:
    folder = found.folder if output_dir is None else output_dir / found.inside
    return Job(found.source, Outputs(folder, found.source.stem if names == "stem" else found.source.name))


def _within(jobs: list[Job], output_dir: Path) -> tuple[list[Job], list[Refused]]:
    """The jobs whose outputs stay in `output_dir`, and the others: a link in it may lead anywhere."""
    root = os.path.realpath(output_dir)  # links in circles are no error to it
    folders = {job.outputs.folder for job in jobs}
    inside = {folder: Path(os.path.realpath(folder)).is_relative_to(root) for folder in folders}
    reason = "its outputs would leave --output-dir: {} leads out of it through a link"
    refused = [
        Refused(job.source, reason.format(shown(job.outputs.folder)), failed=True)
        for job in jobs
        if not inside[job.outputs.folder]
    ]
    return [job for job in jobs if inside[job.outputs.folder]], refused


def _problem(path: Path) -> str | None:
    try:
        path.stat()
    except (OSError, ValueError) as error:
        return _words(error)
    return None


def _words(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) else str(error)
    return (text or "cannot be read").lower()


# --- walk -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    source: Path
    folder: Path
    inside: Path
    """The same folder, as seen from the one that was asked for."""


class _Walk:
    """Goes through files and folders; what was seen once is not given again."""

    def __init__(self, is_media: Callable[[Path], bool]) -> None:
        self._is_media = is_media
        self._folders: set[tuple[int, int]] = set()
        self._files: set[tuple[tuple[int, int], str]] = set()

    def visit(self, path: Path) -> Iterator[_Found | Refused]:
        """Everything that a path by name stands for."""
        if path.is_dir():
            yield from self._folder(path)
        elif path.suffix[1:] in _OUTPUT_SUFFIXES and not self._is_media(path):
            # videos/* names captions too; as inputs they would clash with the film that they belong to
            own = _is_own_output(path)
            yield Refused(path, "written by wat" if own else "captions or data, not media", failed=not own)
        elif _is_own_copy(path):
            yield Refused(path, "written by wat", failed=False)
        else:
            try:
                new = self._is_new(_identity(path.parent), path.name)
            except OSError as error:  # gone since it was looked for
                yield Refused(path, _words(error), failed=True)
                return
            if new:
                yield _Found(path, path.parent, Path())

    def _folder(self, root: Path) -> Iterator[_Found | Refused]:
        # A stack of folders half gone through instead of recursion: they may be nested deeper than Python calls.
        stack = [self._enter(root, Path())]
        while stack:
            below = next(stack[-1], None)
            if below is None:
                stack.pop()
            elif isinstance(below, tuple):
                stack.append(self._enter(*below))
            else:
                yield below

    def _enter(self, folder: Path, inside: Path) -> Iterator[_Found | Refused | tuple[Path, Path]]:
        """What is in one folder; of the folders in it the arguments with which to enter them."""
        try:
            identity = _identity(folder)
            if identity in self._folders:
                return
            self._folders.add(identity)
            with os.scandir(folder) as scanned:
                entries = sorted((entry for entry in scanned if entry.name[0] != "."), key=_name)
        except OSError as error:
            yield Refused(folder, _words(error), failed=True)
            return
        for entry in entries:
            path = folder / entry.name
            named_as_media = os.path.splitext(entry.name)[1][1:].lower() in MEDIA_SUFFIXES  # noqa: PTH122 (fast)
            try:
                if entry.is_dir():
                    yield path, inside / entry.name
                    continue
                if not entry.is_file():
                    if named_as_media:
                        path.stat()  # a link that leads nowhere says so; a pipe or a device is just left out
                    continue
            except OSError as error:
                if named_as_media:
                    yield Refused(path, _words(error), failed=True)
                continue
            if _is_own_copy(path):
                continue
            if (named_as_media or (_may_be_media(path) and self._is_media(path))) and self._is_new(
                identity, entry.name
            ):
                yield _Found(path, folder, inside)

    def _is_new(self, folder: tuple[int, int], name: str) -> bool:
        new = (folder, name) not in self._files
        self._files.add((folder, name))
        return new


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _name(entry: os.DirEntry[str]) -> bytes:
    return os.fsencode(entry.name)


def _may_be_media(path: Path) -> bool:
    """A first look that spares running ffprobe on every picture and text in a tree."""
    try:
        with path.open("rb") as file:
            head = file.read(_FIRST_LOOK)
    except OSError:
        return False
    return bool(head) and not head.startswith(_OTHER_SIGNATURES) and not _is_text(head)


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # the look may have ended within a character
        return len(head) == _FIRST_LOOK and error.start > _FIRST_LOOK - 4 and error.reason == "unexpected end of data"
    return True


def _is_own_output(path: Path) -> bool:
    """Whether a file named on the command line (by ``videos/*``) is an output: a sidecar of ``wat`` lies beside it."""
    try:
        with path.with_suffix(".json").open("rb") as file:
            head = file.read(256)
    except OSError:
        return False
    return head.startswith(b"{") and b'"schema"' in head and b'"encoder_passes"' in head


def _is_own_copy(path: Path) -> bool:
    """Whether a film is a captioned copy that ``wat`` made of another: that one's sidecar lists it."""
    if not path.stem.endswith(COPY_MARK):
        return False
    try:
        sidecar = path.with_name(path.stem.removesuffix(COPY_MARK) + ".json").read_bytes()
    except (OSError, ValueError):
        return False
    plain = json.dumps(path.name, ensure_ascii=False).encode("utf-8", "surrogateescape")
    lists_it = plain in sidecar or json.dumps(path.name).encode() in sidecar
    return lists_it and sidecar.startswith(b"{") and b'"encoder_passes"' in sidecar


# --- clashes ----------------------------------------------------------------------------------------------------------


def _without_clashes(jobs: list[Job], folds_case: Callable[[Path], bool]) -> tuple[list[Job], list[Refused]]:
    """The jobs that nothing stands against, and for each of the others what does."""
    places = _Places(folds_case)
    writers: dict[tuple[str, str], list[Path]] = {}
    inputs: dict[tuple[str, str], Path] = {}
    for job in jobs:
        writers.setdefault(places.key(job.outputs.folder, job.outputs.name), []).append(job.source)
        if job.source.suffix[1:].lower() in _OUTPUT_SUFFIXES:
            inputs[places.key(job.source.parent, job.source.name)] = job.source
    kept, refused = [], []
    for job in jobs:
        rivals = writers[places.key(job.outputs.folder, job.outputs.name)]
        outputs = job.outputs.all() if inputs else ()
        victims = [inputs.get(places.key(output.parent, output.name)) for output in outputs]
        reason = _objection(job, rivals, next(filter(None, victims), None))
        if reason is None:
            kept.append(job)
        else:
            refused.append(Refused(job.source, reason, failed=True))
    return kept, refused


def _objection(job: Job, writers: list[Path], victim: Path | None) -> str | None:
    if len(os.fsencode(job.outputs.name)) + len(".json") > _LONGEST_NAME:
        return f"its name is too long: {_LONGEST_NAME} bytes must hold it with .json at the end; rename it"
    if len(writers) > 1:
        rivals = [source for source in writers[:4] if source != job.source][:3]
        same = any(rival.name == job.source.name for rival in rivals)
        way_out = "name their common folder, so that its layout is kept" if same else "--names full keeps them apart"
        more = f" and {len(writers) - 1 - len(rivals)} more" if len(writers) - 1 > len(rivals) else ""
        there = shown(job.outputs.folder / job.outputs.name)
        return f"would write {there}.* as {', '.join(map(shown, rivals))}{more} would; {way_out}"
    if victim:
        return f"its output would replace the input {shown(victim)}; --names full or --output-dir avoids it"
    return None


class _Places:
    """Tells whether two paths are one place."""

    def __init__(self, folds_case: Callable[[Path], bool]) -> None:
        self._folds_case = folds_case
        self._folders: dict[Path, tuple[str, bool]] = {}

    def key(self, folder: Path, name: str) -> tuple[str, str]:
        if folder not in self._folders:
            folds = self._folds_case(folder)
            self._folders[folder] = self._folded(os.path.realpath(folder)) if folds else os.path.realpath(folder), folds
        place, folds = self._folders[folder]
        return place, self._folded(name) if folds else name

    @staticmethod
    def _folded(name: str) -> str:
        return unicodedata.normalize("NFC", name).casefold()


def _folds_case(folder: Path) -> bool:
    """Whether the file system takes ``Talk.srt`` and ``talk.srt`` for one name; tried on the name of a folder."""
    for existing in (folder, *folder.parents):
        other = existing.with_name(existing.name.swapcase()) if existing.name else existing
        if other != existing and existing.exists():
            return other.exists() and existing.samefile(other)
    return False
