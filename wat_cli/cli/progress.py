"""What a person sees of a run: a bar on a terminal, plain lines elsewhere; all on stderr."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wat_cli.batch import Outcome, Planned, Report, Status
from wat_cli.batch import Progress as Silent
from wat_cli.captioning import Setting
from wat_cli.cli.estimate import Estimate, Standing, look_ahead
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
    """Plain lines, one for each file that ended; every file with `verbose`, nothing at all with `quiet`."""

    def __init__(self, console: Console, quiet: bool = False, verbose: bool = False) -> None:
        self.console, self.quiet, self.verbose = console, quiet, verbose

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""

    def _print(self, text: str, colour: str = "") -> None:
        if not self.quiet:
            self.console.print(f"[{colour}]{escape(text)}[/]" if colour else escape(text))

    def probed(self, info: MediaInfo, track: AudioStream) -> None:
        """With `verbose`, say which track is heard."""
        if self.verbose:
            duration = "unknown length" if info.duration is None else clock(info.duration)
            self._print(
                f"{shown(info.path)}: {duration}, track {info.audio.index(track)}: {printable(describe(track))}"
            )

    def look_ahead(self, jobs: Sequence[Job], setting: Setting) -> None:
        """Plain lines do not tell what lies ahead."""

    def note(self, text: str) -> None:
        """Print it."""
        self._print(text)

    def closed(self, outcome: Outcome) -> None:
        """Print how the file ended; a file that was up to date only with `verbose`."""
        if self.verbose or not outcome.up_to_date:
            self._print(line_of(outcome), _COLOURS[outcome.status])
        if self.verbose and outcome.trace:
            self._print(outcome.trace)

    def complained(self, source: Path, text: str) -> None:
        """Print it."""
        self._print(f"{shown(source)}: {text}", "red")

    def ended(self, report: Report, exit_code: ExitCode) -> None:
        """The last line."""
        if not report.outcomes:
            if exit_code is ExitCode.OK:
                self.note("no media files found")
        else:
            audio = (
                f"; {clock(report.audio_seconds)} of audio in {clock(report.wall_seconds)}"
                if report.audio_seconds
                else ""
            )
            self._print(f"{report}{audio}")


SHOWN_IN_WORK = 4
SHOWN_FAILURES = 20


class Bar(Lines):
    """One bar for the whole run, in audio time, above it the lines and below it the files in work; a table at the end.

    What lies ahead is looked at in a thread of its own while the first files are heard.
    """

    def __init__(self, console: Console, verbose: bool = False) -> None:
        super().__init__(console, verbose=verbose)
        self._estimate = Estimate(0)
        self._live: Live | None = None
        self._stop = threading.Event()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self._take_away()

    def _take_away(self) -> None:
        self._stop.set()
        if self._live is not None:
            self._live.stop()

    def started(self, jobs: int) -> None:
        """Show the bar."""
        if jobs:
            self._estimate = Estimate(jobs)
            self._live = Live(get_renderable=self._shown, console=self.console, refresh_per_second=4, transient=True)
            self._live.start()

    def look_ahead(self, jobs: Sequence[Job], setting: Setting) -> None:
        """Begin to look at what lies ahead."""
        threading.Thread(target=look_ahead, args=(jobs, setting, self._estimate, self._stop), daemon=True).start()

    def opened(self, job: Job) -> None:
        """Name the file in work."""
        self._estimate.opened(job.source)

    def probed(self, info: MediaInfo, track: AudioStream) -> None:
        """Note how long the file is."""
        super().probed(info, track)
        self._estimate.expected(info.path, info.duration)

    def heard(self, source: Path, seconds: float) -> None:
        """Say how far the file is."""
        self._estimate.heard(source, seconds)

    def closed(self, outcome: Outcome) -> None:
        """One file further."""
        self._estimate.closed(outcome.source, outcome.audio_seconds)
        super().closed(outcome)

    def ended(self, report: Report, exit_code: ExitCode) -> None:
        """Put a table in the bar's place."""
        self._take_away()
        if not report.outcomes:
            super().ended(report, exit_code)
            return
        self.console.print(outcome_table(report))
        failures = [outcome for outcome in report.outcomes if outcome.status in (Status.FAILED, Status.PARTLY)]
        if len(report.outcomes) > len(failures) > 0:  # they may have scrolled away
            for outcome in failures[:SHOWN_FAILURES]:
                self._print(line_of(outcome), "red")
            if len(failures) > SHOWN_FAILURES:
                self._print(f"and {len(failures) - SHOWN_FAILURES} more")

    def _shown(self) -> RenderableType:
        standing = self._estimate.standing
        bar = ProgressBar(total=standing.total, completed=standing.heard, width=30, pulse=standing.total is None)
        table = Table.grid(padding=(0, 1))
        table.add_row(bar, Text(standing_line(standing)))
        files = [Text(f"  {line}", style="dim") for line in work_lines(standing)]
        return Group(table, *files)


def standing_line(standing: Standing) -> str:
    """How a run stands, in one line: ``2:00 of ~1:04:00 of audio, 12.3x real time, ~5:02 left, 3 of 40 files``."""
    about = "" if standing.certain else "~"
    total = "" if standing.total is None else f" of {about}{clock(standing.total)}"
    parts = [f"{clock(standing.heard)}{total} of audio"]
    if standing.speed is not None:
        parts.append(f"{standing.speed:.1f}x real time")
    if standing.left is not None:
        parts.append(f"{about}{clock(standing.left)} left")
    return ", ".join([*parts, f"{standing.files} of {standing.of} files"])


def work_lines(standing: Standing) -> list[str]:
    """The files in work and how far each is, the first few."""
    lines = []
    for source, heard, length in standing.in_work[:SHOWN_IN_WORK]:
        far = f"{clock(heard)} of {clock(length)}" if length else clock(heard) if heard else ""
        lines.append(f"{_short(source)}  {far}".rstrip())
    more = len(standing.in_work) - SHOWN_IN_WORK
    return [*lines, f"and {more} more"] if more > 0 else lines


def outcome_table(report: Report) -> Table:
    """What a run came to: files and audio by how they ended."""
    table = Table(box=None, pad_edge=False, show_footer=True)
    wall, audio = report.wall_seconds, report.audio_seconds
    speed = f", {audio / wall:.1f}x real time" if audio and wall else ""
    table.add_column("", footer="in all")
    table.add_column("files", justify="right", footer=str(len(report.outcomes)))
    table.add_column("audio", justify="right", footer=clock(audio))
    table.add_column("", footer=f"in {clock(wall)}{speed}")
    for status in Status:
        ended = [outcome for outcome in report.outcomes if outcome.status is status]
        if ended:
            heard = sum(outcome.audio_seconds for outcome in ended)
            current = sum(outcome.up_to_date for outcome in ended)
            note = f"{current} up to date" if current else ""
            table.add_row(status.value, str(len(ended)), clock(heard) if heard else "", note, style=_COLOURS[status])
    return table


def _short(path: Path, width: int = 40) -> str:
    name = printable(path.name)
    return name if len(name) <= width else name[: width - 1] + "…"
