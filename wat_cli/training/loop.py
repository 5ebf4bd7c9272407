"""Fit a head to features: epochs, checkpoints, weight averaging, and going on where a killed run stopped.

Every random choice of an epoch follows from the seed and the epoch's number, and `state.pt` holds the rest at the end
of each epoch: a run that is killed and started again walks the same losses as one that was not.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wat_cli.errors import UsageError, shown
from wat_cli.model.heads import Head
from wat_cli.model.products import has_bfloat16
from wat_cli.model.whisper_at import read_checkpoint
from wat_cli.training.datasets import Dataset
from wat_cli.training.examples import Draw, Examples, Group, clip_decisions
from wat_cli.training.features import Features
from wat_cli.training.recipes import Recipe

AHEAD = 3
"""Batches that are read ahead of the one in work."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to."""

    epoch: int
    """Counted from 1."""
    loss: float
    """Mean over its batches."""
    rate: float
    seconds: float = field(compare=False)
    measured: dict[str, float] = field(default_factory=dict)
    """Figures on the held-out clips."""


Measure = Callable[[Head], dict[str, float]]
Tell = Callable[[Epoch], None]


def train(
    head: Head,
    features: Features,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    folder: Path | None = None,
    run: str = "",
    measure: Measure | None = None,
    tell: Tell = lambda epoch: None,
) -> list[Epoch]:
    """Fit `head`, in place, to the clips of `dataset`; returns the epochs.

    Args:
        head: a new head; what it held before decides nothing where `folder` has an earlier state.
        features: the clips' features, numbered as in `dataset`.
        folder: where ``state.pt`` and ``log.jsonl`` are kept after each epoch; with None nothing is kept.
        run: what else decides the result (the encoder's hash); with another one a state is not gone on with.
        measure: figures of a head in evaluation mode, asked for after each epoch.
        tell: told of each epoch as it ends.

    Raises UsageError where `folder` holds the state of another training.
    """
    return _Training(head, features, dataset, recipe, seed, torch.device(device), folder, run).run(measure, tell)


class _Training:
    """The state of one training between epochs."""

    def __init__(
        self, head: Head, features: Features, dataset: Dataset, recipe: Recipe, seed: int, device: torch.device,
        folder: Path | None, run: str,
    ) -> None:  # fmt: skip
        self.recipe, self.seed, self.device, self.folder = recipe, seed, device, folder
        self.examples = Examples(features, dataset, recipe)
        shares = self.examples.truth.shares(self.examples.seconds) if recipe.prior else None
        self.head = _initialised(head, seed, shares).to(device)
        self.half = computes_in_half(self.device)
        kind = torch.optim.AdamW if recipe.decoupled else torch.optim.Adam
        self.optimizer = kind(
            head.parameters(), recipe.rate, betas=recipe.betas, weight_decay=recipe.weight_decay, fused=True
        )
        weights = self.examples.truth.class_weights(recipe.class_weights) if recipe.class_weights else None
        self.weights = None if weights is None else torch.from_numpy(weights).to(device)
        self.identity = json.dumps([head.mode, seed, asdict(recipe), dataset.fingerprint(), run])
        self.averaged: dict[str, Tensor] = {}
        """Sum of the weights at the ends of the epochs that are averaged."""
        self.count = 0
        self.epochs: list[Epoch] = []
        if folder is not None:
            self._resume(folder)

    def run(self, measure: Measure | None, tell: Tell) -> list[Epoch]:
        hook = self.head.mlp_layer.register_forward_pre_hook(self._drop)
        try:
            return self._run(measure, tell)
        finally:
            hook.remove()

    def _run(self, measure: Measure | None, tell: Tell) -> list[Epoch]:
        for number in range(len(self.epochs) + 1, self.recipe.epochs + 1):
            started = time.monotonic()
            loss, rate = self._epoch(number)
            if self.recipe.average_from and number >= self.recipe.average_from:
                self._add_weights()
            measured = self._measured(measure) if measure is not None else {}
            self.epochs.append(Epoch(number, loss, rate, time.monotonic() - started, measured))
            if self.folder is not None:
                self._save(self.folder)
            tell(self.epochs[-1])
        if self.count:
            mean = {name: (value / self.count).to(self.device) for name, value in self.averaged.items()}
            self.head.load_state_dict(mean)
        self.head.eval()
        return self.epochs

    def _epoch(self, number: int) -> tuple[float, float]:
        self.head.train()
        losses, rate = [], self.recipe.rate
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(int(np.random.default_rng((self.seed, number, 1)).integers(2**62)))  # of the dropout
            for step, groups in enumerate(_ahead(self.examples, self.examples.epoch(self.seed, number))):
                rate = self._set_rate(number, step)
                losses.append(self._step(groups))
        return float(np.mean(losses)), rate

    def _drop(self, module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if not (module.training and self.recipe.dropout):
            return None
        return (F.dropout(inputs[0], self.recipe.dropout), *inputs[1:])

    def _step(self, groups: list[Group]) -> float:
        rows, total = sum(len(group.targets) for group in groups), 0.0
        self.optimizer.zero_grad(set_to_none=True)
        for group in groups:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
                logits = self.head(group.features.to(self.device, non_blocking=True))
            loss = batch_loss(logits.float(), group.targets.to(self.device), self.recipe, self.weights)
            loss = loss * (len(group.targets) / rows)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        if self.recipe.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.head.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        return total

    def _set_rate(self, epoch: int, step: int) -> float:
        rate = rate_at(self.recipe, epoch, step, self.examples.batches)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _measured(self, measure: Measure) -> dict[str, float]:
        self.head.eval()
        return measure(self.head)

    def _add_weights(self) -> None:
        for name, value in self.head.state_dict().items():
            value = value.detach().double().cpu()
            self.averaged[name] = self.averaged[name] + value if name in self.averaged else value
        self.count += 1

    # --- between runs -------------------------------------------------------------------------------------------------

    def _save(self, folder: Path) -> None:
        state = {
            "identity": self.identity,
            "head": self.head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.averaged,
            "count": self.count,
            "epochs": json.dumps([asdict(epoch) for epoch in self.epochs]),
        }
        part = folder / "state.pt.part"
        torch.save(state, part)
        part.replace(folder / "state.pt")
        lines = "".join(json.dumps(asdict(epoch)) + "\n" for epoch in self.epochs)
        (folder / "log.jsonl").write_text(lines)

    def _resume(self, folder: Path) -> None:
        path = folder / "state.pt"
        if not path.exists():
            return
        state = read_checkpoint(path)
        if state.get("identity") != self.identity:
            raise UsageError(
                f"{shown(folder)}: it holds another training (other data, recipe, head, seed or encoder); "
                "choose another --output-dir, or --restart"
            )
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.averaged, self.count = dict(state["averaged"]), int(state["count"])
        self.epochs = [Epoch(**row) for row in json.loads(state["epochs"])]


def computes_in_half(device: torch.device) -> bool:
    """Whether the head's products are made in bfloat16: on GPUs, and on CPUs that have instructions for it."""
    return has_bfloat16() if device.type == "cpu" else device.type == "cuda"


RAREST, COMMONEST = 0.002, 0.5
"""Bounds of the share of time that a class's first bias says."""


def _initialised(head: Head, seed: int, shares: NDArray[np.float64] | None) -> Head:
    """The head with weights that follow from the seed: a module's own initialisation, drawn again."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in head.modules():
            if module is not head and hasattr(module, "reset_parameters"):
                module.reset_parameters()  # type: ignore[operator]
        last = head.mlp_layer[-1]
        assert isinstance(last, torch.nn.Linear)
        if shares is not None:
            bounded = torch.from_numpy(shares).clamp(RAREST, COMMONEST)
            last.bias.data.copy_(bounded.logit())
    return head


def _ahead(examples: Examples, batches: Iterator[list[Draw]]) -> Iterator[list[Group]]:
    """The tensors of each batch, read from the disk by another thread while the head works."""
    with ThreadPoolExecutor(1) as pool:
        waiting = []
        for draws in batches:
            waiting.append(pool.submit(examples.groups, draws))
            if len(waiting) > AHEAD:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def batch_loss(logits: Tensor, targets: Tensor, recipe: Recipe, weights: Tensor | None = None) -> Tensor:
    """Mean loss of a batch; logits and targets [decisions, classes], `weights` of the classes [classes]."""
    if recipe.loss == "ce":
        return F.cross_entropy(logits, targets / targets.sum(dim=1, keepdim=True).clamp(min=1e-6), weights)
    loss = F.binary_cross_entropy_with_logits(logits, targets, weights)
    return loss * logits.shape[1] if recipe.summed else loss


def rate_at(recipe: Recipe, epoch: int, step: int, batches: int) -> float:
    """Learning rate of a batch; epochs count from 1, batches from 0."""
    if recipe.schedule == "steps":
        late = epoch - 1 - recipe.decay_from
        return recipe.rate * recipe.decay ** (0 if late < 0 else 1 + late // recipe.decay_every)
    done, total = (epoch - 1) * batches + step, recipe.epochs * batches
    rising = min(1.0, (done + 1) / max(1, min(recipe.warmup, total // 10)))
    falling = 0.5 * (1 + float(np.cos(np.pi * done / total)))
    return recipe.rate * rising * (0.01 + 0.99 * falling)


@torch.inference_mode()
def predict(head: Head, features: Features, clips: int, recipe: Recipe, batch: int = 64) -> NDArray[np.float32]:
    """Probabilities [clips, classes]: each clip heard whole, in decisions of the recipe's greatest length.

    Those of several decisions are averaged. Probabilities are a softmax where the recipe's loss is cross-entropy.
    """
    device = next(head.parameters()).device
    longest = max(recipe.lengths)
    asked = [(clip, span) for clip in range(clips) for span in clip_decisions(features.steps(clip), longest)]
    sums, counts = np.zeros((clips, head.classes), np.float32), np.zeros((clips, 1), np.float32)
    asked.sort(key=lambda question: (question[1][1] - question[1][0], question[0]))
    for first in range(0, len(asked), batch):
        part = asked[first : first + batch]
        for length in sorted({stop - start for _, (start, stop) in part}):
            same = [(clip, span) for clip, span in part if span[1] - span[0] == length]
            read = np.stack([features.read(clip, *span) for clip, span in same])
            logits = head(torch.from_numpy(read).to(device).transpose(1, 2)).float().cpu()
            scores = logits.softmax(dim=1) if recipe.loss == "ce" else logits.sigmoid()
            for (clip, _), row in zip(same, scores.numpy(), strict=True):
                sums[clip] += row
                counts[clip] += 1
    probabilities: NDArray[np.float32] = sums / counts
    return probabilities
