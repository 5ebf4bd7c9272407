"""How sounds under speech disturb recognition: word error rate against signal-to-noise ratio (Figures 1, above, and 2).

Speech and sounds are mixed at ratios from -20 to 20 dB (power of the whole clips, as whisper-at does); the same
utterances are used with every sound, so that classes compare.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wat_cli.engine import Engine
from wat_cli.engine.scheduler import SLOTS
from wat_cli.errors import UsageError, shown
from wat_cli.options import TranscribeOptions
from wat_cli.training.datasets import Clip, Dataset
from wat_cli.training.features import clip_samples

DECIBELS = (-20, -15, -10, -5, 0, 5, 10, 15, 20)

Audio = NDArray[np.float32]


@dataclass(frozen=True)
class Utterance:
    """Speech and what is said in it."""

    path: Path
    text: str


@dataclass(frozen=True)
class Disturbed:
    """Word errors under each sound at each ratio."""

    labels: tuple[str, ...]
    decibels: tuple[int, ...]
    errors: NDArray[np.int64]
    """[classes, ratios]"""
    words: int
    """Words spoken in each cell."""
    clean: float
    """Word error rate without any sound."""

    @property
    def rates(self) -> NDArray[np.float64]:
        """[classes, ratios]: word error rates."""
        rates: NDArray[np.float64] = self.errors / self.words
        return rates

    @property
    def rise(self) -> NDArray[np.float64]:
        """[classes]: by how much the word error rate rises from 20 to -10 dB, or between the ratios nearest to them."""
        low, high = (int(np.abs(np.array(self.decibels) - wanted).argmin()) for wanted in (-10, 20))
        rise: NDArray[np.float64] = self.rates[:, low] - self.rates[:, high]
        return rise


class Samples:
    """An array with the face of a PCM spool."""

    def __init__(self, audio: Audio) -> None:
        self._audio = audio

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self._audio)

    def read(self, start: int, stop: int) -> Audio:
        """Some of them."""
        return self._audio[max(0, start) : stop]


def read_speech(path: Path) -> list[Utterance]:
    """Utterances from a manifest: a CSV file with the columns ``path`` and ``text``."""
    import csv

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [Utterance(path.parent / row["path"], row["text"]) for row in csv.DictReader(file)]
    except (OSError, KeyError, TypeError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"--speech {shown(path)}: a CSV file with path and text is wanted ({error})") from None
    if not rows:
        raise UsageError(f"--speech {shown(path)}: it names no utterance")
    return rows


def mixed(speech: Audio, sound: Audio, decibels: float) -> Audio:
    """`speech` over `sound`, repeated or cut to its length, with this ratio of their powers; kept within full scale."""
    noise = np.resize(sound, len(speech)) if len(sound) else np.zeros_like(speech)
    power, other = float(np.mean(speech**2)), float(np.mean(noise**2))
    if other > 0:
        noise = noise * np.sqrt(power / other / 10 ** (decibels / 10))
    total = speech + noise
    peak = float(np.abs(total).max(initial=0.0))
    return (total / peak * 0.99 if peak > 0.99 else total).astype(np.float32)


def words_of(text: str) -> list[str]:
    """Words as they are compared: lower case, without punctuation."""
    return re.findall(r"[\w']+", text.casefold())


def word_errors(found: Sequence[str], spoken: Sequence[str]) -> int:
    """Substitutions, deletions and insertions between two word sequences (Levenshtein)."""
    row = list(range(len(spoken) + 1))
    for i, word in enumerate(found, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(spoken, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


def disturb(
    engine: Engine,
    speech: Sequence[Utterance],
    sounds: Dataset,
    options: TranscribeOptions,
    *,
    decibels: Sequence[int] = DECIBELS,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Disturbed:
    """Transcribe every utterance under one sound of each class at each ratio.

    The sounds of a class are used in turn, so that utterances meet different ones, the same at every ratio.
    """
    spoken = [_audio(Clip(one.path, ())) for one in speech]
    total = sum(len(words_of(one.text)) for one in speech)
    errors = np.zeros((len(sounds.labels), len(decibels)), np.int64)
    done, wanted = 0, len(sounds.labels) * len(decibels) * len(speech)
    with ThreadPoolExecutor(SLOTS) as pool:  # the engine decodes together what several threads ask

        def count(number: int, audio: Audio) -> int:
            return _errors(engine, audio, speech[number].text, options)

        clean = sum(pool.map(count, range(len(speech)), spoken))
        for row, label in enumerate(sounds.labels):
            clips = [clip for clip in sounds.clips if label in clip.labels]
            noises = [_audio(clip) for clip in clips[: len(speech)]]

            def under(cell: tuple[int, int], noises: list[Audio] = noises) -> int:
                column, number = cell
                return count(number, mixed(spoken[number], noises[number % len(noises)], decibels[column]))

            cells = list(itertools.product(range(len(decibels)), range(len(speech))))
            for (column, _), wrong in zip(cells, pool.map(under, cells), strict=True):
                errors[row, column] += wrong
                done += 1
                tell(done, wanted)
    return Disturbed(sounds.labels, tuple(decibels), errors, total, clean / total)


def _audio(clip: Clip) -> Audio:
    return clip_samples(clip).astype(np.float32) / 32768.0


def _errors(engine: Engine, audio: Audio, text: str, options: TranscribeOptions) -> int:
    hearing = engine.hear(Samples(audio), options, tags=False)
    found = words_of(" ".join(segment.text for segment in hearing.segments))
    return word_errors(found, words_of(text))
