"""Whisper's decoder over slots: many windows of many files, one token each per step, static key and value caches.

A slot holds one window: the keys and values of its cross-attention, computed once for every try at that window, and a
self-attention cache of `group` rows (beams, or candidates). Slots are at different places of different texts; the
linear layers see the rows of all of them together, so weights are read once a step. The arithmetic is openai-whisper's
(``whisper/model.py``): same layers, same order, float32 layer norms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from whisper.model import ResidualAttentionBlock, Whisper

from wat_cli.model.cross import CrossCaches
from wat_cli.model.encoder import normed
from wat_cli.model.past import PastCache, Rows, Run
from wat_cli.model.products import Precision, Product, fused, product, turned
from wat_cli.model.threads import alone

_T = TypeVar("_T")

_ROWS = 8
"""Rows of a step that the products are laid out for."""

_FRAMES = 1500
"""Rows of an encoded window."""

_SHORT = 4
"""Length of a prompt without text before it, padded."""

_STRIDE = 32
"""Texts are padded to a multiple of so many tokens: oneDNN compiles its kernels for each shape that it meets."""


@dataclass(frozen=True)
class Prefilled:
    """Logits after a prompt; one row a slot."""

    last: Tensor
    """[slots, vocabulary]: of the first token to sample."""
    at_sot: Tensor
    """[slots, vocabulary]: at ``<|startoftranscript|>``, where the no-speech probability is read."""


class _Layer:
    """One block's products and norms."""

    def __init__(self, block: ResidualAttentionBlock, dtype: torch.dtype, sole: bool) -> None:
        def joined(*modules: torch.nn.Linear, rows: int = _ROWS) -> Product:
            return fused(modules, dtype, rows, sole)

        attention, cross = block.attn, block.cross_attn
        self.attn_ln, self.cross_ln, self.mlp_ln = block.attn_ln, block.cross_attn_ln, block.mlp_ln
        self.qkv = joined(attention.query, attention.key, attention.value)
        self.out = joined(attention.out)
        self.cross_q = joined(cross.query)
        self.cross_k, self.cross_v = turned(cross.key, dtype, _FRAMES, sole), joined(cross.value, rows=_FRAMES)
        self.cross_out = joined(cross.out)
        self.up, self.down = joined(block.mlp[0]), joined(block.mlp[2])


class SlotDecoder:
    """Static caches for `slots` windows of up to `group` rows each, and the passes that fill and read them."""

    @torch.inference_mode()
    def __init__(self, model: Whisper, dtype: torch.dtype, slots: int = 0, group: int = 1, sole: bool = False) -> None:
        """`dtype` is the class of precision; `sole` says that nobody else uses `model`."""
        self.model, self.slots, self.group = model, 0, 0
        self.precision = Precision.of(dtype, model.device)
        decoder, dims = model.decoder, model.dims
        self.heads, self.width = dims.n_text_head, dims.n_text_state
        self.head_width = self.width // self.heads
        self.context = int(dims.n_text_ctx)
        # log-probabilities need more digits than bfloat16 has
        products, on_cpu = self.precision.products, model.device.type == "cpu"
        logits = torch.float32 if products == torch.bfloat16 and on_cpu else products
        # a core lays weights out alone (small's in 0.85 s; two side by side in 0.47)
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            vocabulary = pool.submit(_by_one, lambda: product(decoder.token_embedding.weight, None, logits, _ROWS))
            layers = [pool.submit(_by_one, partial(_Layer, block, products, sole)) for block in decoder.blocks]
            self.vocabulary, self.layers = vocabulary.result(), [layer.result() for layer in layers]
        self.cross: list[CrossCaches] = []
        """A layer each, of the windows."""
        self.past: list[PastCache] = []
        """A layer each, of the tokens."""
        self.reserve(slots, group)

    @torch.inference_mode()
    def reserve(self, slots: int, group: int) -> None:
        """Make room for `slots` windows of `group` rows, and keep what is in the caches."""
        slots, group = max(slots, self.slots), max(group, self.group)
        if (slots, group) == (self.slots, self.group):
            return
        if not self.cross:
            self._begin_caches()
        for cross, past in zip(self.cross, self.past, strict=True):
            cross.reserve(slots)
            past.reserve(slots, group)
        self.slots, self.group = slots, group

    def clear(self) -> None:
        """Give up all caches; `reserve` makes them anew."""
        self.cross, self.past = [], []
        self.slots = self.group = 0

    def _begin_caches(self) -> None:
        dims, precision, device = self.model.dims, self.precision, self.model.device
        shape = self.heads, self.head_width
        self.cross = [CrossCaches(*shape, dims.n_audio_ctx, precision, device) for _ in self.layers]
        self.past = [PastCache(*shape, dims.n_text_ctx, precision.caches, device) for _ in self.layers]

    @torch.inference_mode()
    def load(self, slot: int, audio_features: Tensor) -> None:
        """Fill a slot's cross-attention cache from a window's `audio_features` [1500, width]."""
        for layer, cross in zip(self.layers, self.cross, strict=True):
            cross.load(slot, layer.cross_k(audio_features), layer.cross_v(audio_features))

    @torch.inference_mode()
    def prefill(self, slot: int, tokens: Sequence[int], sot_index: int, group: int) -> Prefilled:
        """Read a prompt of one slot into the self-attention caches of `group` rows; gives its logits."""
        length = len(tokens)
        # what follows a prompt does not change what it says: padding keeps the number of shapes, each compiled, small
        padded = _SHORT if length <= _SHORT else self._rounded(length)
        ids = torch.tensor([*tokens, *[0] * (padded - length)], device=self.model.device)
        x = self._embedded(ids, slice(padded))
        for index, layer in enumerate(self.layers):
            qkv = self._split(layer.qkv(normed(layer.attn_ln, x)), 3)  # each [heads, length, head width]
            self.past[index].read_prompt(slot, group, qkv[1:])
            q, k, v = qkv
            x += layer.out(self._join(F.scaled_dot_product_attention(q, k, v, is_causal=True)))
            queries = self._split(layer.cross_q(normed(layer.cross_ln, x)), 1)
            x += layer.cross_out(self._join(self.cross[index].attend(slot, queries)[0]))
            x += layer.down(layer.up(normed(layer.mlp_ln, x), gelu=True))
        logits = self._logits(x[[sot_index, length - 1]])
        return Prefilled(last=logits[1:], at_sot=logits[:1])

    @torch.inference_mode()
    def step(self, tokens: Mapping[int, Sequence[int]], lengths: Mapping[int, int]) -> Tensor:
        """One token more in every slot of `tokens`: slot -> its rows' tokens, at position lengths[slot] in each.

        Gives logits [rows, vocabulary], slots ascending, in float32.
        """
        slots = sorted(tokens)
        device = self.model.device
        ids = torch.tensor([token for slot in slots for token in tokens[slot]], device=device)
        places = torch.tensor([lengths[slot] for slot in slots for _ in tokens[slot]], device=device)
        caches = torch.tensor(
            [slot * self.group + row for slot in slots for row in range(len(tokens[slot]))], device=device
        )
        length = self._rounded(max(lengths[slot] for slot in slots) + 1)
        return self.advance(ids, self.past[0].rows(caches, places, _runs(slots, tokens), length))

    def advance(self, ids: Tensor, rows: Rows) -> Tensor:
        """The pass of a step: the tokens `ids` [rows] go into `rows` of the caches; gives logits [rows, vocabulary]."""
        x = self._embedded(ids, rows.places)
        shape = len(ids), 3, self.heads, self.head_width
        for layer, past, cross in zip(self.layers, self.past, self.cross, strict=True):
            x += layer.out(past.attend(layer.qkv(normed(layer.attn_ln, x)).view(shape), rows))
            q = layer.cross_q(normed(layer.cross_ln, x))
            x += layer.cross_out(_joined([self._attend_window(cross, run, q[run.rows]) for run in rows.runs]))
            x += layer.down(layer.up(normed(layer.mlp_ln, x), gelu=True))
        return self._logits(x)

    @torch.inference_mode()
    def reorder(self, slot: int, sources: Sequence[int], first: int, length: int) -> None:
        """Let row i of a slot go on from row sources[i]; only positions [first, length) differ between its rows."""
        moved = [row for row, source in enumerate(sources) if row != source]
        if not moved or length <= first:
            return
        origins = [sources[row] for row in moved]
        for past in self.past:
            past.reorder(slot, moved, origins, slice(first, length))

    def _attend_window(self, cross: CrossCaches, run: Run, q: Tensor) -> Tensor:
        """Cross-attention of a run: the rows of a slot are the queries of one attention over its cache."""
        q = q.view(-1, run.group, self.heads, self.head_width).transpose(1, 2)
        return cross.attend(run.slots.start, q).transpose(1, 2).reshape(-1, self.width)

    def _rounded(self, length: int) -> int:
        whole: int = -(-length // _STRIDE) * _STRIDE
        return min(whole, self.context)

    def _embedded(self, ids: Tensor, places: Tensor | slice) -> Tensor:
        decoder = self.model.decoder
        x: Tensor = F.embedding(ids, decoder.token_embedding.weight) + decoder.positional_embedding[places]
        return x.to(self.precision.stream)

    def _logits(self, x: Tensor) -> Tensor:
        return self.vocabulary(normed(self.model.decoder.ln, x)).float()

    def _split(self, joined: Tensor, parts: int) -> Tensor:
        """[length, parts * width] to [parts, heads, length, head width]."""
        return joined.view(joined.shape[0], parts, self.heads, -1).permute(1, 2, 0, 3)

    def _join(self, mixed: Tensor) -> Tensor:
        """[heads, length, head width] to [length, width]."""
        return mixed.transpose(0, 1).flatten(1)


def _by_one(call: Callable[[], _T]) -> _T:
    """Give what `call` gives, computed without a team of threads."""
    with alone(), torch.inference_mode():
        return call()


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _runs(slots: Sequence[int], tokens: Mapping[int, Sequence[int]]) -> list[Run]:
    """Cut ascending `slots` where a neighbour is missing or has another number of rows."""
    cuts = [0]
    for place, (slot, following) in enumerate(pairwise(slots), start=1):
        if following != slot + 1 or len(tokens[following]) != len(tokens[slot]):
            cuts.append(place)
    runs, row = [], 0
    for first, stop in pairwise([*cuts, len(slots)]):
        group = len(tokens[slots[first]])
        rows = slice(row, row + (stop - first) * group)
        runs.append(Run(slice(slots[first], slots[stop - 1] + 1), rows, group))
        row = rows.stop
    return runs
