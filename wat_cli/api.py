"""The Python API: load a model once, caption files or samples with it. What the command line does, without files.

::

    from wat_cli import caption, load_model

    model = load_model("small")
    talk = caption(model, "talk.mp4", language="en")
    for cue in talk.cues:
        print(cue.start_ms, cue.end_ms, cue.text)

Importing this loads neither torch nor whisper; `load_model` does.
"""

from __future__ import annotations

import difflib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np
from numpy.typing import NDArray

from wat_cli import captioning, sidecar
from wat_cli.batch import setting_of
from wat_cli.captioning import Hearer, Setting
from wat_cli.captions.cues import Cue
from wat_cli.checkpoints import Progress as DownloadProgress
from wat_cli.checkpoints import ResolvedWeights, resolve, silent
from wat_cli.discovery import Job, Outputs
from wat_cli.errors import UsageError
from wat_cli.media import SAMPLE_RATE, AudioStream, MediaInfo
from wat_cli.options import ModelOptions, RunOptions
from wat_cli.transcript import Segment, SoundEvent, Source, Transcript

Samples = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.float16] | NDArray[np.int16]
"""[samples]: one channel at 16 kHz, floats from -1 to 1, or int16."""

Options = TypeVar("Options")


class Model:
    """Weights on this machine, and the engine that computes with them, which is loaded when it is first asked for.

    May be used from several threads: one at a time drives the engine, which then works for all that wait.
    """

    def __init__(self, options: ModelOptions, weights: ResolvedWeights) -> None:
        self.options, self.weights = options, weights
        self._engine: Hearer | None = None
        self._loading = threading.Lock()

    @property
    def name(self) -> str:
        """The speech model's name."""
        return self.weights.asr.name

    @property
    def tags(self) -> bool:
        """Whether it hears sounds."""
        return self.weights.head is not None

    def engine(self) -> Hearer:
        """The engine. Raises `CheckpointError` for weights that are no model, `UsageError` for a device not there."""
        with self._loading:
            if self._engine is None:
                from wat_cli.cpus import within_quota
                from wat_cli.engine import load_engine

                self._engine = load_engine(self.weights, within_quota(self.options))
            return self._engine


@dataclass(frozen=True)
class Captioned:
    """What was heard in one file or array, and its captions. All times are on its own clock."""

    transcript: Transcript
    """Everything, as the JSON sidecar keeps it (`wat_cli.transcript`)."""
    options: RunOptions
    """What was asked for."""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """What was said: openai-whisper's segments, seconds, in order."""
        return self.transcript.hearing.segments

    @property
    def events(self) -> tuple[SoundEvent, ...]:
        """What sounded, seconds; ``shown`` says whether the captions have it, ``reason`` why not."""
        return self.transcript.events

    @cached_property
    def cues(self) -> tuple[Cue, ...]:
        """The captions: milliseconds, in order, never overlapping."""
        return captioning.laid_out(self.transcript, self.options.captions)[0].cues

    @property
    def language(self) -> str:
        """Code of the language spoken: ``en``."""
        return self.transcript.hearing.language

    @property
    def duration(self) -> float:
        """Seconds of audio."""
        return self.transcript.hearing.duration

    @property
    def text(self) -> str:
        """All that was said, as openai-whisper's ``text``."""
        return "".join(segment.text for segment in self.segments)

    def render(self, format: str) -> str:
        """The file in ``srt``, ``vtt``, ``txt``, ``tsv`` or ``json`` (the sidecar).

        Empty where an SRT file would have no caption in it. Raises ValueError for another format.
        """
        if format == "json":
            return sidecar.to_json(self.transcript).decode()
        content = captioning.render(self.transcript, [format], self.options)[1][format]
        return (content or b"").decode()


def load_model(name: str = "small", *, tags: bool = True, progress: DownloadProgress = silent, **options: Any) -> Model:
    """Find a model's weights, fetch them if need be, and load them.

    Args:
        name: of an openai-whisper model, ``"mini"`` (ships with wat, for trying it), or a checkpoint's path.
        tags: whether sounds are to be heard, which takes a Whisper-AT head beside the model.
        progress: is told how far a download is.
        options: fields of `wat_cli.options.ModelOptions`: ``device``, ``model_dir``, ``tagger``, ``offline`` ...

    Raises `WeightsMissing` where weights are neither here nor to be fetched, `CheckpointError` where a file is damaged
    or no model, `UsageError` for a name, option or device that does not exist. All are `wat_cli.errors.WatError`s.
    """
    chosen = _build(ModelOptions, {"model": name, **options})
    model = Model(chosen, resolve(chosen, tags=tags, progress=progress))
    model.engine()
    return model


def caption(
    model: Model,
    media: str | os.PathLike[str] | Samples,
    options: RunOptions | None = None,
    *,
    progress: captioning.Watcher | Callable[[float], None] | None = None,
    **changes: Any,
) -> Captioned:
    """Hear one file, or samples, and lay out its captions. Nothing is written.

    Args:
        model: from `load_model`.
        media: path of anything that ffmpeg reads; or an array [samples], one channel at 16 kHz, floats from -1 to 1
            or int16, which is what `whisper.load_audio` gives.
        options: everything that can be asked for, as `wat_cli.options` describes it; the defaults if left out.
        progress: is told the seconds done, now and then; a `captioning.Watcher` is told of the audio track too.
        changes: single options by their names, whatever group they are in: ``language="de"``, ``sounds="more"``,
            ``word_timestamps=True``, ``max_line_width=37``, ``audio_track="eng"``.

    Raises `MediaError` (`NoAudioTrack`, `UndecodableMedia`) for a file that cannot be heard, `UsageError` for an option
    that does not exist or cannot be and for an array of another shape, `FFmpegMissing` where there is no ffmpeg, and
    OSError for a path that cannot be read. The text is openai-whisper's (`whisper.transcribe`), the sounds are
    Whisper-AT's (arXiv 2307.03183).
    """
    wanted = replace(_changed(options or RunOptions(), changes), model=model.options)
    if not model.tags:
        wanted = replace(wanted, tags=replace(wanted.tags, tags=False))
    setting = setting_of(wanted, model.weights)
    watcher = _Watcher(progress) if progress is None or callable(progress) else progress
    if isinstance(media, np.ndarray):
        transcript = _of_samples(_Pcm(media), model.engine(), setting, watcher)
    else:
        path = Path(media)
        job = Job(path, Outputs(path.parent, path.stem))
        opened = captioning.open_media(job, wanted)
        transcript, _ = captioning.transcribe(job, opened, model.engine, setting, watcher)
    return Captioned(captioning.render(transcript, [], wanted)[0], wanted)


def _of_samples(pcm: _Pcm, engine: Hearer, setting: Setting, watcher: captioning.Watcher) -> Transcript:
    options = setting.options
    hearing = engine.hear(pcm, options.transcribe, tags=options.tags.tags, progress=watcher.heard)
    source = Source(path="-", size=pcm.size, mtime_ns=0, duration=hearing.duration)
    return captioning.transcript_of(hearing, source, setting)


class _Pcm:
    """Samples in memory as an engine reads them."""

    def __init__(self, samples: NDArray[Any]) -> None:
        if samples.ndim != 1 or not (samples.dtype == np.int16 or np.issubdtype(samples.dtype, np.floating)):
            raise UsageError(
                f"samples of shape {samples.shape} and type {samples.dtype}: one channel at {SAMPLE_RATE} Hz is "
                "expected, of floats from -1 to 1 or of int16"
            )
        if np.issubdtype(samples.dtype, np.floating) and not np.isfinite(samples).all():
            raise UsageError("samples: some are not finite")
        self._samples, self.samples, self.size = samples, len(samples), samples.nbytes

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples ``start`` to ``stop``, cut to those that exist."""
        piece = self._samples[max(0, start) : max(0, stop)]
        return piece.astype(np.float32) / (32768.0 if piece.dtype == np.int16 else 1.0)


class _Watcher:
    """Passes on how far a file is."""

    def __init__(self, progress: Callable[[float], None] | None) -> None:
        self._progress = progress

    def probed(self, info: MediaInfo, track: AudioStream) -> None:
        """Not asked for."""

    def heard(self, seconds: float) -> None:
        """So many seconds are done."""
        if self._progress is not None:
            self._progress(seconds)


_CHANGEABLE = ("transcribe", "tags", "captions")
"""Groups of options that `caption` takes; the others are about weights, or about files that it does not write."""


def _changed(options: RunOptions, changes: Mapping[str, Any]) -> RunOptions:
    """`options` with single fields of its groups changed."""
    groups = get_type_hints(RunOptions)
    known = {item.name: group for group in _CHANGEABLE for item in fields(groups[group])} | {"audio_track": "batch"}
    by_group: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        if name not in known:
            raise UsageError(_no_option(name, known))
        by_group.setdefault(known[name], {})[name] = value
    built = {group: _replaced(getattr(options, group), values) for group, values in by_group.items()}
    return replace(options, **built)


def _replaced(group: Options, values: Mapping[str, Any]) -> Options:
    return replace(group, **values)  # type: ignore[type-var]


def _build(group: type[Options], values: Mapping[str, Any]) -> Options:
    known = {item.name for item in fields(group)}  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise UsageError(_no_option(name, known))
    return group(**values)


def _no_option(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if name in {item.name for item in fields(ModelOptions)}:
        return f"{name} is an option of load_model, not of caption"
    return f"no option is called {name}" + (f"; did you mean {near[0]}?" if near else "")
