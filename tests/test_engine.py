"""What the engine hears is what openai-whisper hears, in one encoder pass per window."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import whisper
from numpy.typing import NDArray
from random_whisper import Samples, noises, random_whisper, save_checkpoint
from reference import assert_same, transcribe
from whisper.model import Whisper

from wat_cli.engine import Engine, choose_compute, load_engine, use_fast_float32
from wat_cli.engine.loading import KERNELS, slots_for
from wat_cli.errors import UsageError
from wat_cli.model import products
from wat_cli.model.products import unsupported
from wat_cli.model.tltr import PREFIX, TLTR
from wat_cli.model.whisper_at import WhisperAT
from wat_cli.options import ModelOptions, TranscribeOptions

PLAIN = TranscribeOptions(
    beam_size=None, temperature_increment_on_fallback=None, logprob_threshold=None, compression_ratio_threshold=None
)


@pytest.fixture(scope="module", autouse=True)
def _two_threads() -> Iterator[None]:
    """A team, though each of the tests' processes has one thread where they share the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def multilingual() -> Whisper:
    return random_whisper(1, ending=0.6)


@pytest.fixture(scope="module")
def english() -> Whisper:
    return random_whisper(0, multilingual=False, ending=0.6)


def random_head(model: Whisper, classes: int = 7) -> TLTR:
    torch.manual_seed(5)
    return TLTR(model.dims.n_audio_layer, model.dims.n_audio_state, classes).eval().requires_grad_(False)


CASES = {
    "greedy, language detected": (65.0, PLAIN),
    "beams, translated from a given language": (
        31.5,
        dataclasses.replace(PLAIN, beam_size=3, patience=1.5, task="translate", language="German"),
    ),
    "sampling after failed thresholds": (
        40.0,
        dataclasses.replace(
            PLAIN, temperature_increment_on_fallback=0.4, logprob_threshold=-4.6, best_of=2, language="de"
        ),
    ),
    "a prompt carried to every window": (
        62.0,
        dataclasses.replace(PLAIN, initial_prompt="Names: Ada, Grace.", carry_initial_prompt=True, language="en"),
    ),
    "no conditioning, clips": (
        70.0,
        dataclasses.replace(PLAIN, condition_on_previous_text=False, clip_timestamps="0.5,3.01,33.3,41", language="fr"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_segments_are_openai_whispers(multilingual: Whisper, case: str) -> None:
    seconds, options = CASES[case]
    audio = noises(seconds, seed=2)
    expected = transcribe(multilingual, audio, options)
    heard = Engine(WhisperAT(multilingual)).hear(Samples(audio), options)
    assert_same(heard, expected)
    assert heard.encoder_passes == heard.windows >= 2
    tokens = [token for segment in heard.segments for token in segment.tokens]
    assert len(set(tokens)) >= 10
    assert (heard.language_probability is None) == (options.language is not None)
    if options.temperature_increment_on_fallback is not None:  # the case is about windows that fall back
        assert {segment.temperature for segment in heard.segments} & {0.4, 0.8}


def test_words_and_where_they_move_the_next_window_are_openai_whispers() -> None:
    model, audio = random_whisper(0, ending=0.5), noises(47.0, seed=4)
    options = dataclasses.replace(PLAIN, word_timestamps=True, language="en", length_penalty=0.6)
    expected = transcribe(model, audio, options)
    heard = Engine(WhisperAT(model)).hear(Samples(audio), options)
    assert_same(heard, expected)
    assert sum(len(segment.words or ()) for segment in heard.segments) > 10
    assert heard.encoder_passes == heard.windows == 2


def test_one_encoder_pass_per_window_under_fallback(english: Whisper) -> None:
    """Counted by a hook on the encoder: every temperature, the words and the tags read one pass."""
    options = dataclasses.replace(PLAIN, temperature_increment_on_fallback=0.5, logprob_threshold=0.0, best_of=1)
    passes: list[int] = []
    hook = english.encoder.conv1.register_forward_hook(lambda *_: passes.append(1))
    heard = Engine(WhisperAT(english), random_head(english)).hear(Samples(noises(32.0, seed=4)), options)
    hook.remove()
    assert {segment.temperature for segment in heard.segments} == {1.0}
    assert len(passes) == heard.encoder_passes == heard.windows >= 2


def test_language_words_and_tags_read_the_same_pass(multilingual: Whisper) -> None:
    options = dataclasses.replace(PLAIN, word_timestamps=True)
    passes: list[int] = []
    hook = multilingual.encoder.conv1.register_forward_hook(lambda *_: passes.append(1))
    heard = Engine(WhisperAT(multilingual), random_head(multilingual)).hear(Samples(noises(12.0, seed=4)), options)
    hook.remove()
    assert len(passes) == heard.encoder_passes == heard.windows
    assert heard.tags is not None
    assert heard.language_probability is not None


def test_tags_cover_the_file_on_its_own_grid(english: Whisper) -> None:
    audio = noises(70.1, seed=6)
    heard = Engine(WhisperAT(english), random_head(english)).hear(Samples(audio), PLAIN)
    assert heard.tags is not None
    assert heard.tags.steps == 176
    assert heard.tags.classes == 7
    assert np.isfinite(heard.tags.when).all()
    assert np.isfinite(heard.tags.what).all()


def test_what_no_window_covers_is_unknown(english: Whisper) -> None:
    options = dataclasses.replace(PLAIN, clip_timestamps="10,20")
    heard = Engine(WhisperAT(english), random_head(english)).hear(Samples(noises(30.0, seed=6)), options)
    assert heard.tags is not None
    known = np.isfinite(heard.tags.when[:, 0])
    assert known[25:50].all()
    assert not known[:25].any()
    assert not known[50:].any()


def test_tags_off_are_none(english: Whisper) -> None:
    engine = Engine(WhisperAT(english), random_head(english))
    assert engine.hear(Samples(noises(3.0, seed=6)), PLAIN, tags=False).tags is None


def test_a_second_encoder_for_the_sounds_is_counted_apart(english: Whisper) -> None:
    tagger = random_whisper(9, width=48, layers=3, mels=128)
    engine = Engine(WhisperAT(english), random_head(tagger), WhisperAT(tagger))
    audio = noises(33.0, seed=8)
    heard = engine.hear(Samples(audio), PLAIN)
    assert heard.tagger_passes == heard.encoder_passes == heard.windows
    assert heard.tags is not None
    assert_same(heard, transcribe(english, audio, PLAIN))


def test_the_seed_decides_the_sampling(english: Whisper) -> None:
    options = TranscribeOptions(temperature=0.8, temperature_increment_on_fallback=None, best_of=1)
    engine, audio = Engine(WhisperAT(english)), Samples(noises(8.0, seed=1))
    first, again, other = (engine.hear(audio, dataclasses.replace(options, seed=seed)).segments for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_file_without_a_whole_frame_has_no_window(multilingual: Whisper) -> None:
    heard = Engine(WhisperAT(multilingual)).hear(Samples(np.zeros(100, np.float32)), PLAIN)
    assert (heard.windows, heard.encoder_passes, heard.segments) == (0, 0, ())


def test_an_unknown_language_is_refused(multilingual: Whisper) -> None:
    with pytest.raises(UsageError, match="--language tlh"):
        Engine(WhisperAT(multilingual)).hear(Samples(noises(1.0, seed=0)), TranscribeOptions(language="tlh"))


def test_progress_ends_at_the_end(english: Whisper) -> None:
    told: list[float] = []
    Engine(WhisperAT(english)).hear(Samples(noises(4.5, seed=0)), PLAIN, progress=told.append)
    assert told[-1] == 4.5
    assert told == sorted(told)


def test_an_engine_loads_what_its_weights_name(english: Whisper, tmp_path: Path) -> None:
    asr = SimpleNamespace(name="mine", path=save_checkpoint(english, tmp_path / "asr.pt"))
    torch.save({PREFIX + k: v for k, v in random_head(english, 527).state_dict().items()}, tmp_path / "head.pt")
    head = SimpleNamespace(name="head", path=tmp_path / "head.pt")
    engine = load_engine(SimpleNamespace(asr=asr, head=head, second_encoder=None), ModelOptions(device="cpu"))
    audio: NDArray[np.float32] = noises(5.0, seed=2)
    options = dataclasses.replace(PLAIN, word_timestamps=True)  # through layers whose weights are laid out anew
    heard = engine.hear(Samples(audio), options)
    torch.set_float32_matmul_precision("highest")
    assert_same(heard, transcribe(english, audio, options))
    assert heard.tags is not None


def test_the_fast_path_for_float32_is_float32() -> None:
    try:
        use_fast_float32()
        generator = torch.Generator().manual_seed(1)
        left, right = torch.randn(1500, 384, generator=generator), torch.randn(384, 1536, generator=generator)
        exact = left.double() @ right.double()
        product = torch.nn.functional.linear(left, right.T.contiguous())
        assert (product - exact).abs().max() < 1e-5 * exact.abs().max()
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("device", ["gpu", "mps", "cuda:99"])
def test_a_device_that_is_not_here_is_refused(device: str) -> None:
    with pytest.raises(UsageError, match=f"--device {device}"):
        choose_compute(ModelOptions(device=device))


def test_a_cpu_computes_in_float32() -> None:
    assert choose_compute(ModelOptions(device="cpu", fp16=True)).dtype == torch.float32


def test_memory_does_not_grow_with_every_new_shape() -> None:
    """oneDNN keeps code for each shape: what was made first is gone after many others, and made anew."""
    program = (
        "import torch; from wat_cli.engine import loading\n"
        "loading.keep_few_kernels()\n"
        "loading.use_fast_float32()\n"
        "for _ in range(2):\n"
        f"    for n in range(1, {2 * KERNELS}): torch.nn.functional.linear(torch.ones(n, 64), torch.ones(64, 64))\n"
    )
    environment = {**os.environ, "ONEDNN_VERBOSE": "profile_create"}
    environment.pop("ONEDNN_PRIMITIVE_CACHE_CAPACITY", None)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    made = sum(",create:cache_miss,cpu,matmul," in line for line in done.stdout.splitlines())
    if made == 0:
        pytest.skip("torch computes float32 without oneDNN here")
    assert made > 3 * KERNELS


def test_slots_have_caches_that_fit_the_memory(english: Whisper) -> None:
    model = WhisperAT(english)
    assert slots_for(model, 1 << 40) == 8
    assert slots_for(model, 1 << 10) == 1
    a_slot = 4 * 2 * 2 * (1500 + 5 * 448) * 64  # float32 keys and values of two layers, for five beams
    assert slots_for(model, 4 * 3 * a_slot) == 3


@pytest.mark.parametrize("instructions", [True, False], ids=["with bfloat16", "without"])
@pytest.mark.parametrize("compute_type", ["bfloat16", "int8"])
def test_other_number_formats_are_near_and_do_not_depend_on_the_batch(
    multilingual: Whisper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compute_type: str, instructions: bool
) -> None:
    monkeypatch.setattr(products, "has_bfloat16", lambda: instructions)
    asr = SimpleNamespace(name="mine", path=save_checkpoint(multilingual, tmp_path / "asr.pt"))
    options = ModelOptions(device="cpu", compute_type=compute_type)
    if why := unsupported(getattr(torch, compute_type), torch.device("cpu")):
        with pytest.raises(UsageError, match=why):
            choose_compute(options)
        pytest.skip(why)
    engine = load_engine(SimpleNamespace(asr=asr, head=None, second_encoder=None), options)
    torch.set_float32_matmul_precision("highest")
    mels = [whisper.log_mel_spectrogram(noises(30.0, seed)) for seed in range(2)]
    exact = multilingual.encoder(torch.stack(mels))
    together = engine.models.model.encode(torch.stack(mels)).audio_features
    alone = engine.models.model.encode(mels[1][None]).audio_features
    error = (together - exact).norm() / exact.norm()
    in_fewer_digits = instructions or compute_type == "int8"
    assert (1e-4 if in_fewer_digits else 0) < error < (0.05 if in_fewer_digits else 1e-5)
    assert engine.decoder.decoder.cross[0].keys.dtype in (torch.float16, torch.uint8)
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-5)
    files = [Samples(noises(seconds, seed=6)) for seconds in (20.0, 33.0, 9.0)]
    with ThreadPoolExecutor(3) as threads:
        shared = list(threads.map(lambda pcm: engine.hear(pcm, PLAIN).segments, files))
    for heard, pcm in zip(shared, files, strict=True):
        by_itself = engine.hear(pcm, PLAIN).segments
        assert [(one.seek, one.tokens) for one in heard] == [(one.seek, one.tokens) for one in by_itself]
        assert [one.avg_logprob for one in heard] == pytest.approx([one.avg_logprob for one in by_itself], abs=1e-4)


@pytest.mark.parametrize(("compute_type", "why"), [("float16", "float16 is for GPUs"), ("float64", "it is one of")])
def test_a_number_format_that_is_not_to_be_had_is_refused(compute_type: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"--compute-type {compute_type}: {why}"):
        choose_compute(ModelOptions(device="cpu", compute_type=compute_type))
