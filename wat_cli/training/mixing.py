"""Scenes of 30 s made of a data set's clips, so that a head meets its sounds anywhere in the encoder's window.

Clips taken alone always begin where the window begins, and an encoder's features know where they are. A scene places
clips after and over one another, at different levels, with pauses and a little noise, and knows when each sounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wat_cli.media import SAMPLE_RATE
from wat_cli.model.whisper_at import WhisperAT
from wat_cli.training.datasets import Clip, Dataset, Event
from wat_cli.training.examples import Truth
from wat_cli.training.features import WINDOW_SECONDS, ArrayFeatures, Features, Steps, clip_samples, encode_clips

SCENE_SAMPLES = int(WINDOW_SECONDS * SAMPLE_RATE)
LOUDEST, QUIETEST = 3.0, -12.0
"""Decibels by which a clip's level is changed."""
BATCH = 4


def mix_scene(
    dataset: Dataset, audio: Sequence[NDArray[np.float32]], weights: NDArray[np.float64], random: np.random.Generator
) -> tuple[NDArray[np.int16], tuple[Event, ...]]:
    """One scene of clips drawn by `weights`, as samples and what sounds when; `audio` are the clips' samples."""
    scene = 10 ** random.uniform(-5, -2.5) * random.standard_normal(SCENE_SAMPLES)
    events: list[Event] = []
    at = int(random.uniform(0, 4) * SAMPLE_RATE)
    while at < SCENE_SAMPLES - SAMPLE_RATE:
        number = int(random.choice(len(audio), p=weights))
        heard = audio[number][: SCENE_SAMPLES - at]
        scene[at : at + len(heard)] += 10 ** (random.uniform(QUIETEST, LOUDEST) / 20) * heard
        start, length = at / SAMPLE_RATE, len(heard) / SAMPLE_RATE
        events += [
            Event(start + event.start, start + min(event.end, length), event.label)
            for event in dataset.clips[number].events
            if event.start < length
        ]
        pause = random.uniform(-1.0, 0.0) if random.random() < 0.2 else random.uniform(0.2, 5.0)
        at += max(SAMPLE_RATE // 2, len(heard) + int(pause * SAMPLE_RATE))
    peak = max(1.0, float(np.abs(scene).max()))
    return (scene / peak * 32767).astype(np.int16), tuple(events)


def mix_features(
    model: WhisperAT,
    dataset: Dataset,
    scenes: int,
    seed: int,
    path: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Dataset, ArrayFeatures]:
    """Make `scenes` of the clips of `dataset` and what the encoder makes of them, kept in ``path`` (NumPy, mapped).

    The same seed makes the same scenes. Every clip is held in memory while they are made: 10 MB for each minute and a
    half of sound.
    """
    audio = [clip_samples(clip).astype(np.float32) / np.float32(32768) for clip in dataset.clips]
    weights = Truth(dataset).weights()
    weights = weights / weights.sum()
    shape = (scenes, int(model.dims.n_audio_layer), 75, int(model.dims.n_audio_state))
    part = path.with_name(path.name + ".part")
    array = np.lib.format.open_memmap(part, "w+", np.float16, shape)
    clips: list[Clip] = []
    for first in range(0, scenes, BATCH):
        numbers = range(first, min(first + BATCH, scenes))
        mixed = [mix_scene(dataset, audio, weights, np.random.default_rng((seed, number))) for number in numbers]
        for number, steps in zip(numbers, encode_clips(model, [samples for samples, _ in mixed]), strict=True):
            array[number] = steps.transpose(1, 0, 2)
        clips += [Clip(Path(f"scene-{number}"), events) for number, (_, events) in zip(numbers, mixed, strict=True)]
        progress(len(clips), scenes)
    array.flush()
    part.replace(path)
    return dataset.only(clips), ArrayFeatures(np.load(path, mmap_mode="r"))


class Joined:
    """The clips of several sources, one after the other."""

    def __init__(self, parts: Sequence[tuple[Features, int]]) -> None:
        """Each source with its number of clips."""
        self._parts = parts
        self.layers, self.width = parts[0][0].layers, parts[0][0].width

    def _find(self, clip: int) -> tuple[Features, int]:
        for features, count in self._parts:
            if clip < count:
                return features, clip
            clip -= count
        raise IndexError(clip)

    def steps(self, clip: int) -> int:
        """Steps of 0.4 s of a clip."""
        features, number = self._find(clip)
        return features.steps(number)

    def read(self, clip: int, start: int, stop: int) -> Steps:
        """Some steps of a clip."""
        features, number = self._find(clip)
        return features.read(number, start, stop)


def usual_scenes(dataset: Dataset) -> int:
    """How many scenes are made where no number is asked for: two for each clip, 100 to 500 (3 GB for large)."""
    return min(max(2 * len(dataset.clips), 100), 500)
