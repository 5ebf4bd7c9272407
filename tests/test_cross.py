"""Cross-attention by sums of a table's rows gives what attention gives, whatever shares the batch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wat_cli.model.cross import CrossCaches
from wat_cli.model.products import Precision

CPU = torch.device("cpu")
SLOTS, HEADS, FRAMES, WIDTH = 3, 2, 50, 64
TOLERANCE = {torch.float32: 3e-6, torch.bfloat16: 2e-3, torch.int8: 2e-2}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def filled(products: torch.dtype, keys: Tensor, values: Tensor) -> CrossCaches:
    caches = CrossCaches(HEADS, WIDTH, FRAMES, Precision.of(products, CPU), CPU)
    for slot in range(len(keys)):  # one more at a time: what was there stays
        caches.reserve(slot + 1)
        caches.load(slot, keys[slot].flatten(1).t(), values[slot].flatten(1))
    return caches


@pytest.mark.parametrize("products", TOLERANCE)
@pytest.mark.parametrize("queries", [1, 2, 5, 8, 9, 40])
def test_it_is_attention(products: torch.dtype, queries: int) -> None:
    keys, values = drawn(SLOTS, FRAMES, HEADS, WIDTH, seed=1), drawn(SLOTS, FRAMES, HEADS, WIDTH, seed=2)
    q = drawn(SLOTS, HEADS, queries, WIDTH, seed=3)
    exact = F.scaled_dot_product_attention(q.double(), keys.double().transpose(1, 2), values.double().transpose(1, 2))
    caches = filled(products, keys, values)
    given = caches.attend(0, q)
    assert given.dtype == torch.float32
    assert (given - exact).abs().max() < TOLERANCE[products]
    assert (caches.attend(1, q[1:]) - exact[1:]).abs().max() < TOLERANCE[products]


@pytest.mark.parametrize("products", TOLERANCE)
def test_a_slot_gives_what_it_gives_alone(products: torch.dtype) -> None:
    keys, values = drawn(SLOTS, FRAMES, HEADS, WIDTH, seed=1), drawn(SLOTS, FRAMES, HEADS, WIDTH, seed=2)
    q = drawn(SLOTS, HEADS, 5, WIDTH, seed=3)
    caches = filled(products, keys, values)
    together = caches.attend(0, q)
    for slot in range(SLOTS):
        assert torch.equal(caches.attend(slot, q[slot : slot + 1]), together[slot : slot + 1])


def test_a_window_takes_half_or_a_quarter_of_the_room_in_the_shorter_classes() -> None:
    sizes = [
        sum(table.nbytes for table in (caches.keys, caches.values))
        for caches in (filled(products, *[drawn(1, FRAMES, HEADS, WIDTH)] * 2) for products in TOLERANCE)
    ]
    assert sizes[1] == sizes[0] // 2
    assert sizes[2] < sizes[0] * 0.3
