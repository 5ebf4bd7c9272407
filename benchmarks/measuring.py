"""Rows of a comparison, run by turns and counted: seconds, windows, tokens; too few tokens disqualify a row."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

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
    rows: Sequence[Row], warm_up: str, rounds: int, deadline: float | None = None, start: Start = Program
) -> list[Measured]:
    """Run `rows` by turns, `rounds` times; every program is loaded first and hears the file `warm_up` once, untimed.

    After `deadline` (`time.monotonic`) no round begins, except the first.
    """
    found = [Measured(row) for row in rows]
    with ExitStack() as stack:
        programs: dict[str, Program] = {}
        for one in found:
            say(f"  {one.row.name}: loading")
            try:
                programs[one.row.key] = stack.enter_context(start(one.row.setup))
                programs[one.row.key].run(_warm_up_of(one.row.work, warm_up))
            except ProgramFailed as error:
                one.fault = str(error)
        for turn in range(rounds):
            if turn and deadline is not None and time.monotonic() > deadline:
                say(f"  out of time after {turn} of {rounds} rounds")
                break
            for one in found:
                if not one.fault:
                    _take_turn(one, programs[one.row.key])
    return found


def _take_turn(one: Measured, program: Program) -> None:
    try:
        run = program.run(one.row.work)
    except ProgramFailed as error:
        one.fault = str(error)
        return
    one.runs.append(run)
    one.fault = fault_of(run.heard, one.row)
    say(f"  {one.row.name}: {run.seconds:.2f} s" + (f" DISQUALIFIED: {one.fault}" if one.fault else ""))


def _warm_up_of(work: Work, path: str) -> Work:
    return Work((path,), work.beam, work.timestamps, work.real, work.language)


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
