"""An engine without weights: what it hears follows from the samples alone, and so is the same every time."""

from __future__ import annotations

import os
import signal
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wat_cli.checkpoints import ResolvedWeights
from wat_cli.errors import WeightsMissing
from wat_cli.media import SAMPLE_RATE, PcmSpool
from wat_cli.options import ModelOptions, TranscribeOptions
from wat_cli.resume import ResumeLog, WindowRecord
from wat_cli.tagging.labels import load_labels
from wat_cli.transcript import TAG_HOP, Hearing, Segment, TagTrack

WINDOW = 30 * SAMPLE_RATE
CLASSES = len(load_labels())
MUSIC = next(label.index for label in load_labels() if label.name == "Music")


class FakeEngine:
    """Says the loudness of each 30 s window that is not silent, and hears music wherever it is loud.

    A file whose first sample is `poison` breaks it, as a bug would.
    """

    poison = 12345 / 32768

    def __init__(self) -> None:
        self.heard: list[float] = []
        """Seconds of each file that it was given."""
        self.windows = 0
        """Windows that it heard itself, not recalled from a notebook."""

    def hear(
        self,
        pcm: PcmSpool,
        options: TranscribeOptions,
        tags: bool = True,
        progress: Callable[[float], None] = lambda seconds: None,
        notebook: ResumeLog | None = None,
    ) -> Hearing:
        """Hear a file as `wat_cli.engine.Engine` does."""
        self.heard.append(pcm.samples / SAMPLE_RATE)
        if pcm.samples and pcm.read(0, 1)[0] == np.float32(self.poison):
            raise RuntimeError("the decoder broke down")
        segments, loud = [], []
        for start in range(0, pcm.samples, WINDOW):
            window = pcm.read(start, start + WINDOW)
            level = self._level(window, start, notebook)
            if level > 0:
                segments.append(self._segment(len(segments), start, len(window), f" Level {level}.", options))
            steps = np.array_split(window, max(1, round(len(window) / (TAG_HOP * SAMPLE_RATE))))
            loud += [float(np.abs(step).max(initial=0.0)) > 0.2 for step in steps]
            progress(min(start + WINDOW, pcm.samples) / SAMPLE_RATE)
        windows = -(-pcm.samples // WINDOW)
        return Hearing(
            duration=pcm.samples / SAMPLE_RATE,
            language=options.language or "en",
            segments=tuple(segments),
            tags=self._tags(np.array(loud, dtype=bool)) if tags else None,
            windows=windows,
            encoder_passes=windows,
            language_probability=None if options.language else 0.9,
        )

    def _level(self, window: np.ndarray, start: int, notebook: ResumeLog | None) -> int:
        """Loudness of a window in percent: what the engine would ask its model for."""
        record = notebook.recall(start // 160, len(window) // 160) if notebook else None
        if record is not None:
            return int(record.answers[0])
        self.windows += 1
        level = round(100 * float(np.sqrt(np.mean(window**2))))
        if notebook:
            notebook.keep(WindowRecord(start // 160, len(window) // 160, (level,)))
        return level

    def _segment(self, number: int, start: int, samples: int, text: str, options: TranscribeOptions) -> Segment:
        begin = start / SAMPLE_RATE
        return Segment(
            id=number,
            seek=start // 160,
            start=begin,
            end=begin + min(samples / SAMPLE_RATE, 4.0),
            text=text,
            tokens=(50363, 4971, 13, 50463),
            temperature=options.temperature,
            avg_logprob=-0.25,
            compression_ratio=0.9,
            no_speech_prob=0.01,
        )

    def _tags(self, loud: np.ndarray) -> TagTrack:
        scores = np.full((len(loud), CLASSES), 0.01, np.float32)
        scores[loud, MUSIC] = 0.9
        return TagTrack(what=scores, when=scores.copy())


def load_fake(weights: ResolvedWeights, options: ModelOptions) -> FakeEngine:
    """What `wat_cli.engine.load_engine` is to the real one."""
    return FakeEngine()


def load_fatal(weights: ResolvedWeights, options: ModelOptions) -> FakeEngine:
    """An engine that takes its process with it when it hears a poisoned file, as a lack of memory would."""
    engine = FakeEngine()
    hear = engine.hear

    def fatal(pcm: PcmSpool, *arguments: Any, **rest: Any) -> Hearing:
        if pcm.read(0, 1)[0] == np.float32(FakeEngine.poison):
            os.kill(os.getpid(), signal.SIGKILL)
        return hear(pcm, *arguments, **rest)

    engine.hear = fatal  # type: ignore[method-assign]
    return engine


def load_nothing(weights: ResolvedWeights, options: ModelOptions) -> FakeEngine:
    """An engine whose weights are gone."""
    raise WeightsMissing("no weights")


def write_wav(path: Path, seconds: float = 1.0, level: float = 0.1, first: int | None = None) -> Path:
    """A mono WAV file at 16 kHz: a 440 Hz tone, quiet unless `level` says otherwise; `first` sets its first sample."""
    wave_form = level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE)
    samples = (32767 * wave_form).astype("<i2")
    if first is not None:
        samples[0] = first
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.tobytes())
    return path
