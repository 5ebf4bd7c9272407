"""``wat labels``: the sound classes, the groups and captions that they belong to, and which of them are captioned."""

from __future__ import annotations

import difflib
import inspect
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wat_cli.cli.config import configurable
from wat_cli.cli.parameters import build, option_of, signature
from wat_cli.errors import UsageError, printable, shown
from wat_cli.options import ModelOptions, TagOptions

if TYPE_CHECKING:
    from wat_cli.tagging.policy import Policy, SoundClass

LEFT_OUT = ("tags", "save_scores")
"""Sound options that say nothing of a class."""

EPILOG = """Examples:  wat labels dog  ·  wat labels --sounds more --captioned  ·
wat labels | cut -f5 | sort -u  ·  wat labels --json | jq -r '.[] | select(.tier == 1) | .caption'"""


@dataclass(frozen=True)
class Row:
    """One class, as this command tells of it."""

    index: int
    """Column of the head's output."""
    mid: str
    name: str
    group: str
    caption: str
    tier: int
    """1 is captioned by default, 2 with ``--sounds more``, 3 with ``--sounds all``, 0 never."""
    starts_at: float | None
    """Probability at which it starts a caption; None in tier 0."""
    captioned: bool
    reason: str
    """Why it is not captioned."""


def labels(
    search: list[str] | None = None,
    captioned: bool = False,
    tagger_checkpoint: Path | None = None,
    as_json: bool = False,
    **values: Any,
) -> None:
    """List the sound classes with their groups and captions, and whether they are captioned and from which score.

    SEARCH... are words that a class's name, group, caption or identifier must hold. The sound options are those of wat
    caption, so that this shows what they would do. In a pipe, columns are separated by tabs.
    """
    words = [word.casefold() for word in search or ()]
    found = rows(build(TagOptions, values), tagger_checkpoint)
    chosen = [row for row in found if (row.captioned or not captioned) and _matches(row, words)]
    if as_json:
        print(json.dumps([asdict(row) for row in chosen], indent=1, ensure_ascii=False))
    elif sys.stdout.isatty():
        _print_table(chosen)
    else:
        print("\n".join("\t".join(cells) for cells in ([field.name for field in fields(Row)], *map(_cells, chosen))))
    if not chosen:
        typer.echo(f"wat: no class matches {' '.join(search or ['that'])}{_nearest(words, found)}", err=True)


def _option(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


_SEARCH = inspect.Parameter(
    "search",
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    default=None,
    annotation=Annotated[list[str] | None, typer.Argument(metavar="SEARCH...", help="Words; all must be found.")],
)
_CAPTIONED = typer.Option("--captioned", help="Only what is captioned.")
_HEAD = option_of(ModelOptions, "tagger_checkpoint", "The classes of this head.")
_JSON = typer.Option("--json", help="Print JSON.")
labels.__signature__ = signature(  # type: ignore[attr-defined]
    [TagOptions],
    [
        _SEARCH,
        _option("captioned", False, Annotated[bool, _CAPTIONED]),
        _option("tagger_checkpoint", None, Annotated[Path | None, _HEAD]),
        _option("as_json", False, Annotated[bool, _JSON]),
    ],
    skip=LEFT_OUT,
)
labels = configurable(labels)


def rows(options: TagOptions, head: Path | None = None) -> list[Row]:
    """Every class of `head` (AudioSet's 527, if it has no own labels) in its order.

    Raises UsageError for a head that is not there, and for what `policy.resolve` does not know.
    """
    from wat_cli.tagging import policy
    from wat_cli.tagging.tuning import head_tuning
    from wat_cli.transcript import HeadTuning

    if head is not None and not head.is_file():
        raise UsageError(f"--tagger-checkpoint {shown(head)}: no such file")
    tuning = head_tuning(head) if head is not None else HeadTuning()
    found = policy.resolve(options, tuning.labels)
    base = tuning.threshold if options.tags_threshold is None else options.tags_threshold
    classes = _own_classes(found, tuning.labels) if tuning.labels else found.classes
    return [_row(column, sound, found, base, tuning.threshold) for column, sound in enumerate(classes)]


def _own_classes(policy: Policy, labels: Sequence[str]) -> Iterator[SoundClass]:
    named = {sound.name.casefold(): sound for sound in policy.classes}
    return (named[label.casefold()] for label in labels)


def _row(column: int, sound: SoundClass, policy: Policy, base: float, tuned: float) -> Row:
    from wat_cli.tagging.policy import logit

    enabled = sound.index in policy.enabled
    reason = "" if enabled else policy.hidden.get(sound.index, "no caption: speech, silence, or not a sound to name")
    starts_at = None
    if sound.tier:
        starts_at = round(1 / (1 + math.exp(-logit(base) - policy.distance(sound.index, tuned))), 3)
    return Row(
        column, sound.mid, sound.name, sound.group, sound.caption, sound.tier, starts_at, enabled, reason
    )  # fmt: skip


def _matches(row: Row, words: Sequence[str]) -> bool:
    text = " ".join((row.name, row.group, row.group.replace("_", " "), row.caption, row.mid)).casefold()
    return all(word in text for word in words)


def _nearest(words: Sequence[str], found: Sequence[Row]) -> str:
    known = {word.strip("(),.") for row in found for word in f"{row.name} {row.caption}".casefold().split()}
    near = [match for word in words for match in difflib.get_close_matches(word, known, n=2)]
    return f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""


def _cells(row: Row) -> list[str]:
    values = asdict(row) | {"captioned": "yes" if row.captioned else "no"}
    return ["" if value is None else printable(str(value)) for value in values.values()]


def _print_table(chosen: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("", "Class", "Group", "Caption", "Tier", "From", "Captioned"):
        table.add_column(title, justify="right" if title in ("", "Tier", "From") else "left")
    for row in chosen:
        texts = (row.name, row.group, row.caption)
        score = "" if row.starts_at is None else f"{row.starts_at:.2f}"
        told = "[green]yes[/]" if row.captioned else escape(row.reason) if row.tier else "never"
        table.add_row(str(row.index), *(escape(printable(text)) for text in texts), str(row.tier), score, told)
    Console().print(table)
