"""The sounds that speech is mixed with: a pool made once, and a bank that draws labelled clips from it in microseconds.

``python -m training.sounds OUT_DIR [--split train|judge|films] [--esc10 FOLDER]`` makes the pool: ESC-10 clips (if the
folder is given), music (`training.music`) and effects (`training.effects`), int16 at 16 kHz end to end in ``SPLIT.npy``
(memory-mapped when read) with one entry a clip in ``SPLIT.json``. Needs ffmpeg, fluidsynth and fluid-soundfont-gm.
The splits never share a seed: what is judged was never trained on.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.effects import EFFECTS, make_effect
from training.music import piece
from wat_cli.tagging.labels import load_labels

Kind = Literal["sustained", "abrupt"]

SAMPLE_RATE = 16_000
LEVEL = 0.1
"""Root mean square of every drawn clip's loudest 0.4 s."""

SEEDS = {"train": 3_000_000, "tune": 3_500_000, "judge": 4_000_000, "films": 5_000_000}
"""First seed of each split's music and effects; a split uses at most 100,000 of them."""

ESC10: dict[str, tuple[Kind, tuple[str, ...]]] = {
    "dog_bark": ("abrupt", ("Bark", "Dog", "Domestic animals, pets", "Animal")),
    "rain": ("sustained", ("Rain", "Water")),
    "sea_waves": ("sustained", ("Waves, surf", "Ocean", "Water")),
    "baby_cry": ("sustained", ("Baby cry, infant cry", "Crying, sobbing")),
    "clock_tick": ("sustained", ("Tick-tock", "Tick", "Clock", "Mechanisms")),
    "person_sneeze": ("abrupt", ("Sneeze",)),
    "helicopter": ("sustained", ("Helicopter", "Aircraft", "Vehicle")),
    "chainsaw": ("sustained", ("Chainsaw", "Light engine (high frequency)", "Engine")),
    "rooster": (
        "abrupt",
        (
            "Crowing, cock-a-doodle-doo",
            "Chicken, rooster",
            "Fowl",
            "Livestock, farm animals, working animals",
            "Animal",
        ),
    ),
    "fire_crackling": ("sustained", ("Crackle", "Fire")),
}
"""ESC-10's classes: kind, then the AudioSet class and its parents, by display name."""


@dataclass(frozen=True)
class SoundClip:
    """A sound that starts at its first sample."""

    samples: NDArray[np.float32]
    """Mono, 16 kHz, loudest 0.4 s at `LEVEL`."""
    labels: tuple[int, ...]
    """Indices of every AudioSet class that is true of it, parents too, in rising order."""
    main: int
    """Index of the class that a caption would be made of."""
    name: str
    """Kind of sound: an effect's name, an ESC-10 class, or ``music``."""
    kind: Kind


@dataclass(frozen=True)
class Entry:
    """Where a clip lies in the pool, and what it is."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    """Display names, the main one first."""
    fold: int
    """ESC-10 fold (1 to 4); 0 for made sounds."""
    origin: str
    """ESC-10 file name or seed."""
    offset: int
    length: int


@dataclass(frozen=True)
class Sounding:
    """Classes that sound in a window, in seconds; the ends may lie outside the window."""

    start: float
    end: float
    labels: tuple[int, ...]


@cache
def label_indices() -> dict[str, int]:
    """Index of each of the 527 AudioSet classes by its display name."""
    return {label.name: label.index for label in load_labels()}


def active_stretches(samples: NDArray[np.float32], gap: float = 1.2) -> list[tuple[int, int]]:
    """Start and end samples of what sounds: within 34 dB of the loudest 20 ms, joined over gaps up to `gap` s."""
    size = SAMPLE_RATE // 50
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    power = (frames.astype(np.float64) ** 2).mean(axis=1)
    loud = np.flatnonzero(power > max(power.max(initial=0.0) * 10**-3.4, 1e-7))
    if not len(loud):
        return []
    breaks = np.flatnonzero(np.diff(loud) > gap * 50)
    firsts, lasts = loud[np.r_[0, breaks + 1]], loud[np.r_[breaks, len(loud) - 1]]
    return [(int(a) * size, (int(b) + 1) * size) for a, b in zip(firsts, lasts, strict=True) if b - a >= 5]


def _decoded(path: Path) -> NDArray[np.float32]:
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "s16le", "-"]
    return (
        np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.int16).astype(np.float32)
        / 32768
    )


_Made = tuple[str, Kind, tuple[str, ...], int, str, NDArray[np.float32]]


def _esc10(folder: Path) -> Iterator[_Made]:
    for name, (kind, labels) in ESC10.items():
        for path in sorted((folder / name).glob("*.ogg")):
            samples = _decoded(path)
            for start, stop in active_stretches(samples):
                yield name, kind, labels, int(path.name[0]), path.name, samples[start:stop]


def _made(split: str, variants: int, pieces: int) -> Iterator[_Made]:
    for number in range(pieces):
        seed = SEEDS[split] + number
        samples, labels = piece(seed)
        yield "music", "sustained", labels, 0, str(seed), samples.astype(np.float32) / 32768
    for place, (name, effect) in enumerate(EFFECTS.items()):
        for number in range(variants):
            seed = SEEDS[split] + 10_000 + 1_000 * place + number
            yield name, effect.kind, effect.labels, 0, str(seed), make_effect(name, np.random.default_rng(seed))


def make_pool(folder: Path, split: str, variants: int, pieces: int, esc10: Path | None) -> None:
    """Write ``SPLIT.npy`` and ``SPLIT.json`` into `folder`: `variants` of each effect, `pieces` of music, ESC-10."""
    entries: list[Entry] = []
    chunks: list[NDArray[np.int16]] = []
    offset = 0
    makers = [_made(split, variants, pieces)] + ([_esc10(esc10)] if esc10 else [])
    for name, kind, labels, fold, origin, samples in (made for maker in makers for made in maker):
        scaled = np.round(samples * (32000 / (np.abs(samples).max() + 1e-9))).astype(np.int16)
        entries.append(Entry(name, kind, labels, fold, origin, offset, len(scaled)))
        chunks.append(scaled)
        offset += len(scaled)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{split}.npy", np.concatenate(chunks))
    (folder / f"{split}.json").write_text(json.dumps([asdict(entry) for entry in entries]))
    print(f"{folder / split}: {len(entries)} clips, {offset / SAMPLE_RATE / 60:.0f} min")


def levelled(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The samples with their loudest 0.4 s brought to a root mean square of `LEVEL`."""
    size = min(len(samples), int(0.4 * SAMPLE_RATE))
    power = np.add.reduceat(samples.astype(np.float64) ** 2, np.arange(0, len(samples), size)) / size
    return (samples * (LEVEL / np.sqrt(power.max() + 1e-12))).astype(np.float32)


class SoundBank:
    """Draws clips from one split's pool; one bank a process, no lock needed (the samples are mapped read-only).

    `folds` are the ESC-10 folds that may be drawn: a head that is judged on fold 4 is trained with ``(1, 2, 3)``.
    """

    def __init__(
        self, folder: Path, folds: tuple[int, ...] = (1, 2, 3, 4), split: str = "train", names: tuple[str, ...] = ()
    ) -> None:
        index = label_indices()
        self._samples: NDArray[np.int16] = np.load(folder / f"{split}.npy", mmap_mode="r")
        self._entries: dict[str, list[Entry]] = {}
        for item in json.loads((folder / f"{split}.json").read_text()):
            entry = Entry(**{**item, "labels": tuple(item["labels"])})
            if (entry.fold == 0 or entry.fold in folds) and (not names or entry.name in names):
                self._entries.setdefault(entry.name, []).append(entry)
        self._indices = {
            e.labels: tuple(sorted(index[n] for n in e.labels)) for es in self._entries.values() for e in es
        }
        self._main = {e.labels: index[e.labels[0]] for es in self._entries.values() for e in es}
        self.names = tuple(self._entries)
        """Kinds of sound that can be drawn, ESC-10's under their folder names."""
        shares = np.array([len(self.names) / 4 if name == "music" else 1.0 for name in self.names])
        self._shares = shares / shares.sum()

    def draw(self, rng: np.random.Generator, seconds: float | None = None, name: str | None = None) -> SoundClip:
        """One clip of at most `seconds`: a fifth of them music, else every kind of sound as often as any other.

        Two draws of one entry differ: pace and pitch move by up to 8 % together, treble goes up or down, and a
        sustained sound longer than `seconds` starts anywhere in it.
        """
        name = name or self.names[int(rng.choice(len(self.names), p=self._shares))]
        entries = self._entries[name]
        entry = entries[int(rng.integers(len(entries)))]
        samples = self._varied(rng, entry, seconds)
        return self._clip(entry, samples)

    def clips(self, name: str) -> Iterator[SoundClip]:
        """Every clip of one kind as it is, in the pool's order."""
        for entry in self._entries[name]:
            samples = self._samples[entry.offset : entry.offset + entry.length].astype(np.float32) / 32768
            yield self._clip(entry, levelled(samples))

    def _clip(self, entry: Entry, samples: NDArray[np.float32]) -> SoundClip:
        return SoundClip(samples, self._indices[entry.labels], self._main[entry.labels], entry.name, entry.kind)

    def background(self, rng: random.Random, count: int) -> NDArray[np.float32]:
        """`count` samples of one or more clips end to end, at a root mean square of 1: what lies under speech."""
        generator = np.random.default_rng(rng.getrandbits(32))
        out, at = np.zeros(count, np.float32), 0
        while at < count:
            taken = self.draw(generator).samples[: count - at]
            out[at : at + len(taken)] = taken
            at += len(taken)
        return out / np.float32(np.sqrt(np.mean(out**2)) + 1e-9)

    def _varied(self, rng: np.random.Generator, entry: Entry, seconds: float | None) -> NDArray[np.float32]:
        pace = float(rng.uniform(0.92, 1.08))
        wanted = entry.length if seconds is None else min(entry.length, int(seconds * SAMPLE_RATE * pace) + 2)
        spare = entry.length - wanted
        start = entry.offset + (int(rng.integers(spare + 1)) if entry.kind == "sustained" and rng.random() < 0.5 else 0)
        taken = self._samples[start : start + wanted].astype(np.float32) / 32768
        played = np.interp(np.arange(0, len(taken) - 1, pace), np.arange(len(taken)), taken).astype(np.float32)
        tilt = float(rng.uniform(-0.35, 0.35))
        played[1:] += tilt * played[:-1]
        sounding = active_stretches(played)
        if sounding:  # a crop may begin in a pause: the onset stays at the first sample
            played = played[sounding[0][0] : sounding[-1][1]]
        fade = min(80, len(played))
        played[:fade] *= np.linspace(0, 1, fade, dtype=np.float32)
        played[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
        return levelled(played)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", choices=list(SEEDS), default="train")
    parser.add_argument("--variants", type=int, default=60, help="of each effect")
    parser.add_argument("--pieces", type=int, default=300, help="of music, 24 s each")
    parser.add_argument("--esc10", type=Path, help="folder with ESC-10's clips, a folder a class")
    args = parser.parse_args()
    make_pool(args.folder, args.split, args.variants, args.pieces, args.esc10)


if __name__ == "__main__":
    main()
