"""How downloads look: a bar on a terminal, a line at each end elsewhere; on stderr either way."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from wat_cli.checkpoints import Transfer

_CHECKING = "checking"
_WORTH_SHOWING = 256 << 20
"""Bytes from which hashing a file takes long enough to be shown."""


class DownloadBar:
    """A callback for `wat_cli.checkpoints.resolve` that draws what it is told, for as long as its context lasts."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self._bar = Progress(
            TextColumn("{task.description}", markup=False), *columns, console=self.console, transient=True
        )
        self._tasks: dict[str, TaskID] = {}
        self._begun: set[str] = set()

    def __enter__(self) -> DownloadBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tasks:  # stopping a bar that never began prints an empty line
            self._bar.stop()

    def __call__(self, transfer: Transfer) -> None:
        """Show how far a file is."""
        if transfer.note == _CHECKING:
            if (transfer.total or 0) >= _WORTH_SHOWING and self.console.is_terminal:
                self._draw(f"checking {transfer.name}", transfer)
            return
        if transfer.note is not None:
            self._say(f"{transfer.name}: {transfer.note}")
        elif self.console.is_terminal:
            self._draw(transfer.name, transfer)
        else:
            self._tell(transfer)

    def _draw(self, description: str, transfer: Transfer) -> None:
        if description not in self._tasks:
            self._bar.start()
            self._tasks[description] = self._bar.add_task(description, total=transfer.total)
        self._bar.update(self._tasks[description], completed=transfer.done, total=transfer.total)

    def _tell(self, transfer: Transfer) -> None:
        if transfer.name not in self._begun:
            self._begun.add(transfer.name)
            size = "" if transfer.total is None else f" ({transfer.total / 1e6:.0f} MB)"
            self._say(f"fetching {transfer.name}{size}")
        elif transfer.total is not None and transfer.done == transfer.total:
            self._say(f"fetched {transfer.name}")

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
