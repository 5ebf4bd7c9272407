"""Whole scenes with their truth: speech with pauses, sounds over and between it, at many levels.

For training the head, for judging, and for benchmarks; nothing here reads or writes files. Levels are relative to full
scale: speech about -23 dB (root mean square), sounds (loudest 0.4 s) from 12 dB below the speech to 6 dB above it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.sounds import LEVEL, SAMPLE_RATE, SoundBank, SoundClip

SPEECH_LEVEL = 10 ** (-23 / 20)


@dataclass(frozen=True)
class Speech:
    """One utterance to be placed: samples in any scale, mono, 16 kHz, trimmed."""

    text: str
    voice: str
    samples: NDArray[np.float32] | NDArray[np.int16]


@dataclass(frozen=True)
class Spoken:
    """An utterance in a scene, in seconds."""

    start: float
    end: float
    text: str
    voice: str


@dataclass(frozen=True)
class Sounded:
    """A sound in a scene, in seconds."""

    start: float
    end: float
    main: int
    """AudioSet index of the class that a caption would be made of."""
    labels: tuple[int, ...]
    """Every AudioSet index that is true of it."""
    name: str
    decibels: float
    """Its loudest 0.4 s against `SPEECH_LEVEL`."""


@dataclass(frozen=True)
class Scene:
    """Samples (mono float32, 16 kHz) and what is in them, in order of start."""

    samples: NDArray[np.float32]
    utterances: tuple[Spoken, ...]
    events: tuple[Sounded, ...]


@dataclass(frozen=True)
class SceneOptions:
    """How full and how hard a scene is."""

    pause: tuple[float, float] = (0.3, 3.0)
    """Seconds between utterances."""
    long_pause: float = 0.2
    """Share of pauses drawn from 4 to 10 s instead, where a sound can stand alone."""
    every: float = 10.0
    """Mean seconds from one sound to the next."""
    longest: float = 10.0
    """Seconds that one sound may last."""
    level: tuple[float, float] = (-12.0, 6.0)
    """dB of a sound against the speech."""
    floor: tuple[float, float] = (-70.0, -50.0)
    """dB of the noise floor against the speech's full scale."""


def add_at(out: NDArray[np.float32], samples: NDArray[np.float32], start: float) -> tuple[float, float]:
    """Mix `samples` into `out` from `start` seconds on, cut at the end of `out`; returns start and end on the clock."""
    first = round(start * SAMPLE_RATE)
    taken = samples[: len(out) - first]
    out[first : first + len(taken)] += taken
    return first / SAMPLE_RATE, (first + len(taken)) / SAMPLE_RATE


def speech_at_level(samples: NDArray[np.float32] | NDArray[np.int16], decibels: float = 0.0) -> NDArray[np.float32]:
    """The utterance at `SPEECH_LEVEL`, `decibels` louder."""
    signal = samples.astype(np.float32)
    return signal * np.float32(SPEECH_LEVEL * 10 ** (decibels / 20) / (np.sqrt(np.mean(signal**2)) + 1e-9))


def clip_at_level(clip: SoundClip, decibels: float) -> NDArray[np.float32]:
    """The clip with its loudest 0.4 s `decibels` above `SPEECH_LEVEL`."""
    return clip.samples * np.float32(SPEECH_LEVEL / LEVEL * 10 ** (decibels / 20))


def scene(
    rng: np.random.Generator,
    speech: Iterable[Speech],
    bank: SoundBank | None,
    seconds: float,
    options: SceneOptions = SceneOptions(),  # noqa: B008 (frozen)
) -> Scene:
    """A scene of `seconds`: as many utterances of `speech`, in turn, as fit, and sounds from `bank` (None: no sounds).

    Sounds of one kind keep two seconds from each other, so that each onset in the truth is one that can be heard.
    """
    out = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    utterances = _place_speech(rng, out, speech, options)
    events = _place_sounds(rng, out, bank, options) if bank else ()
    noise = rng.standard_normal(len(out), dtype=np.float32)
    out += noise * np.float32(10 ** (rng.uniform(*options.floor) / 20))
    return Scene(_within_full_scale(out), utterances, events)


def _place_speech(
    rng: np.random.Generator, out: NDArray[np.float32], speech: Iterable[Speech], options: SceneOptions
) -> tuple[Spoken, ...]:
    placed: list[Spoken] = []
    at, total = float(rng.uniform(0.1, 2.0)), len(out) / SAMPLE_RATE
    for one in speech:
        length = len(one.samples) / SAMPLE_RATE
        if at + length > total - 0.1:
            break
        start, end = add_at(out, speech_at_level(one.samples, float(rng.uniform(-4, 4))), at)
        placed.append(Spoken(start, end, one.text, one.voice))
        at = end + float(rng.uniform(4, 10) if rng.random() < options.long_pause else rng.uniform(*options.pause))
    return tuple(placed)


def _place_sounds(
    rng: np.random.Generator, out: NDArray[np.float32], bank: SoundBank, options: SceneOptions
) -> tuple[Sounded, ...]:
    placed: list[Sounded] = []
    at, total = float(rng.exponential(options.every / 2)), len(out) / SAMPLE_RATE
    while at < total - 1.0:
        clip = bank.draw(rng, float(rng.uniform(1.5, options.longest)))
        if all(one.main != clip.main or one.end + 2.0 < at for one in placed):
            decibels = float(rng.uniform(*options.level))
            start, end = add_at(out, clip_at_level(clip, decibels), at)
            placed.append(Sounded(start, end, clip.main, clip.labels, clip.name, decibels))
        at += float(0.5 + rng.exponential(options.every))
    return tuple(placed)


def _within_full_scale(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turned down where a sum exceeds full scale: clipping would be a sound of its own."""
    peak = float(np.abs(samples).max(initial=0.0))
    return samples if peak <= 0.99 else samples * np.float32(0.99 / peak)
