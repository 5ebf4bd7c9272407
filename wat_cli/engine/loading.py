"""From files on disk and a device's name to an `Engine` that computes there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from wat_cli.engine.scheduler import SLOTS, Engine
from wat_cli.errors import CheckpointError, UsageError, WatError, shown
from wat_cli.model.heads import load_any_head
from wat_cli.model.memory import keep_heap_whole, ran_out_of_memory
from wat_cli.model.products import unsupported
from wat_cli.model.threads import apart
from wat_cli.model.whisper_at import WhisperAT, load_whisper
from wat_cli.options import ModelOptions, TranscribeOptions
from wat_cli.tagging.labels import load_labels
from wat_cli.tagging.tuning import head_tuning


class WeightFile(Protocol):
    """A checkpoint on disk and the name it goes by."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path: ...


class Weights(Protocol):
    """The files of one engine: `checkpoints.ResolvedWeights` is one."""

    @property
    def asr(self) -> WeightFile: ...
    @property
    def head(self) -> WeightFile | None: ...
    @property
    def second_encoder(self) -> WeightFile | None: ...


@dataclass(frozen=True)
class Compute:
    """Where and how the engine computes, with the reason for a person who wonders."""

    device: torch.device
    dtype: torch.dtype
    """The class of precision."""
    reason: str


def all_devices() -> tuple[str, ...]:
    """Every CUDA device of this machine (``--device all``), or the CPU where there is none."""
    return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count())) or ("cpu",)


def choose_compute(options: ModelOptions) -> Compute:
    """Device and number format: ``--compute-type``, or float16 on a GPU unless ``--fp16 False`` and float32 on a CPU.

    Raises UsageError for a device that is not here, and for a format that it does not compute in.
    """
    name = options.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        reason = "auto: a CUDA device was found" if name == "cuda" else "auto: no CUDA device was found"
    else:
        reason = f"--device {name}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: it is auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: it is auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        here = torch.cuda.device_count()
        raise UsageError(f"--device {name}: {here} CUDA devices are here; --device cpu always works")
    exact = "float16" if device.type == "cuda" and options.fp16 else "float32"
    dtype: torch.dtype = getattr(torch, options.compute_type or exact)
    if why := unsupported(dtype, device):
        raise UsageError(f"--compute-type {options.compute_type}: {why}; without it, it is {exact}")
    return Compute(device, dtype, reason)


KERNELS = 128
"""Shapes for which oneDNN keeps the code that it makes for each. Its own 1,024 come to 700 MB in hours of audio."""


def keep_few_kernels() -> None:
    """Bound oneDNN's memory, unless the environment has its own bound; in time only before the first product.

    Every length of a text, and of a file's end, is another shape: without a bound, memory grows all night.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KERNELS))


def use_fast_float32() -> bool:
    """Let torch use oneDNN for float32 products where that is still float32; True if the switch was set.

    On AMD machines torch's own choice (MKL) takes a slow path; "medium" precision sends Linear (and the encoder's
    attention) to oneDNN, which is 2.4 times faster at the same accuracy there. On a machine with AMX the same switch
    computes in bfloat16, so the product is measured, and the switch set back where it lost accuracy. Process-wide.
    """
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(256, 384, generator=generator), torch.randn(384, 384, generator=generator)
    exact = left.double() @ right.double()
    torch.set_float32_matmul_precision("medium")
    error = (torch.nn.functional.linear(left, right.T.contiguous()).double() - exact).abs().max() / exact.abs().max()
    if error < 1e-5:
        return True
    torch.set_float32_matmul_precision("highest")
    return False


def slots_for(model: WhisperAT, memory: int) -> int:
    """Windows that are decoded together: as many as pay, and as have caches that fit a quarter of `memory` (bytes).

    On a CPU the caches of more than eight windows are read no faster than one after the other.
    """
    dims, on_cpu = model.dims, model.device.type == "cpu"
    beams = TranscribeOptions().beam_size or 1
    positions = 2 * (dims.n_audio_ctx + beams * dims.n_text_ctx)
    size: int = dims.n_text_layer * positions * dims.n_text_state * (4 if on_cpu else 2)
    return max(1, min(SLOTS if on_cpu else 64, memory // 4 // size))


def _memory(device: torch.device) -> int:
    """Bytes that `device` has."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 8 << 30


def load_engine(weights: Weights, options: ModelOptions) -> Engine:
    """Load the models that `weights` names where `options` says.

    Raises `CheckpointError` for a file that is no model, `WatError` where the memory does not suffice.
    """
    try:
        if options.threads > 0:
            torch.set_num_threads(options.threads)
        return apart(lambda: _load_engine(weights, options))
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        way_out = "take a smaller --model, or another --device"
        raise WatError(f"--model {weights.asr.name}: the memory of the device is too small for it; {way_out}") from None


def _load_engine(weights: Weights, options: ModelOptions) -> Engine:
    keep_few_kernels()
    keep_heap_whole()
    compute = choose_compute(options)
    if compute.device.type == "cpu":
        use_fast_float32()
    model = _load_model(weights.asr, compute)
    tagger = _load_model(weights.second_encoder, compute) if weights.second_encoder is not None else None
    head, tuning = None, None
    if weights.head is not None:
        dims = (tagger or model).dims
        path = weights.head.path
        head = load_any_head(path, layers=dims.n_audio_layer, width=dims.n_audio_state).to(compute.device)
        tuning = head_tuning(path)
        if len(tuning.labels or load_labels()) != head.classes:
            own = f"{len(tuning.labels)} labels" if tuning.labels else "no labels, so there must be AudioSet's 527"
            beside = path.with_suffix(".json").name
            raise CheckpointError(f"{shown(path)} has {head.classes} classes; {beside} has {own}")
    slots = slots_for(model, _memory(compute.device))
    return Engine(model, head, tagger, tuning, slots)


def _load_model(file: WeightFile, compute: Compute) -> WhisperAT:
    return WhisperAT(load_whisper(file.path, file.name, compute.device), compute.dtype, sole=True)
