"""Word times from features are openai-whisper's, which runs the encoder again for them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from random_whisper import noises, random_whisper
from whisper.timing import add_word_timestamps
from whisper.tokenizer import get_tokenizer

from wat_cli.model.alignment import add_words
from wat_cli.model.mel import LogMelMaximum, window_mel
from wat_cli.options import APPEND_PUNCTUATIONS, PREPEND_PUNCTUATIONS


@pytest.mark.parametrize("frames", [3000, 1234])
def test_words_are_openai_whispers_without_another_pass(frames: int) -> None:
    model = random_whisper(3, multilingual=False)
    tokenizer = get_tokenizer(False)
    audio = noises(frames / 100, seed=1)
    log_max = LogMelMaximum(80)
    log_max.feed(audio)
    mel = window_mel(lambda start, stop: audio[start:stop], 0, frames, log_max.value, 80)
    with torch.no_grad():
        features = model.encoder(mel[None])
    texts = (' So it goes, said the "man".', " And then?", "", " Nothing more happened that day!")
    begin = tokenizer.timestamp_begin
    segments: list[dict[str, Any]] = [
        {"seek": 0, "start": 2.0 * i, "end": 2.0 * i + 1.5, "tokens": [begin, *tokenizer.encode(text), begin + 75]}
        for i, text in enumerate(texts)
    ]
    theirs = copy.deepcopy(segments)
    add_word_timestamps(
        segments=theirs, model=model, tokenizer=tokenizer, mel=mel, num_frames=frames, last_speech_timestamp=0.5
    )
    passes = []
    hook = model.encoder.register_forward_hook(lambda *_: passes.append(1))
    add_words(
        model,
        tokenizer,
        features[0],
        segments,
        frames=frames,
        last_speech=0.5,
        prepend_punctuations=PREPEND_PUNCTUATIONS,
        append_punctuations=APPEND_PUNCTUATIONS,
    )
    hook.remove()
    assert not passes
    assert [segment["words"] != [] for segment in segments] == [True, True, False, True]
    for segment, expected in zip(segments, theirs, strict=True):
        probabilities = [word.pop("probability") for word in segment["words"]]
        assert probabilities == pytest.approx([word.pop("probability") for word in expected["words"]], rel=1e-4)
        assert segment == expected
