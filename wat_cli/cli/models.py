"""``wat models``: which weights there are, where they lie, and getting them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wat_cli.cli.config import configurable
from wat_cli.cli.parameters import FamiliarCommand, option_of
from wat_cli.errors import CheckpointError, WeightsMissing
from wat_cli.options import ModelOptions

if TYPE_CHECKING:
    from wat_cli.checkpoints import Plan, Wanted

models_app = typer.Typer(
    name="models",
    help="The weights: list them, fetch them, find them, check them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ABOUT_HEADS = (
    "Heads tag sounds: their width, and their mean average precision on AudioSet in percent as their publisher "
    "measured it. The 512-wide is taken where there is one; --tagger-head full takes the other."
)
ABOUT_MINI = (
    "mini ships with wat. It was trained on synthetic English voices and a published vocabulary, for trying wat, for "
    "its tests and for work offline; it is not made for real recordings. For those take small or a larger one."
)

Names = Annotated[list[str], typer.Argument(metavar="NAME", help="Names from `wat models list`.")]
Folder = Annotated[Path | None, option_of(ModelOptions, "model_dir")]
HeadWidth = Annotated[str | None, option_of(ModelOptions, "tagger_head")]
WithHead = Annotated[bool, typer.Option("--tags/--no-tags", help="With the head that tags sounds, where there is one.")]


@models_app.command("list", cls=FamiliarCommand)
@configurable
def list_models(
    model_dir: Folder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models: size, languages, head for sounds, and what is on this machine."""
    rows = list(_rows(model_dir))
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        _print_table(rows, model_dir)


@models_app.command(cls=FamiliarCommand)
@configurable
def pull(
    names: Names,
    model_dir: Folder = None,
    tagger_head: HeadWidth = None,
    tags: WithHead = True,
    trust_changed: Annotated[
        bool, typer.Option("--trust-changed", help="Accept heads whose hash is no longer the one first seen.")
    ] = False,
) -> None:
    """Fetch models and their heads from their publishers, or fetch wrong files anew."""
    from wat_cli import checkpoints
    from wat_cli.cli.download_bar import DownloadBar

    plans = [_plan(name, model_dir, tagger_head, tags) for name in names]
    with DownloadBar() as bar:
        for planned in plans:
            if trust_changed:
                checkpoints.trust_changed(planned)
            for file in checkpoints.pull(planned, progress=bar):
                typer.echo(f"{file.name}: {file.path}", err=True)


@models_app.command(cls=FamiliarCommand)
@configurable
def path(
    name: Annotated[str, typer.Argument(help="A name from `wat models list`.")],
    model_dir: Folder = None,
    tagger_head: HeadWidth = None,
    tags: WithHead = True,
) -> None:
    """Print the checkpoint's file and the head's, a line each."""
    planned = _plan(name, model_dir, tagger_head, tags)
    for wanted in planned.missing:
        raise WeightsMissing(f"{wanted.path} is not there. To fetch it: wat models pull {wanted.pull}")
    for wanted in planned.files:
        typer.echo(wanted.path)


@models_app.command(cls=FamiliarCommand)
@configurable
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="All on this machine, if left out.")] = None,
    model_dir: Folder = None,
) -> None:
    """Read the weights on this machine again and compare their hashes with the published ones."""
    from wat_cli.checkpoints import registry

    chosen = names or [registry.MINI, *registry.MODELS]
    wanted = {file: None for name in chosen for file in _files(name, model_dir)}
    if names and not any(file.cached for file in wanted):
        raise WeightsMissing(f"Nothing of {', '.join(names)} is on this machine: wat models pull {' '.join(names)}")
    if not any(file.cached for file in wanted):
        typer.echo("wat: no weights on this machine", err=True)
    wrong = sum(not _verify(file) for file in wanted if file.cached)
    if wrong:
        raise CheckpointError(f"{wrong} file{'s are' if wrong > 1 else ' is'} not what it should be.")


def _verify(file: Wanted) -> bool:
    """Check one file afresh and print the verdict."""
    from wat_cli.checkpoints import check
    from wat_cli.cli.download_bar import DownloadBar

    try:
        with DownloadBar() as bar:
            found = check(file, bar, afresh=True)
    except CheckpointError as error:
        typer.echo(f"wrong  {file.path}")
        typer.echo(f"wat: {error}", err=True)
        return False
    published = file.remote is not None and file.remote.sha256 is not None
    verdict = "as published" if published else "as first seen" if file.remote else "no published hash"
    typer.echo(f"ok     {file.path}  {found.sha256}  {verdict}")
    return True


def _plan(name: str, model_dir: Path | None, tagger_head: str | None, tags: bool) -> Plan:
    """The files of a model, with its head where it has one."""
    from wat_cli.checkpoints import MINI, plan, registry

    model = registry.find(name)
    headed = name == MINI or (model is not None and bool(model.heads))
    width = tagger_head if name != MINI else None
    planned = plan(ModelOptions(model=name, model_dir=model_dir, tagger_head=width), tags=tags and headed)
    if tags and not headed:
        typer.echo(f"wat: no head to tag sounds with is published for {planned.asr.name}", err=True)
    return planned


def _files(name: str, model_dir: Path | None) -> tuple[Wanted, ...]:
    from wat_cli.checkpoints import files_of

    return files_of(ModelOptions(model=name, model_dir=model_dir))


def _rows(model_dir: Path | None) -> Iterator[dict[str, Any]]:
    """What the list says of each model."""
    from wat_cli.checkpoints import MINI, registry

    for name in (MINI, *registry.MODELS):
        model = registry.find(name)
        files = list(_files(name, model_dir))
        yield {
            "name": name,
            "aliases": list(model.aliases) if model else [],
            "parameters": model.parameters if model else None,
            "megabytes": model.megabytes if model else None,
            "languages": model.languages if model else "English (synthetic voices)",
            "heads": {width: model.heads[width].mean_average_precision for width in sorted(model.heads)}
            if model
            else {"full": None},
            "cached": [str(file.path) for file in files if file.cached],
        }


def _print_table(rows: list[dict[str, Any]], model_dir: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from wat_cli.checkpoints import default_folder

    console = Console()
    if not console.is_terminal:
        console.width = 200  # nothing is cut off in a pipe
    table = Table(box=None, pad_edge=False)
    for title in ("Name", "Parameters", "Languages", "Head for sounds (mAP)", "On this machine"):
        table.add_column(title, no_wrap=title != "On this machine")
    for row in rows:
        table.add_row(
            ", ".join([row["name"], *row["aliases"]]),
            f"{row['parameters']}, {row['megabytes']} MB" if row["parameters"] else "ships with wat",
            row["languages"],
            ", ".join(width if value is None else f"{width} ({value})" for width, value in row["heads"].items())
            or "none published",
            ", ".join(Path(file).name for file in row["cached"]) or "-",
        )
    console.print(table)
    console.print(f"\nFolder: {model_dir or default_folder()}", markup=False, highlight=False, soft_wrap=True)
    for text in (ABOUT_HEADS, ABOUT_MINI):
        console.print(text, markup=False, highlight=False)
