"""What can go wrong, and with which exit code a run ends for it.

::

    WatError                      1  anything this program can explain
    ├── UsageError                2  the command line, a config value, a path given by name that does not exist
    ├── MissingDependency         3  something that is not on this machine, with the way to get it
    │   ├── FFmpegMissing         3
    │   └── WeightsMissing        3
    ├── MediaError                1  one input file cannot be captioned; the batch goes on
    │   ├── UndecodableMedia      1  empty, broken, or not media at all
    │   ├── NoAudioTrack          0  a film without sound: a skip, not a failure
    │   └── Subtitled             0  a film that has subtitles, where such are to be left alone: a skip
    ├── OutputError               1  one output cannot be written; the batch goes on
    │   ├── ForeignOutput         1  the target is somebody's own work and stays as it is
    │   └── InWork                0  another run is at this very file: a skip
    └── CheckpointError           1  a checkpoint that is damaged or of the wrong kind

Messages are written for the person at the terminal: they name the file and the way out.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """Exit codes of ``wat``: part of its stable interface."""

    OK = 0
    """Everything asked for is done, or there was nothing to do."""
    SOME_FAILED = 1
    """At least one file could not be captioned; the others were."""
    USAGE = 2
    """The command cannot be understood, or names a path that does not exist."""
    MISSING = 3
    """Something that the run needs is not on this machine: ffmpeg, or weights."""
    INTERRUPTED = 130
    """Stopped by the user; finished files stay."""


class WatError(Exception):
    """Base of every error that ``wat`` explains to its user."""

    exit_code = ExitCode.SOME_FAILED


class UsageError(WatError):
    """The request itself cannot be carried out as written."""

    exit_code = ExitCode.USAGE


class MissingDependency(WatError):
    """Something outside this package is needed and absent."""

    exit_code = ExitCode.MISSING


class FFmpegMissing(MissingDependency):
    """No ffmpeg binary, neither on the path nor in imageio-ffmpeg's wheel."""


class WeightsMissing(MissingDependency):
    """A model's weights are neither in the cache nor to be fetched."""


class MediaError(WatError):
    """One input file cannot be captioned."""


class UndecodableMedia(MediaError):
    """The file is empty, broken, or not media."""


class NoAudioTrack(MediaError):
    """The file holds no audio stream: nothing to caption, and no failure."""

    exit_code = ExitCode.OK


class Subtitled(MediaError):
    """The film has subtitles already, and such films are to be left alone."""

    exit_code = ExitCode.OK


class OutputError(WatError):
    """An output cannot be written."""


class ForeignOutput(OutputError):
    """The target exists and was not written by ``wat``, or was changed by a person since."""


class InWork(OutputError):
    """Another run holds the lock of this file's outputs."""

    exit_code = ExitCode.OK


class CheckpointError(WatError):
    """A checkpoint file is damaged, or is not what its name promises."""


def shown(path: Path) -> str:
    """A path for people: line breaks, control characters and bytes that are no text are escaped."""
    return printable(str(path))


def printable(text: str) -> str:
    """`text` with everything that a terminal would not simply print escaped as in a Python string."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
