"""The encoder's attention, in each class of precision, is attention."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from wat_cli.model.encoder import attend

HEADS, LENGTH, WIDTH = 2, 600, 64
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.02}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("largest", [1.0, 40.0], ids=["usual scores", "scores beyond an exponential"])
def test_it_is_attention(dtype: torch.dtype, largest: float) -> None:
    q, k, v = torch.randn(3, HEADS, LENGTH, WIDTH, generator=torch.Generator().manual_seed(0)).to(dtype)
    q, k = largest * q, largest * k
    scores = q.double() @ k.double().transpose(1, 2) / WIDTH**0.5
    assert (scores.max() > 1000) == (largest > 1)
    exact = F.scaled_dot_product_attention(q.double(), k.double(), v.double()).transpose(0, 1).flatten(1)
    mixed = torch.empty(LENGTH, HEADS * WIDTH, dtype=dtype)
    attend(q, k.transpose(1, 2), v, mixed)
    given = mixed.double()
    assert given.isfinite().all()
    if largest == 1:
        assert (given - exact).abs().max() < TOLERANCE[dtype]
    else:  # one key takes all: rounded scores may take another, of nearly the same score
        assert ((given - exact).abs() < 0.02).double().mean() > 0.9
