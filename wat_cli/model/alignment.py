"""Word times from cross-attention, read from encoder features that are already there.

openai-whisper's `add_word_timestamps` runs the whole model again, encoder included (``timing.py``,
`find_alignment`). All it asks of the model it is given is a call with (mel, tokens) and the decoder's modules, so it is
given one that takes the window's features in the mel's place: same functions, same words, no second encoder pass.
"""

from __future__ import annotations

import threading
from typing import Any

import numba
import torch
from torch import Tensor
from whisper.model import ModelDimensions, TextDecoder, Whisper
from whisper.timing import add_word_timestamps
from whisper.tokenizer import Tokenizer

# openai-whisper's dynamic time warping is compiled by numba, whose OpenMP layer would set the thread count of the
# OpenMP runtime that torch computes with (to all cores, whatever --threads says). Its own work queue leaves it alone,
# but ends the process where two threads enter it at once, as those of two engines may.
numba.config.THREADING_LAYER = "workqueue"  # type: ignore[attr-defined]
_ONE_AT_A_TIME = threading.Lock()


class _DecoderOnly:
    """What `whisper.timing` needs of a model, with the encoder's features given as its ``mel``."""

    def __init__(self, model: Whisper) -> None:
        self.decoder: TextDecoder = model.decoder
        self.dims: ModelDimensions = model.dims
        self.alignment_heads: Tensor = model.alignment_heads
        self.device: torch.device = model.device

    def __call__(self, audio_features: Tensor, tokens: Tensor) -> Tensor:
        logits: Tensor = self.decoder(tokens, audio_features)
        return logits


def add_words(
    model: Whisper,
    tokenizer: Tokenizer,
    audio_features: Tensor,
    segments: list[dict[str, Any]],
    *,
    frames: int,
    last_speech: float,
    prepend_punctuations: str,
    append_punctuations: str,
) -> None:
    """Give each of a window's `segments` its ``words``, and move its start and end to theirs, in place.

    Segments are openai-whisper's dictionaries (``seek``, ``start``, ``end``, ``tokens``); `audio_features` is
    [1500, width], `frames` the window's content in mel frames, `last_speech` the end of the speech before (seconds).
    """
    with _ONE_AT_A_TIME:
        add_word_timestamps(
            segments=segments,
            model=_DecoderOnly(model),
            tokenizer=tokenizer,
            mel=audio_features,
            num_frames=frames,
            prepend_punctuations=prepend_punctuations,
            append_punctuations=append_punctuations,
            last_speech_timestamp=last_speech,
        )
