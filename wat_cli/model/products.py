"""Products with a model's weights, laid out once for the machine that computes them.

A Whisper's time goes into products of rows with fixed matrices. On a CPU the matrices are reordered once for oneDNN's
kernels, which is two to three times faster than torch's own path for the few rows of a decoder step, and float32 stays
float32. Three classes of precision, never mixed: exact (float32 on a CPU, float16 on a GPU, as openai-whisper
computes), bfloat16 (a decoder step's products with published weights are no slower exact, and stay so; on a CPU without
arithmetic for bfloat16 all products do, and only a window's keys and values are short), and int8 (weights by output
channel, rows by their own largest value, so that no row's numbers depend on what shares the batch).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FEW = 32
"""Rows up to which a product takes the reading of its weights rather than the arithmetic."""

_LINEAR = "none", list[Any](), ""
_GELU = "gelu", list[Any](), "none"
"""oneDNN's operation after the product; "none" is the GELU by the error function, openai-whisper's."""


@dataclass(frozen=True)
class Precision:
    """In which number formats a model computes."""

    products: torch.dtype
    """Of rows and weights in a product: float32, float16, bfloat16 or int8."""
    stream: torch.dtype
    """Of what runs through the layers, between products."""
    attention: torch.dtype
    """Of the queries, keys and values of the encoder."""
    caches: torch.dtype
    """Of the keys and values of the decoder's own text (its self-attention)."""
    cross: torch.dtype
    """Of the keys and values of a window in memory: uint8 for 8 bits with a scale and a zero for each row."""

    @classmethod
    def of(cls, products: torch.dtype, device: torch.device) -> Precision:
        """All formats of a class, which is named by that of its `products` where `device` has instructions for it."""
        if products in (torch.float32, torch.float16):
            return cls(products, products, products, products, products)
        if device.type != "cpu":
            return cls(products, torch.float32, products, products, products)
        # float16 is as short as bfloat16 and has three bits more; Whisper's keys and values fit, as on any GPU
        cross = {torch.bfloat16: torch.float16, torch.int8: torch.uint8}[products] if has_fbgemm() else torch.float32
        # without instructions for bfloat16 oneDNN computes in it all the same, and takes longer than in float32
        attention = torch.bfloat16 if has_bfloat16() else torch.float32
        if products == torch.bfloat16:
            products = attention
        return cls(products, torch.float32, attention, torch.float32, cross)


class Product(Protocol):
    """[..., in] to [..., out], with the bias added, and GELU after it if asked for."""

    def __call__(self, x: Tensor, gelu: bool = False) -> Tensor: ...


class _Plain:
    """torch's own: on a GPU, and on a CPU without oneDNN."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self.weight, self.bias = weight.to(dtype), None if bias is None else bias.to(dtype)

    def __call__(self, x: Tensor, gelu: bool = False) -> Tensor:
        y = F.linear(x.to(self.weight.dtype), self.weight, self.bias)
        return F.gelu(y) if gelu else y


class _Packed:
    """oneDNN's, with the weights in the order of its kernels (what torch.compile uses for a CPU)."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, rows: int) -> None:
        self.dtype, self.bias = dtype, None if bias is None else bias.to(dtype)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.to(dtype).contiguous(), rows)

    def __call__(self, x: Tensor, gelu: bool = False) -> Tensor:
        return _linear_pointwise(x.to(self.dtype), self.weight, self.bias, gelu)


def _linear_pointwise(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    return cast(Tensor, torch.ops.mkldnn._linear_pointwise(x, weight, bias, *(_GELU if gelu else _LINEAR)))


class _Halved:
    """FBGEMM's, for a few rows: weights in float16 that are widened as they are read, sums in float32.

    Published Whispers are stored in float16, so nothing is rounded: the numbers are float32's. What such a product
    takes is the reading of its weights, and half as many bytes are read.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = torch.ops.quantized.linear_prepack_fp16(weight.float(), None if bias is None else bias.float())

    @staticmethod
    def exact(weight: Tensor) -> bool:
        """Whether `weight` is the same in float16, and this torch has the kernels."""
        return has_fbgemm() and torch.equal(weight.half().to(weight.dtype), weight)

    def __call__(self, x: Tensor, gelu: bool = False) -> Tensor:
        y: Tensor = torch.ops.quantized.linear_dynamic_fp16(x.float(), self.weight)
        return F.gelu(y) if gelu else y


class _Int8:
    """Weights in 8 bits with a scale for each output, rows in 8 bits with a scale of their own; gives float32."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        scales = weight.abs().amax(dim=1).clamp_(min=1e-30) / 127
        self.scales, self.zeros = scales.float(), torch.zeros(len(scales), dtype=torch.int64)
        self.bias, self.outputs = bias, len(scales)
        self.weight = torch.ops.onednn.qlinear_prepack((weight / scales[:, None]).round().to(torch.int8), None)

    def __call__(self, x: Tensor, gelu: bool = False) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        scales = rows.abs().amax(dim=-1, keepdim=True).float().clamp_(min=1e-30) / 127
        # the kernel takes unsigned numbers: 128 stands for 0, and the half rounds
        levels = (rows / scales).add_(128.5).to(torch.uint8)
        weights = self.weight, self.scales, self.zeros
        y = torch.ops.onednn.qlinear_pointwise(levels, 1.0, 128, *weights, None, 1.0, 0, torch.float32, *_LINEAR)
        y.mul_(scales)
        if self.bias is not None:
            y.add_(self.bias)
        return (F.gelu(y) if gelu else cast(Tensor, y)).view(*x.shape[:-1], self.outputs)


def product(weight: Tensor, bias: Tensor | None, dtype: torch.dtype, rows: int) -> Product:
    """The product with `weight` [out, in] in the format `dtype`; `rows` are about as many as it is mostly given."""
    weight, bias = weight.detach(), None if bias is None else bias.detach()
    if dtype == torch.int8:
        return _Int8(weight, bias)
    if weight.device.type != "cpu":
        return _Plain(weight, bias, dtype)
    if dtype in (torch.float32, torch.bfloat16) and rows <= _FEW and _Halved.exact(weight):
        return _Halved(weight, bias)
    if has_onednn() and dtype != torch.float16:
        return _Packed(weight, bias, dtype, rows)
    return _Plain(weight, bias, dtype)


def product_once(x: Tensor, weight: Tensor, bias: Tensor, gelu: bool = False) -> Tensor:
    """`x` [rows, in] by a `weight` [out, in] of this product alone: read as it lies, for laying it out takes longer."""
    if x.device.type == "cpu" and has_onednn():
        return _linear_pointwise(x, weight, bias, gelu)
    y = F.linear(x, weight, bias)
    return F.gelu(y) if gelu else y


def has_fbgemm() -> bool:
    """Whether this torch has FBGEMM's kernels."""
    return "fbgemm" in torch.backends.quantized.supported_engines


def has_onednn() -> bool:
    """Whether this torch computes with oneDNN on a CPU."""
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def has_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16, and this torch uses them."""
    if not (has_onednn() and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return False
    able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return able.get("architecture") != "x86_64" or bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def fused(modules: Sequence[nn.Linear], dtype: torch.dtype, rows: int, sole: bool = False) -> Product:
    """One product with the weights of several linear layers that read the same rows: their outputs side by side.

    `sole` says that nobody else uses the layers: their own weights are let go, and they compute through this product.
    """
    weights = [module.weight.detach() for module in modules]
    given = [None if module.bias is None else module.bias.detach() for module in modules]
    biases = [w.new_zeros(len(w)) if b is None else b for w, b in zip(weights, given, strict=True)]
    joined = product(torch.cat(weights), torch.cat(biases), dtype, rows)
    if sole:
        start = 0
        for module, weight in zip(modules, weights, strict=True):
            _lend(module, joined, slice(start, start + len(weight)))
            start += len(weight)
    return joined


def turned(module: nn.Linear, dtype: torch.dtype, rows: int, sole: bool = False) -> Callable[[Tensor], Tensor]:
    """The product of a linear layer without a bias, its outputs as rows: [rows, in] to [out, rows].

    oneDNN writes float32 in that order at once: a window's keys and values take a tenth to a quarter less time.
    """
    if turns(module, dtype):
        weight = module.weight.detach()
        return lambda x: torch.mm(weight, x.t())
    straight = fused([module], dtype, rows, sole)
    return lambda x: straight(x).t()


def turns(module: nn.Linear, dtype: torch.dtype) -> bool:
    """Whether `turned` writes outputs as rows at once, and not after others."""
    return dtype == torch.float32 and module.weight.device.type == "cpu" and has_onednn()


def _lend(module: nn.Linear, joined: Product, outputs: slice) -> None:
    """Let a linear layer compute through a product of which it is a part."""

    def forward(x: Tensor) -> Tensor:
        return joined(x)[..., outputs].to(x.dtype)

    module.forward = forward  # type: ignore[assignment,method-assign]
    module.weight = nn.Parameter(module.weight.new_empty(0), requires_grad=False)
    module.bias = None  # type: ignore[assignment]


def unsupported(dtype: torch.dtype, device: torch.device) -> str:
    """Why products in the format `dtype` cannot be had on `device`; empty where they can."""
    if device.type == "cuda":
        return "int8 is for CPUs" if dtype == torch.int8 else ""
    if dtype == torch.float16:
        return "float16 is for GPUs"
    if dtype == torch.float32:
        return ""
    try:
        trial = product(torch.eye(64), None, Precision.of(dtype, device).products, 8)(torch.ones(8, 64))
    except (RuntimeError, AttributeError) as error:
        return f"this torch cannot compute it here ({str(error).splitlines()[0]})"
    return "" if torch.allclose(trial.float(), torch.ones(8, 64), atol=1e-2) else "this torch computes it wrongly here"
