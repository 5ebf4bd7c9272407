"""Products laid out for the machine give torch's own numbers, whatever shares the batch."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from wat_cli.model.products import has_bfloat16, product, product_once

WIDTHS = [(1152, 384), (384, 1536), (5000, 64)]


def weights(outputs: int, inputs: int, half: bool) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(outputs)
    weight = torch.randn(outputs, inputs, generator=generator) * inputs**-0.5
    return weight.half().float() if half else weight, torch.randn(outputs, generator=generator)


@pytest.mark.parametrize("half", [True, False], ids=["published in float16", "float32"])
@pytest.mark.parametrize("rows", [1, 8, 40])
@pytest.mark.parametrize("widths", WIDTHS)
def test_float32_is_float32_in_every_layout(widths: tuple[int, int], rows: int, half: bool) -> None:
    weight, bias = weights(*widths, half=half)
    x = torch.randn(rows, widths[1], generator=torch.Generator().manual_seed(rows))
    exact = F.linear(x.double(), weight.double(), bias.double())
    for laid_out_for in (8, 1500):
        multiply = product(weight, bias, torch.float32, laid_out_for)
        assert (multiply(x).double() - exact).abs().max() < 1e-5
        assert (multiply(x, gelu=True).double() - F.gelu(exact)).abs().max() < 1e-5


@pytest.mark.parametrize("widths", WIDTHS)
def test_a_weight_that_is_used_once_is_read_as_it_lies(widths: tuple[int, int]) -> None:
    weight, bias = weights(*widths, half=False)
    x = torch.randn(40, widths[1], generator=torch.Generator().manual_seed(0))
    exact = F.linear(x.double(), weight.double(), bias.double())
    for lying in (weight, weight.t().contiguous().t()):
        assert (product_once(x, lying, bias).double() - exact).abs().max() < 1e-5
        assert (product_once(x, lying, bias, gelu=True).double() - F.gelu(exact)).abs().max() < 1e-5


@pytest.mark.parametrize("widths", WIDTHS)
def test_a_step_gives_a_row_what_it_gives_it_alone(widths: tuple[int, int]) -> None:
    multiply = product(*weights(*widths, half=True), torch.float32, 8)
    x = torch.randn(40, widths[1], generator=torch.Generator().manual_seed(0))
    alone = torch.cat([multiply(row[None]) for row in x])
    for rows in range(2, 41):
        torch.testing.assert_close(multiply(x[:rows]), alone[:rows], rtol=0, atol=1e-6)


@pytest.mark.skipif(platform.machine() != "x86_64" or not Path("/proc/cpuinfo").exists(), reason="reads Linux's flags")
def test_bfloat16_is_had_where_the_kernel_says_so() -> None:
    flags = set(re.search(r"^flags.*", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[0].split())  # type: ignore[index]
    assert has_bfloat16() == bool(flags & {"avx512_bf16", "amx_bf16"})
