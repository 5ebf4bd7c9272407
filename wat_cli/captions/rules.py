"""The rules that captions are laid out by and checked against.

Numbers and their sources (Netflix timed text guides, BBC subtitle guidelines, DCMP captioning key): two lines of 42
columns, 5/6 s to 7 s, 20 columns a second, two frames at 24 a second between captions, no gap between that and half a
second. Hard rules hold always; soft ones wherever the speech leaves room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from wat_cli.captions.characters import width
from wat_cli.options import CaptionOptions

HARD_RULES = ("order", "overlap", "inside-file", "empty", "line-width", "line-count", "syntax")
SOFT_RULES = ("min-duration", "max-duration", "reading-speed", "gap")


@dataclass(frozen=True)
class LayoutRules:
    """The numbers of one style, in columns and milliseconds."""

    width: int = 42
    lines: int = 2
    min_ms: int = 834
    max_ms: int = 7000
    cps: float = 20.0
    """Columns a second."""
    gap_ms: int = 84
    """Least gap between two captions."""
    close_ms: int = 500
    """Gaps shorter than this are closed to `gap_ms`."""
    linger_ms: int = 1500
    """How long a caption may outlast its words for the sake of reading speed (BBC 5.2)."""
    lower_case: bool = False
    """Whether sound captions are written in lower case."""

    @cached_property
    def longest_speech_ms(self) -> int:
        """Longest speech of one caption, so that closing the gap after it still keeps `max_ms`."""
        return max(1000, self.max_ms - self.close_ms)


NO_LIMIT_MS = 10**12

STYLE_RULES = {
    "default": LayoutRules(),
    "netflix": LayoutRules(linger_ms=500, lower_case=True),
    "plain": LayoutRules(min_ms=0, max_ms=NO_LIMIT_MS, cps=1e9, gap_ms=0, close_ms=0, linger_ms=0),
}
"""Rules by style. ``plain`` keeps the times of the segments and only the hard rules."""


def rules_for(options: CaptionOptions) -> LayoutRules:
    """The style's rules with the numbers that the user set."""
    rules = STYLE_RULES[options.style]
    if options.max_line_width is not None:
        rules = replace(rules, width=options.max_line_width)
    if options.max_line_count is not None:
        rules = replace(rules, lines=options.max_line_count)
    if options.max_cps is not None:
        rules = replace(rules, cps=options.max_cps)
    return replace(
        rules,
        min_ms=_ms(options.min_duration, rules.min_ms),
        max_ms=_ms(options.max_duration, rules.max_ms),
        gap_ms=_ms(options.min_gap, rules.gap_ms),
        close_ms=_ms(options.closed_gap, rules.close_ms),
        linger_ms=_ms(options.linger, rules.linger_ms),
    )


def _ms(seconds: float | None, otherwise: int) -> int:
    return otherwise if seconds is None else round(1000 * seconds)


@dataclass(frozen=True)
class CueLine:
    """One line of a caption."""

    text: str
    """Clean text (`characters.clean_text`) without markup."""
    sound_length: int = 0
    """Leading characters that are a sound caption: all of ``[Music]``, the first seven of ``[Music] Hello``."""
    underlined: tuple[int, int] | None = None
    """Characters shown underlined: the word being spoken."""


@dataclass(frozen=True)
class Cue:
    """One caption on screen: integer milliseconds on the file's clock, end after start, lines that are never blank."""

    start_ms: int
    end_ms: int
    lines: tuple[CueLine, ...]

    @property
    def text(self) -> str:
        """The lines as a viewer reads them, without markup."""
        return "\n".join(line.text for line in self.lines)

    @property
    def kind(self) -> str:
        """``speech``, ``sound`` or ``mixed``."""
        if all(line.sound_length >= len(line.text) for line in self.lines):
            return "sound"
        return "mixed" if any(line.sound_length for line in self.lines) else "speech"

    @property
    def columns(self) -> int:
        """Columns of all lines together: what reading speed counts."""
        return sum(width(line.text) for line in self.lines)


@dataclass(frozen=True)
class BrokenRule:
    """One rule that one caption breaks."""

    cue: int
    """The caption's number in the file, from 1."""
    start_ms: int
    rule: str
    """One of `HARD_RULES` or `SOFT_RULES`."""
    detail: str
    """What was found and what the rule asks."""

    @property
    def hard(self) -> bool:
        """Whether the rule holds always."""
        return self.rule in HARD_RULES


def broken_rules(cues: Sequence[Cue], rules: LayoutRules, duration_ms: int | None = None) -> tuple[BrokenRule, ...]:
    """Every rule that `cues` break, hard and soft, in the order of the cues.

    `duration_ms` is the file's; without it nothing is said about its end.
    """
    broken: list[BrokenRule] = []
    for place, cue in enumerate(cues):
        following = cues[place + 1] if place + 1 < len(cues) else None
        found = [*_hard_breaks(cue, rules, following, duration_ms), *_soft_breaks(cue, rules, following)]
        broken.extend(BrokenRule(place + 1, cue.start_ms, rule, detail) for rule, detail in found)
    return tuple(broken)


def _hard_breaks(cue: Cue, rules: LayoutRules, following: Cue | None, duration_ms: int | None) -> list[tuple[str, str]]:
    found = []
    if cue.end_ms <= cue.start_ms:
        found.append(("order", f"ends at {cue.end_ms} ms, before or when it starts"))
    if following is not None and following.start_ms < cue.start_ms:
        found.append(("order", f"the next caption starts earlier, at {following.start_ms} ms"))
    elif following is not None and following.start_ms < cue.end_ms:
        found.append(("overlap", f"the next caption starts {cue.end_ms - following.start_ms} ms before this one ends"))
    if cue.start_ms < 0 or (duration_ms is not None and cue.end_ms > duration_ms):
        found.append(("inside-file", f"ends at {cue.end_ms} ms, the file at {duration_ms} ms"))
    if not cue.lines or any(not line.text.strip() for line in cue.lines):
        found.append(("empty", "a caption without text, or with a blank line"))
    if len(cue.lines) > rules.lines:
        found.append(("line-count", f"{len(cue.lines)} lines, at most {rules.lines}"))
    widest = max((width(line.text) for line in cue.lines), default=0)
    if widest > rules.width:
        found.append(("line-width", f"a line of {widest} columns, at most {rules.width}"))
    return found


def _soft_breaks(cue: Cue, rules: LayoutRules, following: Cue | None) -> list[tuple[str, str]]:
    found = []
    shown = cue.end_ms - cue.start_ms
    if shown < rules.min_ms:
        found.append(("min-duration", f"{shown} ms, at least {rules.min_ms}"))
    if shown > rules.max_ms:
        found.append(("max-duration", f"{shown} ms, at most {rules.max_ms}"))
    if shown > 0 and cue.columns * 1000 > rules.cps * shown:
        found.append(("reading-speed", f"{cue.columns * 1000 / shown:.1f} columns a second, at most {rules.cps:g}"))
    gap = following.start_ms - cue.end_ms if following is not None else None
    if gap is not None and (0 <= gap < rules.gap_ms or rules.gap_ms < gap < rules.close_ms):
        found.append(("gap", f"{gap} ms to the next caption: {rules.gap_ms}, or {rules.close_ms} and more"))
    return found
