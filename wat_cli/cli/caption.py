"""``wat caption``: media in, captions beside them."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wat_cli.cli.parameters import build, signature
from wat_cli.errors import ExitCode, MissingDependency, UsageError, WatError
from wat_cli.options import (
    BatchOptions,
    CaptionOptions,
    ModelOptions,
    OutputOptions,
    RunOptions,
    TagOptions,
    TranscribeOptions,
)

if TYPE_CHECKING:
    from wat_cli.batch import Captioner, Report
    from wat_cli.captioning import Hearer
    from wat_cli.checkpoints import ResolvedWeights
    from wat_cli.cli.progress import Lines
    from wat_cli.discovery import Discovery

GROUPS = (OutputOptions, ModelOptions, TagOptions, CaptionOptions, TranscribeOptions, BatchOptions)
"""The option dataclasses of this command, in the order of its help."""

EPILOG = """Examples:  wat caption ./videos  ·  wat caption talk.mp4 -f srt -o -  ·
find /archive -name '*.mkv' -print0 | wat caption -0 -o captions

Exit codes: 0 done or nothing to do, 1 some files failed, 2 usage, 3 something is missing, 130 interrupted."""

_PATHS = inspect.Parameter(
    "paths",
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    default=None,
    annotation=Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATHS...", help="Media files, and folders to search for them; - reads a list of paths."
        ),
    ],
)


def caption(paths: list[str] | None = None, **values: Any) -> None:
    """Caption media files: PATHS are files and folders, searched recursively.

    talk.mp4 gives talk.srt, talk.vtt and talk.json beside it. What an earlier run did and nobody changed is not done
    again; what somebody else wrote is never replaced without --overwrite.
    """
    options = RunOptions(
        transcribe=build(TranscribeOptions, values),
        tags=build(TagOptions, values),
        captions=build(CaptionOptions, values),
        model=build(ModelOptions, values),
        output=build(OutputOptions, values),
        batch=build(BatchOptions, values),
    )
    raise typer.Exit(int(_run(paths or [], options)))


caption.__signature__ = signature(GROUPS, [_PATHS])  # type: ignore[attr-defined]


def _run(paths: list[str], options: RunOptions) -> ExitCode:
    from wat_cli.batch import Report
    from wat_cli.cli.progress import Lines, stderr_console
    from wat_cli.media import find_ffmpeg

    # 1) what is asked for: everything that can be said without ffmpeg or weights is said first
    lines = Lines(stderr_console(), options.batch.quiet, options.batch.verbose)
    find_ffmpeg()
    found = _discover(paths, options)
    report = Report()
    for outcome in _refusals(found):
        report.add(outcome)
        lines.closed(outcome)
    if options.output.to_stdout and len(found.jobs) != 1:
        raise UsageError(f"--output-dir - takes one file; there are {len(found.jobs)}")
    if not found.jobs:
        lines.note("no media files found" if not report.outcomes else str(report))
        return report.exit_code

    # 2) what it takes: weights, whose hashes are part of the fingerprint
    if options.batch.dry_run:
        return _dry_run(found, options, report, lines)
    weights = _weights(options, lines)

    # 3) the work
    if options.output.to_stdout:
        return _to_stdout(found, options, weights, lines)
    with _display(lines, options) as display:
        display.started(len(found.jobs))
        try:
            _work(found, _captioner(options, weights, display), report)
        except KeyboardInterrupt:
            lines.note(f"interrupted; {report}. Finished files stay; run again to go on.")
            return ExitCode.INTERRUPTED
    lines.summary(report)
    return report.exit_code


def _discover(paths: list[str], options: RunOptions) -> Discovery:
    from wat_cli.discovery import discover, read_paths
    from wat_cli.media import holds_audio

    from_list = options.batch.null or "-" in paths
    named = [Path(path) for path in paths if path != "-"]
    if not named and not from_list:
        raise UsageError("no paths given: name files or folders, or - to read a list of them from standard input")
    listed = read_paths(sys.stdin.buffer, options.batch.null) if from_list else ()
    folder = None if options.output.to_stdout else options.output.output_dir
    return discover(named, holds_audio, listed=listed, output_dir=folder, names=options.output.names)


def _refusals(found: Discovery) -> Iterator[Any]:
    from wat_cli.batch import Outcome, Status

    for refused in found.refused:
        yield Outcome(refused.path, Status.FAILED if refused.failed else Status.SKIPPED, refused.reason)


def _weights(options: RunOptions, lines: Lines) -> ResolvedWeights:
    from wat_cli.checkpoints import resolve, silent
    from wat_cli.cli.download_bar import DownloadBar

    if options.batch.quiet:
        return resolve(options.model, tags=options.tags.tags, progress=silent)
    with DownloadBar(lines.console) as bar:
        return resolve(options.model, tags=options.tags.tags, progress=bar)


def _captioner(options: RunOptions, weights: ResolvedWeights, display: Lines) -> Captioner:
    from wat_cli.batch import Captioner, setting_of

    def load() -> Hearer:
        from wat_cli.engine import load_engine

        return load_engine(weights, options.model)

    return Captioner(setting_of(options, weights), load, display)


@contextmanager
def _display(lines: Lines, options: RunOptions) -> Iterator[Lines]:
    """A bar on a terminal, plain lines elsewhere."""
    from wat_cli.cli.progress import Bar

    if lines.console.is_terminal and not options.batch.quiet:
        with Bar(lines.console, options.batch.verbose).live() as bar:
            yield bar
    else:
        with nullcontext():
            yield lines


def _work(found: Discovery, captioner: Captioner, report: Report) -> None:
    from wat_cli.batch import run

    for outcome in run(found.jobs, captioner):
        report.add(outcome)


def _dry_run(found: Discovery, options: RunOptions, report: Report, lines: Lines) -> ExitCode:
    """Print what a run would do, a line for each file, on stdout; fetch and write nothing."""
    from wat_cli.batch import planned, setting_of
    from wat_cli.captioning import Setting
    from wat_cli.checkpoints import resolve
    from wat_cli.cli.progress import plan_line

    setting = Setting(options, {}, {}, fingerprint="")
    offline = dataclasses.replace(options.model, offline=True)
    try:
        setting = setting_of(options, resolve(offline, tags=options.tags.tags))
    except MissingDependency as error:
        lines.note(f"without the weights, every file counts as due. {error}")
    for plan in planned(found.jobs, setting):
        print(plan_line(plan))
        report.add(plan.outcome)
    return report.exit_code


def _to_stdout(found: Discovery, options: RunOptions, weights: ResolvedWeights, lines: Lines) -> ExitCode:
    """Caption the one file; its one output goes to stdout and nothing to the disk."""
    captioner = _captioner(options, weights, lines)
    try:
        data = captioner.content(found.jobs[0], options.output.formats[0])
    except WatError as error:
        lines.note(f"wat: {error}")
        return error.exit_code
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    return ExitCode.OK
