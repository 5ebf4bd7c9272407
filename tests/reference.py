"""openai-whisper's `transcribe` with wat's options, sampling from wat's seeds: what exactness is judged by."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import torch
import whisper
from numpy.typing import NDArray
from whisper.model import Whisper

from wat_cli.options import TranscribeOptions
from wat_cli.seek import sampling_seed
from wat_cli.transcript import Hearing

FLOATS = ("avg_logprob", "compression_ratio", "no_speech_prob")


def transcribe(model: Whisper, audio: NDArray[np.float32], options: TranscribeOptions) -> dict[str, Any]:
    """`whisper.transcribe` of `audio`; before each decode above temperature 0 torch is seeded as wat documents it.

    Under the key ``decoded`` it also gives all that was decoded, tries that were given up too, as `DecodingResult`s.
    """
    decode = model.decode
    decodes: list[whisper.DecodingResult] = []

    def seeded(segment: torch.Tensor, decoding: whisper.DecodingOptions) -> Any:
        assert len(decodes) < 1000, "openai-whisper does not come to the end of this file"
        frame = inspect.currentframe()  # this one <- decode_with_fallback <- transcribe, which knows the seek
        assert frame is not None and frame.f_back is not None and frame.f_back.f_back is not None
        if decoding.temperature > 0:
            seek = frame.f_back.f_back.f_locals["seek"]
            torch.manual_seed(sampling_seed(options.seed, seek, decoding.temperature))
        decodes.append(decode(segment, decoding))
        return decodes[-1]

    model.decode = seeded
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result: dict[str, Any] = whisper.transcribe(
                model,
                audio,
                temperature=options.temperatures,
                compression_ratio_threshold=options.compression_ratio_threshold,
                logprob_threshold=options.logprob_threshold,
                no_speech_threshold=options.no_speech_threshold,
                condition_on_previous_text=options.condition_on_previous_text,
                initial_prompt=options.initial_prompt,
                carry_initial_prompt=options.carry_initial_prompt,
                word_timestamps=options.word_timestamps,
                prepend_punctuations=options.prepend_punctuations,
                append_punctuations=options.append_punctuations,
                clip_timestamps=options.clip_timestamps,
                hallucination_silence_threshold=options.hallucination_silence_threshold,
                task=options.task,
                language=options.language,
                best_of=options.best_of,
                beam_size=options.beam_size,
                patience=options.patience,
                length_penalty=options.length_penalty,
                suppress_tokens=options.suppress_tokens,
                fp16=False,
            )
    finally:
        del model.decode
    return result | {"decoded": decodes}


def assert_same(hearing: Hearing, reference: dict[str, Any]) -> None:
    """Every segment is the reference's: tokens, text, times and temperature equal, the float fields to 1e-4."""
    assert hearing.language == reference["language"]
    assert len(hearing.segments) == len(reference["segments"])
    for segment, expected in zip(hearing.segments, reference["segments"], strict=True):
        for field in ("id", "seek", "start", "end", "text", "temperature"):
            assert getattr(segment, field) == expected[field], (field, segment, expected)
        assert list(segment.tokens) == expected["tokens"]
        for field in FLOATS:
            assert abs(getattr(segment, field) - expected[field]) < 1e-4, (field, segment, expected)
        if "words" in expected and segment.words is not None:
            words = [(word.word, word.start, word.end) for word in segment.words]
            assert words == [(word["word"], word["start"], word["end"]) for word in expected["words"]]
            for word, truth in zip(segment.words, expected["words"], strict=True):
                assert abs(word.probability - truth["probability"]) < 1e-4
