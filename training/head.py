"""Make what the embedded model's head is trained on: ``python -m training.head --model CHECKPOINT --out WINDOWS``.

Mixes 30 s windows of speech and sounds and keeps what the frozen encoder's layers make of them, with what sounds when.
`wat train` fits the head to that: ``wat train WINDOWS.jsonl --features WINDOWS.npy --labels audioset``.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset

from training.sounds import SoundBank, Sounding, label_indices
from training.voices import SAMPLE_RATE
from training.windows import SpeechPool, coloured_noise, log_mel
from wat_cli.model.whisper_at import POOLING, WhisperAT, load_whisper
from wat_cli.training.datasets import audioset_names

WINDOW = 30.0
BATCH = 8
STEPS = 75


def mix_window(pool: SpeechPool, bank: SoundBank, rng: random.Random) -> tuple[NDArray[np.float32], list[Sounding]]:
    """A 30 s window of speech (or none) and up to five sounds over and between it, with what sounds when."""
    n, generator = int(WINDOW * SAMPLE_RATE), np.random.default_rng(rng.getrandbits(32))
    samples = np.zeros(n, np.float32)
    sounding: list[Sounding] = []
    speech = label_indices()["Speech"]
    spoken_share = rng.choice([0.0, 0.3, 0.7, 1.0])
    level = 0.1 * 10 ** (rng.uniform(-14, 4) / 20)
    at = int(rng.uniform(0, 3) * SAMPLE_RATE)
    while spoken_share and at < n:
        drawn = pool.draw(rng, 10**9)
        assert drawn is not None
        signal = drawn[1][: n - at] * level * 10 ** (rng.uniform(-3, 3) / 20)
        samples[at : at + len(signal)] += signal
        sounding.append(Sounding(at / SAMPLE_RATE, (at + drawn[0].length) / SAMPLE_RATE, (speech,)))
        pause = rng.uniform(0.1, 0.7) if rng.random() < spoken_share else rng.uniform(1.0, 9.0)
        at += drawn[0].length + int(pause * SAMPLE_RATE)
    for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 4, 5])):
        clip = bank.draw(generator, seconds=rng.choice([2.0, 4.0, 8.0, 16.0, 30.0]))
        start = int(rng.uniform(-4.0, WINDOW - 0.5) * SAMPLE_RATE)
        gain = rng.choice([1.0, level / 0.1]) * 10 ** (rng.uniform(-16, 6) / 20)
        heard = clip.samples[max(0, -start) : n - start]
        if len(heard):
            samples[max(0, start) : max(0, start) + len(heard)] += gain * heard
            sounding.append(Sounding(start / SAMPLE_RATE, (start + len(clip.samples)) / SAMPLE_RATE, clip.labels))
    if rng.random() < 0.3:
        samples += 10 ** rng.uniform(-4, -2.2) * coloured_noise(rng, n)
    samples += 10 ** rng.uniform(-6.5, -3.5) * generator.standard_normal(n).astype(np.float32)
    return samples, sounding


class MixedWindows(IterableDataset[tuple[NDArray[np.float32], NDArray[np.float32], list[list[Sounding]]]]):
    """Windows in batches, mixed in a DataLoader's worker while the encoder works: samples, mel uplifts, what sounds."""

    def __init__(self, speech: list[Path], sounds: Path, folds: tuple[int, ...], windows: int, seed: int) -> None:
        self.speech, self.sounds, self.folds, self.windows, self.seed = speech, sounds, folds, windows, seed

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], list[list[Sounding]]]]:
        rng, pool, bank = random.Random(self.seed), SpeechPool(self.speech), SoundBank(self.sounds, folds=self.folds)
        for first in range(0, self.windows, BATCH):
            mixed = [mix_window(pool, bank, rng) for _ in range(min(BATCH, self.windows - first))]
            uplift = [rng.uniform(0, 1.5) if rng.random() < 0.3 else 0.0 for _ in mixed]
            samples = np.stack([samples for samples, _ in mixed])
            yield samples, np.array(uplift, np.float32), [sounding for _, sounding in mixed]


def _as_is(batch: object) -> object:
    """Keep arrays arrays on their way out of the worker: tensors would go through shared memory, which can be small."""
    return batch


def make_features(model: WhisperAT, mixed: MixedWindows, out: Path) -> None:
    """Write ``OUT.npy`` [windows, layers, 75, width] (half precision) and ``OUT.jsonl``, the windows' manifest."""
    shape = (mixed.windows, model.dims.n_audio_layer, STEPS, model.dims.n_audio_state)
    features = np.lib.format.open_memmap(out.with_suffix(".npy"), "w+", np.float16, shape)
    truth: list[list[Sounding]] = []
    started = time.monotonic()
    for samples, uplift, sounding in DataLoader(
        mixed, batch_size=None, num_workers=1, prefetch_factor=4, collate_fn=_as_is
    ):
        mel = log_mel(torch.as_tensor(samples), torch.as_tensor(uplift))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            encoded = model.encode(mel, [slice(0, STEPS * POOLING)] * len(mel))
        assert encoded.layer_features is not None
        features[len(truth) : len(truth) + len(mel)] = torch.stack(encoded.layer_features).numpy()
        truth += sounding
        if len(truth) % 400 == 0:
            print(f"{len(truth)} windows, {time.monotonic() - started:.0f}s", flush=True)
    features.flush()
    write_manifest(truth, out.with_suffix(".jsonl"))


def write_manifest(truth: Sequence[Sequence[Sounding]], path: Path) -> None:
    """A line for each window, as `wat train` reads it: a name, and what sounds when."""
    names = audioset_names()
    with path.open("w", encoding="utf-8") as file:
        for number, sounding in enumerate(truth):
            events = [
                {"start": round(one.start, 3), "end": round(one.end, 3), "label": names[label]}
                for one in sounding
                for label in one.labels
            ]
            file.write(json.dumps({"path": f"window-{number}", "events": events}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--sounds", type=Path, required=True)
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--windows", type=int, default=5000)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    speech = [args.speech / "grammar", args.speech / "loose"]
    mixed = MixedWindows(speech, args.sounds, tuple(args.folds), args.windows, args.seed)
    make_features(WhisperAT(load_whisper(args.model)), mixed, args.out)


if __name__ == "__main__":
    main()
