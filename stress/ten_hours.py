"""A file of many hours takes the memory of one of minutes, and a run killed late in it goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stress.media import long_film
from stress.results import Result
from stress.runs import Program, Run, events, hold, visible

ALLOWED = 200 << 20
"""Bytes that the long file's peak may lie above the short one's."""
SHORT_SECONDS = 620.0
"""Just over ten minutes, from where on a file is kept window by window."""


def make_media(folder: Path, hours: float = 10.0, speech_every: float = 600.0) -> tuple[Path, Path]:
    """A file of ten minutes, and one of `hours` that begins with the same."""
    return (
        long_film(folder / "short" / "talk.mka", SHORT_SECONDS, speech_every),
        long_film(folder / "long" / "talk.mka", hours * 3600, speech_every),
    )


def prove(short: Path, long: Path, kill_at: float = 5.5 * 3600, program: Program | None = None) -> Result:
    """Caption both, and the long one again with a kill when it comes to second `kill_at`; raises `Broken`."""
    program = program or Program()
    few = _Measured(program, short, "alone")
    calm = _Measured(program, long, "undisturbed")
    expected = visible(calm.folder)
    killed = _Measured(program, long, "killed", kill_at)
    hold(calm.peak - few.peak <= ALLOWED, f"peak memory of {_mib(calm.peak)}, and {_mib(few.peak)} of ten minutes")
    hold(killed.peak - few.peak <= ALLOWED, f"peak memory of {_mib(killed.peak)} when it went on")
    found = visible(killed.folder)
    differing = [name for name in expected if found.get(name) != expected[name]]
    hold(found.keys() == expected.keys() and not differing, f"other outputs after a kill: {differing}")
    again = killed.windows - calm.windows
    hold(again <= 1, f"{again} windows were heard again")
    segments, hours = _document(expected)["segments"], killed.seconds_of_audio / 3600
    words = sum(len(segment["text"].split()) for segment in segments)
    said = (
        f"A file of {hours:.1f} h of faint noise with speech and sounds here and there ({len(segments)} segments, "
        f"{words:,} words, {calm.windows:,} windows): peak memory within "
        f"{_mib(max(calm.peak, killed.peak) - few.peak)} of a ten-minute file's. Killed with `kill -9` at "
        f"{kill_at / 3600:.2f} h and run again: the same outputs but for the sidecar's timings; {again} windows heard "
        f"again."
    )
    rows = [
        (name, _mib(run.peak), f"{run.seconds:.0f} s", f"{run.windows:,}")
        for name, run in (("ten minutes", few), ("undisturbed", calm), ("killed and gone on with", killed))
    ]
    return Result(f"{hours:.1f} hours in one file", said, (("run", "peak memory", "wall time", "windows"), *rows))


class _Measured:
    """A file captioned into a folder of its own, perhaps after a kill on the way; the peak is that of the last run."""

    def __init__(self, program: Program, source: Path, name: str, kill_at: float | None = None) -> None:
        self.folder = source.parents[1] / "captions" / name
        trace = source.parents[1] / f"{name}.trace"
        arguments: Sequence[str | Path] = [source, "--output-dir", self.folder]
        started = time.monotonic()
        if kill_at is not None:
            run = Run(program, arguments, trace)
            reached = run.wait_for(lambda event: event.what == "window" and event.second >= kill_at)
            hold(reached is not None and run.kill(), f"it ended before second {kill_at:.0f}: {run.stderr()[-500:]}")
            hold(visible(self.folder) == {}, "something was written before it was done")
        Run(program, arguments, trace).finish()
        self.seconds = time.monotonic() - started
        told = events(trace)
        self.peak = next(event.peak for event in reversed(told) if event.what == "end")
        self.windows = sum(event.what == "window" for event in told)

    @property
    def seconds_of_audio(self) -> float:
        return float(_document(visible(self.folder))["source"]["duration"])


def _document(files: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = files["talk.json"]
    return document


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
