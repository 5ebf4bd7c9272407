"""The numbers of a training, by name.

``as20k``, ``as2m`` and ``esc50`` are the paper's (Gong et al. 2023, section 4: batch 48, Adam, 30, 5 and 30 epochs at
2e-4, 1e-4 and 5e-4). What the paper does not say is whisper-at's released script's (``run_as_full_train.sh`` for
AudioSet-2M) or its defaults (``run.py``). ``captions`` is wat's own: decisions of 1.2 to 10 s with soft targets, so
that one head can say what sounds over ten seconds and when over two.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Literal

from wat_cli.errors import UsageError

TEN_SECONDS = 25
"""Steps of a decision as the paper has it."""

MIXED = (3, 4, 5, 5, 5, 6, 8, 12, 18, 25)
"""Steps of decisions drawn evenly: 1.2 to 10 s, the short ones most often."""


@dataclass(frozen=True)
class Recipe:
    """How a head is fitted."""

    name: str
    epochs: int
    rate: float
    """Learning rate at first."""
    share: float = 1.0
    """Share of the clips that an epoch draws: weights are saved and averaged at its end."""
    least: int = 0
    """Decisions that an epoch draws at least: a small data set is gone through more than once."""
    each_seconds: float = 0.0
    """An epoch draws a decision for each so many seconds of sound instead of one for each clip; 0 for clips."""
    batch: int = 48
    by_length: bool = False
    """A batch of decisions longer than 2 s has fewer of them: as many steps in all, an eighth of `batch` at least."""
    loss: Literal["bce", "ce"] = "bce"
    """Binary cross-entropy for any number of labels a clip, cross-entropy for exactly one."""
    summed: bool = False
    """Add up the losses of the classes instead of averaging them, so that `clip_norm` bounds how far any batch goes."""
    class_weights: float = 0.0
    """A class weighs in the loss by the inverse of its count to this power, a fifth to five; 0 for all alike."""
    lengths: tuple[int, ...] = (TEN_SECONDS,)
    """Steps of a decision, drawn evenly for each batch; a shorter clip is heard whole."""
    mixup: float = 0.0
    """Share of clips mixed with another, at Beta(10, 10), in the features as whisper-at does."""
    smoothing: float = 0.0
    """Share of the targets that is spread over all classes."""
    balanced: bool = False
    """Draw clips by the sum of 1 / count of their labels, with replacement."""
    time_mask: int = 0
    """Steps at most that are hidden in each clip, at random."""
    dropout: float = 0.0
    """Share of what enters the last layers that is dropped in training."""
    average_from: int = 1
    """The weights at the ends of this and all later epochs are averaged; 0 takes the last epoch's."""
    schedule: Literal["steps", "cosine"] = "steps"
    decay_from: int = 10
    """With ``steps``: epochs after which the rate is multiplied by `decay` first."""
    decay_every: int = 5
    decay: float = 0.5
    warmup: int = 0
    """With ``cosine``: batches over which the rate rises, a tenth of all at most."""
    betas: tuple[float, float] = (0.95, 0.999)
    weight_decay: float = 5e-7
    decoupled: bool = False
    """AdamW instead of Adam."""
    clip_norm: float = 0.0
    """Greatest norm of the gradient; 0 for any."""
    prior: bool = False
    """The last layer's biases begin at the log odds of the share of time in which each class sounds."""


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("as20k", 30, 2e-4, mixup=0.5, smoothing=0.1, time_mask=10, average_from=16),
        Recipe(
            "as2m", 50, 1e-4, share=0.1, mixup=0.5, smoothing=0.1, balanced=True, time_mask=10,
            average_from=21, decay_from=15, decay=0.75,
        ),
        Recipe("esc50", 30, 5e-4, loss="ce", average_from=16),
        Recipe(
            "captions", 30, 1e-3, least=960, each_seconds=2.0, by_length=True, summed=True, lengths=MIXED,
            average_from=0, schedule="cosine", warmup=100, betas=(0.9, 0.999), weight_decay=0.02, decoupled=True,
            clip_norm=1.0, prior=True,
        ),
    )
}  # fmt: skip
"""An epoch of ``as2m`` is a tenth of the data, as in the released script: 50 of them are the paper's 5."""


@dataclass(frozen=True)
class Own:
    """A person's own numbers instead of a recipe's; None leaves the recipe's."""

    epochs: int | None = None
    rate: float | None = None
    batch: int | None = None
    mixup: float | None = None
    dropout: float | None = None
    weight_decay: float | None = None
    class_weights: float | None = None
    balanced: bool | None = None
    average: int | None = None
    """Epochs at the end whose weights are averaged; 0 takes the last epoch's."""


def find_recipe(name: str, own: Own = Own()) -> Recipe:
    """The recipe of this name with a person's own numbers in it; UsageError where there is none."""
    if name not in RECIPES:
        raise UsageError(f"--recipe {name}: it is one of {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    numbers = {key: value for key, value in asdict(own).items() if value is not None}
    average, epochs = numbers.pop("average", None), own.epochs or recipe.epochs
    if average is not None:
        numbers["average_from"] = max(1, epochs - average + 1) if average else 0
    elif own.epochs is not None and recipe.average_from:
        numbers["average_from"] = min(recipe.average_from, max(1, epochs // 2 + 1))
    return replace(recipe, **numbers)
