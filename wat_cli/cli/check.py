"""``wat check``: caption files held against the rules they are laid out by."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from wat_cli.cli.parameters import build, signature
from wat_cli.errors import ExitCode, OutputError, UsageError, printable, shown
from wat_cli.options import CaptionOptions

NOT_CHECKED = ("max_words_per_line", "highlight_words", "linger", "vtt_classes", "drop_hallucinations")
"""Options of the layout that leave nothing to check in a file."""

MAX_BYTES = 64 * 2**20

_FILES = inspect.Parameter(
    "files",
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    annotation=Annotated[list[Path], typer.Argument(metavar="FILE...", help="SRT and WebVTT files.")],
)
_STRICT = inspect.Parameter(
    "strict",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--strict", help="Fail on soft rules too.")],
)


def check(files: list[Path], strict: bool = False, **values: Any) -> None:
    """Report which rules caption files break: anybody's, not only wat's. Sidecars among them are passed over.

    Hard rules (syntax, order, overlap, lines and their width, the end of the film where a sidecar tells it) fail the
    check; soft ones (reading speed, durations, gaps) are warnings. A line for each on standard output.
    """
    options = build(CaptionOptions, values)
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise UsageError(f"no such file: {', '.join(map(shown, missing))}")
    captions = [path for path in files if not _is_sidecar(path)]
    if not captions:
        raise UsageError(f"{shown(files[0])}: a sidecar; give the caption files that were made with it")
    raise typer.Exit(int(_run(captions, options, strict)))


check.__signature__ = signature([CaptionOptions], [_FILES, _STRICT], skip=NOT_CHECKED)  # type: ignore[attr-defined]


def _run(files: list[Path], options: CaptionOptions, strict: bool) -> ExitCode:
    from wat_cli.captions.check import check as broken_in
    from wat_cli.captions.check import passes
    from wat_cli.captions.rules import BrokenRule, rules_for
    from wat_cli.captions.vtt import timestamp

    everything: list[BrokenRule] = []
    for path in files:
        broken = broken_in(_content(path), rules_for(options), _duration_ms(path))
        for rule in broken:
            place = f"caption {rule.cue} ({timestamp(rule.start_ms)})" if rule.cue else "start"
            kind = "hard" if rule.hard else "soft"
            print(f"{shown(path)}: {place}: {kind}: {rule.rule}: {printable(rule.detail)}")
        everything.extend(broken)
    hard = sum(rule.hard for rule in everything)
    counted = f"{len(files)} file{'s' * (len(files) != 1)}"
    typer.echo(f"{counted}: {hard} hard, {len(everything) - hard} soft", err=True)
    return ExitCode.OK if passes(everything, strict) else ExitCode.SOME_FAILED


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise OutputError(f"{shown(path)}: {(error.strerror or 'cannot be read').lower()}") from error
    if len(data) > MAX_BYTES:
        raise OutputError(f"{shown(path)}: more than {MAX_BYTES >> 20} MiB are no caption file")
    return data


def _is_sidecar(path: Path) -> bool:
    """Whether `path` is one of wat's sidecars, as where somebody gives all that stands in a folder."""
    return path.suffix.lower() == ".json" and _told_by(path) is not None


def _duration_ms(path: Path) -> int | None:
    """Length of the film as the sidecar beside the captions says (``talk.json`` for ``talk.en.sdh.srt`` too)."""
    name = path.name
    while "." in name.strip("."):
        name = name.rpartition(".")[0]
        if (told := _told_by(path.with_name(f"{name}.json"))) is not None:
            return told
    return None


def _told_by(path: Path) -> int | None:
    """Length of the film that a sidecar tells, in ms; None where `path` is no sidecar."""
    from wat_cli import sidecar

    try:
        return round(1000 * sidecar.read(path, tags=False).transcript.source.duration)
    except (OSError, ValueError, OverflowError, sidecar.NotASidecar):
        return None
