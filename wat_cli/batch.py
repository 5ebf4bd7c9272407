"""Many files, one after the other: each ends as an `Outcome`, and one bad file does not stop the rest.

The engine is loaded when the first file needs it, so that a run with nothing to do never imports torch.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import wat_cli
from wat_cli import captioning, outputs, rendering, sidecar
from wat_cli.captioning import Hearer, Setting
from wat_cli.checkpoints import ResolvedWeights, WeightFile
from wat_cli.discovery import Job
from wat_cli.embed import NoCopy
from wat_cli.errors import (
    ExitCode,
    FFmpegMissing,
    ForeignOutput,
    InWork,
    MediaError,
    NoAudioTrack,
    OutputError,
    Subtitled,
    shown,
)
from wat_cli.media import AudioStream, MediaInfo, ffmpeg_version, find_ffmpeg
from wat_cli.options import RunOptions
from wat_cli.tagging.tuning import head_tuning
from wat_cli.transcript import HeadTuning, ModelIdentity

_BUGS = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
"""What goes wrong inside with one file, torch's errors among them, is no reason to lose the rest."""


class Status(StrEnum):
    """How one input ended."""

    WRITTEN = "written"
    PARTLY = "partly"
    """Written, but the audio ended well before the file should."""
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """How one input ended, and why."""

    source: Path
    status: Status
    reason: str = ""
    outputs: tuple[Path, ...] = ()
    audio_seconds: float = 0.0
    wall_seconds: float = 0.0
    notes: tuple[str, ...] = ()
    trace: str = ""
    """Traceback of an error that nobody foresaw."""
    up_to_date: bool = False
    """Skipped because an earlier run did it all."""


@dataclass
class Report:
    """All outcomes of a run."""

    outcomes: list[Outcome] = field(default_factory=list)
    begun: float = field(default_factory=time.perf_counter)

    def add(self, outcome: Outcome) -> None:
        """Count one more."""
        self.outcomes.append(outcome)

    @property
    def counts(self) -> Counter[Status]:
        """How many ended how."""
        return Counter(outcome.status for outcome in self.outcomes)

    @property
    def exit_code(self) -> ExitCode:
        """1 as soon as one input failed, or could be captioned in part only."""
        counts = self.counts
        return ExitCode.SOME_FAILED if counts[Status.FAILED] + counts[Status.PARTLY] else ExitCode.OK

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio captioned."""
        return sum(outcome.audio_seconds for outcome in self.outcomes)

    @property
    def wall_seconds(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self.begun

    def __str__(self) -> str:
        counts = self.counts
        parts = [f"{counts[status]} {status.value}" for status in Status if counts[status]]
        return ", ".join(parts) or "nothing to do"


class Progress:
    """What a run tells while it goes on; this one keeps it to itself."""

    def started(self, jobs: int) -> None:
        """So many jobs lie ahead."""

    def opened(self, job: Job) -> None:
        """Work on `job` begins."""

    def probed(self, info: MediaInfo, track: AudioStream) -> None:
        """The file in work holds this, and this track of it is heard."""

    def heard(self, source: Path, seconds: float) -> None:
        """So many seconds of a file in work are done."""

    def note(self, text: str) -> None:
        """Something that a person may want to know."""

    def closed(self, outcome: Outcome) -> None:
        """A file is done with."""

    def complained(self, source: Path, text: str) -> None:
        """Something beside the captions of `source` went wrong: a command of ``--on-file``."""

    def ended(self, report: Report, exit_code: ExitCode) -> None:
        """The run is over."""


class Several(Progress):
    """Tells each of several what it is told."""

    def __init__(self, *members: Progress) -> None:
        self._members = members

    def started(self, jobs: int) -> None:
        """Pass it on."""
        for member in self._members:
            member.started(jobs)

    def opened(self, job: Job) -> None:
        """Pass it on."""
        for member in self._members:
            member.opened(job)

    def probed(self, info: MediaInfo, track: AudioStream) -> None:
        """Pass it on."""
        for member in self._members:
            member.probed(info, track)

    def heard(self, source: Path, seconds: float) -> None:
        """Pass it on."""
        for member in self._members:
            member.heard(source, seconds)

    def note(self, text: str) -> None:
        """Pass it on."""
        for member in self._members:
            member.note(text)

    def closed(self, outcome: Outcome) -> None:
        """Pass it on."""
        for member in self._members:
            member.closed(outcome)

    def complained(self, source: Path, text: str) -> None:
        """Pass it on."""
        for member in self._members:
            member.complained(source, text)

    def ended(self, report: Report, exit_code: ExitCode) -> None:
        """Pass it on."""
        for member in self._members:
            member.ended(report, exit_code)


@dataclass(frozen=True)
class Watch:
    """What captioning tells of one file (`captioning.Watcher`), told with the file's name."""

    progress: Progress
    source: Path

    def probed(self, info: MediaInfo, track: AudioStream) -> None:
        """Pass it on."""
        self.progress.probed(info, track)

    def heard(self, seconds: float) -> None:
        """Pass it on."""
        self.progress.heard(self.source, seconds)


def setting_of(options: RunOptions, weights: ResolvedWeights) -> Setting:
    """What all files of a run share, and its fingerprint; CheckpointError where the head's tuning cannot be."""
    tuning = HeadTuning()
    models = {"asr": _identity(weights.asr)}
    if weights.head is not None:
        models["tagger"] = _identity(weights.head)
        tuning = head_tuning(weights.head.path)
    if weights.second_encoder is not None:
        models["tagger_encoder"] = _identity(weights.second_encoder)
    fingerprint = sidecar.fingerprint(options.settings, models, tuning)
    return Setting(options, models, _versions(), fingerprint, tuning)


def _identity(file: WeightFile) -> ModelIdentity:
    return ModelIdentity(file.name, file.sha256)


def _versions() -> dict[str, str]:
    versions = {"wat": wat_cli.__version__}
    for package in ("torch", "openai-whisper", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    with suppress(FFmpegMissing):  # samples need none
        told = ffmpeg_version(find_ffmpeg().ffmpeg)
        versions |= {} if told is None else {"ffmpeg": told}
    return versions


class Captioner:
    """Captions one job after the other with one engine, which is loaded when it is first needed."""

    def __init__(self, setting: Setting, load: Callable[[], Hearer], progress: Progress) -> None:
        self.setting, self.progress = setting, progress
        self._load = load
        self._engine: Hearer | None = None
        self._loading = threading.Lock()
        self._slots: int | None = None
        """Files that the engine heard together at most when it was last looked at."""
        self.in_work: dict[Path, Job] = {}
        """The jobs in work: those that an interrupt drops."""

    def engine(self) -> Hearer:
        """The engine; loading it may raise any `WatError`, which ends the run."""
        with self._loading:
            if self._engine is None:
                self._engine = self._load()
                self._slots = getattr(self._engine, "slots", None)
            return self._engine

    def _tell_of_room(self) -> None:
        """Say it once where the memory ran out, and the engine goes on with fewer files, or parts of one, at once."""
        slots: int | None = getattr(self._engine, "slots", None)
        before, self._slots = self._slots, slots
        if slots is not None and before is not None and slots < before:
            self.progress.note(f"the memory ran out; from now on {slots} are heard together where there were {before}")

    def caption(self, job: Job) -> Outcome:
        """Do one job. What is wrong with the file becomes its outcome; what is wrong with the run is raised."""
        started = time.perf_counter()
        self.in_work[job.source] = job
        self.progress.opened(job)
        try:
            outcome = self._caption(job, started)
        except (NoAudioTrack, Subtitled, InWork) as error:
            outcome = Outcome(job.source, Status.SKIPPED, _without_name(error, job))
        except (MediaError, OutputError) as error:
            outcome = Outcome(job.source, Status.FAILED, _without_name(error, job))
        except OSError as error:
            outcome = Outcome(job.source, Status.FAILED, error.strerror or str(error))
        except _BUGS as error:
            reason = f"internal error: {type(error).__name__}: {error}"
            outcome = Outcome(job.source, Status.FAILED, reason, trace=traceback.format_exc())
        self.in_work.pop(job.source, None)
        self.progress.closed(outcome)
        return outcome

    def _caption(self, job: Job, started: float) -> Outcome:
        outcome = self._captions(job, started)
        if self.setting.options.output.player_names:
            outcome = self._with_player_names(job, outcome, started)
        return self._with_copy(job, outcome, started) if self.setting.options.output.embed else outcome

    def _with_player_names(self, job: Job, outcome: Outcome, started: float) -> Outcome:
        """Add the captions under the names that players know (``--player-names``) to what was written, or was there."""
        path, options = job.outputs.sidecar, self.setting.options.output
        written = outcome.status in (Status.WRITTEN, Status.PARTLY)
        if not written and (not outcome.up_to_date or options.skip_existing):
            return outcome
        if not written and rendering.has_player_names(path, options.captions):
            return outcome
        try:
            rendered = rendering.render(path, options.captions, captions={}, sounds={})
            paths = rendering.write(path, rendered, options.overwrite, player_names=True)
        except ForeignOutput as error:
            if written:
                return replace(outcome, notes=(*outcome.notes, str(error)))
            return Outcome(job.source, Status.SKIPPED, str(error))
        elapsed = time.perf_counter() - started
        if not written:
            return Outcome(job.source, Status.WRITTEN, outputs=paths, wall_seconds=elapsed)
        return replace(outcome, outputs=(*paths, *outcome.outputs), wall_seconds=elapsed)

    def _with_copy(self, job: Job, outcome: Outcome, started: float) -> Outcome:
        """Add the captioned copy of the film (``--embed``) to what was written, or was there without it."""
        written = outcome.status in (Status.WRITTEN, Status.PARTLY)
        there = rendering.copy_path(job.outputs.sidecar, job.source).exists()
        if not written and (there or not outcome.up_to_date):
            return outcome
        try:
            with outputs.locked(job.outputs.sidecar):
                copy = rendering.write_copy(job.outputs.sidecar, self.setting.options.output.overwrite)
        except NoCopy as error:
            return replace(outcome, notes=(*outcome.notes, _without_name(error, job)) if written else outcome.notes)
        elapsed = time.perf_counter() - started
        if not written:
            return Outcome(job.source, Status.WRITTEN, outputs=(copy,), wall_seconds=elapsed)
        return replace(outcome, outputs=(*outcome.outputs, copy), wall_seconds=elapsed)

    def _captions(self, job: Job, started: float) -> Outcome:
        verdict = captioning.judge(job, self.setting)
        if verdict.due or outputs.is_unfinished(job.outputs.sidecar):
            # looked at before anything is made for it: a file that cannot be read leaves no folder behind
            opened = captioning.open_media(job, self.setting.options)
            with outputs.locked(job.outputs.sidecar):
                outputs.recover(job.outputs.sidecar, job.outputs.all())
                verdict = captioning.judge(job, self.setting)  # another run may have done it until now
                if verdict.due and verdict.heard:
                    again = captioning.write_again(job, self.setting)
                    elapsed = time.perf_counter() - started
                    return Outcome(job.source, Status.WRITTEN, outputs=again.paths, wall_seconds=elapsed)
                if verdict.due:
                    return self._hear(job, opened, started)
                # of a run that was killed when all was written
                outputs.resume_path(job.outputs.sidecar).unlink(missing_ok=True)
        return Outcome(job.source, Status.SKIPPED, verdict.reason, up_to_date=verdict.up_to_date)

    def _hear(self, job: Job, opened: captioning.Opened, started: float) -> Outcome:
        so_far = outputs.resume_path(job.outputs.sidecar)
        outputs.require_room(job.outputs.sidecar, opened.info.duration)
        try:
            watcher = Watch(self.progress, job.source)
            transcript, watch = captioning.transcribe(job, opened, self.engine, self.setting, watcher, so_far)
            written = captioning.write(job, transcript, watch, self.setting.options)
        except captioning.Dropped:  # as after an interrupt, the next run goes on
            raise
        except Exception:
            so_far.unlink(missing_ok=True)
            raise
        finally:
            self._tell_of_room()
        so_far.unlink(missing_ok=True)
        return Outcome(
            job.source,
            Status.PARTLY if transcript.incomplete else Status.WRITTEN,
            transcript.incomplete,
            outputs=written.paths,
            audio_seconds=transcript.hearing.duration,
            wall_seconds=time.perf_counter() - started,
            notes=written.notes,
        )


def _without_name(error: Exception, job: Job) -> str:
    return str(error).removeprefix(f"{shown(job.source)}: ")


def run(jobs: Iterable[Job], captioner: Captioner) -> Iterator[Outcome]:
    """Caption `jobs` in turn; an outcome comes out as soon as its files are on disk."""
    for job in jobs:
        yield captioner.caption(job)


@dataclass(frozen=True)
class Planned:
    """What a run would do about one input."""

    outcome: Outcome
    """As far as can be told without hearing the file: written stands for would be written."""
    info: MediaInfo | None = None
    track: AudioStream | None = None
    heard: bool = False
    """Due for formats or layout alone: there is nothing to hear."""


def planned(jobs: Iterable[Job], setting: Setting) -> Iterator[Planned]:
    """What a run with this `setting` would do about each of `jobs`, and why; nothing is written."""
    for job in jobs:
        try:
            verdict = captioning.judge(job, setting)
            if not verdict.due:
                reason = Outcome(job.source, Status.SKIPPED, verdict.reason, up_to_date=verdict.up_to_date)
                yield Planned(reason)
                continue
            opened = captioning.open_media(job, setting.options)
            paths = (*captioning.targets(job, setting.options).values(), job.outputs.sidecar)
            due = Outcome(job.source, Status.WRITTEN, verdict.reason, paths)
            yield Planned(due, opened.info, opened.track, verdict.heard)
        except (NoAudioTrack, Subtitled) as error:
            yield Planned(Outcome(job.source, Status.SKIPPED, _without_name(error, job)))
        except (MediaError, OutputError) as error:
            yield Planned(Outcome(job.source, Status.FAILED, _without_name(error, job)))
        except OSError as error:
            yield Planned(Outcome(job.source, Status.FAILED, error.strerror or str(error)))
