"""The frozen encoder that a head is trained on: which file it is, how large it is, and loading it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from wat_cli import checkpoints
from wat_cli.checkpoints import registry
from wat_cli.checkpoints.transfer import Progress
from wat_cli.cpus import within_quota
from wat_cli.engine import choose_compute, use_fast_float32
from wat_cli.errors import CheckpointError
from wat_cli.model.whisper_at import WhisperAT, load_whisper, read_checkpoint
from wat_cli.options import ModelOptions
from wat_cli.training.cost import ENCODERS


@dataclass(frozen=True)
class Encoder:
    """A frozen encoder, ready."""

    model: WhisperAT
    name: str
    sha256: str

    @property
    def layers(self) -> int:
        """Blocks of the encoder, each of which gives features."""
        return int(self.model.dims.n_audio_layer)

    @property
    def width(self) -> int:
        """Size of a feature vector."""
        return int(self.model.dims.n_audio_state)


def load_encoder(options: ModelOptions, progress: Progress = checkpoints.silent) -> Encoder:
    """The encoder of ``--model``, fetched if need be, where ``--device`` says."""
    weights = checkpoints.resolve(options, tags=False, progress=progress).asr
    compute = choose_compute(options)
    if threads := within_quota(options).threads:
        torch.set_num_threads(threads)
    if compute.device.type == "cpu":
        use_fast_float32()
    model = WhisperAT(load_whisper(weights.path, weights.name, compute.device), compute.dtype)
    return Encoder(model, weights.name, weights.sha256)


def encoder_size(model: str) -> tuple[int, int]:
    """Layers and width of a model's encoder: OpenAI's by name, without their weights; others from the checkpoint."""
    known = registry.find(model)
    if known is not None:
        return ENCODERS[known.name.split("-")[0].removesuffix(".en")]
    path = checkpoints.plan(ModelOptions(model=model), tags=False).asr.path
    dims = read_checkpoint(path).get("dims")
    try:
        return int(dims["n_audio_layer"]), int(dims["n_audio_state"])  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(f"{path} is not a Whisper checkpoint in OpenAI's format") from None
