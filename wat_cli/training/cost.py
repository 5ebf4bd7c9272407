"""What a head costs: parameters and multiply-adds, counted from the modules themselves.

The paper's "FLOPs" are multiply-adds of one 10 s decision (fvcore counts one for each): 3.17 G for TL-Tr512 on large.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode
from whisper.model import disable_sdpa

from wat_cli.model.heads import Head, build_head

DECISION_STEPS = 25
"""Steps of 0.4 s in the 10 s decision that the paper counts."""

ENCODERS: dict[str, tuple[int, int]] = {
    "tiny": (4, 384),
    "base": (6, 512),
    "small": (12, 768),
    "medium": (24, 1024),
    "large": (32, 1280),
    "turbo": (32, 1280),
}
"""Layers and width of OpenAI's encoders; large stands for all its versions."""

TABLE_HEADS = ("last-mlp", "wa-mlp", "wa-tr", "tl-tr-128", "tl-tr-256", "tl-tr-512", "tl-tr-768", "tl-tr")
"""Rows of the paper's Tables 1 and 2."""


@dataclass(frozen=True)
class Cost:
    """What one kind of head costs on one encoder."""

    name: str
    mode: str
    parameters: int
    multiply_adds: int
    """Of one decision over `DECISION_STEPS` steps."""


def count_parameters(head: Head) -> int:
    """Trainable numbers in `head`."""
    return sum(parameter.numel() for parameter in head.parameters())


def count_multiply_adds(head: Head, steps: int = DECISION_STEPS) -> int:
    """Multiply-adds of the matrix products in one decision over `steps` steps; nothing is computed."""
    on_meta = head.to("meta")
    features = torch.empty(1, head.layers, steps, head.width, device="meta")
    # plain attention is made of products that are counted; the fused kernel is not, on every device
    with disable_sdpa(), FlopCounterMode(display=False) as counter, torch.no_grad():
        on_meta(features)
    return int(counter.get_total_flops()) // 2


def costs(layers: int, width: int, classes: int = 527, names: tuple[str, ...] = TABLE_HEADS) -> list[Cost]:
    """The table of heads for an encoder of `layers` x `width`; inner widths not below `width` are left out."""
    table = []
    for name in names:
        inner = name.removeprefix("tl-tr-")
        if inner.isdigit() and int(inner) >= width:
            continue
        with torch.device("meta"):
            head = build_head(name, layers, width, classes)
        table.append(Cost(name, head.mode, count_parameters(head), count_multiply_adds(head)))
    return table
