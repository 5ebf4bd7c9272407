"""The command line: Typer and Rich live here and nowhere else. Each command imports what it needs when it runs."""

from __future__ import annotations

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

app = typer.Typer(
    name="wat",
    help="Captions for piles of media: the words and the sounds, from one Whisper-AT pass.",
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


# `models` is a group of its own; what it needs is imported when one of its commands runs
app.add_typer(models_app)
app.command("caption", cls=FamiliarCommand, epilog=caption.EPILOG)(caption.caption)
app.command("render", cls=FamiliarCommand)(render)
app.command("check", cls=FamiliarCommand)(check)
app.command("review", cls=FamiliarCommand, epilog=review.EPILOG)(review.review)
app.command("labels", cls=FamiliarCommand, epilog=labels.EPILOG)(labels.labels)
app.command("config", cls=FamiliarCommand)(config)
app.command("doctor", cls=FamiliarCommand)(configurable(doctor))
app.command("train", cls=FamiliarCommand)(configurable(train))
app.command("evaluate", cls=FamiliarCommand)(configurable(evaluate))
app.command("heads", cls=FamiliarCommand)(configurable(heads))
app.add_typer(figures_app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with one of the exit codes of `wat_cli.errors.ExitCode`."""
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
