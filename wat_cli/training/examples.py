"""From features and labels to batches of decisions with soft targets.

A decision is a run of steps of a clip. Its target for a class is the share heard of what could be heard: of the sound,
of the decision, or of two seconds, whichever is shortest. A 2 s decision that a long sound enters half-way is worth
0.5, so that a threshold of 0.5 crosses at the onset; a label that holds for the whole clip is worth 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wat_cli.training.datasets import Dataset
from wat_cli.training.features import Features
from wat_cli.training.recipes import Recipe
from wat_cli.transcript import TAG_HOP

WHOLE = 2.0
"""Seconds of a sound that are enough to call it present in a long decision."""

TWO_SECONDS = 5
"""Steps."""

MOST_WEIGHT = 5.0
"""Greatest weight of a class in the loss; the least is its inverse."""

LATE = 1e6
"""Seconds that stand for an infinite end."""


class Truth:
    """What sounds when in each clip, ready for the targets of any decision."""

    def __init__(self, dataset: Dataset) -> None:
        self.classes = len(dataset.labels)
        self._times: list[NDArray[np.float32]] = []
        self._columns: list[NDArray[np.int64]] = []
        for clip in dataset.clips:
            events = [(event.start, min(event.end, LATE)) for event in clip.events]
            self._times.append(np.array(events, np.float32).reshape(-1, 2))
            self._columns.append(np.array([dataset.index[event.label] for event in clip.events], np.int64))

    def target(self, clip: int, first: int, stop: int) -> NDArray[np.float32]:
        """[classes], 0 to 1, for the decision over steps ``first`` to ``stop`` of a clip."""
        target = np.zeros(self.classes, np.float32)
        begin, end = first * TAG_HOP, stop * TAG_HOP
        times = self._times[clip]
        overlap = np.clip(np.minimum(times[:, 1], end) - np.maximum(times[:, 0], begin), 0, None)
        whole = np.clip(times[:, 1] - times[:, 0], 0.05, min(WHOLE, end - begin))
        np.maximum.at(target, self._columns[clip], np.minimum(overlap / whole, 1.0).astype(np.float32))
        return target

    def clip_targets(self) -> NDArray[np.float32]:
        """[clips, classes]: 1 where a label occurs in the clip."""
        targets = np.zeros((len(self._times), self.classes), np.float32)
        for clip, columns in enumerate(self._columns):
            targets[clip, columns] = 1.0
        return targets

    def shares(self, seconds: Sequence[float]) -> NDArray[np.float64]:
        """[classes]: share of the time in which each class sounds, in clips of so many seconds each."""
        heard = np.zeros(self.classes)
        for times, columns, length in zip(self._times, self._columns, seconds, strict=True):
            overlap = np.clip(np.minimum(times[:, 1], length) - np.maximum(times[:, 0], 0.0), 0, None)
            np.add.at(heard, columns, overlap)
        shares: NDArray[np.float64] = np.minimum(heard / max(float(sum(seconds)), TAG_HOP), 1.0)
        return shares

    def class_weights(self, power: float) -> NDArray[np.float32]:
        """[classes]: the inverse of each class's count to this power, against the mean count; 1 where none has it."""
        counts = self.clip_targets().sum(axis=0)
        known = counts > 0
        weights = np.ones(self.classes, np.float32)
        weights[known] = np.clip((counts[known].mean() / counts[known]) ** power, 1 / MOST_WEIGHT, MOST_WEIGHT)
        return weights

    def weights(self) -> NDArray[np.float64]:
        """[clips]: the sum of 1 / count of a clip's labels, as whisper-at's ``gen_weight_file.py``; never 0.

        A clip without labels counts as one of a class of its own.
        """
        targets = self.clip_targets().astype(np.float64)
        silent = targets.sum(axis=1) == 0
        weights: NDArray[np.float64] = targets @ (1.0 / np.maximum(targets.sum(axis=0), 1.0))
        weights[silent] = 1.0 / max(1, silent.sum())
        return weights


@dataclass(frozen=True)
class Draw:
    """One decision to be made of one clip, or of two that are mixed."""

    clip: int
    first: int
    """First step of the decision in the clip."""
    length: int
    partner: int = -1
    partner_first: int = 0
    share: float = 1.0
    """How much of the mixture is `clip`; the rest is `partner`."""
    mask: tuple[int, int] = (0, 0)
    """Steps of the decision that are hidden."""


@dataclass(frozen=True)
class Group:
    """Decisions of one length: features [decisions, layers, steps, width] (half precision), targets."""

    features: Tensor
    targets: Tensor


class Examples:
    """Draws the batches of an epoch; the same seed and epoch draw the same."""

    def __init__(self, features: Features, dataset: Dataset, recipe: Recipe) -> None:
        self.features, self.recipe, self.truth = features, recipe, Truth(dataset)
        self.clips = len(dataset.clips)
        self.seconds = [TAG_HOP * features.steps(clip) for clip in range(self.clips)]
        self._weights = torch.from_numpy(self.truth.weights())

    @property
    def batches(self) -> int:
        """Batches in an epoch: a last one that is not full is left out, as whisper-at does."""
        return max(1, self._draws // self.recipe.batch)

    @property
    def _draws(self) -> int:
        each = self.recipe.each_seconds
        wanted = sum(self.seconds) / each if each else float(self.clips)
        return max(round(wanted * self.recipe.share), self.recipe.least, 1)

    def epoch(self, seed: int, epoch: int) -> Iterator[list[Draw]]:
        """The decisions of every batch of an epoch."""
        random = np.random.default_rng((seed, epoch))
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        lengths = [int(length) for length in random.choice(self.recipe.lengths, self.batches)]
        sizes = [self._size(length) for length in lengths]
        wanted = sum(sizes)
        if self.recipe.balanced:
            order = torch.multinomial(self._weights, wanted, replacement=True, generator=generator)
        else:
            rounds = [torch.randperm(self.clips, generator=generator) for _ in range(-(-wanted // self.clips))]
            order = torch.cat(rounds)[:wanted]
        for length, rows in zip(lengths, torch.split(order, sizes), strict=True):
            yield [self._draw(clip, length, random) for clip in rows.tolist()]

    def _size(self, length: int) -> int:
        """Decisions in a batch of this length."""
        batch = min(self.recipe.batch, self._draws)
        if not self.recipe.by_length or length <= TWO_SECONDS:
            return batch
        return max(1, batch // 8, batch * TWO_SECONDS // length)

    def _draw(self, clip: int, length: int, random: np.random.Generator) -> Draw:
        recipe, partner, share = self.recipe, -1, 1.0
        length = min(length, self.features.steps(clip))
        if random.random() < recipe.mixup:
            partner, share = int(random.integers(self.clips)), float(random.beta(10, 10))
            length = min(length, self.features.steps(partner))
        first, partner_first = (
            int(random.integers(self.features.steps(one) - length + 1)) if one >= 0 else 0 for one in (clip, partner)
        )
        hidden = int(random.integers(min(recipe.time_mask, length - 1) + 1))
        start = int(random.integers(length - hidden + 1))
        return Draw(clip, first, length, partner, partner_first, share, (start, start + hidden))

    def groups(self, draws: list[Draw]) -> list[Group]:
        """The batch's tensors: decisions of one length together, so that none is padded."""
        lengths = sorted({draw.length for draw in draws})
        return [self._group([draw for draw in draws if draw.length == length]) for length in lengths]

    def _group(self, draws: list[Draw]) -> Group:
        features = np.stack([self._features(draw) for draw in draws])
        targets = np.stack([self._target(draw) for draw in draws])
        return Group(torch.from_numpy(features).transpose(1, 2), torch.from_numpy(targets))

    def _features(self, draw: Draw) -> NDArray[np.float16]:
        features = np.array(self.features.read(draw.clip, draw.first, draw.first + draw.length))
        if draw.partner >= 0:
            other = self.features.read(draw.partner, draw.partner_first, draw.partner_first + draw.length)
            mixed = draw.share * features.astype(np.float32) + (1 - draw.share) * other.astype(np.float32)
            features = mixed.astype(np.float16)
        features[slice(*draw.mask)] = 0
        return features

    def _target(self, draw: Draw) -> NDArray[np.float32]:
        target = self.truth.target(draw.clip, draw.first, draw.first + draw.length)
        if draw.partner >= 0:
            stop = draw.partner_first + draw.length
            target = draw.share * target + (1 - draw.share) * self.truth.target(draw.partner, draw.partner_first, stop)
        return smoothed(target, self.recipe.smoothing)


def smoothed(target: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """`share` of the target spread over all classes."""
    return ((1 - share) * target + share / len(target)).astype(np.float32) if share else target


def clip_decisions(steps: int, longest: int) -> list[tuple[int, int]]:
    """Decisions that together hear a whole clip: as few as it takes, of one length, overlapping where they must."""
    length = min(steps, longest)
    count = math.ceil(steps / length)
    starts = np.linspace(0, steps - length, count).round().astype(int)
    return [(int(start), int(start) + length) for start in starts]
