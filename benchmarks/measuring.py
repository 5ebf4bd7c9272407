"""Rows of a comparison, run by turns and counted: seconds, windows, tokens; too few tokens disqualify a row."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.engines import Heard, Setup, Work
from benchmarks.processes import Program, ProgramFailed, Run

Start = Callable[[Setup], Program]


@dataclass(frozen=True)
class Row:
    """One program at one setting, and what it has to do."""

    key: str
    name: str
    setup: Setup
    work: Work
    windows: int
    """Windows of 30 s in the files of `work`, all together."""
    tokens: int | None
    """Tokens that every window must have; None where the text decides."""


@dataclass
class Measured:
    """What a row came to."""

    row: Row
    runs: list[Run] = field(default_factory=list)
    fault: str = ""
    """Why the row does not count; empty where it does."""

    @property
    def seconds(self) -> list[float]:
        """Wall time of each run, in the order of the rounds."""
        return [run.seconds for run in self.runs]

    @property
    def median(self) -> float:
        """Median wall time."""
        return statistics.median(self.seconds)

    @property
    def counts(self) -> bool:
        """Whether the row did the work."""
        return bool(self.runs) and not self.fault

    @property
    def tokens(self) -> list[list[int]]:
        """Tokens of each window of the last run, file after file."""
        return [tokens for windows in self.runs[-1].heard.files for _, tokens in windows] if self.runs else []


def fault_of(heard: Heard, row: Row) -> str:
    """What is missing of a row's work; empty where it was all done."""
    found = [tokens for windows in heard.files for _, tokens in windows]
    if len(found) < row.windows:
        return f"{len(found)} of {row.windows} windows"
    if row.tokens is not None:
        other = [len(tokens) for tokens in found if len(tokens) != row.tokens]
        if other:
            return f"{len(other)} of {len(found)} windows are not {row.tokens} tokens long, one of them {other[0]}"
    return ""


def measure(
    rows: Sequence[Row],
    warm_up: str,
    rounds: int,
    deadline: float | None = None,
    start: Start = Program,
    keep: bool | None = None,
) -> list[Measured]:
    """Run `rows` by turns, `rounds` times; every program is loaded and hears the file `warm_up` before it is timed.

    Programs stay loaded from round to round if `keep`, or if left out where the memory is enough for all of them. No
    round but the first begins that would not end by `deadline` (`time.monotonic`).
    """
    found = [Measured(row) for row in rows]
    if keep is None:
        keep = needed_bytes(rows) < 0.85 * available_bytes()
    with ExitStack() as stack:
        kept: dict[str, Program] = {}
        begun = time.monotonic()
        for turn in range(rounds):
            spent = (time.monotonic() - begun) / max(1, turn)
            if turn and deadline is not None and time.monotonic() + spent > deadline:
                say(f"  no time for another round after {turn} of {rounds}")
                break
            for one in found:
                if one.fault:
                    continue
                try:
                    if keep:
                        if one.row.key not in kept:
                            kept[one.row.key] = _ready(stack.enter_context(start(one.row.setup)), one.row, warm_up)
                        _take_turn(one, kept[one.row.key])
                    else:
                        with start(one.row.setup) as program:
                            _take_turn(one, _ready(program, one.row, warm_up))
                except ProgramFailed as error:
                    one.fault = str(error)
    return found


def _ready(program: Program, row: Row, warm_up: str) -> Program:
    program.run(replace(row.work, files=(warm_up,)))
    return program


def _take_turn(one: Measured, program: Program) -> None:
    run = program.run(one.row.work)
    one.runs.append(run)
    one.fault = fault_of(run.heard, one.row)
    say(f"  {one.row.name}: {run.seconds:.2f} s" + (f" DISQUALIFIED: {one.fault}" if one.fault else ""))


def needed_bytes(rows: Sequence[Row]) -> float:
    """Rough memory of all programs at once: Python with torch, float32 weights, and half as much for their work."""
    return sum(0.5e9 + 2.6 * Path(row.setup.checkpoint).stat().st_size for row in rows)


def available_bytes() -> float:
    """What the machine can give."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))) * 1024


def paired_ratio(slower: Measured, faster: Measured) -> float | None:
    """Median over the rounds of how many times longer `slower` took; None where one of them does not count."""
    if not (slower.counts and faster.counts):
        return None
    return statistics.median(one / other for one, other in zip(slower.seconds, faster.seconds, strict=False))


def same_windows(one: Measured, reference: Measured) -> float:
    """Share of the windows whose tokens are the reference's."""
    mine, theirs = one.tokens, reference.tokens
    return sum(a == b for a, b in zip(mine, theirs, strict=False)) / max(1, len(theirs))


def by_key(measured: Sequence[Measured]) -> Mapping[str, Measured]:
    """Rows by their keys."""
    return {one.row.key: one for one in measured}


def say(text: str) -> None:
    """Tell how far the benchmark is."""
    print(text, file=sys.stderr, flush=True)
