"""What sounds in which clip: manifests, AudioSet's CSV files, ESC-50 and ESC-10 folders.

A data set is clips and the labels they may carry. Weak labels hold for a whole clip, strong ones for seconds of it.
Manifests and the files they name come from anywhere: what is wrong with a row is said with its line.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from wat_cli.errors import UsageError, shown
from wat_cli.tagging.labels import load_labels

LABEL_SEPARATOR = ";"
"""Between the labels of a CSV row: AudioSet's own names hold commas."""

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".mp4", ".mkv", ".webm", ".aac")
"""Tried in turn for a clip that a data set names without one."""

ESC_SECONDS = 5.0
"""Length of ESC's clips."""

MAX_CLIPS = 20_000_000

LONGEST = 1e7
"""Seconds that a manifest may speak of."""


@dataclass(frozen=True)
class Event:
    """A sound within a clip, in seconds from the clip's start; `end` is infinite where it lasts to the clip's end.

    It may have begun before the clip (`start` below 0) and may last beyond it.
    """

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class Clip:
    """A stretch of a media file and what sounds in it."""

    path: Path
    events: tuple[Event, ...]
    start: float = 0.0
    """Where the clip begins in the file, in seconds."""
    end: float | None = None
    """Where it ends; None for the end of the file."""
    fold: int | None = None
    """Part of a cross-validation that the clip belongs to, where the data set has them."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the clip, each once, in the order in which they occur."""
        return tuple(dict.fromkeys(event.label for event in self.events))


@dataclass(frozen=True)
class Dataset:
    """Clips, and the labels in the order of a head's outputs."""

    clips: tuple[Clip, ...]
    labels: tuple[str, ...]

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Column of each label."""
        return {label: column for column, label in enumerate(self.labels)}

    @property
    def folds(self) -> tuple[int, ...]:
        """Folds that its clips belong to."""
        return tuple(sorted({clip.fold for clip in self.clips if clip.fold is not None}))

    @property
    def is_audioset(self) -> bool:
        """Whether the labels are AudioSet's 527 in whisper-at's order."""
        return self.labels == audioset_names()

    def only(self, clips: Iterable[Clip]) -> Dataset:
        """The same labels on other clips."""
        return replace(self, clips=tuple(clips))

    def without_fold(self, fold: int) -> Dataset:
        """What is trained on where `fold` is held out."""
        return self.only(clip for clip in self.clips if clip.fold != fold)

    def fold(self, fold: int) -> Dataset:
        """The clips of one fold; UsageError where it has none."""
        clips = [clip for clip in self.clips if clip.fold == fold]
        if not clips:
            known = ", ".join(map(str, self.folds)) or "none"
            raise UsageError(f"--fold {fold}: the data set has no such fold (it has {known})")
        return self.only(clips)

    def fingerprint(self) -> str:
        """Hash of everything in it that decides a training, wherever the files lie."""
        rows = [
            [clip.path.name, clip.start, clip.end, [(event.start, event.end, event.label) for event in clip.events]]
            for clip in self.clips
        ]
        return hashlib.sha256(json.dumps([self.labels, rows]).encode()).hexdigest()


def audioset_names() -> tuple[str, ...]:
    """AudioSet's 527 display names in whisper-at's order."""
    return tuple(label.name for label in load_labels())


def read_dataset(path: Path, *, audio: Path | None = None, labels: Sequence[str] | None = None) -> Dataset:
    """The data set at `path`, whatever it is: a manifest, one of AudioSet's CSV files, or a folder of ESC's shape.

    Args:
        path: a ``.csv``, ``.jsonl`` or ``.json`` file, or a folder.
        audio: folder that holds the clips; the manifest's own if left out.
        labels: the labels in the head's order; those that occur, sorted, if left out (for AudioSet's files its 527).

    Raises UsageError for what cannot be read, with the line.
    """
    if path.is_dir():
        clips = _esc_folder(path)
    elif not path.is_file():
        raise UsageError(f"{shown(path)}: no such file or folder")
    elif _is_audioset(path):
        clips, labels = _audioset(path, audio or path.parent), labels or audioset_names()
    else:
        clips = _manifest(path, audio or path.parent)
    if not clips:
        raise UsageError(f"{shown(path)}: it names no clips")
    known = tuple(labels) if labels else tuple(sorted({label for clip in clips for label in clip.labels}))
    return Dataset(_checked(clips, known, path), known)


def read_labels(path: Path) -> tuple[str, ...]:
    """Labels in the head's order: a line each, or a CSV file with a column ``display_name`` or ``label``.

    ``audioset`` stands for AudioSet's 527.
    """
    if str(path) == "audioset" and not path.exists():
        return audioset_names()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--labels {shown(path)}: {error}") from None
    header = next(csv.reader(lines[:1]), [])
    column = next((name for name in ("display_name", "label") if name in header), None)
    names = [row[column].strip() for row in csv.DictReader(lines)] if column else [line.strip() for line in lines]
    names = [name for name in names if name]
    if not names or len(set(names)) != len(names):
        raise UsageError(f"--labels {shown(path)}: it names {'a label twice' if names else 'no labels'}")
    return tuple(names)


def _checked(clips: Sequence[Clip], known: Sequence[str], source: Path) -> tuple[Clip, ...]:
    """The clips with every label in its one spelling; mids of AudioSet stand for names."""
    if not known:
        raise UsageError(f"{shown(source)}: no clip has a label")
    spelling = {name: name for name in known}
    for label in load_labels():
        if label.name in spelling:
            spelling[label.mid] = label.name
    checked = []
    for clip in clips:
        unknown = [event.label for event in clip.events if event.label not in spelling]
        if unknown:
            what = f"{shown(clip.path)} is labelled {unknown[0]!r}, which is not among the labels"
            raise UsageError(f"{shown(source)}: {what}")
        events = tuple(replace(event, label=spelling[event.label]) for event in clip.events)
        checked.append(replace(clip, events=events))
    return tuple(checked)


# --- manifests --------------------------------------------------------------------------------------------------------


def _manifest(path: Path, audio: Path) -> list[Clip]:
    """Rows of ``path``, ``start``, ``end``, ``labels``, ``fold``; a JSONL row may have ``events`` instead of labels."""
    rows = _csv_rows(path) if path.suffix.lower() == ".csv" else _json_rows(path)
    clips = []
    for line, row in rows:
        try:
            clips.append(_clip(row, audio))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            raise UsageError(f"{shown(path)}, line {line}: {reason}") from None
        if len(clips) > MAX_CLIPS:
            raise UsageError(f"{shown(path)}: more than {MAX_CLIPS:,} clips")
    return clips


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            for row in reader:
                labels = [part.strip() for part in (row.get("labels") or "").split(LABEL_SEPARATOR)]
                yield reader.line_num, {**row, "labels": [label for label in labels if label]}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{shown(path)}: {error}") from None


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    line = 0
    try:
        with path.open("rb") as file:
            for line, data in enumerate(file, 1):
                if data.strip():
                    yield line, json.loads(data.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{shown(path)}, line {line}: {error}") from None


def _clip(row: Mapping[str, Any], audio: Path) -> Clip:
    name = row["path"]
    if not isinstance(name, str) or not name or "\0" in name:
        raise ValueError(f"{name!r} is no path")
    start, end = _seconds(row.get("start")) or 0.0, _seconds(row.get("end"))
    if end is not None and end <= start:
        raise ValueError(f"the clip ends ({end} s) before it starts ({start} s)")
    if "events" in row:
        events = [_event(item) for item in row["events"]]
    else:
        labels = row["labels"]
        if isinstance(labels, str):
            raise ValueError("its labels are a text, not a list")
        events = [Event(0.0, math.inf, label) for label in labels]
    for event in events:
        if not isinstance(event.label, str) or event.end <= event.start:
            raise ValueError(f"{event} is no event")
    fold = row.get("fold")
    return Clip(audio / name, tuple(events), start, end, None if fold in (None, "") else int(fold))


def _event(item: Mapping[str, Any]) -> Event:
    start, end = _seconds(item["start"], -LONGEST), _seconds(item.get("end"))
    return Event(start or 0.0, math.inf if end is None else end, item["label"])


def _seconds(value: Any, least: float = 0.0) -> float | None:
    if value is None or value == "":
        return None
    seconds = float(value)
    if not least <= seconds < LONGEST:
        raise ValueError(f"{value!r} is no number of seconds")
    return seconds


# --- AudioSet -------------------------------------------------------------------------------------------------------


def _is_audioset(path: Path) -> bool:
    """AudioSet's segment files begin with comments, the last of which names the columns."""
    if path.suffix.lower() != ".csv":
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        head = [file.readline() for _ in range(3)]
    return any(line.startswith("# YTID") for line in head)


def _audioset(path: Path, audio: Path) -> list[Clip]:
    """``YTID, start_seconds, end_seconds, positive_labels``; clips without a file in `audio` are left out.

    A clip is looked for as the usual downloaders name it, already cut: ``YTID.wav``, ``YYTID.wav``,
    ``YTID_30.000.wav``, ``YTID_30000.wav`` (its start in seconds or milliseconds).
    """
    present = {file.stem: file for file in sorted(audio.rglob("*")) if file.suffix.lower() in AUDIO_SUFFIXES}
    clips, rows = [], 0
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = (line for line in file if not line.startswith("#"))
            for row in csv.reader(lines, skipinitialspace=True):
                rows += 1
                ytid, start, labels = row[0], float(row[1]), row[3].split(",")
                names = (ytid, f"Y{ytid}", f"{ytid}_{start:.3f}", f"{ytid}_{round(start * 1000)}", f"{ytid}_{start:g}")
                found = next((present[name] for name in names if name in present), None)
                if found is not None:
                    events = tuple(Event(0.0, math.inf, label.strip()) for label in labels)
                    clips.append(Clip(found, events, end=float(row[2]) - start))
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise UsageError(f"{shown(path)}, row {rows}: {error}") from None
    if not clips:
        raise UsageError(f"{shown(path)}: none of its {rows} clips is in {shown(audio)} (--audio FOLDER)")
    return clips


# --- ESC-50 and ESC-10 ----------------------------------------------------------------------------------------------


def _esc_folder(folder: Path) -> list[Clip]:
    """ESC-50 as published (``meta/esc50.csv``, ``audio/``), or ESC-10's older shape: a folder a class.

    ESC-10's clips are named ``FOLD-NUMBER-TAKE.ogg``; its class folders may be numbered (``001 - Dog bark``).
    """
    meta = folder / "meta" / "esc50.csv"
    if meta.is_file():
        clips = []
        for line, row in _csv_rows(meta):
            try:
                event = Event(0.0, math.inf, row["category"].replace("_", " "))
                path = folder / "audio" / row["filename"]
                clips.append(Clip(path, (event,), end=ESC_SECONDS, fold=int(row["fold"])))
            except (KeyError, ValueError, AttributeError) as error:
                raise UsageError(f"{shown(meta)}, line {line}: {error}") from None
        return clips
    clips = []
    for kind in sorted(part for part in folder.iterdir() if part.is_dir()):
        name = kind.name.split(" - ", 1)[-1].replace("_", " ")
        for file in sorted(kind.iterdir()):
            if file.suffix.lower() in AUDIO_SUFFIXES:
                fold = int(file.name[0]) if file.name[0] in "123456789" and file.name[1:2] == "-" else None
                clips.append(Clip(file, (Event(0.0, math.inf, name),), end=ESC_SECONDS, fold=fold))
    if not clips:
        raise UsageError(f"{shown(folder)}: neither ESC-50 (meta/esc50.csv) nor a folder of class folders")
    return clips
