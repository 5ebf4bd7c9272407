"""Self-attention of a step's single queries over the tokens so far: static caches of keys and values, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wat_cli.model.products import has_fbgemm


@dataclass(frozen=True)
class Run:
    """Neighbouring slots with as many rows each: attention takes them together, without copying a cache."""

    slots: slice
    rows: slice
    """Their rows in the batch."""
    group: int
    """Rows a slot."""


@dataclass(frozen=True)
class Rows:
    """Which rows of the caches a step takes, and what they attend to: the same for every layer."""

    caches: Tensor
    """[rows]: their places among the [slots * group] of a cache."""
    places: Tensor
    """[rows]: where in their texts the new tokens stand."""
    runs: Sequence[Run]
    mask: Tensor
    """[rows, 1, length]: 0 where a row has a token, -inf past its place."""
    bags: tuple[Tensor, Tensor] | None
    """For sums of values by ``torch.embedding_bag``: which vectors belong to a head of a row, and where each begins."""


class PastCache:
    """One layer's keys and values of the tokens so far, `group` rows a slot."""

    def __init__(self, heads: int, head_width: int, context: int, dtype: torch.dtype, device: torch.device) -> None:
        """`context` is the most tokens of a row."""
        self.heads, self.head_width, self.context = heads, head_width, context
        self.cache = torch.zeros(2, 0, 0, heads, context, head_width, dtype=dtype, device=device)
        """Keys, then values: [2, slots, group, heads, context, head width]."""
        self.by_sums = device.type == "cpu"

    def reserve(self, slots: int, group: int) -> None:
        """Make room for `slots` of `group` rows, no fewer than there are, and keep what is in the cache."""
        grown = self.cache.new_zeros(2, slots, group, *self.cache.shape[3:])
        grown[:, : self.cache.shape[1], : self.cache.shape[2]] = self.cache
        self.cache = grown

    def rows(self, caches: Tensor, places: Tensor, runs: Sequence[Run], length: int) -> Rows:
        """What a step takes of this and all other layers' caches; attention looks at `length` tokens of each row."""
        device = caches.device
        positions = torch.arange(length, device=device)
        mask = torch.zeros(len(places), length, dtype=self.cache.dtype, device=device)
        mask.masked_fill_(positions > places[:, None], -torch.inf)
        bags = None
        if device.type == "cpu" and has_fbgemm():
            starts = (caches[:, None] * self.heads + torch.arange(self.heads)) * self.context
            vectors = (starts.view(-1, 1) + positions).to(torch.int32)
            bags = vectors.flatten(), torch.arange(0, vectors.numel(), length, dtype=torch.int32)
        return Rows(caches, places, runs, mask[:, None], bags)

    def read_prompt(self, slot: int, group: int, keys_and_values: Tensor) -> None:
        """Let `group` rows of a slot begin with the same tokens: [2, heads, length, head width]."""
        self.cache[:, slot, :group, :, : keys_and_values.shape[2]] = keys_and_values[:, None]

    def reorder(self, slot: int, rows: Sequence[int], origins: Sequence[int], span: slice) -> None:
        """Let the `rows` of a slot go on from its rows `origins`; they differ in the tokens of `span` only."""
        part = self.cache[:, slot, :, :, span]
        part[:, rows] = part[:, origins]

    def reorder_all(self, sources: Tensor, length: int) -> None:
        """Let every row of all slots' [slots * group] go on from the row that `sources` names, `length` tokens long."""
        part = self.cache.flatten(1, 2)[..., :length, :]
        part.copy_(part[:, sources])

    def attend(self, qkv: Tensor, rows: Rows) -> Tensor:
        """Take the new tokens' keys and values, and attend: `qkv` [rows, 3, heads, head width] to [rows, width]."""
        qkv = qkv.to(self.cache.dtype)
        self.cache.flatten(1, 2)[:, rows.caches, :, rows.places] = qkv[:, 1:]
        q = qkv[:, 0]
        if self.by_sums:
            return self._sums(q, rows).view(len(q), -1)
        mixed = []
        for run in rows.runs:
            keys, values = self.cache[:, run.slots, : run.group, :, : rows.mask.shape[-1]].flatten(1, 2)
            mask = rows.mask[run.rows, None]
            mixed.append(F.scaled_dot_product_attention(q[run.rows, :, None], keys, values, attn_mask=mask))
        return torch.cat(mixed).view(len(q), -1)

    def _sums(self, q: Tensor, rows: Rows) -> Tensor:
        """The same on a CPU, where sums of products are several times faster than torch's products with one row."""
        length = rows.mask.shape[-1]
        q = q * self.head_width**-0.5
        scores = torch.cat([self._scores(q[run.rows], run, length) for run in rows.runs])
        weights = scores.add_(rows.mask).softmax(dim=-1)
        values = self.cache[1].view(-1, self.head_width)
        if rows.bags is not None:
            return torch.embedding_bag(values, *rows.bags, False, 0, False, weights.flatten())[0]
        mine = values.view(-1, self.heads, self.context, self.head_width)[rows.caches, :, :length]
        return torch.matmul(weights[:, :, None], mine)

    def _scores(self, q: Tensor, run: Run, length: int) -> Tensor:
        """[rows of the run, heads, length]."""
        keys = self.cache[0, run.slots, : run.group, :, :length]
        return (keys * q.view(*keys.shape[:3], 1, self.head_width)).sum(dim=-1).flatten(0, 1)
