"""Tries that share a batch give what `whisper.decode` gives each of them alone."""

from __future__ import annotations

import pytest
import torch
import whisper
from random_whisper import noises, random_whisper
from tape import as_on_a_gpu
from torch import Tensor
from whisper.model import Whisper
from whisper.tokenizer import get_tokenizer

from wat_cli.errors import UsageError
from wat_cli.model.decoding import BatchDecoder, Text, Try

PROMPTS: tuple[tuple[int, ...], ...] = ((), (2159, 318, 257), tuple(range(1000, 1300)), (11, 13))


@pytest.fixture(scope="module")
def model() -> Whisper:
    return random_whisper(0, ending=0.5)


@pytest.fixture(scope="module")
def features(model: Whisper) -> Tensor:
    mels = [whisper.log_mel_spectrogram(noises(30.0, seed)) for seed in range(3)]
    with torch.inference_mode():
        features: Tensor = model.encoder(torch.stack(mels))
    return features


def attempt(model: Whisper, language: str, task: str = "transcribe", **changes: object) -> Try:
    tokenizer = get_tokenizer(model.is_multilingual, num_languages=99, language=language, task=task)
    fields: dict[str, object] = {
        "prompt": (),
        "temperature": 0.0,
        "seed": 7,
        "best_of": None,
        "beam_size": None,
        "patience": None,
        "length_penalty": None,
        "suppress_tokens": "-1",
    }
    return Try(tokenizer, **{**fields, **changes})  # type: ignore[arg-type]


def expected(model: Whisper, features: Tensor, one: Try) -> whisper.DecodingResult:
    torch.manual_seed(one.seed)
    sampling = one.temperature > 0
    options = whisper.DecodingOptions(
        task=one.tokenizer.task,
        language=one.tokenizer.language,
        temperature=one.temperature,
        best_of=one.best_of if sampling else None,
        beam_size=None if sampling else one.beam_size,
        patience=None if sampling else one.patience,
        length_penalty=one.length_penalty,
        prompt=list(one.prompt),
        suppress_tokens=one.suppress_tokens,
        fp16=False,
    )
    result = whisper.decode(model, features, options)
    assert isinstance(result, whisper.DecodingResult)
    return result


def decode_all(decoder: BatchDecoder, features: Tensor, tries: list[Try], slots: int) -> dict[int, Text]:
    """Decode tries[i] on features[i % 3], as many at once as there are slots; those that end make room."""
    waiting = list(range(len(tries)))
    holder: dict[int, int] = {}
    texts: dict[int, Text] = {}
    while waiting or decoder.running:
        for slot in range(slots):
            while slot not in decoder.running and waiting:
                index = waiting.pop(0)
                decoder.load(slot, features[index % 3])
                text = decoder.start(slot, tries[index])
                if text is not None:
                    texts[index] = text
                holder[slot] = index
        for slot, text in decoder.step():
            texts[holder[slot]] = text
    return texts


@pytest.fixture(scope="module")
def tries(model: Whisper) -> list[Try]:
    """Greedy, beams and samples, languages, tasks and prompts of every length together."""
    return [
        attempt(model, "en", prompt=PROMPTS[0]),
        attempt(model, "de", "translate", prompt=PROMPTS[1], beam_size=3),
        attempt(model, "fr", prompt=PROMPTS[2], temperature=0.4, best_of=3, seed=11),
        attempt(model, "en", prompt=PROMPTS[3], beam_size=3, patience=2.0, length_penalty=0.3),
        attempt(model, "ja", prompt=PROMPTS[1], temperature=1.0, suppress_tokens=""),
        attempt(model, "en", prompt=PROMPTS[2], suppress_tokens="50,60,-1"),
    ]


@pytest.fixture(scope="module")
def truths(model: Whisper, features: Tensor, tries: list[Try]) -> list[whisper.DecodingResult]:
    return [expected(model, features[index % 3], one) for index, one in enumerate(tries)]


@pytest.mark.parametrize("slots", [1, 4])
def test_texts_do_not_depend_on_what_shares_the_batch(
    model: Whisper, features: Tensor, tries: list[Try], truths: list[whisper.DecodingResult], slots: int
) -> None:
    assert_decoded(decode_all(BatchDecoder(model, torch.float32), features, tries, slots), truths)
    assert len({token for truth in truths for token in truth.tokens}) > 60


@pytest.mark.parametrize("slots", [1, 4])
def test_recorded_steps_give_the_same_texts(
    model: Whisper, features: Tensor, tries: list[Try], truths: list[whisper.DecodingResult], slots: int
) -> None:
    """As on a GPU: a step's operations are asked for once, and then played again on what the same tensors hold."""
    decoder = BatchDecoder(model, torch.float32)
    recorder = as_on_a_gpu(decoder)
    assert_decoded(decode_all(decoder, features, tries, slots), truths)
    assert recorder.played == decoder.steps
    assert recorder.recorded < decoder.steps / 5


def assert_decoded(texts: dict[int, Text], truths: list[whisper.DecodingResult]) -> None:
    for index, truth in enumerate(truths):
        text = texts[index]
        assert list(text.tokens) == truth.tokens, index
        assert text.avg_logprob == pytest.approx(truth.avg_logprob, abs=1e-4)
        assert text.no_speech_prob == pytest.approx(truth.no_speech_prob, abs=1e-4)
        assert text.compression_ratio == truth.compression_ratio


def test_a_token_that_the_model_does_not_have_is_named(model: Whisper) -> None:
    tokens = model.dims.n_vocab
    with pytest.raises(UsageError, match=f"--suppress-tokens {tokens}: this model has the tokens 0 to {tokens - 1}"):
        BatchDecoder(model, torch.float32).start(0, attempt(model, "en", suppress_tokens=f"-1,{tokens}"))
