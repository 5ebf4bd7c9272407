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

from wat_cli.model.products import Precision, fused, has_onednn, turned, turns

POOLING = 20
"""Encoder frames (20 ms) per pooled step of 0.4 s."""

_QUERIES = 750
"""Frames of one head whose attention is computed at a time: half a window's."""


def normed(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """Layer norm in float32, as openai-whisper's."""
    return F.layer_norm(x.float(), norm.normalized_shape, norm.weight, norm.bias, norm.eps).to(x.dtype)


class _Block:
    """One block's products."""

    def __init__(self, block: ResidualAttentionBlock, dtype: torch.dtype, rows: int, sole: bool) -> None:
        attention = block.attn
        self.attn_ln, self.mlp_ln = block.attn_ln, block.mlp_ln
        query, key, value = attention.query, attention.key, attention.value
        self.heads = attention.n_head
        # attention reads keys faster as columns, if these can be had at once
        self.keys = turned(key, dtype, rows, sole) if turns(key, dtype) else None
        self.projections = fused([query, key, value] if self.keys is None else [query, value], dtype, rows, sole)
        self.out = fused([attention.out], dtype, rows, sole)
        self.up, self.down = (fused([block.mlp[index]], dtype, rows, sole) for index in (0, 2))

    def queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of `x` [batch, length, width], each [batch, heads, length, head width]; keys [..., head width, length]."""
        batch, length, width = x.shape
        parts = self.projections(x).view(batch, length, -1, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        if self.keys is None:
            return parts[0], parts[1].transpose(-2, -1), parts[2]
        columns = self.keys(x.flatten(0, 1)).view(self.heads, -1, batch, length)
        return parts[0], columns.permute(2, 0, 1, 3), parts[1]


class Encoder:
    """The passes through one model's encoder."""

    @torch.inference_mode()
    def __init__(self, encoder: AudioEncoder, precision: Precision, sole: bool = False) -> None:
        """`sole` says that nobody else uses `encoder`, whose weights are then held once."""
        self.encoder, self.precision = encoder, precision
        rows = encoder.positional_embedding.shape[0]
        self.blocks = [_Block(block, precision.products, rows, sole) for block in encoder.blocks]

    def __call__(self, mel: Tensor, frames: Sequence[slice]) -> tuple[Tensor, list[list[Tensor]]]:
        """Encode `mel` [batch, n_mels, 3000] to [batch, 1500, width]; pools each window's `frames`, layer by layer."""
        encoder, stream = self.encoder, self.precision.stream
        pooled: list[list[Tensor]] = [[] for _ in frames]
        x = F.gelu(encoder.conv2(F.gelu(encoder.conv1(mel.to(stream))))).permute(0, 2, 1)
        x = (x + encoder.positional_embedding).to(stream).contiguous()
        for block in self.blocks:
            x += block.out(self._attend(*block.queries_keys_values(normed(block.attn_ln, x))))
            x += block.down(block.up(normed(block.mlp_ln, x), gelu=True))
            for row, span in enumerate(frames):
                pooled[row].append(x[row, span].float().view(-1, POOLING, x.shape[-1]).mean(dim=1))
        return normed(encoder.ln_post, x), pooled

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Self-attention of what `_Block.queries_keys_values` gives; gives [batch, length, width]."""
        if q.device.type != "cpu" or not has_onednn():
            return F.scaled_dot_product_attention(q, k.transpose(-2, -1), v).transpose(1, 2).flatten(2)
        mixed = torch.empty(len(q), q.shape[2], q.shape[1] * q.shape[3], dtype=self.precision.attention)
        for row, window in enumerate(zip(q, k, v, strict=True)):
            attend(*window, mixed[row])
        return mixed


def attend(q: Tensor, k: Tensor, v: Tensor, mixed: Tensor) -> None:
    """Attention of `q` to keys and values on a CPU, written into `mixed` [length, heads * width], in its format.

    `q` and `v` are [heads, length, width], `k` [heads, width, length]: a product whose right side lies as it is read,
    without gaps, takes a sixth less time.

    torch's own takes a third longer in float32, and twice as long in bfloat16. A softmax takes three times as long as
    powers of two, only for the sake of scores that are beyond 88 or all below -88: where they were, it is made after
    all. Scores fit into a processor's cache, where those of the next queries take the place of the last ones: an
    encoder takes a twentieth less time (Intel, Cascade Lake).
    """
    heads, length, width = q.shape
    q, k, v = (part.to(mixed.dtype) for part in (q, k, v.contiguous()))
    by_heads = mixed.view(length, heads, width)
    binary = q * (width**-0.5 / log(2))
    room = mixed.new_empty(min(_QUERIES, length), length)
    for head in range(heads):
        parts = torch.split(binary[head], _QUERIES), torch.split(by_heads[:, head], _QUERIES)
        for queries, mixing in zip(*parts, strict=True):
            weights = torch.mm(queries, k[head], out=room[: len(queries)]).exp2_()
            torch.div(torch.mm(weights, v[head]), weights.sum(dim=-1, keepdim=True), out=mixing)
    if not mixed.sum().isfinite():
        for head in range(heads):
            weights = torch.mm(q[head] * width**-0.5, k[head]).softmax(dim=-1)
            by_heads[:, head] = torch.mm(weights, v[head])
