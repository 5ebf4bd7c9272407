"""``wat doctor``: what this machine has, what is wrong with it, and the line that mends it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wat_cli.cli.parameters import option_of
from wat_cli.errors import ExitCode
from wat_cli.options import ModelOptions

if TYPE_CHECKING:
    from wat_cli.doctor import Finding

_COLOURS = {"ok": typer.colors.GREEN, "note": typer.colors.YELLOW, "problem": typer.colors.RED}


def doctor(
    model: Annotated[str, option_of(ModelOptions, "model")] = "small",
    model_dir: Annotated[Path | None, option_of(ModelOptions, "model_dir")] = None,
    device: Annotated[str, option_of(ModelOptions, "device")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Examine this machine: Python, torch, GPU, ffmpeg, weights, disk. Nothing is fetched or changed.

    Ends with 0 where a run would work, with 3 where something stands in its way.
    """
    from wat_cli.doctor import State, examine

    findings = []
    for finding in examine(ModelOptions(model=model, model_dir=model_dir, device=device)):
        findings.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    if any(finding.state is State.PROBLEM for finding in findings):
        raise typer.Exit(int(ExitCode.MISSING))


def _print(finding: Finding) -> None:
    mend = f"  Mend: {finding.mend}" if finding.mend else ""
    state = typer.style(f"{finding.state:8}", fg=_COLOURS[finding.state])
    typer.echo(f"{state} {finding.subject:9} {finding.text}{mend}")
