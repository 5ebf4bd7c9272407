"""Whisper's decoder over slots: many windows of many files, one token each per step, static key and value caches.

A slot holds one window: the keys and values of its cross-attention, computed once for every try at that window, and a
self-attention cache of `group` rows (beams, or candidates). Slots are at different places of different texts; the
linear layers see the rows of all of them together, so weights are read once a step. The arithmetic is openai-whisper's
(``whisper/model.py``): same layers, same order, float32 layer norms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor
from whisper.model import ResidualAttentionBlock, Whisper


@dataclass(frozen=True)
class Run:
    """Neighbouring slots with as many rows each: attention takes them together, without copying a cache."""

    slots: slice
    rows: slice
    """Their rows in the batch."""
    group: int
    """Rows a slot."""


@dataclass(frozen=True)
class Prefilled:
    """Logits after a prompt; one row a slot."""

    last: Tensor
    """[slots, vocabulary]: of the first token to sample."""
    at_sot: Tensor
    """[slots, vocabulary]: at ``<|startoftranscript|>``, where the no-speech probability is read."""


class _Layer:
    """One block's weights, with its projections fused.

    Where the numbers stay as they are, the block's own modules become views of the fused ones: nothing is held twice.
    """

    def __init__(self, block: ResidualAttentionBlock, dtype: torch.dtype) -> None:
        def linear(*modules: torch.nn.Linear) -> tuple[Tensor, Tensor]:
            weights = [module.weight.detach() for module in modules]
            biases = [
                weight.new_zeros(len(weight)) if module.bias is None else module.bias.detach()
                for module, weight in zip(modules, weights, strict=True)
            ]
            if len(modules) == 1:
                return weights[0].to(dtype), biases[0].to(dtype)
            weight = torch.cat(weights).to(dtype)
            if weight.dtype == weights[0].dtype:
                for module, view in zip(modules, weight.chunk(len(modules)), strict=True):
                    module.weight = torch.nn.Parameter(view, requires_grad=False)
            return weight, torch.cat(biases).to(dtype)

        attention, cross = block.attn, block.cross_attn
        self.block = block
        self.qkv = linear(attention.query, attention.key, attention.value)
        self.out = linear(attention.out)
        self.cross_q = linear(cross.query)
        self.cross_kv = linear(cross.key, cross.value)
        self.cross_out = linear(cross.out)
        self.up, self.down = linear(block.mlp[0]), linear(block.mlp[2])


class SlotDecoder:
    """Static caches for `slots` windows of up to `group` rows each, and the passes that fill and read them."""

    @torch.inference_mode()
    def __init__(self, model: Whisper, dtype: torch.dtype, slots: int = 0, group: int = 1) -> None:
        self.model, self.dtype, self.slots, self.group = model, dtype, 0, 0
        decoder, dims = model.decoder, model.dims
        self.heads, self.width = dims.n_text_head, dims.n_text_state
        self.layers = [_Layer(block, dtype) for block in decoder.blocks]
        self.embedding = decoder.token_embedding.weight.to(dtype)
        self.cross_keys: list[Tensor] = []
        self.cross_values: list[Tensor] = []
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.reserve(slots, group)

    @torch.inference_mode()
    def reserve(self, slots: int, group: int) -> None:
        """Make room for `slots` windows of `group` rows, and keep what is in the caches."""
        slots, group = max(slots, self.slots), max(group, self.group)
        if (slots, group) == (self.slots, self.group):
            return
        dims = self.model.dims
        audio, text = (slots, self.heads, dims.n_audio_ctx), (slots, group, self.heads, dims.n_text_ctx)
        self.cross_keys, self.cross_values = self._grown(self.cross_keys, audio), self._grown(self.cross_values, audio)
        self.keys, self.values = self._grown(self.keys, text), self._grown(self.values, text)
        self.slots, self.group = slots, group

    def clear(self) -> None:
        """Give up all caches; `reserve` makes them anew."""
        self.cross_keys, self.cross_values, self.keys, self.values = [], [], [], []
        self.slots = self.group = 0

    def _grown(self, caches: list[Tensor], shape: tuple[int, ...]) -> list[Tensor]:
        grown = []
        for index in range(len(self.layers)):
            cache = torch.zeros(*shape, self.width // self.heads, dtype=self.dtype, device=self.model.device)
            if caches:
                cache[tuple(slice(size) for size in caches[index].shape)] = caches[index]
            grown.append(cache)
        return grown

    @torch.inference_mode()
    def load(self, slot: int, audio_features: Tensor) -> None:
        """Fill a slot's cross-attention cache from a window's `audio_features` [1500, width]."""
        for index, layer in enumerate(self.layers):
            fused = F.linear(audio_features.to(self.dtype), *layer.cross_kv)
            keys, values = fused.view(-1, 2, self.heads, self.width // self.heads).permute(1, 2, 0, 3)
            self.cross_keys[index][slot], self.cross_values[index][slot] = keys, values

    @torch.inference_mode()
    def prefill(self, slot: int, tokens: Sequence[int], sot_index: int, group: int) -> Prefilled:
        """Read a prompt of one slot into the self-attention caches of `group` rows; gives its logits."""
        length = len(tokens)
        ids = torch.tensor(tokens, device=self.model.device)
        decoder = self.model.decoder
        x = (decoder.token_embedding(ids) + decoder.positional_embedding[:length]).to(self.dtype)
        for index, layer in enumerate(self.layers):
            q, k, v = self._split(F.linear(layer.block.attn_ln(x), *layer.qkv), 3)  # each [heads, length, head width]
            self.keys[index][slot, :group, :, :length] = k
            self.values[index][slot, :group, :, :length] = v
            x = x + F.linear(self._join(F.scaled_dot_product_attention(q, k, v, is_causal=length > 1)), *layer.out)
            (q,) = self._split(F.linear(layer.block.cross_attn_ln(x), *layer.cross_q), 1)
            mixed = F.scaled_dot_product_attention(q, self.cross_keys[index][slot], self.cross_values[index][slot])
            x = x + F.linear(self._join(mixed), *layer.cross_out)
            x = x + self._mlp(layer, x)
        logits = self._logits(x[[sot_index, length - 1]])
        return Prefilled(last=logits[1:], at_sot=logits[:1])

    @torch.inference_mode()
    def step(self, tokens: Mapping[int, Sequence[int]], lengths: Mapping[int, int]) -> Tensor:
        """One token more in every slot of `tokens`: slot -> its rows' tokens, at position lengths[slot] in each.

        Gives logits [rows, vocabulary], slots ascending, in float32.
        """
        slots = sorted(tokens)
        runs = _runs(slots, tokens)
        device = self.model.device
        ids = torch.tensor([token for slot in slots for token in tokens[slot]], device=device)
        places = torch.tensor([lengths[slot] for slot in slots for _ in tokens[slot]], device=device)
        owners = torch.tensor([slot for slot in slots for _ in tokens[slot]], device=device)
        members = torch.tensor([row for slot in slots for row in range(len(tokens[slot]))], device=device)
        masks = [self._mask(places[run.rows], max(lengths[slot] for slot in _covered(run)) + 1) for run in runs]
        decoder = self.model.decoder
        x = (decoder.token_embedding(ids) + decoder.positional_embedding[places]).to(self.dtype)
        for index, layer in enumerate(self.layers):
            fused = F.linear(layer.block.attn_ln(x), *layer.qkv)
            q, k, v = fused.view(len(ids), 3, self.heads, -1).unbind(1)
            self.keys[index][owners, members, :, places] = k
            self.values[index][owners, members, :, places] = v
            mixed = [self._attend_self(index, run, q[run.rows], mask) for run, mask in zip(runs, masks, strict=True)]
            x = x + F.linear(torch.cat(mixed), *layer.out)
            q = F.linear(layer.block.cross_attn_ln(x), *layer.cross_q)
            x = x + F.linear(torch.cat([self._attend_audio(index, run, q[run.rows]) for run in runs]), *layer.cross_out)
            x = x + self._mlp(layer, x)
        return self._logits(x)

    @torch.inference_mode()
    def reorder(self, slot: int, sources: Sequence[int], first: int, length: int) -> None:
        """Let row i of a slot go on from row sources[i]; only positions [first, length) differ between its rows."""
        moved = [row for row, source in enumerate(sources) if row != source]
        if not moved or length <= first:
            return
        origins = [sources[row] for row in moved]
        for cache in (*self.keys, *self.values):
            part = cache[slot, :, :, first:length]
            part[moved] = part[origins]

    def _attend_self(self, index: int, run: Run, q: Tensor, mask: Tensor) -> Tensor:
        length = mask.shape[-1]
        keys = self.keys[index][run.slots, : run.group, :, :length].flatten(0, 1)
        values = self.values[index][run.slots, : run.group, :, :length].flatten(0, 1)
        return F.scaled_dot_product_attention(q.unsqueeze(2), keys, values, attn_mask=mask).flatten(1)

    def _attend_audio(self, index: int, run: Run, q: Tensor) -> Tensor:
        """Cross-attention of a run: the rows of a slot are the queries of one attention over its cache."""
        q = q.view(-1, run.group, self.heads, self.width // self.heads).transpose(1, 2)
        keys, values = self.cross_keys[index][run.slots], self.cross_values[index][run.slots]
        mixed = F.scaled_dot_product_attention(q, keys, values)
        return mixed.transpose(1, 2).reshape(-1, self.width)

    def _mask(self, places: Tensor, length: int) -> Tensor:
        """[rows, 1, 1, length]: 0 where a row has a token, -inf past its place."""
        mask = torch.zeros(len(places), length, dtype=self.dtype, device=places.device)
        mask.masked_fill_(torch.arange(length, device=places.device) > places[:, None], -torch.inf)
        return mask[:, None, None]

    def _mlp(self, layer: _Layer, x: Tensor) -> Tensor:
        return F.linear(F.gelu(F.linear(layer.block.mlp_ln(x), *layer.up)), *layer.down)

    def _logits(self, x: Tensor) -> Tensor:
        return F.linear(self.model.decoder.ln(x), self.embedding).float()

    def _split(self, fused: Tensor, parts: int) -> tuple[Tensor, ...]:
        """[length, parts * width] to `parts` of [heads, length, head width]."""
        return fused.view(fused.shape[0], parts, self.heads, -1).permute(1, 2, 0, 3).unbind(0)

    def _join(self, mixed: Tensor) -> Tensor:
        """[heads, length, head width] to [length, width]."""
        return mixed.transpose(0, 1).flatten(1)


def _covered(run: Run) -> range:
    return range(run.slots.start, run.slots.stop)


def _runs(slots: Sequence[int], tokens: Mapping[int, Sequence[int]]) -> list[Run]:
    """Cut ascending `slots` where a neighbour is missing or has another number of rows."""
    cuts = [0]
    for place, (slot, following) in enumerate(pairwise(slots), start=1):
        if following != slot + 1 or len(tokens[following]) != len(tokens[slot]):
            cuts.append(place)
    runs, row = [], 0
    for first, stop in pairwise([*cuts, len(slots)]):
        group = len(tokens[slots[first]])
        rows = (stop - first) * group
        runs.append(Run(slice(slots[first], slots[stop - 1] + 1), slice(row, row + rows), group))
        row += rows
    return runs
