"""Thousands of short files in one run: memory and open files stay what they were."""

from __future__ import annotations

import statistics
from pathlib import Path

from stress.media import short_films
from stress.results import Result
from stress.runs import Program, Run, events, hold, outcomes

WARM_UP = 0.1
"""Share of the files after which memory and open files count as settled."""
GROWTH = 48 << 20
"""Bytes by which the lowest tenth of the resident memory may be higher in the second half of a run."""
SPREAD = 20
"""Open files by which the median may be higher in the second half of a run: ten files are in work, some with five."""


def make_media(folder: Path, files: int = 2000) -> Path:
    """Plain WAV files of 2 to 5.5 s, in folders of a hundred."""
    for path in short_films(folder, files, plain=True):
        place = path.parent / path.stem[-4:-2]
        place.mkdir(exist_ok=True)
        path.rename(place / path.name)
    return folder


def prove(films: Path, rows: int = 20, program: Program | None = None) -> Result:
    """Caption all of `films` in one run that tells what it holds whenever a file begins; raises `Broken`."""
    count = sum(1 for path in films.rglob("*.wav"))
    run = Run(program or Program(), [films], films.with_suffix(".trace"))
    seconds = run.finish()
    ended = outcomes(run.log)
    hold([entry["status"] for entry in ended] == ["written"] * count, "not every file was written")
    samples = [event for event in events(run.trace) if event.what in ("file", "end")]
    hold(len(samples) == count + 1, f"{len(samples)} samples of {count} files")
    # files are heard several at once, so that what is open varies; what leaks adds up, and is still open at the end
    settled = samples[round(WARM_UP * count) : count]
    halves = settled[: len(settled) // 2], settled[len(settled) // 2 :]
    # memory goes up and down with what is in work; what is held for good is what it goes down to
    early, late = (statistics.quantiles([s.resident for s in half], n=10)[0] for half in halves)
    hold(late - early <= GROWTH, f"resident memory grew from {early / 2**20:.0f} to {late / 2**20:.0f} MiB")
    before, after = (round(statistics.median(sample.files for sample in half)) for half in halves)
    hold(after <= before + SPREAD, f"open files grew from {before} to {after}")
    hold(samples[-1].files <= samples[0].files, f"{samples[-1].files} files open at the end")
    audio = sum(entry["audio_seconds"] for entry in ended)
    said = (
        f"{count:,} files of 2 to 5.5 s in one run ({seconds:.0f} s, {audio:,.0f} s of audio) that tells what it holds "
        f"whenever a file begins. Resident memory: {early / 2**20:.0f} MiB in the first half, {late / 2**20:.0f} MiB "
        f"in the second (a tenth of the samples lie below), {samples[-1].peak / 2**20:.0f} MiB at the peak. Open "
        f"files: {before} in the first half (median), {after} in the second, {samples[-1].files} at the end."
    )
    step = max(1, count // rows)
    table = [
        (f"{done:,}", f"{samples[done].resident / 2**20:.1f} MiB", str(samples[done].files), str(samples[done].threads))
        for done in range(0, count, step)
    ]
    return Result(f"{count:,} files", said, (("files done", "resident memory", "open files", "threads"), *table))
