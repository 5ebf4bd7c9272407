"""What the sections found, in ``benchmarks/RESULTS.md`` until they run again on such a machine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from benchmarks import machine
from benchmarks.processes import ROOT
from benchmarks.sections import SECTIONS

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
    def now(cls, title: str, text: str, command: str, load: str, threads: int, seconds: float) -> Self:
        """A section that has just run here; `load` is the machine's before the benchmark began."""
        versions = f"wat's: {machine.versions('wat')}; peers': {machine.versions('openai-whisper')}"
        date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        return cls(title, text, command, date, machine.processor(), load, threads, seconds, versions)

    @property
    def heading(self) -> str:
        """What the section stands under: another one on another machine, or with other threads."""
        return f"## {self.title}, {self.threads} threads, {self.machine.split(',')[0]}"

    def markdown(self) -> str:
        """The section as it stands in the results."""
        facts = [
            f"{self.date}, {self.machine}, {self.threads} threads",
            f"load of the machine before: {self.load}" + (SHARED if float(self.load) > 0.5 else ""),
            f"took {self.seconds:.0f} s",
            f"`{self.command}`",
        ]
        return f"{self.heading}\n\n{self.text}\n\n<sub>{'; '.join(facts)}</sub>\n"


def keep(part: Part, path: Path = RESULTS) -> None:
    """Write what a section found in place of what it last found on such a machine; all else stays."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    before, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    kept = {section.partition("\n")[0]: section.strip() + "\n" for section in sections}
    kept[part.heading] = part.markdown()
    versions = {line for line in before.splitlines() if line.startswith("Versions: ")} | {f"Versions: {part.versions}."}
    in_order = [kept[heading] for heading in sorted(kept, key=_place)]
    path.write_text("\n".join([HEAD, "\n".join(sorted(versions)) + "\n", *in_order]), encoding="utf-8")


def _place(heading: str) -> tuple[int, str]:
    titles = [heading.startswith(f"## {section.title}, ") for section in SECTIONS.values()]
    return (titles.index(True) if True in titles else len(titles)), heading
