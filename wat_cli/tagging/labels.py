"""The 527 AudioSet classes that a Whisper-AT head scores, in the head's order."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Label:
    """One AudioSet class."""

    index: int
    """Column of the head's output."""
    mid: str
    """Identifier in AudioSet's ontology: ``/m/04rlf``."""
    name: str
    """Display name: ``Music``."""


@cache
def load_labels() -> tuple[Label, ...]:
    """The classes by index (``data/labels.csv``: AudioSet, CC BY 4.0)."""
    return tuple(Label(int(row["index"]), row["mid"], row["display_name"]) for row in read_table("labels.csv"))


def read_table(name: str) -> list[dict[str, str]]:
    """The rows of a CSV file of the package's ``data`` folder."""
    text = resources.files("wat_cli").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
