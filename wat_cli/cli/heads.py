"""``wat heads``: what each kind of tagging head costs on an encoder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from wat_cli.cli.parameters import option_of
from wat_cli.options import ModelOptions

if TYPE_CHECKING:
    from wat_cli.training.cost import Cost


def heads(
    model: Annotated[
        str, option_of(ModelOptions, "model", "Name of an openai-whisper model, 'mini', or a checkpoint's path.")
    ] = "large",
    classes: Annotated[int, typer.Option("--classes", min=1, help="Sound classes; AudioSet has 527.")] = 527,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print parameters and multiply-adds (of one 10 s decision) of every kind of head, counted from the code itself.

    The Whisper-AT paper calls multiply-adds FLOPs; its Tables 1 and 2 are this table for large.
    """
    from wat_cli.training.cost import costs
    from wat_cli.training.encoder import encoder_size

    layers, width = encoder_size(model)
    rows = costs(layers, width, classes)
    if as_json:
        print(json.dumps([_row(cost) for cost in rows], indent=1))
        return
    print(f"{model}: {layers} layers x {width}, {classes} classes")
    print(f"{'head':12} {'mode':22} {'parameters':>12} {'multiply-adds':>14}")
    for cost in rows:
        print(f"{cost.name:12} {cost.mode:22} {cost.parameters / 1e6:10.2f} M {cost.multiply_adds / 1e9:12.4f} G")


def _row(cost: Cost) -> dict[str, str | int]:
    return {
        "head": cost.name,
        "mode": cost.mode,
        "parameters": cost.parameters,
        "multiply_adds": cost.multiply_adds,
    }
