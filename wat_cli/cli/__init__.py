"""The command line: Typer and Rich live here and nowhere else. Each command imports what it needs when it runs."""

from __future__ import annotations

import atexit
import gc
import io
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import wat_cli
from wat_cli.cli import caption, labels, review
from wat_cli.cli.check import check
from wat_cli.cli.config import config, configurable
from wat_cli.cli.doctor import doctor
from wat_cli.cli.evaluate import evaluate
from wat_cli.cli.figures import figures_app
from wat_cli.cli.heads import heads
from wat_cli.cli.models import models_app
from wat_cli.cli.parameters import FamiliarCommand
from wat_cli.cli.render import render
from wat_cli.cli.train import train
from wat_cli.errors import ExitCode, WatError

EPILOG = """Examples:

wat caption talk.mp4 --model mini  ·  wat caption ~/videos  ·  wat review ~/videos --open

wat doctor  ·  wat models pull small  ·  wat COMMAND --help"""

app = typer.Typer(
    name="wat",
    help="Captions for piles of media: the words and the sounds, from one Whisper-AT pass.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wat {wat_cli.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None: ...


CAPTIONS, MACHINE, HEADS = "Captions", "This machine, and what is chosen", "Heads of your own"
"""Panels of ``wat --help``."""

# a command imports what it needs when it runs
app.command("caption", cls=FamiliarCommand, epilog=caption.EPILOG, rich_help_panel=CAPTIONS)(caption.caption)
app.command("render", cls=FamiliarCommand, rich_help_panel=CAPTIONS)(render)
app.command("review", cls=FamiliarCommand, epilog=review.EPILOG, rich_help_panel=CAPTIONS)(review.review)
app.command("check", cls=FamiliarCommand, rich_help_panel=CAPTIONS)(configurable(check))
app.command("labels", cls=FamiliarCommand, epilog=labels.EPILOG, rich_help_panel=CAPTIONS)(labels.labels)
app.add_typer(models_app, rich_help_panel=MACHINE)
app.command("doctor", cls=FamiliarCommand, rich_help_panel=MACHINE)(configurable(doctor))
app.command("config", cls=FamiliarCommand, rich_help_panel=MACHINE)(config)
app.command("train", cls=FamiliarCommand, rich_help_panel=HEADS)(configurable(train))
app.command("evaluate", cls=FamiliarCommand, rich_help_panel=HEADS)(configurable(evaluate))
app.command("heads", cls=FamiliarCommand, rich_help_panel=HEADS)(configurable(heads))
app.add_typer(figures_app, rich_help_panel=HEADS)


def _end_soon() -> None:
    """Spare the last search for garbage, half a second among all that torch brings.

    Where openai-whisper took triton (word times on a GPU) it stays: its bindings would report what was not collected.
    """
    if "triton" not in sys.modules:
        gc.freeze()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with one of the exit codes of `wat_cli.errors.ExitCode`."""
    atexit.register(_end_soon)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal's encoding lacks is shown, not raised
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(args=list(arguments) if arguments is not None else None, prog_name="wat")
    except WatError as error:
        print(f"wat: {error}", file=sys.stderr)
        sys.exit(int(error.exit_code))
    except KeyboardInterrupt:
        print("wat: interrupted", file=sys.stderr)
        sys.exit(int(ExitCode.INTERRUPTED))
