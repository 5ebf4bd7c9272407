"""Random weights of Whisper's real dimensions that decode to a set number of tokens, and heads for them.

Every engine gets the same weights, rounded to float16 as published checkpoints are. Three things make their work the
same, without an option that one engine has and another has not:

- The end token cannot win before token N and must win after it: its logit lies far below the others', until the
  position of token N, where the position embedding is the end token's own direction, a thousand times the rest.
- Timestamp tokens win where the rules ask for one, at the start of a window, and nowhere else (their embeddings are
  small). So each window is one segment, and the next one starts 30 s later in every engine that seeks by timestamps,
  while the rules are computed at every step.
- The last LayerNorm's weight unties input and output embeddings (`tests.random_whisper`): a dozen distinct tokens and
  more, other ones in each window, and top-1 margins far above rounding, so that float32 engines must agree token by
  token.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from whisper.model import Whisper

from tests.random_whisper import random_whisper, save_checkpoint
from wat_cli.model.tltr import PREFIX, TLTR

EOT, FIRST_TIMESTAMP = 50257, 50364
"""Of the multilingual vocabulary of 51,865 tokens."""
PROMPT_WITH_TIMESTAMPS, PROMPT_WITHOUT = 3, 4
"""Tokens before the first one that is sampled: start, language, task, and ``<|notimestamps|>``."""
CLASSES = 527
_FAR = 15.0
"""How far below the other logits (standard deviation about 3) the end token's lies."""
_LOUD = 1000.0


@dataclass(frozen=True)
class Size:
    """Dimensions of a published Whisper model; encoder and decoder have as many layers."""

    name: str
    width: int
    heads: int
    layers: int
    narrow_head: int | None = None
    """Inner width of the Whisper-AT head that `wat` takes for it."""


SIZES = {
    size.name: size
    for size in (
        Size("tiny", 384, 6, 4),
        Size("base", 512, 8, 6),
        Size("small", 768, 12, 12, 512),
        Size("large-v2", 1280, 20, 32, 512),
    )
}


def set_length_whisper(size: Size, tokens: int, prompt: int = PROMPT_WITH_TIMESTAMPS, seed: int = 7) -> Whisper:
    """A Whisper of `size` whose windows all have `tokens` tokens, and then the end token, after `prompt` tokens."""
    model = random_whisper(seed, width=size.width, layers=size.layers, heads=size.heads, ending=0.0)
    decoder, embedding = model.decoder, model.decoder.token_embedding.weight
    embedding[FIRST_TIMESTAMP:] *= 0.1
    end = embedding[EOT]
    decoder.ln.bias.copy_(-_FAR * end / end.dot(end))
    towards_end = decoder.ln.weight * end
    towards_end = towards_end - towards_end.mean()
    decoder.positional_embedding[prompt + tokens - 1 :] = _LOUD * towards_end / towards_end.norm()
    for parameter in model.parameters():
        parameter.copy_(parameter.half().float())
    return model


def random_head(size: Size, seed: int = 7) -> dict[str, torch.Tensor]:
    """State dict of a Whisper-AT head of random weights, as whisper-at names it.

    Its answers are as sparse as a trained one's: some fifteen classes of a decision score above 0.05. With torch's own
    initial weights all 527 would, and what is written of them would take longer than hearing.
    """
    torch.manual_seed(seed)
    head = TLTR(size.layers, size.width, CLASSES, size.narrow_head)
    last = head.mlp_layer[1]
    torch.nn.init.normal_(last.weight, std=0.83 * last.in_features**-0.5)
    torch.nn.init.constant_(last.bias, -4.5)
    return {PREFIX + name: value for name, value in head.state_dict().items()}


def prepare(folder: Path, size: Size, tokens: int, prompt: int = PROMPT_WITH_TIMESTAMPS) -> Path:
    """The checkpoint of a size and length in `folder`, made if it is not there; its head lies beside it."""
    name = f"{size.name}-{tokens}" + ("" if prompt == PROMPT_WITH_TIMESTAMPS else "-without-timestamps")
    checkpoint = folder / f"{name}.pt"
    if not checkpoint.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(random_head(size), head_of(checkpoint))
        part = save_checkpoint(set_length_whisper(size, tokens, prompt).half(), checkpoint.with_suffix(".part"))
        part.replace(checkpoint)
    return checkpoint


def head_of(checkpoint: Path) -> Path:
    """Where the head of a prepared checkpoint lies."""
    return checkpoint.with_name(checkpoint.stem + "_head.pt")
