"""What a head says of many stretches of one window, at a fraction of the cost of asking it about each.

Overlapping stretches share their steps, and TL-Tr's time-wise Transformer leaves more to share than the projection of
each step. For the rows of one encoder layer, a step ``t`` of a decision becomes

    z = x_t + sum_s a_ts vo_s            (s over the decision's steps, a the attention, vo = out(value(ln(x_s))))
    h = gelu(W1 ln(z)) ,  y = mean_t z + W2 mean_t h

The mean over time commutes with W2, and ``W1 ln(z) = (U_t + sum_s a_ts P_s) / sd(z) + b`` with U = W1 x and P = W1 vo
of the centred steps: so the products with the large matrices are taken once for each step of the window, and a decision
costs a small product over its steps and the gelu. The same numbers as `TLTR.forward` but for rounding, in float32; the
weights are folded in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, groupby

import torch
import torch.nn.functional as F
from torch import Tensor
from whisper.model import ResidualAttentionBlock

from wat_cli.model.heads import Head
from wat_cli.model.products import Product, product, product_once
from wat_cli.model.tltr import LAYER_HEADS, TLTR

Span = tuple[int, int]
"""First and one-past-last step that a decision hears."""

_ROWS = 300
"""Rows that the products are laid out for: the steps of a window, of four layers."""

_REACH = 128
"""Steps that are decided about at once; an encoder window has 75."""


class Decider:
    """Answers for a head whose weights do not change any more."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self._folded = _Folded(head) if isinstance(head, TLTR) else None

    @torch.inference_mode()
    def decide(self, layer_features: Tensor, spans: Sequence[Span]) -> Tensor:
        """Logits [decisions, classes], of the decisions `spans` of any lengths on `layer_features`.

        `layer_features` is [layers, steps, width], whole steps of one window or of a longer stretch.
        """
        decide = self._one_by_one if self._folded is None else self._folded.decide
        answers = []
        for block in _blocks(spans):
            first, stop = min(start for start, _ in block), max(end for _, end in block)
            plan = _plan(tuple((start - first, end - first) for start, end in block), layer_features.device)
            answers.append(decide(layer_features[:, first:stop].float(), plan)[plan.places])
        return torch.cat(answers)

    def _one_by_one(self, layer_features: Tensor, plan: _Plan) -> Tensor:
        """Each decision by the head itself, those of one length in one call; in the plan's order."""
        logits, row = [], 0
        for count, length in plan.groups:
            steps = plan.steps[row : row + count * length].view(count, length)
            logits.append(self.head(layer_features[:, steps].transpose(0, 1)))
            row += count * length
        return torch.cat(logits)


@dataclass(frozen=True)
class _Plan:
    """Decisions in order of their length, and the rows that they take: one for each of their steps."""

    places: Tensor
    """Where each decision stands in that order."""
    steps: Tensor
    """[rows]: the step of each row."""
    mask: Tensor
    """[rows, steps]: 0 where a row's decision hears the step, otherwise -inf."""
    own: Tensor
    """[rows, steps]: 1 at a row's own step."""
    rows: Tensor
    """[rows]: 0, 1, 2 ..., for `embedding_bag`."""
    firsts: Tensor
    """[decisions]: the first row of each."""
    groups: tuple[tuple[int, int], ...]
    """How many decisions there are of each length, and the length."""


@lru_cache(maxsize=16)
def _plan(spans: tuple[Span, ...], device: torch.device) -> _Plan:
    order = sorted(range(len(spans)), key=lambda index: spans[index][1] - spans[index][0])
    heard = [(step, *spans[index]) for index in order for step in range(*spans[index])]
    steps, starts, ends = torch.tensor(heard, device=device).unbind(dim=1)
    columns = torch.arange(max(end for _, end in spans), device=device)
    outside = (columns < starts[:, None]) | (columns >= ends[:, None])
    lengths = [end - start for start, end in (spans[index] for index in order)]
    return _Plan(
        places=torch.tensor(order, device=device).argsort(),
        steps=steps,
        mask=torch.zeros(outside.shape, device=device).masked_fill(outside, -torch.inf),
        own=(columns == steps[:, None]).float(),
        rows=torch.arange(len(heard), device=device),
        firsts=torch.tensor([0, *accumulate(lengths[:-1])], device=device),
        groups=tuple((len(list(group)), length) for length, group in groupby(lengths)),
    )


def _blocks(spans: Sequence[Span]) -> Iterator[tuple[Span, ...]]:
    """The decisions in their order, in groups that hear no more than `_REACH` steps together."""
    block: list[Span] = []
    low, high = 0, 0
    for start, stop in spans:
        low, high = (min(low, start), max(high, stop)) if block else (start, stop)
        if block and high - low > _REACH:
            yield tuple(block)
            block, low, high = [], start, stop
        block.append((start, stop))
    if block:
        yield tuple(block)


class _Folded:
    """A TL-Tr head's weights, multiplied out as far as they go."""

    def __init__(self, head: TLTR) -> None:
        self.head = head
        block: ResidualAttentionBlock = head.time_tr
        attention, norm = block.attn, block.mlp_ln
        double = {name: parameter.detach().double() for name, parameter in block.named_parameters()}
        wq, bq, wk = double["attn.query.weight"], double["attn.query.bias"], double["attn.key.weight"]
        wv, bv = double["attn.value.weight"], double["attn.value.bias"]
        wo, bo = double["attn.out.weight"], double["attn.out.bias"]
        up, up_bias = double["mlp.0.weight"], double["mlp.0.bias"]
        self.inner = wq.shape[0]
        scale = self.inner**-0.5  # one attention head over time
        mixed, mixed_bias = wo @ wv, wo @ bv + bo  # attention sums to 1, so biases pass through it
        scaled = up * double["mlp_ln.weight"]
        centred = scaled - scaled.mean(dim=1, keepdim=True)  # W1 of whatever is added to all features is 0
        self.fused = _product(torch.cat([wk.T @ wq * scale, mixed]), torch.cat([wk.T @ bq * scale, mixed_bias]))
        self.lift = _product(centred, None)
        self.down = _product(block.mlp[2].weight, block.mlp[2].bias)
        self.up_bias = (up @ double["mlp_ln.bias"] + up_bias).float()
        self.eps = norm.eps
        over = head.layer_tr
        layer, zero = over.attn, torch.zeros_like(over.attn.query.bias)
        self.layer_qkv = _product(
            torch.cat([part.weight for part in (layer.query, layer.key, layer.value)]),
            torch.cat([layer.query.bias, zero, layer.value.bias]),
        )
        self.layer_out = _product(layer.out.weight, layer.out.bias)
        self.layer_up, self.layer_down = (_product(over.mlp[index].weight, over.mlp[index].bias) for index in (0, 2))
        assert attention.n_head == 1

    def decide(self, layer_features: Tensor, plan: _Plan) -> Tensor:
        """Logits [decisions, classes], in the plan's order."""
        x = layer_features if self.head.inner_width is None else self.head.down_layer(layer_features)
        return self._over_layers(self._over_time(x, plan).transpose(0, 1))

    def _over_time(self, x: Tensor, plan: _Plan) -> Tensor:
        """The time-wise Transformer's mean of each decision: [layers, steps, inner] to [layers, decisions, inner]."""
        normed = self.head.time_tr.attn_ln(x)
        asked, mixed = self.fused(normed).chunk(2, dim=-1)
        terms = torch.cat([mixed, x], dim=1)
        steps = _Steps(asked @ normed.transpose(1, 2), terms, self.lift(terms))
        # on a CPU one layer's rows stay in its cache; on a GPU all layers together fill it
        together = 1 if x.device.type == "cpu" else len(x)
        parts = [self._rows(steps.layers(first, first + together), plan) for first in range(0, len(x), together)]
        means, h = (torch.cat([part[index] for part in parts]) for index in (0, 1))
        return means + self.down(h)

    def _rows(self, steps: _Steps, plan: _Plan) -> tuple[Tensor, Tensor]:
        """Each decision's means over its steps: after the attention, and inside the MLP."""
        attention = (steps.scores[:, plan.steps] + plan.mask).softmax(dim=-1)
        weights = torch.cat([attention, plan.own.expand_as(attention)], dim=-1)
        z = weights @ steps.terms
        inverse = torch.native_layer_norm(z, (self.inner,), None, None, self.eps)[2]
        return _means(z, plan), _means(self._hidden(weights * inverse, steps.lifted), plan)

    def _hidden(self, weights: Tensor, lifted: Tensor) -> Tensor:
        """The MLP's hidden rows: `weights` [layers, rows, 2 steps] of `lifted` [layers, 2 steps, 4 inner]."""
        if len(weights) > 1:
            return F.gelu(torch.baddbmm(self.up_bias, weights, lifted))
        return product_once(weights[0], lifted[0].t(), self.up_bias, gelu=True)[None]

    def _over_layers(self, x: Tensor) -> Tensor:
        """The layer-wise Transformer's mean and the classes: [decisions, layers, inner] to [decisions, classes]."""
        block = self.head.layer_tr
        decisions, layers, inner = x.shape
        fused = self.layer_qkv(block.attn_ln(x))
        q, k, v = fused.view(decisions, layers, 3, LAYER_HEADS, -1).permute(2, 0, 3, 1, 4)
        # written out: torch's own attention is ten times slower on so few keys
        attention = (q @ k.transpose(-1, -2) * (inner // LAYER_HEADS) ** -0.5).softmax(dim=-1)
        x = x + self.layer_out((attention @ v).transpose(1, 2).reshape(decisions, layers, inner))
        h = self.layer_up(block.mlp_ln(x), gelu=True)
        logits: Tensor = self.head.mlp_layer(x.mean(dim=1) + self.layer_down(h.mean(dim=1)))
        return logits


def _product(weight: Tensor, bias: Tensor | None) -> Product:
    return product(weight.float(), None if bias is None else bias.float(), torch.float32, _ROWS)


@dataclass(frozen=True)
class _Steps:
    """What is known of each step before any decision; [layers, ...]."""

    scores: Tensor
    """[layers, steps, steps]: how much each step attends to each other, before the softmax."""
    terms: Tensor
    """[layers, 2 steps, inner]: what each step adds to those that attend to it, then the head's input there."""
    lifted: Tensor
    """[layers, 2 steps, 4 inner]: what the MLP's first matrix makes of ``terms``, centred."""

    def layers(self, first: int, stop: int) -> _Steps:
        """The same for some of the layers."""
        return _Steps(*(tensor[first:stop] for tensor in (self.scores, self.terms, self.lifted)))


def _means(rows: Tensor, plan: _Plan) -> Tensor:
    """Each decision's mean over its steps: [layers, rows, n] to [layers, decisions, n]."""
    return torch.stack([F.embedding_bag(plan.rows, layer, plan.firsts, mode="mean") for layer in rows])
