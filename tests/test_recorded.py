"""Steps that are recorded, and what a GPU computes of them; that they give the same texts is in test_decoding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import torch
from random_whisper import noises, random_whisper
from tape import Recorder, as_on_a_gpu
from test_decoding import attempt
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from whisper.model import Whisper

from wat_cli.model.deciding import Decider
from wat_cli.model.decoder import SlotDecoder
from wat_cli.model.decoding import BatchDecoder, Text
from wat_cli.model.mel import window_mel
from wat_cli.model.recorded import Asked, RecordedSteps
from wat_cli.model.rules import RowPast, Rules
from wat_cli.model.tltr import TLTR
from wat_cli.model.whisper_at import WhisperAT

_T = TypeVar("_T")


@pytest.fixture(scope="module")
def model() -> Whisper:
    return random_whisper(0, ending=0.5)


def decoded(decoder: BatchDecoder, model: Whisper, **changes: object) -> Text:
    torch.manual_seed(1)
    decoder.load(0, torch.randn(1500, model.dims.n_audio_state))
    assert decoder.start(0, attempt(model, "en", **changes)) is None
    while True:
        for _, text in decoder.step():
            assert isinstance(text, Text)
            return text


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of several devices, but for copies from one to the other."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if "copy" not in func.name() and func.name() != "aten::to.device":
            assert len({tensor.device for tensor in tensors}) <= 1, func.name()
        return func(*args, **(kwargs or {}))


def test_a_window_is_heard_on_its_device_alone(model: Whisper) -> None:
    """On torch's device without numbers, where whoever asks for one fails: all that a GPU is asked for."""
    samples = noises(30.0, seed=2)
    dims = model.dims
    device = torch.device("meta")
    bare = Whisper(dims).to(device)
    rules = Rules(torch.zeros(dims.n_vocab), torch.zeros(dims.n_vocab), eot=50257, timestamp_begin=50364)
    with OneDevice(), torch.inference_mode():
        mel = window_mel(lambda start, stop: samples[start:stop], 0, 3000, 1.0, dims.n_mels, device)[None]
        encoded = WhisperAT(bare, torch.float16).encode(mel.expand(2, -1, -1), [slice(0, 1500)] * 2)
        assert encoded.layer_features is not None
        head = TLTR(dims.n_audio_layer, dims.n_audio_state, 7).requires_grad_(False).to(device)
        logits = Decider(head).decide(encoded.layer_features[0], [(0, 25), (10, 35)])
        assert logits.shape == (2, 7)
        decoder = SlotDecoder(bare, torch.float16)
        decoder.reserve(3, 5)
        decoder.load(1, encoded.audio_features[0])
        prefilled = decoder.prefill(1, [50258, 50259, 50359], 0, 5)
        assert prefilled.last.shape == (1, dims.n_vocab)
        found: list[Tensor] = []

        def record(work: Callable[[], Any]) -> Callable[[], Any]:
            found.append(work())
            raise KeyboardInterrupt  # what was found is to be read next, and nothing is there

        steps = RecordedSteps(decoder, record)
        with pytest.raises(KeyboardInterrupt):
            steps.ranked({1: Asked([1] * 5, 3, range(5), [RowPast(0, 50364, 51865)] * 5, rules)}, most=6)
    assert found[0].shape == (15, 2 + 2 * 6)
    assert {mel.device, logits.device, prefilled.last.device, found[0].device} == {device}


def test_where_nothing_can_be_recorded_steps_are_asked_for_one_by_one(model: Whisper) -> None:
    truth = decoded(BatchDecoder(model, torch.float32), model, beam_size=3)
    decoder = BatchDecoder(model, torch.float32)
    as_on_a_gpu(decoder)
    assert decoder.recorded is not None

    def refuse(work: Callable[[], _T]) -> Callable[[], _T]:
        raise RuntimeError("operation not permitted when stream is capturing")

    decoder.recorded.record = refuse
    with pytest.warns(RuntimeWarning, match="cannot be recorded here.*not permitted when stream is capturing"):
        assert decoded(decoder, model, beam_size=3).tokens == truth.tokens


def test_a_recording_that_does_not_fit_is_a_lack_of_memory(model: Whisper) -> None:
    """The engine then goes on with fewer slots; nothing of the larger recordings stays."""
    decoder = BatchDecoder(model, torch.float32)
    recorder = as_on_a_gpu(decoder)
    truth = decoded(decoder, model)
    steps = decoder.recorded
    assert steps is not None and recorder.recorded > 0

    def refuse(work: Callable[[], _T]) -> Callable[[], _T]:
        raise RuntimeError("CUDA out of memory")

    decoder.clear()
    steps.record = refuse
    with pytest.raises(RuntimeError, match="out of memory"):
        decoded(decoder, model)
    decoder.clear()
    steps.record = Recorder()
    assert decoded(decoder, model).tokens == truth.tokens
