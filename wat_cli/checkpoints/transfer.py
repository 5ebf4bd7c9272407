"""What a download tells of itself, and how long it waits: known without loading what downloads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Transfer:
    """How far one file is, for whoever draws it."""

    name: str
    done: int
    """Bytes on disk, those of an earlier run included."""
    total: int | None
    """Bytes of the whole file; None where the publisher does not say."""
    note: str | None = None
    """Something a person should know: waiting for another run, going on after a cut."""


Progress = Callable[[Transfer], None]


def silent(transfer: Transfer) -> None:
    """Draw nothing."""


@dataclass(frozen=True)
class Patience:
    """How long a network is waited for, in seconds."""

    first_answer: float = 8.0
    """From the start, look-up of the name and redirections included, to the first byte: then there is no network.

    One limit on all of it, since neither the look-up nor a host with several addresses keeps to a connect timeout.
    """
    next_answer: float = 30.0
    """The same after a cut, when a network is known to be there."""
    silence: float = 60.0
    """Without a byte in the middle of a file."""
    pauses: tuple[float, ...] = (1.0, 4.0, 15.0, 60.0)
    """Before each new try after a cut; so many tries there are."""


PATIENCE = Patience()
