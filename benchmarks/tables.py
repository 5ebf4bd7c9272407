"""Measured rows as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measuring import Measured, by_key, paired_ratio, same_windows


@dataclass(frozen=True)
class Goal:
    """What one row must take, as a multiple of the other's time."""

    slower: str
    faster: str
    least: float | None = None
    aim: float | None = None
    most: float | None = None


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first hold figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def seconds_of(one: Measured) -> str:
    """Median and range."""
    if len(one.seconds) == 1:
        return f"{one.median:.2f}"
    return f"{one.median:.2f} ({min(one.seconds):.2f}-{max(one.seconds):.2f})"


def speed_table(measured: Sequence[Measured], reference: str) -> str:
    """Every row's seconds and speed, beside the row of the key `reference`."""
    first = by_key(measured).get(reference)
    lines = []
    for one in measured:
        if not one.counts:
            lines.append([one.row.name, "disqualified: " + one.fault, "", "", "", "", ""])
            continue
        tokens = one.tokens
        ratio = paired_ratio(first, one) if first is not None else None
        same = f"{100 * same_windows(one, first):.0f} %" if first is not None and first.counts else ""
        lines.append(
            [
                one.row.name,
                seconds_of(one),
                f"{one.row.windows / one.median:.2f}",
                f"{30 * one.row.windows / one.median:.0f}",
                f"{len(tokens)} x {statistics.mean(len(window) for window in tokens):.4g}",
                same,
                f"{ratio:.2f}" if ratio is not None else "",
            ]
        )
    name = first.row.name if first is not None else reference
    head = ["", "seconds", "windows/s", "x real time", "windows x tokens", f"windows as {name}'s", f"{name} / this"]
    return table(head, lines)


def goal_table(measured: Sequence[Measured], goals: Sequence[Goal]) -> str:
    """Ratios that are asked for, with what was reached; the median of the ratios of each round."""
    rows, lines = by_key(measured), []
    for goal in goals:
        if goal.slower not in rows or goal.faster not in rows:
            continue
        slower, faster = rows[goal.slower], rows[goal.faster]
        ratio = paired_ratio(slower, faster)
        least = f"at least {goal.least:g}" if goal.least is not None else f"at most {goal.most:g}" if goal.most else "-"
        lines.append(
            [
                f"{slower.row.name} / {faster.row.name}",
                "-" if ratio is None else f"{ratio:.2f}",
                least,
                "-" if goal.aim is None else f"{goal.aim:g}",
                "-" if ratio is None else verdict(goal, ratio),
            ]
        )
    return table(["", "ratio", "asked", "aim", ""], lines) if lines else ""


def verdict(goal: Goal, ratio: float) -> str:
    """Whether a ratio is what was asked for."""
    if goal.most is not None:
        return "reached" if ratio <= goal.most else "missed"
    if goal.aim is not None and ratio >= goal.aim:
        return "aim reached"
    if goal.least is None:
        return "below the aim"
    return "reached" if ratio >= goal.least else "missed"
