"""Where one long file is cut into shards: in its long silences, found by their energy alone.

A shard is a contiguous run of the file that keeps seek and previous text inside; several are decoded side by side, and
each second of the file is in exactly one. What joins two shards has to be a silence that a listener would hear as a
pause; where there is none, two shards stay one. Joins lie on the grid of the sound tags, so that no step is cut in two.

The cuts follow from the samples and the number asked for only, never from the machine. Nothing here knows of a model;
the samples are read forward once, a minute at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wat_cli.tagging.grid import STEP_MEL_FRAMES
from wat_cli.tagging.scores import runs

SAMPLE_RATE = 16000
LEVEL_SAMPLES = SAMPLE_RATE // 10
"""Samples whose energy makes one level."""
LEVELS_PER_STEP = 4
"""Levels in a step of the tags' grid, 0.4 s."""

AUTO_SECONDS, AUTO_MOST = 120, 16
"""``auto`` makes a shard of each so many seconds, and not more than so many."""
LEAST_SECONDS = 60
"""However many shards are asked for, they are at least this long on average: two windows."""
SILENCE_SECONDS = 0.6
"""Shortest silence that two shards may meet in."""
SEARCHED = 0.25
"""A join is looked for this share of a shard's length to either side of its even place."""

QUIET_SHARE, LOUD_SHARE = 1.0, 99.0
"""Percentiles of the levels that count as the file's floor and as its loud parts."""
LEAST_CONTRAST, MOST_CONTRAST = 15.0, 45.0
"""Decibels between floor and loud parts: with less, nothing tells a pause; what lies further down counts as floor."""
SILENCE_DEPTH = 1 / 3
"""A silence reaches up to this share of the way from the floor to the loud parts."""


class Pcm(Protocol):
    """A file's samples: 16 kHz, mono; `media.PcmSpool` is one."""

    @property
    def samples(self) -> int: ...
    def read(self, start: int, stop: int) -> NDArray[np.float32]: ...


def wanted_shards(seconds: float, shards: str | None) -> int:
    """How many shards a file of this length is to have at most, for the option's value: a number, or ``auto``."""
    if shards is None:
        return 1
    number = min(int(seconds // AUTO_SECONDS), AUTO_MOST) if shards == "auto" else int(shards)
    return max(1, min(number, int(seconds // LEAST_SECONDS)))


def joins(pcm: Pcm, shards: str | None) -> tuple[int, ...]:
    """Mel frames (10 ms) at which the file is cut, ascending; none where it stays whole."""
    wanted = wanted_shards(pcm.samples / SAMPLE_RATE, shards)
    if wanted == 1:
        return ()
    found = levels(pcm)
    silences = long_silences(found)
    length = len(found) / wanted
    cuts = (_best(silences, index * length, SEARCHED * length) for index in range(1, wanted))
    return tuple(cut // LEVELS_PER_STEP * STEP_MEL_FRAMES for cut in cuts if cut is not None)


def levels(pcm: Pcm) -> NDArray[np.float32]:
    """Energy of each whole tenth of a second, in decibels below full scale."""
    return np.concatenate([np.zeros(0, np.float32), *_levels(pcm)])


def _levels(pcm: Pcm) -> Iterator[NDArray[np.float32]]:
    block = 600 * LEVEL_SAMPLES
    for start in range(0, pcm.samples - LEVEL_SAMPLES + 1, block):
        samples = pcm.read(start, start + block)
        whole = samples[: len(samples) // LEVEL_SAMPLES * LEVEL_SAMPLES].reshape(-1, LEVEL_SAMPLES)
        power = np.mean(np.square(whole, dtype=np.float32), axis=1)
        yield 10 * np.log10(np.maximum(power, 1e-10), dtype=np.float32)


def long_silences(found: NDArray[np.float32]) -> list[tuple[int, int]]:
    """First and one-past-last level of each silence that is long enough to cut in; none where nothing tells a pause."""
    if not len(found):
        return []
    floor, loud = np.percentile(found, (QUIET_SHARE, LOUD_SHARE))
    floor = max(floor, loud - MOST_CONTRAST)
    if loud - floor < LEAST_CONTRAST:
        return []
    quiet = found < floor + SILENCE_DEPTH * (loud - floor)
    least = round(SILENCE_SECONDS * SAMPLE_RATE / LEVEL_SAMPLES)
    return [(start, stop) for start, stop in runs(quiet) if stop - start >= least]


def _best(silences: Sequence[tuple[int, int]], ideal: float, reach: float) -> int | None:
    """The level to cut at: amid the longest silence near `ideal`, on the tags' grid; None if there is none.

    Of silences equally long the nearest one. A level of silence at least is left on both sides of the cut.
    """
    best: tuple[int, float, int] | None = None
    for start, stop in silences:
        start, stop = max(start, round(ideal - reach)), min(stop, round(ideal + reach))
        cut = round((start + stop) / 2 / LEVELS_PER_STEP) * LEVELS_PER_STEP
        if start < cut < stop:
            best = max(best or (0, 0.0, 0), (stop - start, -abs(cut - ideal), cut))
    return None if best is None else best[2]
