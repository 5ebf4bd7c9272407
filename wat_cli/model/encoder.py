"""Whisper's encoder with its layers open: openai-whisper's arithmetic (``whisper/model.py``, `AudioEncoder`).

Same layers, same order, float32 layer norms; the projections of an attention are one product, GELU is part of the
product before it, and each block's output is pooled 20:1 in time as it comes by, as Whisper-AT does (Gong et al. 2023,
section 3; ``whisper_at/model.py``, `AudioEncoder.forward`: first block first, before ``ln_post``).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from whisper.model import AudioEncoder, ResidualAttentionBlock

from wat_cli.model.products import Precision, fused, has_bfloat16, has_onednn, packed

POOLING = 20
"""Encoder frames (20 ms) per pooled step of 0.4 s."""

_QUERIES = 125
"""Queries of a head that attend at once, for each thread: their scores stay in a core's cache."""

_SHORT = 250
"""Queries that attend at once in bfloat16, all heads together."""


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
        one = self._in_short if self.precision.products != torch.float32 and has_bfloat16() else self._in_blocks
        return torch.stack([one(*window) for window in zip(q, k, v, strict=True)])

    def _in_short(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """One window's attention in bfloat16: sums in float32, scores and weights rounded.

        torch's own attention for a CPU takes twice as long. A softmax takes as long as both products, and twice as long
        as the exponentials, for the sake of scores above 88 or all below -88: where they were, it is made after all.
        """
        queries, keys, values = q.bfloat16() * q.shape[-1] ** -0.5, k.bfloat16().contiguous(), v.bfloat16().contiguous()
        mixed = _mixed(queries, keys, values, exponentials=True)
        if not mixed.sum().isfinite():
            mixed = _mixed(queries, keys, values, exponentials=False)
        return mixed.flatten(1)

    def _in_blocks(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """One window's attention in float32, in blocks of queries.

        torch's own attention for a CPU takes a third longer.
        """
        heads, length, width = q.shape
        together = _QUERIES * torch.get_num_threads()
        mixed = torch.empty(length, heads, width)
        for head in range(heads):
            keys = packed(k[head], torch.float32, together)
            values = packed(v[head].t(), torch.float32, together)
            queries = q[head].float() * width**-0.5
            for first in range(0, length, together):
                part = slice(first, first + together)
                scores = keys(queries[part])
                mixed[part, head] = values(torch.softmax(scores, dim=-1, out=scores))
        return mixed.flatten(1)


def _mixed(q: Tensor, k: Tensor, v: Tensor, exponentials: bool) -> Tensor:
    """Attention of `q` to `k` and `v`, each [heads, length, width], to [length, heads, width] in blocks of queries."""
    heads, length, width = q.shape
    mixed = torch.empty(length, heads, width, dtype=q.dtype)
    for first in range(0, length, _SHORT):
        part = slice(first, first + _SHORT)
        scores = torch.bmm(q[:, part], k.transpose(1, 2))
        weights = scores.exp_() if exponentials else torch.softmax(scores, dim=-1, out=scores)
        block = torch.bmm(weights, v)
        mixed[part] = (block.div_(weights.sum(dim=-1, keepdim=True)) if exponentials else block).transpose(0, 1)
    return mixed
