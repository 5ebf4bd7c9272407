"""Caption files held against the rules: what `wat check` reports, without the layout code."""

from __future__ import annotations

from collections.abc import Iterable

from wat_cli.captions.reading import read_captions
from wat_cli.captions.rules import BrokenRule, LayoutRules, broken_rules


def check(data: bytes, rules: LayoutRules, duration_ms: int | None = None) -> tuple[BrokenRule, ...]:
    """Every rule that the caption file with the content `data` breaks, by cue: hard, soft and syntax.

    `duration_ms` is the length of the film, where it is known.
    """
    reading = read_captions(data)
    found = [*reading.faults, *broken_rules(reading.cues, rules, duration_ms)]
    return tuple(sorted(found, key=lambda broken: broken.cue))


def passes(broken: Iterable[BrokenRule], strict: bool = False) -> bool:
    """Whether a file passes: no hard rule broken, with `strict` no soft one either."""
    return not any(strict or rule.hard for rule in broken)
