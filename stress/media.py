"""Media for the proofs, cut from the sample films: short ones with speech, and long ones."""

from __future__ import annotations

import json
import subprocess
import wave
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wat_cli.media import SAMPLE_RATE, choose_track, decode_pcm, probe

FILMS = Path(__file__).parents[1] / "sample_media"
ENCODINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("wav", ("-c:a", "pcm_s16le")),
    ("mp4", ("-c:a", "aac", "-b:a", "64k")),
    ("mkv", ("-c:a", "libvorbis")),
    ("mp3", ("-c:a", "libmp3lame", "-b:a", "64k")),
    ("flac", ("-c:a", "flac")),
    ("ogg", ("-c:a", "libopus", "-b:a", "48k")),
    ("mov", ("-c:a", "alac")),
    ("webm", ("-c:a", "libopus", "-b:a", "32k")),
    ("ts", ("-c:a", "mp2", "-b:a", "96k")),
    ("avi", ("-c:a", "ac3", "-b:a", "96k")),
)
"""Suffix and codec of the containers that short media take turns with."""


@cache
def film(name: str) -> NDArray[np.int16]:
    """A sample film's sound at 16 kHz."""
    info = probe(FILMS / name)
    return np.concatenate(list(decode_pcm(info, choose_track(info))))


def _truth() -> dict[str, dict[str, list[dict[str, float]]]]:
    truth: dict[str, dict[str, list[dict[str, float]]]] = json.loads((FILMS / "truth.json").read_text(encoding="utf-8"))
    return truth


@cache
def utterances() -> tuple[NDArray[np.int16], ...]:
    """Every utterance of the films, with what sounds beside it, and half a second before and after."""
    found = []
    for name, told in _truth().items():
        for entry in told["speech"]:
            start, end = max(0.0, entry["start"] - 0.5), entry["end"] + 0.5
            found.append(film(name)[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)])
    return tuple(found)


def write_wav(path: Path, samples: NDArray[np.int16]) -> Path:
    """A mono WAV file at 16 kHz."""
    with wave.open(str(path), "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(samples.astype("<i2").tobytes())
    return path


def encode(path: Path, codec: Sequence[str], chunks: Iterable[NDArray[np.int16]]) -> Path:
    """Samples at 16 kHz, as they come, to a file of `path`'s kind."""
    command = ["ffmpeg", "-v", "error", "-y", "-f", "s16le", "-ar", str(SAMPLE_RATE), "-ac", "1", "-i", "pipe:"]
    with subprocess.Popen([*command, *codec, str(path)], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for chunk in chunks:
            process.stdin.write(chunk.astype("<i2").tobytes())
        process.stdin.close()
    if process.returncode:
        raise RuntimeError(f"ffmpeg could not write {path}")
    return path


def short_films(folder: Path, count: int, plain: bool = False) -> list[Path]:
    """`count` files with an utterance each, of 2 to 5.5 s, all different, in many containers or `plain` WAV."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(count):
        samples = utterances()[number % len(utterances())]
        # a little louder and earlier each time round, so that no two are the same
        samples = (samples[160 * (number // len(utterances())) :] * (1 - number / (2 * count))).astype(np.int16)
        suffix, codec = ENCODINGS[0 if plain else number % len(ENCODINGS)]
        path = folder / f"clip-{number:04d}.{suffix}"
        made.append(write_wav(path, samples) if plain else encode(path, codec, [samples]))
    return made


def long_sound(seconds: float, speech_every: float, seed: int = 0) -> Iterator[NDArray[np.int16]]:
    """`seconds` of faint noise with an utterance and a piece of a film without speech, about every `speech_every` s."""
    rng = np.random.default_rng(seed)
    total, made = round(seconds * SAMPLE_RATE), 0
    while made < total:
        speech = [utterances()[int(rng.integers(len(utterances())))] for _ in range(3)]
        start = int(rng.integers(len(film("storm.mp4")) - 10 * SAMPLE_RATE))
        pieces = [*speech, film("storm.mp4")[start : start + 10 * SAMPLE_RATE]]
        quiet = speech_every * float(rng.uniform(0.5, 1.5)) - sum(map(len, pieces)) / SAMPLE_RATE
        noise = rng.normal(0, 20, max(0, round(quiet * SAMPLE_RATE))).astype(np.int16)
        for piece in (*pieces, noise):
            yield piece[: total - made]
            made += min(len(piece), total - made)


def long_film(path: Path, seconds: float, speech_every: float = 120.0, seed: int = 0) -> Path:
    """A long file of mostly faint noise, with speech and sounds here and there; FLAC, in `path`'s container."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return encode(path, ("-c:a", "flac"), long_sound(seconds, speech_every, seed))
