"""One file as several shards for the scheduler, and what they heard as one again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from itertools import pairwise

from wat_cli.engine.file import File, Recording
from wat_cli.engine.notes import Notebook, Notes
from wat_cli.options import TranscribeOptions
from wat_cli.seek import FRAMES_PER_SECOND, SAMPLE_RATE
from wat_cli.shards import joins
from wat_cli.transcript import Hearing, Segment


class Shards:
    """A file's shards, in order: one that is the whole file where it is not cut.

    A shard hears what ``whisper.transcribe`` hears with ``clip_timestamps`` at its two ends: the file's mel, its own
    seek and previous text. Its language is the file's, which the first shard detects where it was not given.
    """

    def __init__(self, recording: Recording, options: TranscribeOptions, progress: Callable[[float], None]) -> None:
        self.recording = recording
        self._joins = joins(recording.pcm, options.shards)
        self._progress = progress
        bounds = list(pairwise((0, *self._joins, recording.frames)))
        self._done = [0] * len(bounds)
        if len(bounds) == 1:
            self.files: tuple[File, ...] = (File(recording, options, progress),)
        else:
            self.files = tuple(
                File(recording, _clipped(options, *ends), self._teller(index, *ends), first=index == 0)
                for index, ends in enumerate(bounds)
            )
        self._bounds = bounds

    def _teller(self, index: int, first: int, stop: int) -> Callable[[float], None]:
        """Tells how much of the file is done as one shard goes on."""

        def tell(seconds: float) -> None:
            self._done[index] = min(round(seconds * FRAMES_PER_SECOND), stop) - first
            self._progress(sum(self._done) / FRAMES_PER_SECOND)

        return tell

    def notes(self, notebook: Notebook | None) -> list[Notes | None]:
        """Each shard's own pages of the file's notebook."""
        if notebook is None:
            return [None for _ in self.files]
        return [
            Notes(file, notebook if len(self.files) == 1 else notebook.pages(*ends))
            for file, ends in zip(self.files, self._bounds, strict=True)
        ]

    def hearing(self, heard: Sequence[tuple[Segment, ...]]) -> Hearing:
        """What was heard in the whole file, from each shard's segments."""
        recording, files = self.recording, self.files
        parts = [
            part if stop == recording.frames else tuple(_ended(segment, stop / FRAMES_PER_SECOND) for segment in part)
            for part, (_, stop) in zip(heard, self._bounds, strict=True)
        ]
        segments = [segment for part in parts for segment in part]
        return Hearing(
            duration=recording.pcm.samples / SAMPLE_RATE,
            language=recording.language or "en",
            segments=tuple(dataclasses.replace(segment, id=index) for index, segment in enumerate(segments)),
            tags=recording.tags.track() if recording.tags is not None else None,
            windows=sum(file.seek.windows for file in files),
            encoder_passes=sum(file.passes for file in files),
            tagger_passes=sum(file.tagger_passes for file in files),
            language_probability=recording.language_probability,
            joins=tuple(join / FRAMES_PER_SECOND for join in self._joins),
        )


def _clipped(options: TranscribeOptions, first: int, stop: int) -> TranscribeOptions:
    clip = f"{first / FRAMES_PER_SECOND},{stop / FRAMES_PER_SECOND}"
    return dataclasses.replace(options, clip_timestamps=clip, shards=None)


def _ended(segment: Segment, end: float) -> Segment:
    """The segment, no later than `end`: a timestamp may point into the padding behind a shard's last sample."""
    words = segment.words
    if words is not None:
        words = tuple(dataclasses.replace(w, start=min(w.start, end), end=min(w.end, end)) for w in words)
    return dataclasses.replace(segment, start=min(segment.start, end), end=min(segment.end, end), words=words)
