"""What a person sees of a run: a bar on a terminal, plain lines elsewhere; all on stderr."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from wat_cli.batch import Outcome, Planned, Report, Status
from wat_cli.batch import Progress as Silent
from wat_cli.discovery import Job
from wat_cli.errors import ExitCode, printable, shown
from wat_cli.media import AudioStream, MediaInfo, describe

_COLOURS = {Status.WRITTEN: "", Status.PARTLY: "red", Status.SKIPPED: "yellow", Status.FAILED: "red"}


def stderr_console() -> Console:
    """Messages go to stderr: stdout is for data."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def clock(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def line_of(outcome: Outcome) -> str:
    """One outcome in one line, without markup."""
    name = shown(outcome.source)
    if outcome.status in (Status.WRITTEN, Status.PARTLY):
        names = ", ".join(printable(path.name) for path in outcome.outputs)
        speed = outcome.audio_seconds / outcome.wall_seconds if outcome.wall_seconds else 0.0
        heard = f"{clock(outcome.audio_seconds)} of audio, {speed:.1f}x real time" if speed else "from its sidecar"
        notes = "".join(f"; {printable(note)}" for note in (outcome.reason, *outcome.notes) if note)
        return f"{name}: {names} ({heard}){notes}"
    return f"{name}: {outcome.status}: {printable(outcome.reason)}"


def plan_line(plan: Planned) -> str:
    """What would be done about one file: its length, track and outputs, or why nothing."""
    outcome, name = plan.outcome, shown(plan.outcome.source)
    if plan.info is None or plan.track is None:
        return f"{name}: {'skip' if outcome.status is Status.SKIPPED else 'fails'}: {printable(outcome.reason)}"
    duration = "unknown length" if plan.info.duration is None else clock(plan.info.duration)
    track = f"track {plan.info.audio.index(plan.track)}: {printable(describe(plan.track))}"
    names = ", ".join(shown(path) for path in outcome.outputs)
    return f"{name}: {duration}, {track} -> {names} ({outcome.reason})"


class Lines(Silent):
    """Plain lines, one for each file that ended; every file with `verbose`, failures only with `quiet`."""

    def __init__(self, console: Console, quiet: bool = False, verbose: bool = False) -> None:
        self.console, self.quiet, self.verbose = console, quiet, verbose

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""

    def _print(self, text: str, colour: str = "") -> None:
        self.console.print(f"[{colour}]{escape(text)}[/]" if colour else escape(text))

    def probed(self, info: MediaInfo, track: AudioStream) -> None:
        """With `verbose`, say which track is heard."""
        if self.verbose:
            duration = "unknown length" if info.duration is None else clock(info.duration)
            self._print(
                f"{shown(info.path)}: {duration}, track {info.audio.index(track)}: {printable(describe(track))}"
            )

    def note(self, text: str) -> None:
        """Print it, unless silence was asked for."""
        if not self.quiet:
            self._print(text)

    def closed(self, outcome: Outcome) -> None:
        """Print how the file ended; a file that was up to date only with `verbose`."""
        failed = outcome.status in (Status.FAILED, Status.PARTLY)
        if failed or (not self.quiet and (self.verbose or not outcome.up_to_date)):
            self._print(line_of(outcome), _COLOURS[outcome.status])
        if self.verbose and outcome.trace:
            self._print(outcome.trace)

    def complained(self, source: Path, text: str) -> None:
        """Print it, whatever was asked for."""
        self._print(f"{shown(source)}: {text}", "red")

    def ended(self, report: Report, exit_code: ExitCode) -> None:
        """The last line."""
        if not report.outcomes:
            if exit_code is ExitCode.OK:
                self.note("no media files found")
        elif not self.quiet:
            audio = (
                f"; {clock(report.audio_seconds)} of audio in {clock(report.wall_seconds)}"
                if report.audio_seconds
                else ""
            )
            self._print(f"{report}{audio}")


class Bar(Lines):
    """A bar of the file in work above it the lines, while the terminal lasts."""

    def __init__(self, console: Console, verbose: bool = False) -> None:
        super().__init__(console, verbose=verbose)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[place]}"),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._duration: float | None = None
        self._in_work = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self._progress.stop()

    def started(self, jobs: int) -> None:
        """Show the bar, one step for each file."""
        if jobs:
            self._progress.start()
            self._task = self._progress.add_task("", total=jobs, place="")

    def ended(self, report: Report, exit_code: ExitCode) -> None:
        """Take the bar away before the last line."""
        self._progress.stop()
        super().ended(report, exit_code)

    def opened(self, job: Job) -> None:
        """Name the file in work."""
        self._duration, self._in_work = None, True
        self._update(description=escape(_short(job.source)), place="")

    def probed(self, info: MediaInfo, track: AudioStream) -> None:
        """Note how long the file is."""
        super().probed(info, track)
        self._duration = info.duration

    def heard(self, seconds: float) -> None:
        """Say how far the file is."""
        of = f"/{clock(self._duration)}" if self._duration else ""
        self._update(place=clock(seconds) + of)

    def closed(self, outcome: Outcome) -> None:
        """One file further."""
        super().closed(outcome)
        if self._task is not None and self._in_work:
            self._progress.advance(self._task)
        self._in_work = False

    def _update(self, **fields: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, **fields)  # type: ignore[arg-type]


def _short(path: Path, width: int = 40) -> str:
    name = printable(path.name)
    return name if len(name) <= width else name[: width - 1] + "…"
