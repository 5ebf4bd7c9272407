"""Cross-attention of a step's few queries over the windows of many slots: static caches, read once a step.

A decoder step asks with single rows, so it takes the reading of the caches. A product of one row with a matrix is also
a sum of the matrix's rows, weighted by the row's numbers; for such sums FBGEMM has kernels, made for the embedding
tables of recommenders (``torch.embedding_bag``), which read two to three times faster than torch's matrix products do
with one row or five, and read float16 and 8 bits too.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from wat_cli.model.products import Precision, has_fbgemm

_FEW = 8
"""Queries of a window up to which sums of rows are faster than a matrix product."""

_SCALES = 8
"""Bytes at the end of a row of 8-bit numbers: its scale and its zero, each in float32."""


class CrossCaches:
    """One layer's keys and values of the window in each slot."""

    def __init__(self, heads: int, head_width: int, frames: int, precision: Precision, device: torch.device) -> None:
        """`frames` are the rows of an encoded window."""
        self.heads, self.head_width, self.frames, self.device = heads, head_width, frames, device
        self.kind, self.whole = precision.cross, precision.caches
        self.scale = head_width**-0.5
        self.by_sums = device.type == "cpu" and has_fbgemm()
        self.keys = self._room(0, head_width, frames)
        """[slots, heads, head width, frames]: a query's numbers weigh the rows."""
        self.values = self._room(0, frames, head_width)
        """[slots, heads, frames, head width]: a query's attention weighs the rows."""

    def reserve(self, slots: int) -> None:
        """Make room for `slots` windows, and keep what is in the caches."""
        for name in ("keys", "values"):
            cache = getattr(self, name)
            if slots > len(cache):
                grown = cache.new_zeros(slots, *cache.shape[1:])
                grown[: len(cache)] = cache
                setattr(self, name, grown)

    def load(self, slot: int, keys: Tensor, values: Tensor) -> None:
        """Fill a slot from a window's `keys` [heads * head width, frames] and `values` [frames, heads * head width]."""
        self._fill(self.keys[slot], keys.to(self.whole if self.kind == torch.uint8 else self.kind))
        self._fill(self.values[slot], values.view(self.frames, self.heads, self.head_width).transpose(0, 1))

    def attend(self, first: int, q: Tensor) -> Tensor:
        """Attention of `q` [slots, heads, queries, head width] over the slots from `first` on; gives its shape."""
        keys, values = self.keys[first : first + len(q)], self.values[first : first + len(q)]
        if self.by_sums and q.shape[2] <= _FEW:
            scores = self._sums(keys, q * self.scale)
            return self._sums(values, scores.softmax(dim=-1)).to(self.whole)
        scores = torch.matmul((q * self.scale).to(self.whole), self._plain(keys))
        return torch.matmul(scores.softmax(dim=-1, dtype=torch.float32).to(self.whole), self._plain(values))

    def _room(self, slots: int, rows: int, columns: int) -> Tensor:
        columns += _SCALES if self.kind == torch.uint8 else 0
        return torch.zeros(slots, self.heads, rows, columns, dtype=self.kind, device=self.device)

    def _fill(self, cache: Tensor, rows: Tensor) -> None:
        if self.kind == torch.uint8:
            table = rows.float().reshape(-1, rows.shape[-1])
            rows = torch.ops.quantized.embedding_bag_byte_prepack(table).view(cache.shape)
        cache.view(rows.shape).copy_(rows)

    def _plain(self, cache: Tensor) -> Tensor:
        if self.kind == torch.uint8:
            cache = torch.ops.quantized.embedding_bag_byte_unpack(cache)
        return cache.to(self.whole)

    def _sums(self, cache: Tensor, weights: Tensor) -> Tensor:
        """Sums of the cache's rows by `weights` [slots, heads, queries, rows]: [slots, heads, queries, columns]."""
        slots, heads, queries, rows = weights.shape
        indices, offsets = _bags(len(self.keys) * heads, queries, rows)
        bags = slots * heads * queries
        asked = indices[: bags * rows], offsets[:bags], False, 0, False
        table = cache.view(-1, cache.shape[-1])
        if self.kind == torch.uint8:
            kernel = torch.ops.quantized.embedding_bag_byte_rowwise_offsets
            summed: Tensor = kernel(table, *asked, weights.float().flatten())
        else:
            summed = torch.embedding_bag(table, *asked, weights.to(self.kind).flatten())[0]
        return summed.view(slots, heads, queries, -1)


@lru_cache(maxsize=64)
def _bags(heads: int, queries: int, rows: int) -> tuple[Tensor, Tensor]:
    """Which rows of a table are summed: those of each head, as often as it has queries; and where each sum begins."""
    each = torch.arange(heads * rows, dtype=torch.int32).view(heads, 1, rows)
    return each.expand(-1, queries, -1).flatten(), torch.arange(0, heads * queries * rows, rows, dtype=torch.int32)
