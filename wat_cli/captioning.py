"""One media file to its captions: probe, choose a track, decode, hear, decide the events, lay out, write.

Nothing here knows of other files, of a terminal, or of torch: the engine is whatever can `hear`.
"""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

import wat_cli
from wat_cli import outputs, sidecar
from wat_cli.captions import formats
from wat_cli.captions.cues import Layout, cues_from
from wat_cli.captions.formats import origin_note
from wat_cli.discovery import Job
from wat_cli.errors import ForeignOutput, MediaError, Subtitled, printable, shown
from wat_cli.media import SAMPLE_RATE, AudioStream, MediaInfo, PcmSpool, choose_track, decode_pcm, probe
from wat_cli.options import CaptionOptions, RunOptions, TranscribeOptions, settings_of
from wat_cli.resume import ResumeLog
from wat_cli.subtitled import found_subtitles
from wat_cli.tagging import policy
from wat_cli.tagging.events import events_from_tags
from wat_cli.tagging.labels import load_labels
from wat_cli.tagging.npz import score_file
from wat_cli.tagging.own_labels import spread
from wat_cli.tagging.text import split_sound_text
from wat_cli.tagging.voice import unvoiced, voiced_spans
from wat_cli.transcript import (
    BrokenLayoutRule,
    HeadTuning,
    Hearing,
    ModelIdentity,
    Segment,
    SoundEvent,
    Source,
    Transcript,
)

SHORT_SECONDS, SHORT_SHARE = 2.0, 0.05
"""How far the audio may stay behind what the container claims, in seconds and as a share: estimates are rough."""


LONG_SECONDS = 600
"""Files from this length on are kept window by window, so that a killed run goes on near where it stopped."""


class Dropped(Exception):
    """The run was interrupted while it worked for this file, which the next run goes on with."""


class Pcm(Protocol):
    """A file's samples: 16 kHz, one channel; `media.PcmSpool` is one."""

    @property
    def samples(self) -> int: ...
    def read(self, start: int, stop: int) -> NDArray[np.float32]: ...


class Hearer(Protocol):
    """What captioning needs of an engine; `wat_cli.engine.Engine` is one."""

    def hear(
        self,
        pcm: Pcm,
        options: TranscribeOptions,
        tags: bool = ...,
        progress: Callable[[float], None] = ...,
        notebook: ResumeLog | None = ...,
    ) -> Hearing: ...


_IN_TURN = threading.Lock()
"""Files that end together are finished one after the other: Python runs one of their threads at a time in any case, and
those that change places at every short operation decide events in four times the CPU's time (eight files on four
cores: 22 to 33 ms each instead of 6)."""


@dataclass(frozen=True)
class Setting:
    """What all files of one run share."""

    options: RunOptions
    models: Mapping[str, ModelIdentity]
    versions: Mapping[str, str]
    fingerprint: str
    tuning: HeadTuning = HeadTuning()
    """How the head's scores are read."""


@dataclass(frozen=True)
class Verdict:
    """Whether a job has to be done."""

    due: bool
    reason: str
    """Why not; or why again."""
    heard: bool = False
    """Due for formats or layout alone: what was heard stands in the sidecar, and no model is needed."""
    up_to_date: bool = False
    """Not due because an earlier run did it all: nothing that anybody has to know."""


def targets(job: Job, options: RunOptions) -> dict[str, Path]:
    """Path of each output that is asked for besides the sidecar, by its format; ``npz`` are the scores.

    Captions with names for players are none of them: what they are called is known when the sidecar is there.
    """
    names = [name for name in options.output.captions if not options.output.player_names]
    if options.tags.save_scores and options.tags.tags:
        names.append("npz")
    return {name: output_path(job, name) for name in names}


def output_path(job: Job, name: str) -> Path:
    """Where the output of the format `name` goes."""
    return job.outputs.scores if name == "npz" else job.outputs.captions[name]


def judge(job: Job, setting: Setting) -> Verdict:
    """Whether `job` is due, from what stands on disk: the sidecar's fingerprint and hashes decide."""
    options, wanted = setting.options, targets(job, setting.options)
    age = time.time() - job.source.stat().st_mtime
    if options.batch.min_age and age < options.batch.min_age:
        return Verdict(False, f"changed {max(age, 0):.0f} s ago, less than --min-age {options.batch.min_age:g}")
    if options.output.overwrite:
        return Verdict(True, "--overwrite")
    if options.output.skip_existing:
        there = [path.name for path in (*wanted.values(), job.outputs.sidecar) if os.path.lexists(path)]
        if there:
            return Verdict(False, f"{', '.join(there)} exists", up_to_date=True)
    try:
        standing = outputs.inspect(job.outputs.sidecar, wanted)
    except ForeignOutput as error:
        return Verdict(False, str(error))
    if standing.record is None:
        return Verdict(True, "not captioned yet")
    before = standing.record.transcript
    if not _is_source(before.source, job.source):
        return Verdict(True, "the input has changed")
    missing = {name: path.name for name, path in wanted.items() if path.name not in standing.settled}
    if before.fingerprint != setting.fingerprint:
        if _differs_in_layout_only(before, setting):
            return Verdict(True, "another layout", heard="npz" not in missing)
        return Verdict(True, "other settings")
    if missing:
        return Verdict(True, f"{', '.join(missing.values())} missing", heard="npz" not in missing)
    return Verdict(False, "up to date", up_to_date=True)


def _differs_in_layout_only(before: Transcript, setting: Setting) -> bool:
    """Whether the same was heard and only the captions are to be laid out in another way."""
    layout = settings_of([setting.options.captions])
    as_before = {name: before.settings.get(name) for name in layout}
    settings = {**setting.options.settings, **as_before}
    return sidecar.fingerprint(settings, setting.models, setting.tuning) == before.fingerprint


def _is_source(source: Source, path: Path) -> bool:
    status = path.stat()
    name = os.fsencode(path.name) == os.fsencode(Path(source.path).name)
    return name and (source.size, source.mtime_ns) == (status.st_size, status.st_mtime_ns)


@dataclass
class Stopwatch:
    """Wall seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Measure what happens inside."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started


class Watcher(Protocol):
    """Is told how far one file is, in seconds of audio."""

    def probed(self, info: MediaInfo, track: AudioStream) -> None: ...
    def heard(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class Opened:
    """One input that can be read: what it holds, and what it was when it was looked at."""

    info: MediaInfo
    track: AudioStream
    status: os.stat_result
    seconds: float
    """That looking took."""


def open_media(job: Job, options: RunOptions) -> Opened:
    """Probe a job's input and choose its track.

    Raises `MediaError` where the file cannot be read (`NoAudioTrack` where there is nothing to hear, `Subtitled` where
    nothing is to be heard).
    """
    watch, status = Stopwatch(), job.source.stat()
    with watch("probe"):
        info = probe(job.source)
        track = choose_track(info, options.batch.audio_track)
    if options.batch.skip_subtitled and (there := found_subtitles(job, info, track, options)):
        raise Subtitled(f"{shown(job.source)}: it has subtitles: {printable(there)}")
    return Opened(info, track, status, watch.seconds["probe"])


def transcribe(
    job: Job,
    opened: Opened,
    engine: Callable[[], Hearer],
    setting: Setting,
    watcher: Watcher,
    resume_at: Path | None = None,
) -> tuple[Transcript, Stopwatch]:
    """Hear one file and decide its events; nothing is written. `engine` is asked for when there is something to hear.

    `resume_at` is where a long file's windows are kept while it is heard, and where they are found again.

    Raises `MediaError` where the file cannot be read to its end.
    """
    options, watch = setting.options, Stopwatch({"probe": opened.seconds})
    info, track, before = opened.info, opened.track, opened.status
    watcher.probed(info, track)
    with PcmSpool(info.duration) as spool:
        with watch("decode"):
            for chunk in decode_pcm(info, track):
                spool.append(chunk)
        with watch("load"):
            hearer = engine()
        with watch("hear"), ExitStack() as stack:
            log = None
            if resume_at is not None and spool.samples >= LONG_SECONDS * SAMPLE_RATE:
                key = f"{setting.fingerprint}:{before.st_size}:{before.st_mtime_ns}:{spool.samples}"
                log = stack.enter_context(ResumeLog(resume_at, key))
            hearing = hearer.hear(
                spool, options.transcribe, tags=options.tags.tags, progress=watcher.heard, notebook=log
            )
    after = job.source.stat()
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise MediaError(f"{shown(job.source)}: it changed while it was read; run again when it is finished")
    source = Source(
        path=_relative(job.source, job.outputs.sidecar.parent),
        size=before.st_size,
        mtime_ns=before.st_mtime_ns,
        duration=hearing.duration if info.duration is None else info.duration,
        track=track.index,
        track_language=track.language,
    )
    with _IN_TURN, watch("events"):
        return transcript_of(hearing, source, setting, shortfall(info, track, hearing.duration)), watch


def transcript_of(hearing: Hearing, source: Source, setting: Setting, incomplete: str = "") -> Transcript:
    """What is kept of a source, from what was heard in it: its events decided, its doubtful text found."""
    return Transcript(
        source=source,
        hearing=hearing,
        events=decide_events(hearing, setting.options),
        models=dict(setting.models),
        settings=setting.options.settings,
        versions=dict(setting.versions),
        labels=_labels(hearing),
        hallucinations=_hallucinations(hearing),
        incomplete=incomplete,
        fingerprint=setting.fingerprint,
    )


def shortfall(info: MediaInfo, track: AudioStream, heard: float) -> str:
    """Why the `heard` seconds are too few for this track: a cut-off download, a damaged file; empty if they are not.

    A container that gives its tracks no length of their own may hold a film that outlasts its sound.
    """
    late = 0.0 if track.start is None else max(track.start - info.start, 0.0)
    outlasted = info.has_video or len(info.audio) > 1
    expected = late + track.duration if track.duration is not None else None if outlasted else info.duration
    if expected is None or heard > expected - max(SHORT_SECONDS, SHORT_SHARE * expected):
        return ""
    return f"the audio ends after {heard:.1f} s of {expected:.1f} s: the file is cut off or damaged"


def _relative(path: Path, folder: Path) -> str:
    """`path` as seen from `folder`, so that a tree that is moved as a whole stays right; a link stays a link."""
    return os.path.relpath(path.parent.resolve() / path.name, folder.resolve())


def _labels(hearing: Hearing) -> tuple[str, ...]:
    """Names of the tag track's classes."""
    if hearing.tags is None:
        return ()
    return hearing.tags.tuning.labels or tuple(label.name for label in load_labels())


def decide_events(hearing: Hearing, options: RunOptions) -> tuple[SoundEvent, ...]:
    """The sounds that are captioned, from the tag track; none without one."""
    if hearing.tags is None:
        return ()
    tags, own = spread(hearing.tags), hearing.tags.tuning.labels
    return events_from_tags(tags, options.tags, policy.resolve(options.tags, own), hearing.segments, hearing.duration)


def _hallucinations(hearing: Hearing) -> tuple[int, ...]:
    """Ids of the segments that are text where nobody speaks or sings."""
    if hearing.tags is None:
        return ()
    return tuple(hearing.segments[position].id for position in unvoiced(hearing.tags, hearing.segments))


def render(
    transcript: Transcript, names: Iterable[str], options: RunOptions
) -> tuple[Transcript, dict[str, bytes | None]]:
    """Content of each output by its format, None where there is nothing to write; scores (``npz``) are none of them.

    The transcript that comes back knows which events found a place in the captions, and what a reader should know.
    """
    layout, segments, left_out = laid_out(transcript, options.captions)
    origin = origin_note(wat_cli.__version__, [model.name for model in transcript.models.values()])
    contents: dict[str, bytes | None] = {}
    notes = [f"left out as a probable hallucination: {segment.text.strip()}" for segment in left_out]
    for name in names:
        text = formats.render(name, layout, segments, options.captions, origin)
        contents[name] = None if text is None else text.encode("utf-8", "replace")
        if text is None:
            notes.append(f"no {name} file: there is nothing to caption")
    broken = [BrokenLayoutRule(b.cue, b.start_ms / 1000, b.rule, b.detail) for b in layout.broken_rules]
    rendered = dataclasses.replace(transcript, events=layout.events, notes=tuple(notes), broken_rules=tuple(broken))
    return rendered, contents


def laid_out(transcript: Transcript, options: CaptionOptions) -> tuple[Layout, list[Segment], list[Segment]]:
    """The captions of what was heard, the segments in them, and those left out as hallucinations."""
    segments, left_out = spoken_segments(transcript, options.drop_hallucinations)
    tags = transcript.hearing.tags
    voiced = None if tags is None else voiced_spans(tags)
    layout = cues_from(segments, transcript.events, transcript.source.duration, options, voiced)
    return layout, segments, left_out


def spoken_segments(transcript: Transcript, drop_hallucinations: bool) -> tuple[list[Segment], list[Segment]]:
    """The segments that are captioned as speech, and those left out as hallucinations.

    Text that only names a sound (``[Music]``) is not speech where the events tell of that time; a mark that says that
    nothing sounds (``[BLANK_AUDIO]``) is none anywhere.
    """
    spoken: list[Segment] = []
    left_out: list[Segment] = []
    for segment in transcript.hearing.segments:
        _, sounds = split_sound_text([segment])
        if sounds and (not sounds[0].text or _told(segment, transcript.events)):
            continue
        dropped = drop_hallucinations and segment.id in transcript.hallucinations
        (left_out if dropped else spoken).append(segment)
    return spoken, left_out


def _told(segment: Segment, events: Iterable[SoundEvent]) -> bool:
    return any(event.start < segment.end and event.end > segment.start for event in events)


@dataclass(frozen=True)
class Written:
    """What was written for one file."""

    paths: tuple[Path, ...]
    notes: tuple[str, ...]
    """What a reader should know, as the sidecar says it."""


def write_again(job: Job, setting: Setting) -> Written:
    """Write the outputs that are asked for from what an earlier run heard: other formats, another layout, no model."""
    transcript = sidecar.read(job.outputs.sidecar).transcript
    transcript = dataclasses.replace(transcript, settings=setting.options.settings, fingerprint=setting.fingerprint)
    return write(job, transcript, Stopwatch(dict(transcript.timings)), setting.options, from_sidecar=True)


def write(
    job: Job, transcript: Transcript, watch: Stopwatch, options: RunOptions, from_sidecar: bool = False
) -> Written:
    """Write the outputs that are asked for, and the sidecar.

    Outputs that an earlier run wrote in other formats are written anew, so that all say the same; one that a person
    changed since stays as it is.
    """
    wanted = targets(job, options)
    before = outputs.own_outputs(job.outputs.sidecar)
    renewed = {path.name: name for name, path in job.outputs.captions.items()}
    if from_sidecar:
        wanted.pop("npz", None)  # its scores are exact, those of the sidecar rounded
    else:
        renewed[job.outputs.scores.name] = "npz"
    carried: dict[str, str | None] = {}
    for name, digest in before.items():
        path = job.outputs.folder / name
        if digest is None or path in wanted.values() or not path.is_file():
            continue
        if name in renewed and outputs.holds(path, digest):
            wanted[renewed[name]] = path
        else:  # changed by a person, or made of this sidecar by `wat render`
            carried[name] = digest
    with ExitStack() as stack:
        with _IN_TURN, watch("captions"):
            transcript, contents = render(transcript, [name for name in wanted if name != "npz"], options)
            files: dict[Path, outputs.Content | None] = {wanted[name]: data for name, data in contents.items()}
            if "npz" in wanted and (tags := transcript.hearing.tags) is not None:
                files[wanted["npz"]] = stack.enter_context(score_file(tags, transcript.labels))
        digests = {path.name: None if data is None else outputs.digest(data) for path, data in files.items()}
        transcript = dataclasses.replace(transcript, outputs={**carried, **digests}, timings=dict(watch.seconds))
        with _IN_TURN:
            document = sidecar.to_json(transcript)
        outputs.commit(job.outputs.sidecar, document, files)
    paths = (*(path for path, data in files.items() if data is not None), job.outputs.sidecar)
    return Written(paths, transcript.notes)
