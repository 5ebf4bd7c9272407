"""``wat caption``: media in, captions beside them."""

from __future__ import annotations

import dataclasses
import inspect
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wat_cli.cli.config import PANEL, as_toml, chosen, configurable
from wat_cli.cli.parameters import build, option_name, signature
from wat_cli.errors import ExitCode, MediaError, MissingDependency, UsageError, shown
from wat_cli.options import (
    STDOUT,
    WHISPER_DIFFERENCES,
    BatchOptions,
    CaptionOptions,
    ModelOptions,
    OutputOptions,
    RunOptions,
    TagOptions,
    TranscribeOptions,
)

if TYPE_CHECKING:
    from wat_cli.api import Model
    from wat_cli.batch import Captioner, Outcome, Progress, Report
    from wat_cli.checkpoints import ResolvedWeights
    from wat_cli.cli.progress import Lines
    from wat_cli.discovery import Discovery, Job

GROUPS = (OutputOptions, ModelOptions, TagOptions, CaptionOptions, TranscribeOptions, BatchOptions)
"""The option dataclasses of this command, in the order of its help."""

EPILOG = """Examples:  wat caption ./videos  ·  wat caption talk.mp4 -f srt -o -  ·
find /archive -name '*.mkv' -print0 | wat caption -0 -o captions

openai-whisper's options have its names, defaults and values (--word_timestamps True is read too), but for
{differences}.

Exit codes: 0 done or nothing to do, 1 some files failed, 2 usage, 3 something is missing, 130 interrupted.""".format(
    differences="; ".join(f"{option_name(name)}: {difference}" for name, difference in WHISPER_DIFFERENCES.items())
)

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


_PRINT_CONFIG = inspect.Parameter(
    "print_config",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool,
        typer.Option(
            "--print-config", help="Print every option, its value and where that comes from.", rich_help_panel=PANEL
        ),
    ],
)
_CONTEXT = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)


def caption(ctx: typer.Context, paths: list[str] | None = None, print_config: bool = False, **values: Any) -> None:
    """Caption media files: PATHS are files and folders, searched recursively.

    talk.mp4 gives talk.srt, talk.vtt and talk.json beside it. What an earlier run did and nobody changed is not done
    again; what somebody else wrote is never replaced without --overwrite.
    """
    options = run_options(values)
    if print_config:
        print("\n".join(as_toml(list(chosen(ctx)))).rstrip("\n"))
        return
    raise typer.Exit(int(_run(paths or [], options)))


caption.__signature__ = signature(GROUPS, [_CONTEXT, _PATHS, _PRINT_CONFIG])  # type: ignore[attr-defined]
caption = configurable(caption)


def run_options(values: Mapping[str, Any]) -> RunOptions:
    """The options of a run from the command's values; UsageError where they do not go together."""
    return RunOptions(
        transcribe=build(TranscribeOptions, values),
        tags=build(TagOptions, values),
        captions=build(CaptionOptions, values),
        model=build(ModelOptions, values),
        output=build(OutputOptions, values),
        batch=build(BatchOptions, values),
    )


def _run(paths: list[str], options: RunOptions) -> ExitCode:
    from wat_cli.batch import Report, Several, setting_of
    from wat_cli.cpus import hints
    from wat_cli.hook import Hook, words_of
    from wat_cli.media import find_ffmpeg
    from wat_cli.tagging import policy

    # 1) what is asked for: everything that can be said without weights is said first
    find_ffmpeg()
    policy.resolve(options.tags)
    if options.batch.on_file is not None:
        words_of(options.batch.on_file)
    _check_records(options)
    found = _discover(paths, options)
    if options.output.to_stdout:
        return _to_stdout(found, options)
    if options.batch.dry_run:
        return _dry_run(found, options)

    # 2) what it takes: weights, whose hashes are part of the fingerprint
    weights = _weights(options) if found.jobs else None

    # 3) the work, and what is told of it
    report = Report()
    with ExitStack() as stack:
        display = stack.enter_context(_display(options))
        records = Several(display, *_records(options, stack))
        hooks = [Hook(options.batch.on_file, records.complained)] if options.batch.on_file is not None else []
        progress = Several(records, *hooks)
        progress.started(len(found.jobs))
        if weights is not None and options.batch.verbose:
            for hint in hints(options.model.threads, options.batch.jobs):
                display.note(f"{hint.text}. Mend: {hint.mend}")
        if weights is not None:
            display.look_ahead(found.jobs, setting_of(options, weights))
        code = _work(found, options, weights, progress, report)
        if code is ExitCode.OK and any(hook.failed for hook in hooks):
            code = ExitCode.SOME_FAILED
        progress.ended(report, code)
    return code


def _work(
    found: Discovery, options: RunOptions, weights: ResolvedWeights | None, progress: Progress, report: Report
) -> ExitCode:
    """Name what cannot be done, and do the rest."""
    for outcome in _refusals(found):
        report.add(outcome)
        progress.closed(outcome)
    if weights is None:
        return report.exit_code
    captioner = _captioner(options, weights, progress)
    try:
        with _terminable():
            for outcome in _outcomes(found.jobs, options, weights, captioner):
                report.add(outcome)
    except KeyboardInterrupt:
        names = [shown(job.source) for job in captioner.in_work.values()]
        dropped = f"{', '.join(names)} {'were' if len(names) > 1 else 'was'}" if names else "What was in work was"
        dropped = f"{dropped} dropped." if options.batch.scheduler is None else "The cluster ends what it has begun."
        progress.note(f"interrupted. {dropped} What is finished stays; run again to go on.")
        return ExitCode.INTERRUPTED
    return report.exit_code


def _outcomes(
    jobs: Sequence[Job], options: RunOptions, weights: ResolvedWeights, captioner: Captioner
) -> Iterator[Outcome]:
    """Caption `jobs` one after the other, several together, in several processes, or on other machines."""
    from wat_cli.together import run_jobs

    if options.batch.scheduler is not None:
        from wat_cli.cluster import run_on_cluster

        return run_on_cluster(jobs, options, weights, captioner.progress, in_work=captioner.in_work)
    devices = _devices(options)[: max(1, len(jobs))]
    if len(devices) > 1:
        from wat_cli.parallel import run_parallel

        return run_parallel(jobs, options, weights, devices, captioner.progress, in_work=captioner.in_work)
    return run_jobs(jobs, captioner, options.batch.batch_size)


def _devices(options: RunOptions) -> tuple[str, ...]:
    """The device of each worker: those of ``--device`` in turn, as many as ``--jobs``, each at least once."""
    names = options.model.devices
    if names == ("all",):
        from wat_cli.engine import all_devices

        names = all_devices()
    return tuple(names[number % len(names)] for number in range(max(len(names), options.batch.jobs)))


@contextmanager
def _terminable() -> Iterator[None]:
    """Take a request to terminate for an interrupt, so that a file in work is dropped cleanly."""
    handled = [signal.SIGTERM] + [signal.SIGHUP] * (signal.getsignal(signal.SIGHUP) != signal.SIG_IGN)
    before = {number: signal.signal(number, signal.default_int_handler) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_records(options: RunOptions) -> None:
    """Raise `UsageError` where the log or the summary would be written over something else, or cannot be."""
    from wat_cli.journal import LINE_START, SUMMARY_START, require_own

    for path, option, start in (
        (options.batch.log_json, "--log-json", LINE_START),
        (options.batch.summary, "--summary", SUMMARY_START),
    ):
        if path is not None and path != STDOUT:
            require_own(path, option, start)


def _records(options: RunOptions, stack: ExitStack) -> Iterator[Progress]:
    """What is kept of the run: which inputs failed, and the journal and the summary where they are asked for."""
    from wat_cli.failures import FailureList
    from wat_cli.journal import Journal, Summary

    yield FailureList()

    path = options.batch.log_json
    if path == STDOUT:
        yield Journal(sys.stdout)
    elif path is not None:
        try:
            yield Journal(stack.enter_context(path.open("a", encoding="utf-8")))
        except OSError as error:
            raise UsageError(f"--log-json {shown(path)}: cannot be written ({error.strerror})") from error
    if options.batch.summary is not None:
        yield Summary(options.batch.summary)


def _discover(paths: list[str], options: RunOptions) -> Discovery:
    from wat_cli.discovery import discover, read_paths
    from wat_cli.media import holds_audio

    from_list = options.batch.null or "-" in paths
    if "" in paths:  # of a variable that a script never set; a path it would be, that of the working folder
        raise UsageError("a path is empty; . is the working folder")
    named = [Path(path) for path in paths if path != "-"]
    if not named and not from_list:
        raise UsageError("no paths given: name files or folders, or - to read a list of them from standard input")
    listed = read_paths(sys.stdin.buffer, options.batch.null) if from_list else ()
    folder = None if options.output.to_stdout else options.output.output_dir
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UsageError(f"--output-dir {shown(folder)}: that is no folder")
    found = discover(named, holds_audio, listed=listed, output_dir=folder, names=options.output.names)
    if options.batch.retry_failed:
        from wat_cli.failures import failed_before

        again = tuple(job for job in found.jobs if failed_before(job.source))
        still = tuple(item for item in found.refused if item.failed and failed_before(item.path))
        return dataclasses.replace(found, jobs=again, refused=still)
    return found


def _refusals(found: Discovery) -> Iterator[Any]:
    from wat_cli.batch import Outcome, Status

    for refused in found.refused:
        yield Outcome(refused.path, Status.FAILED if refused.failed else Status.SKIPPED, refused.reason)


def _weights(options: RunOptions) -> ResolvedWeights:
    from wat_cli.checkpoints import resolve, silent
    from wat_cli.cli.download_bar import DownloadBar

    if options.batch.quiet:
        return resolve(options.model, tags=options.tags.tags, progress=silent)
    with DownloadBar() as bar:
        return resolve(options.model, tags=options.tags.tags, progress=bar)


def _captioner(options: RunOptions, weights: ResolvedWeights, progress: Progress) -> Captioner:
    from wat_cli.batch import Captioner, setting_of

    return Captioner(setting_of(options, weights), _model(options, weights).engine, progress)


def _model(options: RunOptions, weights: ResolvedWeights) -> Model:
    """The model, which is loaded when it is first needed."""
    from wat_cli.api import Model

    return Model(dataclasses.replace(options.model, device=_devices(options)[0]), weights)


def _display(options: RunOptions) -> Lines:
    """A bar on a terminal, plain lines elsewhere."""
    from wat_cli.cli.progress import Bar, Lines, stderr_console

    console = stderr_console()
    if console.is_terminal and not options.batch.quiet:
        return Bar(console, verbose=options.batch.verbose)
    return Lines(console, options.batch.quiet, options.batch.verbose)


def _dry_run(found: Discovery, options: RunOptions) -> ExitCode:
    """Print what a run would do, a line for each file, on stdout; fetch and write nothing."""
    from wat_cli.batch import Report, planned, setting_of
    from wat_cli.captioning import Setting
    from wat_cli.checkpoints import resolve
    from wat_cli.cli.progress import plan_line

    report, display = Report(), _display(options)
    for outcome in _refusals(found):
        report.add(outcome)
        display.closed(outcome)
    setting = Setting(options, {}, {}, fingerprint="")
    offline = dataclasses.replace(options.model, offline=True)
    try:
        setting = setting_of(options, resolve(offline, tags=options.tags.tags))
    except MissingDependency as error:
        display.note(f"without the weights, every file counts as due. {error}")
    for plan in planned(found.jobs, setting):
        print(plan_line(plan))
        report.add(plan.outcome)
    return report.exit_code


def _to_stdout(found: Discovery, options: RunOptions) -> ExitCode:
    """Caption the one file; its one output goes to stdout and nothing to the disk."""
    from wat_cli import api
    from wat_cli.batch import Watch

    if len(found.jobs) != 1 or found.refused:
        raise UsageError(f"--output-dir - takes one file; there are {len(found.jobs) + len(found.refused)}")
    with _display(options) as display, _terminable():
        display.started(1)
        display.opened(found.jobs[0])
        source = found.jobs[0].source
        model = _model(options, _weights(options))
        try:
            captioned = api.caption(model, source, options, progress=Watch(display, source))
        except MediaError as error:
            if options.batch.quiet:
                return error.exit_code
            raise
    sys.stdout.buffer.write(captioned.render(options.output.formats[0]).encode())
    sys.stdout.buffer.flush()
    return ExitCode.OK
