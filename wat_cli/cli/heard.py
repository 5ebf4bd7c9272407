"""What `wat train` and `wat evaluate` share: a data set, an encoder, and the clips' features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wat_cli.cli.parameters import option_of
from wat_cli.errors import UsageError, shown
from wat_cli.options import ModelOptions

if TYPE_CHECKING:
    from wat_cli.training.cache import FeatureCache
    from wat_cli.training.datasets import Dataset
    from wat_cli.training.encoder import Encoder
    from wat_cli.training.runs import Data

LIVE = "none"
"""``--cache none``: nothing is kept."""

DataPath = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="A manifest (.csv with path,start,end,labels,fold or .jsonl), one of AudioSet's CSV files, or a folder of "
        "ESC-50's or ESC-10's shape.",
    ),
]
Audio = Annotated[
    Path | None,
    typer.Option("--audio", help="Folder of the clips, where it is not DATA's own.", rich_help_panel="Data"),
]
Model = Annotated[str, option_of(ModelOptions, "model", "The frozen encoder.", "Model")]
ModelDir = Annotated[Path | None, option_of(ModelOptions, "model_dir", panel="Model")]
Device = Annotated[str, option_of(ModelOptions, "device", "auto, cpu, cuda or cuda:N.", "Model")]
Threads = Annotated[int, option_of(ModelOptions, "threads", panel="Model")]
Offline = Annotated[bool, option_of(ModelOptions, "offline", panel="Model")]
Cache = Annotated[
    str | None,
    typer.Option(
        "--cache", help="Folder for the encoder's features (in the user's cache if left out); none keeps nothing.",
        rich_help_panel="Data",
    ),
]  # fmt: skip
Fold = Annotated[
    int | None, typer.Option("--fold", help="The fold that is held out (data sets with folds).", rich_help_panel="Data")
]


def say(text: str) -> None:
    """Messages go to stderr."""
    typer.echo(text, err=True)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing elsewhere; it is told how much is done, and of how much."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def loaded_encoder(model: str, model_dir: Path | None, device: str, threads: int, offline: bool) -> Iterator[Encoder]:
    """The frozen encoder, fetched if need be."""
    from wat_cli.cli.download_bar import DownloadBar
    from wat_cli.training.encoder import load_encoder

    options = ModelOptions(model=model, model_dir=model_dir, device=device, threads=threads, offline=offline)
    with DownloadBar() as bar:
        encoder = load_encoder(options, bar)
    say(f"{encoder.name}: {encoder.layers} layers x {encoder.width}, on {encoder.model.device}")
    yield encoder


def made_elsewhere(encoder: Encoder, path: Path, dataset: Dataset) -> Data:
    """The clips of `dataset` with features that another program made of them, in their order."""
    from wat_cli.training.features import read_features
    from wat_cli.training.runs import Data

    return Data(dataset, read_features(path, len(dataset.clips), encoder.layers, encoder.width))


@contextmanager
def heard(encoder: Encoder, cache: str | None, *datasets: Dataset) -> Iterator[tuple[Data, ...]]:
    """The clips of each data set that can be read, with their features."""
    from wat_cli.training.cache import FeatureCache
    from wat_cli.training.features import LiveFeatures, pieces, readable
    from wat_cli.training.runs import Data

    datasets = tuple(pieces(dataset) for dataset in datasets)
    if cache == LIVE:
        live = []
        for dataset in datasets:
            dataset, left_out = readable(dataset)
            _say_left_out(left_out, dataset)
            live.append(Data(dataset, LiveFeatures(encoder.model, dataset.clips)))
        yield tuple(live)
        return
    folder = Path(cache) if cache is not None else default_cache()
    with FeatureCache(folder, encoder.sha256, encoder.layers, encoder.width, write=True) as store:
        found = tuple(_extracted(encoder, store, dataset) for dataset in datasets)
    yield found  # what is there is read without the lock, so that another run may add to it


def _extracted(encoder: Encoder, store: FeatureCache, dataset: Dataset) -> Data:
    from wat_cli.training.features import CachedFeatures, extract
    from wat_cli.training.runs import Data

    with counting("hearing") as progress:
        size = 8 if encoder.model.device.type == "cpu" else 32
        result = extract(encoder.model, dataset, store, batch=size, progress=progress)
    _say_left_out(result.left_out, result.dataset)
    say(f"{len(result.dataset.clips)} clips, {result.encoded} of them heard now; features in {shown(store.folder)}")
    return Data(result.dataset, CachedFeatures(store, result.dataset.clips))


def _say_left_out(left_out: Sequence[tuple[Path, str]], dataset: Dataset) -> None:
    for path, reason in left_out[:10]:
        say(f"left out: {shown(path)}: {reason.removeprefix(f'{shown(path)}: ')}")
    if len(left_out) > 10:
        say(f"left out: {len(left_out) - 10} more files")
    if not dataset.clips:
        raise UsageError("None of the clips can be read.")


def default_cache() -> Path:
    """Where features are kept: beside the weights' cache."""
    from wat_cli.checkpoints import default_folder

    return default_folder().parent / "wat" / "features"
