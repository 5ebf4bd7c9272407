"""TL-Tr, the time- and layer-wise Transformer that reads sounds from every layer of a Whisper encoder.

Gong et al., "Whisper-AT", Interspeech 2023, section 3; upstream file ``whisper_at/model.py``, `ATModel`. Parameters
carry whisper-at's names, so a head published for whisper-at loads here and one trained here loads there. Two modes:
``tl_tr_1_8`` works at the encoder's width, ``tl_down_tr_512_1_8`` first projects to 512.

Unlike whisper-at's class this one decides over any number of real steps (a last decision is cut, not padded with
zeros) and takes a batch; `model.deciding` computes what overlapping decisions share only once.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from whisper.model import ResidualAttentionBlock

from wat_cli.errors import CheckpointError

PREFIX = "at_model."
"""whisper-at merges the head into its Whisper module under this name."""

TIME_HEADS, LAYER_HEADS = 1, 8
"""Attention heads of the two Transformer blocks in every published head."""


class TLTR(nn.Module):
    """A TL-Tr head: pooled encoder layers of a few seconds in, one logit per sound class out."""

    def __init__(self, layers: int, width: int, classes: int = 527, inner_width: int | None = None) -> None:
        """`width` is the encoder's; `inner_width` projects to it first (512 in ``tl_down_tr_512_1_8``)."""
        super().__init__()
        self.layers, self.width, self.classes, self.inner_width = layers, width, classes, inner_width
        inner = inner_width or width
        if inner_width is not None:
            self.down_layer = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, inner))
        self.time_tr = ResidualAttentionBlock(inner, TIME_HEADS)
        self.layer_tr = ResidualAttentionBlock(inner, LAYER_HEADS)
        self.mlp_layer = nn.Sequential(nn.LayerNorm(inner), nn.Linear(inner, classes))

    @property
    def mode(self) -> str:
        """whisper-at's name for this shape of head."""
        prefix = "tl_tr" if self.inner_width is None else f"tl_down_tr_{self.inner_width}"
        return f"{prefix}_{TIME_HEADS}_{LAYER_HEADS}"

    def forward(self, layer_features: Tensor) -> Tensor:
        """Logits [batch, classes] of decisions over `layer_features` [batch, layers, steps, width], any steps >= 1."""
        x = layer_features.float()
        if self.inner_width is not None:
            x = self.down_layer(x)
        batch, layers, steps, inner = x.shape
        x = self.time_tr(x.reshape(batch * layers, steps, inner)).mean(dim=1)
        logits: Tensor = self.mlp_layer(self.layer_tr(x.view(batch, layers, inner)).mean(dim=1))
        return logits


def head_from_state_dict(state_dict: Mapping[str, Tensor], name: str) -> TLTR:
    """Build the head that a whisper-at state dict describes; mode and sizes follow from its shapes.

    `name` is what error messages call the file. Raises CheckpointError when it is not a TL-Tr head.
    """
    head = {key.removeprefix(PREFIX): value for key, value in state_dict.items() if key.startswith(PREFIX)}
    try:
        inner = head["time_tr.attn.query.weight"].shape[0]
        classes = head["mlp_layer.1.weight"].shape[0]
        down = head.get("down_layer.1.weight")
    except KeyError as error:
        raise CheckpointError(f"{name} is not a TL-Tr head of whisper-at: it has no {PREFIX}{error.args[0]}") from None
    if inner % LAYER_HEADS:
        raise CheckpointError(f"{name}: a head {inner} wide cannot have {LAYER_HEADS} attention heads")
    # the number of encoder layers is not in the weights: attention over layers takes any
    tltr = TLTR(0, inner if down is None else down.shape[1], classes, None if down is None else inner)
    try:
        tltr.load_state_dict(head, strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"{name} is not a TL-Tr head of whisper-at: {error}") from None
    return tltr.eval().requires_grad_(False)
