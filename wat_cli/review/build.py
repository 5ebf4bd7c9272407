"""Makes the page: one file after the other, so that memory does not grow with their number."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wat_cli import sidecar
from wat_cli.errors import ForeignOutput, OutputError, shown
from wat_cli.outputs import part_path
from wat_cli.review.collect import Found, read_bytes
from wat_cli.review.failed import place
from wat_cli.review.loudness import HOP, loudness_of
from wat_cli.review.page import GENERATOR, base64_text, data_script, json_text, page_text, relative_url
from wat_cli.review.views import FileView, Row, file_view, media_problem, segment_values, speech_entries
from wat_cli.tagging.policy import load_policy
from wat_cli.transcript import TAG_HOP, Transcript

SELF_CONTAINED = 12_000_000
"""Characters of data up to which everything is inside the page; more goes to a folder beside it, read when needed."""
TEXT_BLOCK = 1_000_000
"""Characters of text to search that are loaded at once."""

WORKERS = min(8, os.cpu_count() or 1)
"""Files whose loudness is measured at a time."""

_NONSENSE = (ArithmeticError, ValueError)
"""What a sidecar whose form is right but whose numbers are nonsense leads to."""


@dataclass(frozen=True)
class Summary:
    """What was written."""

    page: Path
    rows: tuple[Row, ...]
    folder: Path | None
    """The page's data, where they were too much for one file."""


def write_page(
    found: Sequence[Found],
    page: Path,
    loudness: bool = True,
    progress: Callable[[Path], None] = lambda path: None,
    failure: Callable[[Path], str | None] = lambda path: None,
) -> Summary:
    """Write the review of `found` to `page`, with a folder beside it where one file would be too large.

    Args:
        found: what `collect.find` found.
        page: path of the HTML file; media are addressed relative to its folder.
        loudness: decode every media file once for the loudness on its timeline.
        progress: is told each file before work on it begins.
        failure: why a media file could not be captioned, where that is known.

    Raises:
        ForeignOutput: `page` or the folder beside it is not one of ours.
        OutputError: something cannot be written.
    """
    review = _Review(_Store(page), _names(found), loudness)
    try:
        # sidecars first: they say which media files are captioned already
        with ThreadPoolExecutor(WORKERS) as pool:
            for item in (item for item in found if item.sidecar is not None):
                progress(item.sidecar or page)
                review.add_sidecar(item, pool)
            review.finish()
        for item in (item for item in found if item.sidecar is None):
            review.add_media(item, failure)
        return review.close()
    except OSError as error:
        raise OutputError(f"{shown(page)}: cannot be written ({error.strerror or error})") from error


@dataclass(frozen=True)
class _Pending:
    """A file whose loudness is being measured."""

    number: int
    """Its row."""
    sidecar: Path
    view: FileView
    levels: Future[tuple[NDArray[np.uint8] | None, str]] | None


class _Review:
    """The page in the making."""

    def __init__(self, store: _Store, names: Mapping[Found, str], loudness: bool) -> None:
        self._store, self._names, self._loudness = store, names, loudness
        self._rows: list[Row] = []
        self._texts = _Texts(store)
        self._captioned: set[bytes] = set()
        self._pending: deque[_Pending] = deque()

    def add_sidecar(self, item: Found, pool: Executor) -> None:
        """List a sidecar; its loudness is measured while the next ones are read."""
        assert item.sidecar is not None
        name, path = self._names[item], item.sidecar
        try:
            row, view = _row_and_view(path, name)
        except (sidecar.NotASidecar, OSError, *_NONSENSE) as error:
            self._rows.append(Row(name, "unreadable", _reason(error)))
            return
        media = _media(path, view.transcript)
        self._captioned.add(place(media))
        levels = pool.submit(loudness_of, media, view.transcript.source.track) if self._loudness else None
        self._pending.append(_Pending(len(self._rows), path, view, levels))
        self._rows.append(row)
        if len(self._pending) > WORKERS:
            self._write(self._pending.popleft())

    def finish(self) -> None:
        """Write the data of all files listed."""
        while self._pending:
            self._write(self._pending.popleft())

    def _write(self, file: _Pending) -> None:
        try:
            levels = file.levels.result() if file.levels is not None else (None, "--no-loudness was given")
            text = json_text(_file_data(file, self._store.page, *levels))
        except _NONSENSE as error:
            self._rows[file.number] = Row(self._rows[file.number].name, "unreadable", _reason(error))
            return
        self._store.add(f"file-{file.number}", text)
        self._texts.add(file.number, file.view)

    def add_media(self, item: Found, failure: Callable[[Path], str | None]) -> None:
        """List a media file, unless it is one that a sidecar is of."""
        assert item.media is not None
        if place(item.media) not in self._captioned:
            why = failure(item.media)
            status, detail = ("failed", why) if why else ("uncaptioned", "no sidecar beside it")
            self._rows.append(Row(self._names[item], status, detail))

    def close(self) -> Summary:
        """Write the page itself."""
        self._texts.close()
        index = {
            "rows": [dataclasses.asdict(row) for row in self._rows],
            "texts": self._texts.blocks,
            "folder": self._store.folder_url,
            "sounds": _sound_names(),
        }
        self._store.close(page_text(index, self._store.inside))
        return Summary(self._store.page, tuple(self._rows), self._store.folder if self._store.spilled else None)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return (error.strerror or "cannot be read").lower()
    return str(error) if isinstance(error, sidecar.NotASidecar) else f"its values make no sense ({error})"


def _media(path: Path, transcript: Transcript) -> Path:
    return path.parent / transcript.source.path


def _row_and_view(path: Path, name: str) -> tuple[Row, FileView]:
    data = read_bytes(path)
    record = sidecar.from_json(data)
    view = file_view(record, data)
    problem = media_problem(_media(path, record.transcript), record.transcript)
    # people know the media file, not the sidecar
    name = os.path.join(os.path.dirname(name), os.path.basename(record.transcript.source.path))  # noqa: PTH118, PTH119, PTH120
    return view.row(name, not record.unchanged, [problem] if problem else []), view


def _file_data(file: _Pending, page: Path, levels: NDArray[np.uint8] | None, quiet: str) -> dict[str, Any]:
    """What the page loads when a file is opened."""
    view, transcript = file.view, file.view.transcript
    return {
        "parts": [list(part) for part in view.parts],
        "segments": [segment_values(segment) for segment in transcript.hearing.segments],
        "events": [dataclasses.asdict(event) for event in transcript.events],
        "notes": list(transcript.notes),
        "hallucinations": list(transcript.hallucinations),
        "speech": speech_entries(view),
        "cues": [[cue.start_ms, cue.end_ms, cue.text] for cue in view.layout.cues],
        "media": relative_url(_media(file.sidecar, transcript), page.parent),
        "sidecar": file.sidecar.name,
        "duration": transcript.hearing.duration,
        "models": [model.name for model in transcript.models.values()],
        "hop": TAG_HOP,
        "heat": [{"caption": row.caption, "scores": base64_text(row.scores)} for row in view.heat],
        "voice": None if view.voice is None else base64_text(view.voice),
        "loudness": None if levels is None else {"hop": HOP, "levels": base64_text(levels)},
        "quiet": quiet,
    }


def _sound_names() -> list[tuple[str, str, str]]:
    """Caption, group and class of every sound that has a caption, for naming a sound in the page."""
    named = [sound for sound in load_policy().classes if sound.caption]
    return sorted({sound.caption: (sound.caption, sound.group, sound.name) for sound in named}.values())


def _names(found: Sequence[Found]) -> dict[Found, str]:
    """A name for each line: its path from the folder that all have in common."""
    paths = {item: str((item.sidecar or item.media or Path()).absolute()) for item in found}
    common = os.path.commonpath([os.path.dirname(path) for path in paths.values()]) if paths else ""  # noqa: PTH120
    return {item: os.path.relpath(path, common) for item, path in paths.items()}


# --- where the data go ------------------------------------------------------------------------------------------------


class _Store:
    """Blocks of data by key: inside the page while they are few, then in a folder beside it."""

    def __init__(self, page: Path) -> None:
        self.page, self.folder = page, page.with_name(f"{page.stem}_files")
        self.inside: dict[str, str] = {}
        self.spilled = False
        self._size = 0
        self._written: set[str] = set()
        if page.exists() and not _is_ours(page):
            raise ForeignOutput(f"{shown(page)} is no review page of wat; name another with -o, or remove it")

    @property
    def folder_url(self) -> str | None:
        """Address of the folder, if there is one."""
        return relative_url(self.folder, self.page.parent) if self.spilled else None

    def add(self, key: str, text: str) -> None:
        """Keep one block."""
        if self.spilled:
            self._write(key, text)
            return
        self.inside[key] = text
        self._size += len(text)
        if self._size > SELF_CONTAINED:
            self._make_folder()
            for item in self.inside.items():
                self._write(*item)
            self.inside.clear()

    def _make_folder(self) -> None:
        if self.folder.exists() and any(not _OWN_NAME.fullmatch(path.name) for path in self.folder.iterdir()):
            raise ForeignOutput(f"{shown(self.folder)} holds files that are not wat's; name another page with -o")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.spilled = True

    def _write(self, key: str, text: str) -> None:
        path = self.folder / f"{key}.js"
        self._written.add(path.name)
        path.write_text(data_script(key, text), encoding="ascii")

    def close(self, text: str) -> None:
        """Write the page, and clear what an earlier one left in the folder."""
        self.page.parent.mkdir(parents=True, exist_ok=True)
        part = part_path(self.page)
        part.write_text(text, encoding="utf-8")
        part.replace(self.page)
        if self.folder.is_dir() and (self.spilled or _only_ours(self.folder)):
            for path in self.folder.iterdir():
                if path.name not in self._written:
                    path.unlink()
            if not self.spilled:
                self.folder.rmdir()


_OWN_NAME = re.compile(r"(?:file|text)-\d+\.js")


def _only_ours(folder: Path) -> bool:
    return all(_OWN_NAME.fullmatch(path.name) for path in folder.iterdir())


def _is_ours(page: Path) -> bool:
    with page.open("rb") as file:
        return GENERATOR.encode() in file.read(4096)


@dataclass
class _Texts:
    """The words and sounds of all files, in blocks to be searched."""

    store: _Store
    blocks: int = 0
    _block: list[Any] = field(default_factory=list)
    _size: int = 0

    def add(self, number: int, view: FileView) -> None:
        """Take up the text of file `number`."""
        lines = [(segment.start, segment.text.strip()) for segment in view.transcript.hearing.segments]
        lines += [(event.start, f"[{event.caption}]") for event in view.transcript.events if event.shown]
        self._block.append([number, sorted(line for line in lines if line[1])])
        self._size += sum(len(text) for _, text in lines)
        if self._size >= TEXT_BLOCK:
            self.close()

    def close(self) -> None:
        """Hand on what there is."""
        if self._block:
            self.store.add(f"text-{self.blocks}", json_text(self._block))
            self.blocks, self._block, self._size = self.blocks + 1, [], 0
