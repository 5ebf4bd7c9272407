"""What the sections found, kept until they run again, and written into ``benchmarks/RESULTS.md``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from benchmarks import machine
from benchmarks.processes import BUILD, ROOT

KEPT = BUILD / "results"
RESULTS = ROOT / "benchmarks" / "RESULTS.md"

SHARED = " (others worked on it: seconds mean little, ratios something)"

HEAD = """# Results of the benchmark

Written by `make bench` (`python -m benchmarks`). Each section says when, where and by which command it was measured.

**Same work.** Seeded random weights of the real dimensions, the same in every program, rounded to float16. They decode
every window to exactly the same number of tokens (the end token cannot win before, and must after), with timestamp
rules at every step and 30 s from window to window; tokens are counted, and a row that falls short of them is
disqualified. Files are 16 kHz WAV, decoded by each program itself; models are loaded and warm before the clock starts.
`wat` is its whole command line, captions and sidecars written; the others give segments to a Python caller. Greedy, one
temperature, no thresholds, no text before the window as a prompt, unless a section says otherwise. Runs of all rows
alternate; seconds are medians (with their range), ratios medians of the ratios of each round. Every program has a
process of its own and as many threads. faster-whisper cannot batch across files: its batched rows hear the same windows
as one file with given clips. What random weights cannot show is how much text int8 or bfloat16 change.
"""


@dataclass(frozen=True)
class Part:
    """What one section found."""

    key: str
    title: str
    text: str
    command: str
    date: str
    machine: str
    load: str
    threads: int
    seconds: float
    versions: str

    @classmethod
    def now(cls, key: str, title: str, text: str, command: str, load: str, threads: int, seconds: float) -> Self:
        """A section that has just run here; `load` is the machine's before the benchmark began."""
        versions = f"wat's: {machine.versions('wat')}; peers': {machine.versions('openai-whisper')}"
        date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        return cls(key, title, text, command, date, machine.processor(), load, threads, seconds, versions)

    def markdown(self) -> str:
        """The section as it stands in the results."""
        facts = [
            f"{self.date}, {self.machine}, {self.threads} threads",
            f"load of the machine before: {self.load}" + (SHARED if float(self.load) > 0.5 else ""),
            f"took {self.seconds:.0f} s",
            f"`{self.command}`",
        ]
        return f"## {self.title}, {self.threads} threads\n\n{self.text}\n\n<sub>{'; '.join(facts)}</sub>\n"


def keep(part: Part, folder: Path = KEPT) -> None:
    """Remember a section until it runs again with as many threads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part.key}-{part.threads}-threads.json").write_text(
        json.dumps(dataclasses.asdict(part), indent=1), encoding="utf-8"
    )


def write(folder: Path = KEPT, path: Path = RESULTS) -> None:
    """Write all kept sections."""
    from benchmarks.sections import SECTIONS

    parts = []
    for key in SECTIONS:
        kept = sorted(folder.glob(f"{key}-[0-9]*-threads.json"))
        parts += [Part(**json.loads(path.read_text(encoding="utf-8"))) for path in kept]
    versions = "\n".join(sorted({f"Versions: {part.versions}." for part in parts}))
    path.write_text("\n".join([HEAD, versions + "\n", *(part.markdown() for part in parts)]), encoding="utf-8")
