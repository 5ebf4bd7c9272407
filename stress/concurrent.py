"""Several runs over one tree at once: every file is done once, and by one of them at a time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from shutil import copytree
from typing import Any

from stress.media import short_films
from stress.results import Result
from stress.runs import Event, Program, Run, events, hold, hold_same, outcomes, visible


def make_tree(folder: Path, files: int = 50) -> Path:
    """Short films in a tree of folders."""
    for number, path in enumerate(short_films(folder, files)):
        place = folder / f"shelf-{number % 5}"
        place.mkdir(exist_ok=True)
        path.rename(place / path.name)
    return folder


def prove(films: Path, runs: Sequence[int] = (2, 4), program: Program | None = None) -> Result:
    """As many `runs` at once as it says, on copies of `films`, against one alone; raises `Broken`."""
    program, work = program or Program(), films.parent
    files = sum(1 for path in films.rglob("*") if path.is_file())
    rows: list[tuple[str, ...]] = []
    expected: dict[str, Any] = {}
    for together in (1, *runs):
        tree = copytree(films, work / f"tree-{together}")
        started = time.monotonic()
        started_runs = [Run(program, [tree], work / f"run-{together}-{n}.trace") for n in range(together)]
        for run in started_runs:
            run.finish()
        seconds = time.monotonic() - started
        expected = expected or visible(tree)
        hold_same(expected, tree)
        entries = [entry for run in started_runs for entry in outcomes(run.log)]
        written = Counter(entry["source"] for entry in entries if entry["status"] == "written")
        hold(len(written) == files and set(written.values()) == {1}, f"written: {written.most_common(3)}")
        _hold_alone([event for run in started_runs for event in events(run.trace)], files)
        shares = sorted(sum(entry["status"] == "written" for entry in outcomes(run.log)) for run in started_runs)
        held_off = sum("another run" in entry["reason"] for entry in entries)
        rows.append((str(together), f"{seconds:.0f} s", ", ".join(map(str, shares)), str(held_off)))
    said = (
        f"{files} short files in a tree, captioned by {' and '.join(map(str, runs))} runs at once, and by one: "
        f"each file heard and written once, by one run; all outputs the same but for the sidecars' timings; nothing "
        f"left behind; every run ends with 0."
    )
    head = ("runs", "wall time", "files written by each", "files left to another at work on them")
    return Result("Several runs at once", said, (head, *rows))


def _hold_alone(told: Sequence[Event], files: int) -> None:
    """No file is heard twice, let alone by two at the same time."""
    heard: dict[str, list[tuple[float, str]]] = {}
    for event in told:
        if event.what in ("hear", "hear-end"):
            heard.setdefault(event.source, []).append((event.at, event.what))
    hold(len(heard) == files, f"{len(heard)} of {files} files heard")
    for source, times in heard.items():
        hold([what for _, what in sorted(times)] == ["hear", "hear-end"], f"{source} was heard more than once: {times}")
