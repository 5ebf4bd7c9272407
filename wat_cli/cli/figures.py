"""``wat figures``: the Whisper-AT paper's findings, measured on any encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wat_cli.cli.config import configurable
from wat_cli.cli.heard import (
    Audio,
    Cache,
    DataPath,
    Device,
    ModelDir,
    Offline,
    Threads,
    counting,
    heard,
    loaded_encoder,
    say,
)
from wat_cli.cli.parameters import FamiliarCommand
from wat_cli.errors import UsageError

if TYPE_CHECKING:
    from wat_cli.training.datasets import Dataset
    from wat_cli.training.encoder import Encoder
    from wat_cli.training.noise import Disturbed, Utterance

figures_app = typer.Typer(
    name="figures",
    help="The paper's findings on any encoder: each command writes a table and its plot.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Models = Annotated[str, typer.Option("--model", help="Frozen encoders, by comma.")]
Output = Annotated[Path, typer.Option("--output-dir", "-o", help="Folder for tables and plots.")]


@figures_app.command(cls=FamiliarCommand)
@configurable
def layers(
    data: DataPath,
    output_dir: Output = Path("figures"),
    model: Models = "small",
    audio: Audio = None,
    cache: Cache = None,
    model_dir: ModelDir = None,
    device: Device = "auto",
    threads: Threads = 0,
    offline: Offline = False,
) -> None:
    """Probe every layer for sounds: accuracy by layer, and the best layer of each class (Figures 1 below, 3, 5)."""
    from wat_cli.training import plots
    from wat_cli.training.datasets import read_dataset
    from wat_cli.training.probe import probe_layers

    dataset, found = read_dataset(data, audio=audio), {}
    for name in model.split(","):
        with loaded_encoder(name, model_dir, device, threads, offline) as encoder:
            with heard(encoder, cache, dataset) as clips:
                found[encoder.name] = probe_layers(clips[0])
            for layer, accuracy in enumerate(found[encoder.name].accuracy, 1):
                say(f"{encoder.name}, layer {layer}: {accuracy:.4f}")
    _print(plots.layers(found, output_dir))


@figures_app.command(cls=FamiliarCommand)
@configurable
def widths(
    data: DataPath,
    output_dir: Output = Path("figures"),
    model: Models = "small",
    head: Annotated[
        str | None, typer.Option("--head", help="Heads by comma; TL-Tr at every width if left out.")
    ] = None,
    recipe: Annotated[str, typer.Option("--recipe", help="As in wat train.")] = "esc50",
    epochs: Annotated[int | None, typer.Option("--epochs", min=1)] = None,
    audio: Audio = None,
    cache: Cache = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    model_dir: ModelDir = None,
    device: Device = "auto",
    threads: Threads = 0,
    offline: Offline = False,
) -> None:
    """Cross-validate TL-Tr at several widths: accuracy against cost (Table 2)."""
    from wat_cli.training import plots
    from wat_cli.training.datasets import read_dataset
    from wat_cli.training.recipes import Own, find_recipe
    from wat_cli.training.runs import cross_validate

    dataset, rows = read_dataset(data, audio=audio), {}
    for name in model.split(","):
        with loaded_encoder(name, model_dir, device, threads, offline) as encoder:
            kinds = head.split(",") if head else _widths(encoder)
            with heard(encoder, cache, dataset) as clips:
                rows[encoder.name] = cross_validate(
                    kinds, clips[0], find_recipe(recipe, Own(epochs=epochs)), seed=seed, device=encoder.model.device,
                    tell=lambda kind, fold, figure: say(f"{kind}, fold {fold}: {figure:.4f}"),
                )  # fmt: skip
    _print(plots.widths(rows, output_dir))


def _widths(encoder: Encoder) -> list[str]:
    below = [width for width in (32, 64, 128, 256, 512, 768) if width < encoder.width]
    return [*(f"tl-tr-{width}" for width in below[-4:]), "tl-tr"]


@figures_app.command(cls=FamiliarCommand)
@configurable
def noise(
    data: DataPath,
    speech: Annotated[Path, typer.Option("--speech", help="CSV file with path and text: what is said.")],
    output_dir: Output = Path("figures"),
    model: Models = "small",
    decibels: Annotated[str, typer.Option("--decibels", help="Ratios of speech to sound, by comma.")] = (
        "-20,-15,-10,-5,0,5,10,15,20"
    ),
    utterances: Annotated[int, typer.Option("--utterances", min=1, help="Of the speech, the first so many.")] = 40,
    language: Annotated[str, typer.Option("--language", help="That is spoken.")] = "en",
    audio: Audio = None,
    cache: Cache = None,
    model_dir: ModelDir = None,
    device: Device = "auto",
    threads: Threads = 0,
    offline: Offline = False,
) -> None:
    """Recognise speech under sounds: word error rate against the ratio, and by class (Figures 1 above, 2, 5).

    With sounds in folds each class's F1 is set against the rise of the word error rate; with several models, too, how
    well a TL-Tr head on each tags (trained for each fold).
    """
    from wat_cli.training import plots
    from wat_cli.training.datasets import read_dataset
    from wat_cli.training.noise import read_speech
    from wat_cli.training.probe import probe_layers
    from wat_cli.training.recipes import find_recipe
    from wat_cli.training.runs import cross_validate

    dataset, spoken = read_dataset(data, audio=audio), read_speech(speech)[:utterances]
    try:
        ratios = [int(part) for part in decibels.split(",")]
    except ValueError:
        raise UsageError(f"--decibels {decibels}: whole numbers are expected, by comma") from None
    found, probed, tagged = {}, {}, {}
    for name in model.split(","):
        with loaded_encoder(name, model_dir, device, threads, offline) as encoder:
            found[encoder.name] = _disturb(encoder, spoken, dataset, ratios, language)
            if len(dataset.folds) > 1:
                with heard(encoder, cache, dataset) as clips:
                    probed[encoder.name] = probe_layers(clips[0])
                    if "," in model:
                        [tagged[encoder.name]] = cross_validate(
                            ["tl-tr"], clips[0], find_recipe("esc50"), device=encoder.model.device
                        )
            rates = found[encoder.name].rates.mean(axis=0)
            for ratio, rate in zip(ratios, rates, strict=True):
                say(f"{encoder.name}, {ratio} dB: {rate:.4f}")
    _print(plots.noise(found, probed, output_dir))
    if tagged:
        _print(plots.models(found, tagged, output_dir))


def _disturb(
    encoder: Encoder, spoken: Sequence[Utterance], dataset: Dataset, ratios: Sequence[int], language: str
) -> Disturbed:
    from wat_cli.engine import Engine
    from wat_cli.options import TranscribeOptions
    from wat_cli.training.noise import disturb

    # one greedy try, as an evaluation has it: retries at higher temperatures would hide what the sounds do
    options = TranscribeOptions(language=language, beam_size=None, temperature_increment_on_fallback=None)
    with counting("transcribing") as progress:
        return disturb(Engine(encoder.model), spoken, dataset, options, decibels=ratios, tell=progress)


def _print(paths: Sequence[Path]) -> None:
    for path in paths:
        typer.echo(path)
