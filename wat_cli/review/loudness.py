"""How loud a file is over time, for its timeline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wat_cli.errors import WatError
from wat_cli.media import SAMPLE_RATE, choose_track, decode_pcm, probe

HOP = 0.1
"""Seconds of one value."""
QUIETEST_DB = -60.0
"""Level shown as nothing, in dB below full scale."""


def envelope(chunks: Iterable[NDArray[np.int16]]) -> NDArray[np.uint8]:
    """Level of each `HOP` seconds of 16 kHz PCM: 0 at `QUIETEST_DB` (RMS) and below, 255 at full scale."""
    levels = [_levels(block) for block in _blocks(chunks, round(HOP * SAMPLE_RATE))]
    return np.concatenate(levels) if levels else np.zeros(0, np.uint8)


def _blocks(chunks: Iterable[NDArray[np.int16]], samples: int) -> Iterator[NDArray[np.float32]]:
    """The samples as float32, [n, samples]; the last value is of what is left."""
    rest = np.zeros(0, np.int16)
    for chunk in chunks:
        joined = np.concatenate((rest, chunk))
        whole = len(joined) // samples * samples
        if whole:
            yield joined[:whole].astype(np.float32).reshape(-1, samples)
        rest = joined[whole:]
    if len(rest):
        yield rest.astype(np.float32)[None]


def _levels(block: NDArray[np.float32]) -> NDArray[np.uint8]:
    power = np.mean((block / 32768) ** 2, axis=1)
    decibels = 10 * np.log10(np.maximum(power, 10 ** (QUIETEST_DB / 10)))
    levels: NDArray[np.uint8] = np.round(255 * np.clip(1 - decibels / QUIETEST_DB, 0, 1)).astype(np.uint8)
    return levels


def read_envelope(path: Path, track: int | None) -> NDArray[np.uint8]:
    """The envelope of one file's audio track, by its index in the container; the default track if that is not there.

    Raises `MediaError` where the file cannot be read, and `FFmpegMissing`.
    """
    info = probe(path)
    stream = next((stream for stream in info.audio if stream.index == track), None)
    return envelope(decode_pcm(info, stream or choose_track(info)))


def loudness_of(path: Path, track: int | None) -> tuple[NDArray[np.uint8] | None, str]:
    """The envelope, or None and why there is none: the file cannot be read, or there is no ffmpeg."""
    try:
        return read_envelope(path, track), ""
    except WatError as error:
        return None, str(error)
