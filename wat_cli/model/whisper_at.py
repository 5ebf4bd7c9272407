"""Whisper with its layers open: one encoder pass gives the decoder its features and the tagging head every layer.

The weights are openai-whisper's own `Whisper`'s. `WhisperAT.encode` is the only encoder call in the program.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
import whisper
from torch import Tensor
from torch.overrides import TorchFunctionMode
from whisper.model import ModelDimensions, Whisper

from wat_cli.errors import CheckpointError
from wat_cli.model.encoder import POOLING as POOLING
from wat_cli.model.encoder import Encoder
from wat_cli.model.products import Precision


@dataclass(frozen=True)
class Encoded:
    """What one encoder pass over a batch of windows gives."""

    audio_features: Tensor
    """[batch, 1500, width]: the decoder's input."""
    layer_features: tuple[Tensor, ...] | None
    """One [layers, steps, width] per window, for the tagging head; None where it was not asked for."""


class WhisperAT:
    """A Whisper model whose encoder also hands out its layers."""

    def __init__(self, model: Whisper, dtype: torch.dtype = torch.float32, sole: bool = False) -> None:
        """`dtype` is the class of precision: float16 on a GPU, as openai-whisper computes, float32 on a CPU.

        `sole` says that nobody else uses `model`: its weights are laid out anew instead of held twice.
        """
        self.model = model.eval().requires_grad_(False)
        self.dtype, self.sole = dtype, sole
        self.passes = 0
        """Windows encoded so far."""
        self._encoder = Encoder(model.encoder, Precision.of(dtype, self.device), sole)

    @property
    def dims(self) -> ModelDimensions:
        """The model's dimensions."""
        return self.model.dims

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return torch.device(self.model.device)

    @torch.inference_mode()
    def encode(self, mel: Tensor, frames: Sequence[slice] | None = None) -> Encoded:
        """Encode windows `mel` [batch, n_mels, 3000].

        `frames` asks for the layers too: for each window the encoder frames that make whole steps of the file's grid
        (their number a multiple of 20; windows begin anywhere between two steps).
        """
        audio_features, pooled = self._encoder(mel.to(self.device), frames or ())
        self.passes += mel.shape[0]
        layers = tuple(torch.stack(row) for row in pooled) if frames is not None else None
        return Encoded(audio_features, layers)


def load_whisper(path: Path, name: str | None = None, device: torch.device | str = "cpu") -> Whisper:
    """Load an OpenAI-format checkpoint into openai-whisper's own module.

    `name` picks the official alignment heads for word times; without one openai-whisper's default stands, the last
    half of the decoder's layers. Raises CheckpointError for a file that is damaged or something else.
    """
    checkpoint = read_checkpoint(path)
    try:
        dims = ModelDimensions(**checkpoint["dims"])
        state_dict = checkpoint["model_state_dict"]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a Whisper checkpoint in OpenAI's format ({error})") from None
    sizes = {field.name: getattr(dims, field.name) for field in fields(dims)}
    for field_name, size in sizes.items():
        if not isinstance(size, int) or not 0 < size <= 1_000_000:
            raise CheckpointError(f"{path}: {field_name} is {size!r}")
    if dims.n_mels not in (80, 128) or dims.n_audio_ctx != 1500:
        raise CheckpointError(f"{path}: {dims.n_mels} mel bands over {dims.n_audio_ctx} positions are not Whisper's")
    try:
        with _Unfilled():
            model = Whisper(dims)
        model.load_state_dict(state_dict)
    except (RuntimeError, AssertionError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: its weights do not fit its own dimensions: {error}") from None
    if heads := whisper._ALIGNMENT_HEADS.get(name or ""):
        model.set_alignment_heads(heads)
    return model.to(device)


class _Unfilled(TorchFunctionMode):
    """Leaves out a new module's random numbers, a third of the time that loading takes: a checkpoint has them all."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__module__", None) == torch.nn.init.__name__:
            return (kwargs or {}).get("tensor", args[0] if args else None)
        return func(*args, **(kwargs or {}))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The dictionary in `path`, tensors only (``weights_only=True``), mapped into memory where its layout allows."""
    try:
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except (RuntimeError, ValueError):  # a deflated or an old-format file cannot be mapped
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {error}") from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{path} is not a checkpoint: it holds a {type(checkpoint).__name__}")
    return checkpoint
