"""``wat train``: fit a tagging head to a frozen encoder."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wat_cli.cli.heard import (
    Audio,
    Cache,
    DataPath,
    Device,
    Fold,
    Model,
    ModelDir,
    Offline,
    Threads,
    counting,
    heard,
    loaded_encoder,
    made_elsewhere,
    say,
)
from wat_cli.errors import UsageError

if TYPE_CHECKING:
    from wat_cli.training.datasets import Dataset
    from wat_cli.training.encoder import Encoder
    from wat_cli.training.loop import Epoch
    from wat_cli.training.recipes import Recipe
    from wat_cli.training.runs import Data, Row

ALL_HEADS = "last-mlp,wa-mlp,wa-tr,tl-tr"

PANEL = "Training, instead of the recipe's numbers"

Mixup = Annotated[
    float | None,
    typer.Option("--mixup", min=0.0, max=1.0, help="Share of decisions mixed with another.", rich_help_panel=PANEL),
]
Dropout = Annotated[
    float | None,
    typer.Option("--dropout", min=0.0, max=0.9, help="Share dropped before the last layer.", rich_help_panel=PANEL),
]
WeightDecay = Annotated[
    float | None, typer.Option("--weight-decay", min=0.0, help="Of the optimiser.", rich_help_panel=PANEL)
]
Balanced = Annotated[
    bool | None,
    typer.Option("--balanced/--unbalanced", help="Draw clips of rare labels as often.", rich_help_panel=PANEL),
]
ClassWeights = Annotated[
    float | None,
    typer.Option(
        "--class-weights",
        min=0.0,
        max=1.0,
        help="Weigh a class in the loss by 1 / count to this power, within a fifth and five.",
        rich_help_panel=PANEL,
    ),
]
Average = Annotated[
    int | None,
    typer.Option("--average", min=0, help="Last epochs whose weights are averaged.", rich_help_panel=PANEL),
]  # fmt: skip


def train(
    data: DataPath,
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", "-o", help="Folder for the head, its card, log and state.")
    ] = None,
    recipe: Annotated[
        str, typer.Option("--recipe", help="as20k, as2m, esc50 (the paper's), or captions.", rich_help_panel="Training")
    ] = "captions",
    head: Annotated[
        str | None,
        typer.Option(
            "--head",
            help="last-mlp, wa-mlp, wa-tr, tl-tr or tl-tr-WIDTH; several by comma with --cross-validate.",
            rich_help_panel="Training",
        ),
    ] = None,
    model: Model = "small",
    held_out: Annotated[
        Path | None, typer.Option("--held-out", help="A data set to judge each epoch on.", rich_help_panel="Data")
    ] = None,
    fold: Fold = None,
    cross_validate: Annotated[
        bool, typer.Option("--cross-validate", help="Hold out each fold in turn and print a table.")
    ] = False,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="File of labels in the head's order, or audioset.", rich_help_panel="Data"),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            "--features",
            help="What the encoder makes of the clips, made elsewhere: a NumPy file of clips x layers x steps x width.",
            rich_help_panel="Data",
        ),
    ] = None,
    audio: Audio = None,
    cache: Cache = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", min=1, help="Times through the data; the recipe's if left out.", rich_help_panel="Training"
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate", min=0.0, help="Learning rate at first; the recipe's if left out.", rich_help_panel="Training"
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option("--batch", min=1, help="Clips in a step; the recipe's if left out.", rich_help_panel="Training"),
    ] = None,
    mixup: Mixup = None,
    dropout: Dropout = None,
    weight_decay: WeightDecay = None,
    balanced: Balanced = None,
    class_weights: ClassWeights = None,
    average: Average = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed of all that is drawn.", rich_help_panel="Training")
    ] = 0,
    scenes: Annotated[
        int | None,
        typer.Option(
            "--scenes",
            min=0,
            help="30 s scenes mixed of the clips to learn from besides them; with --recipe captions "
            "100 or more if left out.",
            rich_help_panel="Training",
        ),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Forget what an earlier run left in the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table of --cross-validate as JSON.")] = False,
    model_dir: ModelDir = None,
    device: Device = "auto",
    threads: Threads = 0,
    offline: Offline = False,
) -> None:
    """Train a tagging head on the layers of a frozen encoder.

    The encoder hears each clip once; what it makes of it is kept. A run that was stopped goes on where it was when the
    same command is given again. The head is used with: wat caption FILES --tagger-checkpoint DIR/head.pt
    """
    from wat_cli.model.heads import head_mode
    from wat_cli.training.datasets import read_dataset, read_labels
    from wat_cli.training.mixing import usual_scenes
    from wat_cli.training.recipes import Own, find_recipe

    own = Own(epochs, rate, batch, mixup, dropout, weight_decay, class_weights, balanced, average)
    numbers = find_recipe(recipe, own)
    for kind in (head or ALL_HEADS).split(","):
        head_mode(kind)
    if fold is not None and held_out is not None:
        raise UsageError("--fold and --held-out: both say what is held out")
    if output_dir is None and not cross_validate:
        raise UsageError("--output-dir is missing: the folder for the head")
    names = read_labels(labels) if labels is not None else None
    dataset = read_dataset(data, audio=audio, labels=names)
    sets = [dataset]
    if held_out is not None:
        sets.append(read_dataset(held_out, audio=audio, labels=dataset.labels))
    with ExitStack() as stack:
        encoder = stack.enter_context(loaded_encoder(model, model_dir, device, threads, offline))
        if features is not None:
            clips = (made_elsewhere(encoder, features, dataset), *stack.enter_context(heard(encoder, cache, *sets[1:])))
        else:
            clips = stack.enter_context(heard(encoder, cache, *sets))
        if cross_validate:
            _cross_validate((head or ALL_HEADS).split(","), clips[0], numbers, seed, encoder.model.device, as_json)
            return
        assert output_dir is not None
        kept, out = clips[0], clips[1] if len(clips) > 1 else None
        if fold is not None:
            kept, out = kept.without_fold(fold), kept.fold(fold)
        if restart:
            (output_dir / "state.pt").unlink(missing_ok=True)
        from wat_cli.training.runs import train_head

        if scenes is None and recipe == "captions" and features is None:
            scenes = usual_scenes(kept.dataset)
        if scenes:
            kept = _with_scenes(encoder, kept, scenes, seed, output_dir)

        trained = train_head(
            head or _usual_head(encoder.width), kept, numbers, encoder, output_dir, held_out=out, seed=seed, tell=_tell
        )
    for name, value in trained.figures.items():
        say(f"{name} {value:.4f}")
    typer.echo(trained.path)


def _with_scenes(encoder: Encoder, data: Data, scenes: int, seed: int, folder: Path) -> Data:
    """The clips, and scenes mixed of them."""
    from wat_cli.training.mixing import Joined, mix_features
    from wat_cli.training.runs import Data

    folder.mkdir(parents=True, exist_ok=True)
    with counting("mixing") as progress:
        mixed, features = mix_features(encoder.model, data.dataset, scenes, seed, folder / "scenes.npy", progress)
    say(f"{scenes} scenes mixed of the clips")
    clips = (*data.dataset.clips, *mixed.clips)
    return Data(
        data.dataset.only(clips), Joined([(data.features, len(data.dataset.clips)), (features, len(mixed.clips))])
    )


def _usual_head(width: int) -> str:
    """TL-Tr512 where the encoder is wider: a fifth of the cost for nearly the precision (the paper's Table 2)."""
    return "tl-tr-512" if width > 512 else "tl-tr"


def _tell(epoch: Epoch) -> None:
    measured = "".join(f", {name} {value:.4f}" for name, value in epoch.measured.items())
    say(f"epoch {epoch.epoch}: loss {epoch.loss:.4f}{measured} ({epoch.seconds:.1f} s)")


def _cross_validate(kinds: list[str], data: Data, recipe: Recipe, seed: int, device: Any, as_json: bool) -> None:
    from wat_cli.training.runs import cross_validate

    rows = cross_validate(
        kinds, data, recipe, seed=seed, device=device,
        tell=lambda kind, fold, figure: say(f"{kind}, fold {fold}: {figure:.4f}"),
    )  # fmt: skip
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=1))
        return
    for line in table(rows, data.dataset):
        typer.echo(line)


def table(rows: list[Row], dataset: Dataset) -> list[str]:
    """The cross-validation as Markdown."""
    folds = " | ".join(f"fold {fold}" for fold in dataset.folds)
    lines = [
        f"| head | parameters | multiply-adds | ms a clip | {folds} | {rows[0].figure} (95 % interval) |",
        "|---|--:|--:|--:|" + "--:|" * len(dataset.folds) + "--:|",
    ]
    for row in rows:
        values = " | ".join(f"{row.folds[fold]:.3f}" for fold in dataset.folds)
        overall = f"{row.overall.value:.3f} ({row.overall.low:.3f} to {row.overall.high:.3f})"
        size, cost = _short(row.parameters), _short(row.multiply_adds)
        lines.append(f"| {row.head} | {size} | {cost} | {1000 * row.seconds:.2f} | {values} | {overall} |")
    return lines


def _short(number: int) -> str:
    """A count in thousands or millions."""
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number / 1e3:.1f} k"
