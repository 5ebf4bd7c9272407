"""Whisper's encoder with its layers open: openai-whisper's arithmetic (``whisper/model.py``, `AudioEncoder`).

Same layers, same order, float32 layer norms; the projections of an attention are one product, GELU is part of the
product before it, and each block's output is pooled 20:1 in time as it comes by, as Whisper-AT does (Gong et al. 2023,
section 3; ``whisper_at/model.py``, `AudioEncoder.forward`: first block first, before ``ln_post``).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from whisper.model import AudioEncoder, ResidualAttentionBlock

from wat_cli.model.products import Precision, fused, has_bfloat16, has_onednn

POOLING = 20
"""Encoder frames (20 ms) per pooled step of 0.4 s."""


def normed(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """Layer norm in float32, as openai-whisper's."""
    return F.layer_norm(x.float(), norm.normalized_shape, norm.weight, norm.bias, norm.eps).to(x.dtype)


class _Block:
    """One block's products."""

    def __init__(self, block: ResidualAttentionBlock, dtype: torch.dtype, rows: int, sole: bool) -> None:
        attention = block.attn
        self.attn_ln, self.mlp_ln = block.attn_ln, block.mlp_ln
        self.qkv = fused([attention.query, attention.key, attention.value], dtype, rows, sole)
        self.out = fused([attention.out], dtype, rows, sole)
        self.up, self.down = (fused([block.mlp[index]], dtype, rows, sole) for index in (0, 2))


class Encoder:
    """The passes through one model's encoder."""

    @torch.inference_mode()
    def __init__(self, encoder: AudioEncoder, precision: Precision, sole: bool = False) -> None:
        """`sole` says that nobody else uses `encoder`, whose weights are then held once."""
        self.encoder, self.precision = encoder, precision
        rows = encoder.positional_embedding.shape[0]
        self.blocks = [_Block(block, precision.products, rows, sole) for block in encoder.blocks]
        self.heads = encoder.blocks[0].attn.n_head

    def __call__(self, mel: Tensor, frames: Sequence[slice]) -> tuple[Tensor, list[list[Tensor]]]:
        """Encode `mel` [batch, n_mels, 3000] to [batch, 1500, width]; pools each window's `frames`, layer by layer."""
        encoder, stream = self.encoder, self.precision.stream
        pooled: list[list[Tensor]] = [[] for _ in frames]
        x = F.gelu(encoder.conv2(F.gelu(encoder.conv1(mel.to(stream))))).permute(0, 2, 1)
        x = (x + encoder.positional_embedding).to(stream).contiguous()
        for block in self.blocks:
            x += block.out(self._attend(block.qkv(normed(block.attn_ln, x))))
            x += block.down(block.up(normed(block.mlp_ln, x), gelu=True))
            for row, span in enumerate(frames):
                pooled[row].append(x[row, span].float().view(-1, POOLING, x.shape[-1]).mean(dim=1))
        return normed(encoder.ln_post, x), pooled

    def _attend(self, qkv: Tensor) -> Tensor:
        """Self-attention over [batch, length, 3 * width]; gives [batch, length, width]."""
        batch, length, _ = qkv.shape
        q, k, v = qkv.view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # each [batch, heads, length, ...]
        if qkv.device.type != "cpu" or not has_onednn():
            return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        short = self.precision.products != torch.float32 and has_bfloat16()
        return torch.stack(
            [attended(*window, torch.bfloat16 if short else torch.float32) for window in zip(q, k, v, strict=True)]
        )


def attended(q: Tensor, k: Tensor, v: Tensor, dtype: torch.dtype) -> Tensor:
    """Attention of `q` to `k` and `v`, each [heads, length, width] on a CPU, in `dtype`; gives [length, heads * width].

    torch's own takes a third longer in float32, and twice as long in bfloat16. A softmax takes three times as long as
    powers of two, only for the sake of scores that are beyond 88 or all below -88: where they were, it is made after
    all.
    """
    heads, length, width = q.shape
    q, k, v = (part.to(dtype) for part in (q, k, v.contiguous()))  # gaps in the right side of a product cost time
    mixed = torch.empty(length, heads, width, dtype=dtype)
    for head in range(heads):  # the scores of one fit into a processor's cache
        weights = torch.mm(q[head] * (width**-0.5 / log(2)), k[head].t()).exp2_()
        torch.div(torch.mm(weights, v[head]), weights.sum(dim=-1, keepdim=True), out=mixed[:, head])
    if not mixed.sum().isfinite():
        for head in range(heads):
            weights = torch.mm(q[head] * width**-0.5, k[head].t()).softmax(dim=-1)
            mixed[:, head] = torch.mm(weights, v[head])
    return mixed.flatten(1)
