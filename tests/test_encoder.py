"""The encoder's attention, in each class of precision, is attention."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from whisper.model import AudioEncoder

from wat_cli.model.encoder import Encoder
from wat_cli.model.products import Precision, has_bfloat16

HEADS, LENGTH, WIDTH = 2, 600, 128
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.02, torch.int8: 0.02}


def encoder(products: torch.dtype) -> Encoder:
    return Encoder(AudioEncoder(80, LENGTH, WIDTH, HEADS, 1), Precision.of(products, torch.device("cpu")))


@pytest.mark.parametrize("products", TOLERANCE)
@pytest.mark.parametrize("largest", [1.0, 40.0], ids=["usual scores", "scores beyond an exponential"])
def test_it_is_attention(products: torch.dtype, largest: float) -> None:
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(1, LENGTH, 3 * WIDTH, generator=generator)
    qkv[..., : 2 * WIDTH] *= largest
    if products != torch.float32:
        if not has_bfloat16():
            pytest.skip("this CPU has no arithmetic for bfloat16")
        qkv = qkv.bfloat16()
    q, k, v = qkv.double().view(LENGTH, 3, HEADS, -1).permute(1, 2, 0, 3)
    scores = q @ k.transpose(1, 2) / (WIDTH // HEADS) ** 0.5
    assert (scores.max() > 1000) == (largest > 1)
    exact = F.scaled_dot_product_attention(q, k, v).transpose(0, 1).flatten(1)
    given = encoder(products)._attend(qkv)[0].double()
    if largest == 1:
        assert (given - exact).abs().max() < TOLERANCE[products]
    else:  # one key takes all: rounded scores may take another, of nearly the same score
        assert given.isfinite().all()
        assert ((given - exact).abs() < 0.02).double().mean() > 0.9
