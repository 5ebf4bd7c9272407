"""What the programs hear: generated files of whole 30 s windows, every half second another sound, from a seed."""

from __future__ import annotations

import hashlib
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.random_whisper import SAMPLE_RATE, noises

WINDOW = 30
PAUSE = 2.0
"""Seconds of near silence around every join of two windows, in a file with pauses."""


def write_wav(path: Path, samples: NDArray[np.float32]) -> Path:
    """Write 16 kHz mono samples as 16-bit WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((samples.clip(-1, 1) * 32767).round().astype("<i2").tobytes())
    return path


def sound_file(folder: Path, windows: int, seed: int, pauses: bool = False) -> Path:
    """A file of so many windows; with `pauses` a silence lies around every join of two windows."""
    path = folder / f"{windows}-windows-{seed}{'-pauses' if pauses else ''}.wav"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        samples = noises(float(windows * WINDOW), seed)
        half = round(PAUSE / 2 * SAMPLE_RATE)
        for join in range(WINDOW * SAMPLE_RATE, len(samples), WINDOW * SAMPLE_RATE) if pauses else ():
            samples[join - half : join + half] *= 1e-3
        write_wav(path, samples)
    return path


def sound_files(folder: Path, windows: Sequence[int], first_seed: int = 1) -> list[Path]:
    """Files of these lengths in windows, each with other sounds."""
    return [sound_file(folder, length, first_seed + index) for index, length in enumerate(windows)]


def joined(folder: Path, files: Sequence[Path]) -> Path:
    """One file of all `files` in turn."""
    names = hashlib.sha256("/".join(file.name for file in files).encode()).hexdigest()[:12]
    path = folder / f"joined-{len(files)}-{names}.wav"
    if not path.is_file():
        pieces = []
        for file in files:
            with wave.open(str(file), "rb") as source:
                pieces.append(np.frombuffer(source.readframes(source.getnframes()), "<i2"))
        write_wav(path, (np.concatenate(pieces) / 32767).astype(np.float32))
    return path


def repeated(folder: Path, file: Path, times: int) -> Path:
    """A file that is `file` so many times over, written piece by piece."""
    path = folder / f"{file.stem}-x{times}.wav"
    if not path.is_file():
        with wave.open(str(file), "rb") as source, wave.open(str(path), "wb") as target:
            target.setparams(source.getparams())
            frames = source.readframes(source.getnframes())
            for _ in range(times):
                target.writeframes(frames)
    return path
