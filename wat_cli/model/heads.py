"""Every kind of head by its name, from nothing or from a file."""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from wat_cli.errors import CheckpointError, UsageError
from wat_cli.model.baselines import WAMLP, LastMLP, PooledHead, WATr
from wat_cli.model.tltr import LAYER_HEADS, PREFIX, TIME_HEADS, TLTR, head_from_state_dict
from wat_cli.model.whisper_at import read_checkpoint

Head = TLTR | PooledHead

BASELINES: dict[str, type[PooledHead]] = {kind.mode: kind for kind in (LastMLP, WAMLP, WATr)}
"""The paper's baselines by whisper-at's mode."""

KINDS = ("last-mlp", "wa-mlp", "wa-tr", "tl-tr")
"""The paper's names of the four kinds, the plainest first; ``tl-tr-512`` is TL-Tr at an inner width of 512."""


def head_mode(name: str) -> str:
    """whisper-at's mode for one of the paper's names (``tl-tr-512``) or a mode; UsageError for another."""
    plain = name.lower().replace("_", "-")
    if found := re.fullmatch(rf"tl-tr(?:-(\d+))?|tl-down-tr-(\d+)-{TIME_HEADS}-{LAYER_HEADS}", plain):
        inner = found[1] or found[2]
        return f"tl_down_tr_{inner}_{TIME_HEADS}_{LAYER_HEADS}" if inner else f"tl_tr_{TIME_HEADS}_{LAYER_HEADS}"
    modes = {"last-mlp": "last_mlp", "wa-mlp": "wa_mlp", "wa-tr": "wa_tr_1", "wa-tr-1": "wa_tr_1"}
    modes[f"tl-tr-{TIME_HEADS}-{LAYER_HEADS}"] = f"tl_tr_{TIME_HEADS}_{LAYER_HEADS}"
    if plain not in modes:
        raise UsageError(f"--head {name}: it is one of {', '.join(KINDS)}, or tl-tr-WIDTH (tl-tr-512)")
    return modes[plain]


def build_head(mode: str, layers: int, width: int, classes: int = 527) -> Head:
    """A new head of this kind for an encoder of `layers` x `width`.

    Raises UsageError where the kind is unknown or an inner width does not divide among the attention heads.
    """
    mode = head_mode(mode)
    if mode in BASELINES:
        return BASELINES[mode](layers, width, classes)
    inner = int(mode.split("_")[3]) if mode.startswith("tl_down") else None
    if (inner or width) % LAYER_HEADS or inner == 0:
        raise UsageError(f"--head: TL-Tr works at a width of a multiple of {LAYER_HEADS}, not {inner or width}")
    return TLTR(layers, width, classes, inner)


def load_any_head(path: Path, *, layers: int, width: int) -> Head:
    """Load a head of any kind for an encoder of `layers` x `width`; CheckpointError if it does not fit."""
    state_dict = read_checkpoint(path)
    if not all(isinstance(value, Tensor) for value in state_dict.values()):
        raise CheckpointError(f"{path} is not a state dict")
    own = {key.removeprefix(PREFIX): value for key, value in state_dict.items() if key.startswith(PREFIX)}
    is_baseline = "mlp_layer.1.weight" in own and "layer_tr.attn.query.weight" not in own
    head = _baseline(own, layers, path) if is_baseline else head_from_state_dict(state_dict, str(path))
    if head.width != width:
        raise CheckpointError(f"{path} is a head for an encoder {head.width} wide; this encoder is {width} wide")
    if head.layers not in (0, layers):
        raise CheckpointError(f"{path} is a head for {head.layers} encoder layers; this encoder has {layers}")
    head.layers = layers
    return head


def _baseline(own: dict[str, Tensor], layers: int, path: Path) -> PooledHead:
    weights = own.get("layer_weight")
    kind = LastMLP if weights is None else WATr if any(key.startswith("time_tr.") for key in own) else WAMLP
    try:
        classes, width = own["mlp_layer.1.weight"].shape
        head = kind(layers if weights is None else len(weights), width, classes)
        head.load_state_dict(own, strict=True)
    except (RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is not a head: {error}") from None
    return head.eval().requires_grad_(False)
