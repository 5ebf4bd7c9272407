"""Train the embedded model's sound half on its frozen encoder: ``python -m training.head features|train ...``.

`features` mixes 30 s windows of speech and sounds and keeps what the encoder's layers make of them, pooled to 0.4 s
in half precision. `train` fits a TL-Tr head (Gong et al. 2023, section 3) to decisions of 1.2 to 10 s at every
position of those windows, so that one head can say *what* sounds over ten seconds and *when* over two.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from training.sounds import SoundBank, Sounding, label_indices
from training.voices import SAMPLE_RATE
from training.windows import SpeechPool, coloured_noise, log_mel
from wat_cli.model.tltr import PREFIX, TLTR
from wat_cli.model.whisper_at import POOLING, WhisperAT, load_whisper

CLASSES = 527
WINDOW = 30.0
BATCH = 8
STEP = 0.4
STEPS = 75
LENGTHS = (3, 4, 5, 5, 5, 6, 8, 12, 18, 25)
"""Steps of a decision, drawn evenly: 1.2 to 10 s, the short ones most often."""
WHOLE = 2.0
"""Seconds of a sound that are enough to call it present in a long decision."""


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
    """Write ``OUT.npy`` [windows, layers, 75, width] (half precision) and ``OUT.json`` (what sounds in each)."""
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
    rows = [[(s.start, s.end, s.labels) for s in sounding] for sounding in truth]
    out.with_suffix(".json").write_text(json.dumps(rows))


class Decisions:
    """Draws decisions of one length with their soft targets from the windows that `make_features` wrote."""

    def __init__(self, path: Path) -> None:
        self.features = torch.from_numpy(np.load(path.with_suffix(".npy")))
        rows = json.loads(path.with_suffix(".json").read_text())
        most = max(len(row) for row in rows)
        self.times = torch.zeros(len(rows), most, 2)
        self.labels = torch.zeros(len(rows), most, CLASSES, dtype=torch.bool)
        for i, row in enumerate(rows):
            for j, (start, end, labels) in enumerate(row):
                self.times[i, j] = torch.tensor([start, end])
                self.labels[i, j, labels] = True

    def draw(self, size: int, steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`size` decisions of `steps`: features [size, layers, steps, width], targets [size, classes].

        A target is the share heard of what could be heard: of the sound, of the decision, or of two seconds,
        whichever is shortest. A 2 s decision that a long sound enters half-way is worth 0.5, so that a threshold of
        0.5 crosses at the onset.
        """
        windows = torch.randint(len(self.features), (size,), generator=generator)
        starts = torch.randint(STEPS - steps + 1, (size,), generator=generator)
        spans = starts[:, None] + torch.arange(steps)
        features = self.features[windows[:, None], :, spans].transpose(1, 2)
        begin, stop = (starts * STEP)[:, None], ((starts + steps) * STEP)[:, None]
        first, last = self.times[windows].unbind(-1)
        overlap = (torch.minimum(last, stop) - torch.maximum(first, begin)).clamp(min=0)
        whole = (last - first).clamp(min=0.05, max=min(WHOLE, steps * STEP))
        share = (overlap / whole).clamp(max=1.0)
        targets = (share[..., None] * self.labels[windows]).amax(dim=1)
        return features, targets


def train_head(features: Path, steps: int, rate: float, seed: int, batch: int = 256) -> TLTR:
    """Fit a ``tl_tr_1_8`` head to the decisions of `features`."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    decisions = Decisions(features)
    _, layers, _, width = decisions.features.shape
    head = TLTR(layers, width, CLASSES)
    torch.nn.init.constant_(head.mlp_layer[1].bias, -5.0)
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=0.02, fused=True)
    started, losses = time.monotonic(), []
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, step / 100) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        length = LENGTHS[int(torch.randint(len(LENGTHS), (1,), generator=generator))]
        inputs, targets = decisions.draw(max(32, batch * 5 // max(5, length)), length, generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = head(inputs.float())
        loss = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none").sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step % 100 == 0:
            print(f"{step} {time.monotonic() - started:.0f}s loss {np.mean(losses[-100:]):.4f}", flush=True)
    return head.eval()


def save_head(head: TLTR, path: Path) -> None:
    """Write the head as whisper-at keeps it: a state dict under ``at_model.``, half precision."""
    torch.save({PREFIX + name: value.half() for name, value in head.state_dict().items()}, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    commands = parser.add_subparsers(dest="command", required=True)
    features = commands.add_parser("features")
    features.add_argument("--model", type=Path, required=True)
    features.add_argument("--speech", type=Path, required=True)
    features.add_argument("--sounds", type=Path, required=True)
    features.add_argument("--folds", type=int, nargs="+", default=[1, 2, 3, 4])
    features.add_argument("--windows", type=int, default=5000)
    features.add_argument("--out", type=Path, required=True)
    fit = commands.add_parser("train")
    fit.add_argument("--features", type=Path, required=True)
    fit.add_argument("--steps", type=int, default=4000)
    fit.add_argument("--rate", type=float, default=1e-3)
    fit.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.command == "features":
        speech = [args.speech / "grammar", args.speech / "loose"]
        mixed = MixedWindows(speech, args.sounds, tuple(args.folds), args.windows, args.seed)
        make_features(WhisperAT(load_whisper(args.model)), mixed, args.out)
    else:
        save_head(train_head(args.features, args.steps, args.rate, args.seed), args.out)


if __name__ == "__main__":
    main()
