"""The paper's other heads: what TL-Tr is compared with, on the same pooled layers.

Gong et al., "Whisper-AT", Interspeech 2023, section 3 and Table 1. Parameters and mode names are those of whisper-at's
training code (``whisper_at_train/models.py``, `TLTR`): ``last_mlp``, ``wa_mlp``, ``wa_tr_1``. Each takes what TL-Tr
takes, [batch, layers, steps, width], and gives one logit per class.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from whisper.model import ResidualAttentionBlock


class PooledHead(nn.Module):
    """What the baselines share: a LayerNorm and a linear layer on one vector per decision."""

    mode = ""
    """whisper-at's name for this kind of head."""

    def __init__(self, layers: int, width: int, classes: int = 527) -> None:
        super().__init__()
        self.layers, self.width, self.classes = layers, width, classes
        self.mlp_layer = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def pooled(self, layer_features: Tensor) -> Tensor:
        """[batch, layers, steps, width] to [batch, width]."""
        raise NotImplementedError

    def forward(self, layer_features: Tensor) -> Tensor:
        """Logits [batch, classes] of decisions over `layer_features` [batch, layers, steps, width], any steps >= 1."""
        logits: Tensor = self.mlp_layer(self.pooled(layer_features.float()))
        return logits


class LastMLP(PooledHead):
    """Last-MLP: the last layer, averaged over time."""

    mode = "last_mlp"

    def pooled(self, layer_features: Tensor) -> Tensor:
        """The mean of the last layer."""
        return layer_features[:, -1].mean(dim=1)


class WAMLP(PooledHead):
    """WA-MLP: all layers averaged over time, then over layers with learned weights."""

    mode = "wa_mlp"

    def __init__(self, layers: int, width: int, classes: int = 527) -> None:
        super().__init__(layers, width, classes)
        self.layer_weight = nn.Parameter(torch.full((layers,), 1 / layers))

    def pooled(self, layer_features: Tensor) -> Tensor:
        """The weighted mean over layers of the means over time."""
        return weighted_layers(layer_features.mean(dim=2), self.layer_weight)


class WATr(PooledHead):
    """WA-Tr: a weighted mean over layers, then a temporal Transformer block with a single attention head."""

    mode = "wa_tr_1"

    def __init__(self, layers: int, width: int, classes: int = 527) -> None:
        super().__init__(layers, width, classes)
        self.layer_weight = nn.Parameter(torch.full((layers,), 1 / layers))
        self.time_tr = ResidualAttentionBlock(width, 1)

    def pooled(self, layer_features: Tensor) -> Tensor:
        """The block's output, averaged over time."""
        mixed: Tensor = self.time_tr(weighted_layers(layer_features, self.layer_weight))
        return mixed.mean(dim=1)


def weighted_layers(layer_features: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over dimension 1; the weights may be of any sum, as whisper-at has it."""
    mixed = torch.einsum("l,bl...->b...", weights, layer_features)
    return mixed / weights.sum()
