"""The state machine against openai-whisper's `transcribe`, driven by the same made-up answers of a model."""

from __future__ import annotations

import math
import random
import sys
from typing import Any

import numpy as np
import pytest
import torch
import whisper.transcribe  # noqa: F401  # the module, which the package's function of that name hides
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import assert_same, transcribe
from whisper.decoding import DecodingResult
from whisper.tokenizer import Tokenizer, get_tokenizer

from wat_cli.errors import UsageError
from wat_cli.options import TranscribeOptions
from wat_cli.seek import (
    STALLED_WINDOWS,
    Decoded,
    DecodeRequest,
    FileSeek,
    LanguageRequest,
    WordsRequest,
    sampling_seed,
    seek_clips,
)
from wat_cli.transcript import Hearing

TRANSCRIBE = sys.modules["whisper.transcribe"]
TOKENIZER: Tokenizer = get_tokenizer(False)
BEGIN = TOKENIZER.timestamp_begin


def answer(seed: int, prompt: tuple[int, ...], temperature: float) -> Decoded:
    """A made-up decoding: any structure of text and timestamps, a function of what was asked."""
    chance = random.Random(f"{seed} {prompt[-5:]} {temperature:.2f}")
    tokens: list[int] = []
    place = chance.choice([0, 0, 10, 400])
    while chance.random() < 0.8 and place < 1400:
        tokens.append(BEGIN + place)
        tokens += [chance.choice([220, 464, 3290, 837, 13]) for _ in range(chance.randint(0, 12))]
        place += chance.choice([0, 40, 200, 700])
        if chance.random() < 0.85:
            tokens.append(BEGIN + min(place, 1500))
    if chance.random() < 0.15:
        tokens = [token for token in tokens if token < BEGIN]
    return Decoded(
        tokens=tuple(tokens),
        temperature=temperature,
        avg_logprob=chance.uniform(-1.5, 0),
        no_speech_prob=chance.random(),
        compression_ratio=chance.uniform(0.5, 3.0),
    )


def place_words(segments: list[dict[str, Any]]) -> None:
    """Made-up word times: usual words, and now and then what looks like a hallucination."""
    for segment in segments:
        chance = random.Random(f"{segment['tokens']} {segment['seek']}")
        words, time = [], segment["start"] + chance.choice([0.0, 0.0, 3.0])
        for token in segment["tokens"]:
            if token < TOKENIZER.eot:
                end = time + chance.choice([0.05, 0.3, 0.5, 2.5])
                words.append(
                    {
                        "word": TOKENIZER.decode([token]),
                        "start": round(time, 2),
                        "end": round(end, 2),
                        "probability": chance.choice([0.05, 0.9]),
                    }
                )
                time = end
        if words:
            segment["start"], segment["end"] = words[0]["start"], words[-1]["end"]
        segment["words"] = words


def drive(frames: int, options: TranscribeOptions, seed: int, limit: int = 10000) -> tuple[Hearing, list[int]]:
    """Answer a file's requests; gives what it heard and where its windows began."""
    seek = FileSeek(frames, options)
    run = seek.run()
    reply: Any = None
    seeks: list[int] = []
    for _ in range(limit):
        try:
            request = run.send(reply)
        except StopIteration as end:
            return Hearing(frames / 100, "en", end.value, None, seek.windows, seek.windows), seeks
        match request:
            case LanguageRequest():
                reply = TOKENIZER
            case DecodeRequest():
                if not seeks or request.window.index == len(seeks):
                    seeks.append(request.window.seek)
                reply = answer(seed + request.window.seek, request.prompt, request.temperature)
            case WordsRequest():
                reply = place_words(request.segments)
    raise AssertionError("the file does not end")


class EndlessReference(Exception):
    """openai-whisper stays at one place for ever."""


class ScriptedModel:
    """As much of a Whisper as `transcribe` touches, with made-up decodings."""

    device = torch.device("cpu")
    is_multilingual = False
    num_languages = 99

    class dims:
        n_mels, n_audio_ctx, n_text_ctx = 80, 1500, 448

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.decodes = 0

    def decode(self, segment: torch.Tensor, options: whisper.DecodingOptions) -> DecodingResult:
        frame = sys._getframe(3)  # behind decode_with_fallback and the reference's seeding
        self.decodes += 1
        if self.decodes > 400:
            raise EndlessReference
        prompt = tuple(options.prompt or ())[-223:]
        made_up = answer(self.seed + frame.f_locals["seek"], prompt, options.temperature)
        return DecodingResult(
            audio_features=segment,
            language="en",
            tokens=list(made_up.tokens),
            text="",
            avg_logprob=made_up.avg_logprob,
            no_speech_prob=made_up.no_speech_prob,
            temperature=made_up.temperature,
            compression_ratio=made_up.compression_ratio,
        )


def made_up_words(*, segments: list[dict[str, Any]], **_: Any) -> None:
    place_words(segments)


@st.composite
def requests(draw: st.DrawFn) -> tuple[int, TranscribeOptions, int]:
    frames = draw(st.integers(1, 14000))
    words = draw(st.booleans())
    clips = draw(st.sampled_from(["0", "", "3.01", "1,20", "0,5,40.5,60.25", "50,70,10,20", "10,9,12"]))
    points = [float(point) for point in clips.split(",")] if clips else []
    if any(point * 100 > frames for point in points):
        clips = "0"  # past the end openai-whisper never returns
    options = TranscribeOptions(
        initial_prompt=draw(st.sampled_from([None, "Hello there", "word " * 300])),
        carry_initial_prompt=draw(st.booleans()),
        condition_on_previous_text=draw(st.booleans()),
        temperature_increment_on_fallback=draw(st.sampled_from([0.2, 0.5, None])),
        compression_ratio_threshold=draw(st.sampled_from([2.4, None])),
        logprob_threshold=draw(st.sampled_from([-1.0, None])),
        no_speech_threshold=draw(st.sampled_from([0.6, None])),
        word_timestamps=words,
        clip_timestamps=clips,
        hallucination_silence_threshold=draw(st.sampled_from([None, 0.5, 2.0])),
    )
    return frames, options, draw(st.integers(0, 2**20))


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(requests())
def test_segments_are_openai_whispers(
    monkeypatch: pytest.MonkeyPatch, asked: tuple[int, TranscribeOptions, int]
) -> None:
    frames, options, seed = asked
    monkeypatch.setattr(TRANSCRIBE, "add_word_timestamps", made_up_words)
    monkeypatch.setattr(
        TRANSCRIBE, "log_mel_spectrogram", lambda audio, n_mels, padding: torch.zeros(n_mels, frames + 3000)
    )
    model: Any = ScriptedModel(seed)
    try:
        expected = transcribe(model, np.zeros(0, np.float32), options)
    except EndlessReference:
        drive(frames, options, seed)  # wat ends
        return
    heard, _ = drive(frames, options, seed)
    assert_same(heard, expected)


def test_the_longest_prompt_is_half_the_context_less_one() -> None:
    options = TranscribeOptions(initial_prompt="word " * 300)
    run = FileSeek(100, options).run()
    next(run)
    request = run.send(TOKENIZER)
    assert isinstance(request, DecodeRequest)
    assert len(request.prompt) == 223


def test_clips_past_the_end_stop_at_the_end() -> None:
    heard, seeks = drive(4000, TranscribeOptions(clip_timestamps="30,100,200,300"), seed=1)
    assert seeks[0] == 3000
    assert max(seeks) < 4000
    assert heard.windows == len(seeks)


def test_a_window_that_never_ends_is_left_behind() -> None:
    """Words that end where the window begins would keep openai-whisper there for ever."""
    options = TranscribeOptions(word_timestamps=True)
    run = FileSeek(6000, options).run()
    reply: Any = None
    seeks: list[int] = []
    with pytest.raises(StopIteration):
        while True:
            request = run.send(reply)
            match request:
                case LanguageRequest():
                    reply = TOKENIZER
                case DecodeRequest():
                    seeks.append(request.window.seek)
                    reply = Decoded((BEGIN, 464, BEGIN + 50, BEGIN + 50, 464), 0.0, -0.1, 0.0, 1.0)
                case WordsRequest():
                    for segment in request.segments:
                        start = request.window.seek / 100
                        segment["words"] = [{"word": " a", "start": start, "end": start + 0.004, "probability": 1.0}]
    assert seeks == [0] * STALLED_WINDOWS + [3000] * STALLED_WINDOWS


def test_progress_grows_to_the_end() -> None:
    told: list[float] = []
    run = FileSeek(7000, TranscribeOptions(clip_timestamps="10,70"), progress=told.append).run()
    reply: Any = None
    with pytest.raises(StopIteration):
        while True:
            request = run.send(reply)
            reply = TOKENIZER if isinstance(request, LanguageRequest) else Decoded((BEGIN, 464), 0.0, -0.1, 0.0, 1.0)
    assert told == [40.0, 70.0]


@pytest.mark.parametrize(
    ("points", "clips"),
    [
        ([], [(0, 5000)]),
        ([0.0], [(0, 5000)]),
        ([3.01, 20.0, 45.5], [(301, 2000), (4550, 5000)]),
        ([10.0, 99.0], [(1000, 5000)]),
    ],
)
def test_clips(points: list[float], clips: list[tuple[int, int]]) -> None:
    assert seek_clips(points, 5000) == clips


@pytest.mark.parametrize("text", ["a", "1,,2", "-1,5"])
def test_clips_that_are_no_times_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--clip-timestamps"):
        TranscribeOptions(clip_timestamps=text)


def test_sampling_seeds_differ_by_each_of_their_three() -> None:
    seeds = {
        sampling_seed(seed, seek, temperature)
        for seed in range(20)
        for seek in range(0, 40000, 2998)
        for temperature in (0.2, 0.4, 0.6000000000000001, 0.8, 1.0)
    }
    assert len(seeds) == 20 * math.ceil(40000 / 2998) * 5
    assert all(0 <= seed < 2**32 for seed in seeds)
