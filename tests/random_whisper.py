"""Small Whisper models with random weights that behave: many distinct tokens, timestamps, another text per window.

Plain random weights prove nothing: input and output embeddings are tied, so a window repeats two tokens for ever. The
tie is broken by the last LayerNorm's weight, strong positions, and a cross-attention that listens, on an encoder that
tells sounds apart; weights are rounded to float16, as published checkpoints are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from whisper.model import ModelDimensions, Whisper

SAMPLE_RATE = 16000


def random_whisper(
    seed: int,
    *,
    multilingual: bool = True,
    width: int = 64,
    layers: int = 2,
    heads: int = 2,
    mels: int = 80,
    ending: float = 0.35,
) -> Whisper:
    """A Whisper of random weights, `width` wide, on the CPU; same seed, same model. `ending` shortens its texts."""
    torch.manual_seed(seed)
    vocabulary = 51865 if multilingual else 51864
    model = Whisper(ModelDimensions(mels, 1500, width, heads, layers, vocabulary, 448, width, heads, layers))
    model.eval().requires_grad_(False)
    torch.nn.init.normal_(model.decoder.token_embedding.weight, std=0.3)
    model.decoder.positional_embedding.normal_()
    model.decoder.ln.weight.copy_(0.5 * torch.randn(width))
    end = model.decoder.token_embedding.weight[50257 if multilingual else 50256]
    model.decoder.ln.bias.copy_(ending * end)
    for conv in (model.encoder.conv1, model.encoder.conv2):
        conv.weight.mul_(5)
    for block in model.decoder.blocks:
        block.cross_attn.query.weight.mul_(6)
        block.cross_attn.key.weight.mul_(3)
        block.cross_attn.out.weight.mul_(6)
    for parameter in model.parameters():
        parameter.copy_(parameter.half().float())
    return model


def save_checkpoint(model: Whisper, path: Path) -> Path:
    """Write `model` in OpenAI's checkpoint format."""
    torch.save({"dims": dict(vars(model.dims)), "model_state_dict": model.state_dict()}, path)
    return path


def noises(seconds: float, seed: int) -> NDArray[np.float32]:
    """Bursts of tones and noise that change twice a second: every window sounds different. 16-bit values."""
    random = np.random.default_rng(seed)
    samples = int(seconds * SAMPLE_RATE)
    audio = np.zeros(samples)
    time = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    for start in range(0, samples, SAMPLE_RATE // 2):
        piece = 0.02 * random.standard_normal(time.size)
        for _ in range(3):
            piece += random.uniform(0, 0.2) * np.sin(2 * np.pi * random.uniform(80, 6000) * time)
        audio[start : start + time.size] = piece[: samples - start]
    return (np.round(audio.clip(-1, 1) * 32767) / 32768).astype(np.float32)


class Samples:
    """An array of samples with the face of a PCM spool."""

    def __init__(self, audio: NDArray[np.float32]) -> None:
        self.audio = audio

    @property
    def samples(self) -> int:
        return len(self.audio)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        return self.audio[start:stop]
