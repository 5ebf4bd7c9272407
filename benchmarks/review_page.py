"""How long the review page of very many files takes to be written, to open, and to open one of them and to search.

``python -m benchmarks.review_page [--files 1000] [--minutes 20] [--opens 5]``

The sidecars are made up: a line of speech every six seconds, four sounds, scores on the whole grid. Their media do not
exist, so loudness is not measured. Times are those of a headless Chromium (found as the tests find it), from the
navigation's start until the list of files stands on the screen.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tests import reviewable
from tests.test_review_browser import BROWSER, MODULES, missing
from wat_cli.review import find, write_page

SCRIPT = Path(__file__).with_name("review_page.cjs")
LINE_SECONDS = 6


def write_sidecars(folder: Path, files: int, seconds: float) -> None:
    """So many files of so many seconds each."""
    lines = tuple(
        reviewable.segment(
            place, start, start + 4.0, f"Line {place} of what was said here.", logprob=-0.9 if place == 7 else -0.2
        )
        for place, start in enumerate(range(0, int(seconds) - LINE_SECONDS, LINE_SECONDS))
    )
    sounds = tuple(reviewable.sound(60.0 * k + 4.5, 60.0 * k + 5.5, "Music", "music") for k in range(4))
    track = reviewable.tags(seconds)
    for number in range(files):
        media = folder / f"{number % 20:02d}" / f"film {number:05d}.mp4"
        reviewable.write_sidecar(media, reviewable.transcript(media, lines, sounds, track, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--opens", type=int, default=5)
    given = parser.parse_args()
    if reason := missing():
        parser.error(reason)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_sidecars(root, given.files, 60 * given.minutes)
        started = time.perf_counter()
        page = write_page(find([root]), root / "review.html", loudness=False)
        written = time.perf_counter() - started
        command = ["node", str(SCRIPT), str(MODULES), str(BROWSER), str(page.page), str(given.opens)]
        times = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        beside = sum(path.stat().st_size for path in page.folder.iterdir()) if page.folder else 0
        print(f"{given.files} files of {given.minutes:g} min: page {page.page.stat().st_size / 1e6:.2f} MB", end="")
        print(f" and {beside / 1e6:.0f} MB beside it, written in {written:.1f} s")
    for name, milliseconds in times.items():
        print(f"{name}: median {statistics.median(milliseconds):.0f} ms, worst {max(milliseconds):.0f} ms")


if __name__ == "__main__":
    main()
