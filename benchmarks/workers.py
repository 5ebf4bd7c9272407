"""``python -m benchmarks.workers``: forty small files with one, two and four workers, and more files at once in each.

Prints a table for docs/archives.md, with command, machine and date. Rounds alternate through all settings; seconds are
medians of the whole command, from its start to its end, models loaded each time. Needs ``ffmpeg`` and the sample films.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import load, processor

SETTINGS = ((1, 1), (1, 4), (1, 8), (2, 1), (2, 4), (4, 1), (4, 4))
"""``--jobs`` and ``--batch-size``."""
SECONDS, STEP = 14.0, 6.5
FILMS = Path(__file__).parents[1] / "sample_media"


def clips(folder: Path, count: int) -> Iterator[Path]:
    """The first `count` pieces of 14 s out of the sample films."""
    places = ((film, piece * STEP) for piece in range(25) for film in ("concert.webm", "market.mp4", "storm.mp4"))
    number = 0
    for film, start in places:
        path = folder / f"{number:02d}.wav"
        command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-ss", str(start), "-t", str(SECONDS)]
        subprocess.run([*command, "-i", FILMS / film, "-vn", "-ac", "1", "-ar", "16000", path], check=True)
        if path.stat().st_size < 32_000 * SECONDS * 0.99:  # beyond the film's end
            path.unlink()
            continue
        number += 1
        yield path
        if number == count:
            return


def seconds(films: Path, out: Path, jobs: int, together: int, files: int) -> float:
    """How long one run takes; fails where a file was not written."""
    summary = out.with_suffix(".json")
    options = ["--jobs", str(jobs), "--batch-size", str(together), "--overwrite", "--config", "none"]
    command = [sys.executable, "-m", "wat_cli", "caption", str(films), "--model", "mini", "-o", str(out), *options]
    begun = time.perf_counter()
    subprocess.run([*command, "--quiet", "--summary", str(summary)], check=True)
    taken = time.perf_counter() - begun
    assert json.loads(summary.read_text())["files"]["written"] == files
    return taken


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    before = load()
    with tempfile.TemporaryDirectory() as folder:
        films = Path(folder) / "films"
        films.mkdir()
        made = list(clips(films, chosen.files))
        taken: dict[tuple[int, int], list[float]] = {setting: [] for setting in SETTINGS}
        for _ in range(chosen.rounds):
            for setting in SETTINGS:
                taken[setting].append(seconds(films, Path(folder) / "out", *setting, len(made)))
    print("| `--jobs` | `--batch-size` | seconds | times real time | against one worker |\n|---|---|---|---|---|")
    one = taken[1, 1]
    for (jobs, together), times in taken.items():
        ratio = statistics.median(first / this for first, this in zip(one, times, strict=True))
        took = statistics.median(times)
        print(f"| {jobs} | {together} | {took:.1f} | {len(made) * SECONDS / took:.1f} | {ratio:.2f} |")
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    command = f"python -m benchmarks.workers --files {len(made)} --rounds {chosen.rounds}"
    print(f"\n{len(made)} files of {SECONDS:.0f} s, `mini`, medians of {chosen.rounds} rounds; {when}, {processor()};")
    print(f"load before: {before}; `{command}`")


if __name__ == "__main__":
    main()
