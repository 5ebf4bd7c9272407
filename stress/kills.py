"""``kill -9`` of a whole process group at many moments of a batch, which goes on after each until it is done.

While the runs go on, a watcher looks at everything that has a visible name: it must be whole, and what an undisturbed
run wrote there. The moments are drawn over the undisturbed run's time; a share of them while a set of outputs is being
written, which takes longer than it would by itself (`stress.traced_wat`).
"""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stress.media import long_film, short_films
from stress.results import Result
from stress.runs import Event, Program, Run, comparable, events, hold, hold_same, visible

WRITING = 0.4
"""Share of the moments that are drawn from the time in which outputs are written."""
SLOW = 0.02
"""Seconds added to each step of writing down."""
LONG = 620
"""Seconds of the one file that is long enough to be kept window by window."""


def make_batch(folder: Path, files: int = 20) -> Path:
    """Short films with speech, and a long one among them."""
    short_films(folder, files - 1)
    long_film(folder / "clip-0009-long.flac", LONG, speech_every=90)
    return folder


def prove(films: Path, kills: int, program: Program | None = None, seed: int = 0) -> Result:
    """Kill a batch over `films` at `kills` moments; raises `Broken` unless nothing was lost, torn, or left behind."""
    program = program or Program()
    work = films.parent
    calm = _Series(program, shutil.copytree(films, work / "calm"), work / "calm.trace")
    with calm.start() as run:
        run.finish()
    expected = visible(calm.folder)
    timeline = _Timeline.of(calm.trace, run.started)
    killed = _Series(program, shutil.copytree(films, work / "killed"), work / "killed.trace")
    tally, started = _Tally(), time.monotonic()
    with _Watcher(killed.folder, expected) as watcher:
        groups = timeline.moments(kills, random.Random(seed))
        missed: list[_Moment] = []
        while groups or missed:
            group = sorted([*missed, *(groups.pop() if groups else [])], key=lambda moment: moment.file)
            missed = _through_a_batch(killed, group, timeline, tally)
            hold_same(expected, killed.folder)
            tally.batches += 1
            _clear(killed.folder, films)
    said = killed.trace.with_suffix(".stderr").read_text(encoding="utf-8", errors="replace")
    hold("was not written by wat" not in said and "was changed since" not in said, "its own files taken for a person's")
    return _result(kills, calm, killed, tally, watcher, time.monotonic() - started)


@dataclass(frozen=True)
class _Series:
    """The runs over one folder, and their common trace."""

    program: Program
    folder: Path
    trace: Path

    def start(self) -> _Guarded:
        return _Guarded(Run(self.program, [self.folder, "-f", "srt,vtt"], self.trace, SLOW))


class _Guarded:
    """A run that does not outlive its block."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __enter__(self) -> Run:
        return self._run

    def __exit__(self, *_: object) -> None:
        self._run.kill()


@dataclass(frozen=True)
class _Moment:
    """When to kill: so many seconds after the `what` of this file, or a later one; of none, after the start."""

    file: int
    what: str
    after: float


@dataclass(frozen=True)
class _Timeline:
    """When things began in the undisturbed run, in seconds since its start."""

    names: tuple[str, ...]
    began: tuple[float, ...]
    writing: tuple[tuple[float, float], ...]
    end: float

    @classmethod
    def of(cls, trace: Path, started: float) -> _Timeline:
        told = events(trace)
        times = {(event.what, event.source): event.at - started for event in told}
        names = tuple(event.source for event in told if event.what == "file")
        writing = tuple((times["write", name], times["write-end", name]) for name in names)
        return cls(names, tuple(times["file", name] for name in names), writing, told[-1].at - started)

    def moments(self, count: int, rng: random.Random) -> list[list[_Moment]]:
        """In groups, one for each time through the batch: about a kill for each file, so that the batch goes on."""
        drawn = [self._while_writing(rng) for _ in range(round(count * WRITING))]
        drawn += [self._anywhere(rng) for _ in range(count - len(drawn))]
        rng.shuffle(drawn)
        groups = -(-count // len(self.names))
        return [drawn[group::groups] for group in range(groups)]

    def _while_writing(self, rng: random.Random) -> _Moment:
        file = rng.randrange(len(self.names))
        start, end = self.writing[file]
        return _Moment(file, "write", rng.uniform(0, end - start))

    def _anywhere(self, rng: random.Random) -> _Moment:
        second = rng.uniform(0, self.end)
        file = sum(start <= second for start in self.began) - 1
        return _Moment(file, "file", second - (self.began[file] if file >= 0 else 0))

    def reached(self, moment: _Moment, event: Event) -> bool:
        return event.what == moment.what and self.names.index(event.source) >= moment.file


@dataclass
class _Tally:
    """What the kills hit."""

    phases: Counter[str] = field(default_factory=Counter)
    torn: int = 0
    """Kills that left an unfinished set of outputs."""
    lost: list[float] = field(default_factory=list)
    """Seconds that each kill's run had spent on the file in work."""
    batches: int = 0


def _through_a_batch(series: _Series, moments: Sequence[_Moment], timeline: _Timeline, tally: _Tally) -> list[_Moment]:
    """Run, kill and run again until the batch is done; the moments that it did not come to, the first of them sooner.

    A machine that has become faster since the undisturbed run would never come to that one.
    """
    for place, moment in enumerate(moments):
        with series.start() as run:
            if moment.file >= 0:
                run.wait_for(lambda event, moment=moment: timeline.reached(moment, event))  # type: ignore[misc]
            run.sleep(moment.after)
            if not run.kill():
                run.finish()
                return [replace(moment, after=moment.after / 2), *moments[place + 1 :]]
            _count(series, run, tally)
    with series.start() as run:
        run.finish()
    return []


def _count(series: _Series, run: Run, tally: _Tally) -> None:
    now = time.monotonic()
    told = [event for event in events(series.trace) if event.process == run.process.pid]
    doing = [event for event in told if event.what != "window"][-1:]
    between = "between two files" if doing and doing[0].what == "file-end" else "probing or locking"
    names = {"hear": "decoding or hearing", "hear-end": "laying out", "write": "writing", "write-end": "after writing"}
    tally.phases[names.get(doing[0].what, between) if doing else "starting"] += 1
    begun = [event for event in told if event.what in ("file", "file-end")][-1:]
    tally.lost.append(now - begun[0].at if begun and begun[0].what == "file" else 0.0)
    sets: dict[str, set[str]] = {}
    for path in series.folder.iterdir():
        if path.suffix in (".srt", ".vtt", ".json") and path.name[0] != ".":
            sets.setdefault(path.stem, set()).add(path.suffix)
    part = any(path.suffix == ".part" for path in series.folder.iterdir())
    tally.torn += part or any(".json" not in found for found in sets.values())


def _clear(folder: Path, films: Path) -> None:
    """Back to the media alone."""
    for path in folder.iterdir():
        if not (films / path.name).exists():
            path.unlink()


class _Watcher:
    """Looks at all visible names again and again, in a thread of its own."""

    def __init__(self, folder: Path, expected: Mapping[str, Any]) -> None:
        self.looks = self.checked = 0
        self.wrong: list[str] = []
        self._folder, self._expected = folder, expected
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        hold(not self.wrong, f"seen under final names: {self.wrong[:5]}")

    def _watch(self) -> None:
        while not self._stop.wait(0.003):
            self.looks += 1
            for path in self._folder.iterdir():
                if path.name[0] != ".":
                    self._look(path)

    def _look(self, path: Path) -> None:
        try:
            status = path.stat()
            identity = (status.st_ino, status.st_size, status.st_mtime_ns)
            if self._seen.get(path.name) == identity:
                return
            content = comparable(path.name, path.read_bytes())
        except FileNotFoundError:  # cleared for the next batch
            return
        except ValueError as error:
            self.wrong.append(f"{path.name}: {error}")
            return
        self._seen[path.name] = identity
        self.checked += 1
        if path.name not in self._expected or content != self._expected[path.name]:
            self.wrong.append(path.name)


def _windows(trace: Path) -> int:
    return sum(event.what == "window" for event in events(trace))


def _result(kills: int, calm: _Series, killed: _Series, tally: _Tally, watcher: _Watcher, seconds: float) -> Result:
    once, all_in_all = _windows(calm.trace), _windows(killed.trace)
    again = all_in_all - tally.batches * once
    files = sum(event.what == "file" for event in events(calm.trace))
    lost = sorted(tally.lost)
    said = (
        f"`kill -9` of the process group at {kills} moments of a batch of {files} files ({tally.batches} times through "
        f"the batch, {seconds:.0f} s in all): every output equal to the undisturbed run's but for the sidecar's "
        f"timings, nothing left behind. The watcher looked {watcher.looks:,} times and read {watcher.checked:,} new "
        f"files under final names: none partial, none foreign. {tally.torn} kills left a set of outputs half written. "
        f"Work done again: {again / kills:.2f} windows of 30 s a kill ({once} windows in the undisturbed run); time "
        f"spent on the file in work before the kill: {lost[len(lost) // 2]:.2f} s in the median, {lost[-1]:.1f} s at "
        f"most. Each restart loads Python, torch and the model anew."
    )
    rows = [(phase, str(count)) for phase, count in tally.phases.most_common()]
    return Result(f"{kills} kills", said, (("what the run was doing when it was killed", "kills"), *rows))
