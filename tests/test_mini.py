"""The model that ships is a true Whisper checkpoint and a true Whisper-AT head; wat hears with it what whisper does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from reference import assert_same, transcribe
from whisper.tokenizer import get_tokenizer

from wat_cli import sidecar
from wat_cli.media import PcmSpool, choose_track, decode_pcm, probe
from wat_cli.model.heads import load_any_head
from wat_cli.model.tltr import PREFIX
from wat_cli.model.whisper_at import read_checkpoint
from wat_cli.options import TranscribeOptions

FILMS = Path(__file__).parents[1] / "sample_media"
WITH_SOUND = ["market.mp4", "island.mkv", "radio.mp3", "concert.webm", "storm.mp4"]


@pytest.fixture(scope="module")
def model(mini: Path) -> whisper.Whisper:
    """The shipped checkpoint, loaded by openai-whisper."""
    return whisper.load_model(str(mini), device="cpu")


def test_both_files_are_small(mini: Path) -> None:
    assert mini.stat().st_size + mini.with_name("mini_head.pt").stat().st_size <= 20_000_000


def test_it_is_an_english_whisper(model: whisper.Whisper) -> None:
    assert model.dims.n_vocab == 51_864 and not model.is_multilingual


def test_whisper_at_loads_the_head_and_gives_the_same_logits(mini: Path, model: whisper.Whisper) -> None:
    upstream = pytest.importorskip("whisper_at.model", reason="whisper-at is not installed (pip install --no-deps)")
    path, dims = mini.with_name("mini_head.pt"), model.dims
    layers, width = dims.n_audio_layer, dims.n_audio_state
    theirs = upstream.ATModel(label_dim=527, n_layer=layers, rep_dim=width, mode="tl_tr_1_8").eval()
    weights = {key.removeprefix(PREFIX): value for key, value in read_checkpoint(path).items()}
    theirs.load_state_dict(weights, strict=True)
    features = torch.randn(1, layers, 25, width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs(features[0], time_resolution=10)
    head = load_any_head(path, layers=layers, width=width)
    torch.testing.assert_close(head(features), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("film", WITH_SOUND)
def test_the_sidecar_holds_what_whisper_transcribes(film: str, model: whisper.Whisper, captioned: Path) -> None:
    path = (captioned / film).with_suffix(".json")
    document = json.loads(path.read_text(encoding="utf-8"))
    hearing = sidecar.read(path).transcript.hearing
    info = probe(FILMS / film)
    with PcmSpool(info.duration) as spool:
        for chunk in decode_pcm(info, choose_track(info)):
            spool.append(chunk)
        samples = spool.read(0, spool.samples)
    passes = 0

    def count(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal passes
        passes += 1

    hook = model.encoder.register_forward_pre_hook(count)
    try:
        reference = transcribe(model, samples, TranscribeOptions())
    finally:
        hook.remove()
    assert_same(hearing, reference)
    assert document["encoder_passes"] == document["windows"] <= passes


def test_a_prompt_and_no_timestamps_are_understood(model: whisper.Whisper, captioned: Path) -> None:
    """`<|notimestamps|>` gives text without times; a prompt of earlier text does not stop the model from hearing."""
    info = probe(FILMS / "market.mp4")
    with PcmSpool(info.duration) as spool:
        for chunk in decode_pcm(info, choose_track(info)):
            spool.append(chunk)
        samples = spool.read(0, min(spool.samples, 30 * 16_000))
    mel = whisper.log_mel_spectrogram(np.pad(samples, (0, 30 * 16_000 - len(samples))))
    plain = whisper.decode(model, mel, whisper.DecodingOptions(language="en", fp16=False, without_timestamps=True))
    prompted = whisper.decode(
        model, mel, whisper.DecodingOptions(language="en", fp16=False, prompt="Good morning everyone.")
    )
    begin = get_tokenizer(multilingual=False).timestamp_begin
    assert plain.text and max(plain.tokens) < begin
    assert prompted.text and max(prompted.tokens) >= begin


def test_silence_is_no_speech(model: whisper.Whisper) -> None:
    mel = whisper.log_mel_spectrogram(np.zeros(30 * 16_000, np.float32))
    result = whisper.decode(model, mel, whisper.DecodingOptions(language="en", fp16=False))
    assert result.no_speech_prob > 0.6 and not result.text
