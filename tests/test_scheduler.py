"""Files that share the models hear what each hears alone; what fails in one leaves the others be."""

from __future__ import annotations

import dataclasses
import gc
import os
import subprocess
import sys
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from random_whisper import Samples, noises, random_whisper
from reference import assert_same, transcribe
from tape import as_on_a_gpu
from whisper.model import Whisper

from wat_cli.engine import Engine
from wat_cli.engine.spinning import Spinning
from wat_cli.errors import MediaError
from wat_cli.media import choose_track, decode_pcm, probe
from wat_cli.model.tltr import TLTR
from wat_cli.model.whisper_at import WhisperAT, load_whisper
from wat_cli.options import TranscribeOptions
from wat_cli.transcript import Hearing

GREEDY = TranscribeOptions(
    beam_size=None,
    temperature_increment_on_fallback=0.6,
    best_of=1,
    logprob_threshold=-5.0,
    no_speech_threshold=5e-6,
    compression_ratio_threshold=None,
    hallucination_silence_threshold=None,
)
BEAMS = dataclasses.replace(GREEDY, beam_size=5, best_of=2)
GRADUAL = dataclasses.replace(GREEDY, temperature_increment_on_fallback=0.2)
NO_END = ",".join(["-1", *map(str, range(50365, 51865))])
"""Suppresses every timestamp but <|0.00|>: a segment begins and never ends, as where the window's end cuts it."""
SAMPLE_MEDIA = Path(__file__).parents[1] / "sample_media"
File = tuple[NDArray[np.float32], TranscribeOptions]


@pytest.fixture(scope="module")
def model() -> Whisper:
    return random_whisper(1, ending=0.6)


@pytest.fixture(scope="module")
def files() -> list[File]:
    """Six windows, less than one; languages given and detected; both tasks; prompts from none to the longest."""
    return [
        (noises(155.0, seed=2), GRADUAL),
        (noises(7.3, seed=3), dataclasses.replace(GREEDY, language="de")),
        (noises(31.0, seed=4), dataclasses.replace(BEAMS, language="fr", task="translate")),
        (noises(33.0, seed=5), dataclasses.replace(GREEDY, initial_prompt="word " * 300, carry_initial_prompt=True)),
        (noises(28.0, seed=6), dataclasses.replace(BEAMS, initial_prompt="Names: Ada, Grace.", language="en")),
        (noises(31.0, seed=7), dataclasses.replace(GREEDY, condition_on_previous_text=False)),
        (noises(60.0, seed=8), dataclasses.replace(GRADUAL, seed=3)),
        (noises(30.0, seed=9), dataclasses.replace(GREEDY, suppress_tokens=NO_END, logprob_threshold=None)),
    ]


@pytest.fixture(scope="module")
def truths(model: Whisper, files: list[File]) -> list[dict[str, Any]]:
    return [transcribe(model, audio, options) for audio, options in files]


def hear_all(engine: Engine, files: list[File]) -> list[Hearing]:
    with ThreadPoolExecutor(len(files)) as threads:
        return list(threads.map(lambda file: engine.hear(Samples(file[0]), file[1]), files))


def test_the_engine_looks_at_each_turn_whether_others_want_the_cores(
    model: Whisper, files: list[File], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Spinning] = []
    monkeypatch.setattr(Spinning, "look", lambda spinning: looked.append(spinning))
    engine = Engine(WhisperAT(model))
    for _ in range(2):
        engine.hear(Samples(files[1][0]), files[1][1])
    assert len(looked) >= engine.decoder.steps > 2 and len(set(looked)) == 2


@pytest.mark.parametrize("busy", ["torch.ones(400, 400).mm(torch.ones(400, 400))", "_Crowd().part()"])
def test_a_program_may_end_as_soon_as_it_was_heard(busy: str) -> None:
    """The engine's thread computes still, or lets go what it made to give way; the interpreter waits for it."""
    program = f"""
import torch
from random_whisper import Samples, noises, random_whisper
from wat_cli.engine import Engine
from wat_cli.engine.spinning import Spinning, _Crowd
from wat_cli.model.whisper_at import WhisperAT
from wat_cli.options import TranscribeOptions
told = []
def look(spinning):
    for _ in range(20 if 3.0 in told else 0):
        {busy}
Spinning.look = look
engine, samples = Engine(WhisperAT(random_whisper(1, ending=0.6))), Samples(noises(3.0, seed=3))
options = TranscribeOptions(language="en", temperature_increment_on_fallback=None)
engine.hear(samples, options, progress=told.append)
print("heard")
"""
    here = Path(__file__).parent
    places = os.pathsep.join([str(here), str(here.parent)])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": places},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "heard\n", "")


@pytest.mark.parametrize(("together", "slots", "recorded"), [(1, 8, False), (3, 2, False), (8, 8, False), (8, 8, True)])
def test_segments_do_not_depend_on_what_shares_the_batch(
    model: Whisper, files: list[File], truths: list[dict[str, Any]], together: int, slots: int, recorded: bool
) -> None:
    """With steps that are `recorded` too, as on a GPU."""
    chosen = range(len(files)) if together > 1 else range(1, 2)
    engine = Engine(WhisperAT(model), slots=slots)
    if recorded:
        as_on_a_gpu(engine.decoder)
    passes: list[int] = []
    hook = model.encoder.conv1.register_forward_hook(lambda *_: passes.append(1))
    for first in range(0, len(chosen), together):
        part = list(chosen)[first : first + together]
        for index, hearing in zip(part, hear_all(engine, [files[index] for index in part]), strict=True):
            assert_same(hearing, truths[index])
            assert hearing.encoder_passes == hearing.windows
    hook.remove()
    assert len(passes) == engine.models.model.passes
    assert engine.decoder.running == {}


def test_windows_are_encoded_together_as_they_are_alone(
    model: Whisper, files: list[File], truths: list[dict[str, Any]]
) -> None:
    """As on a GPU; every other file with tags."""
    torch.manual_seed(5)
    head = TLTR(model.dims.n_audio_layer, model.dims.n_audio_state, 7).eval().requires_grad_(False)
    batches: list[int] = []
    hook = model.encoder.conv1.register_forward_hook(lambda _, mel, __: batches.append(len(mel[0])))
    heard = {}
    for together in (1, 3):
        engine = Engine(WhisperAT(model), head, slots=8, together=together)
        with ThreadPoolExecutor(len(files)) as threads:
            asked = [
                threads.submit(engine.hear, Samples(audio), options, tags=place % 2 == 0)
                for place, (audio, options) in enumerate(files)
            ]
            heard[together] = [one.result() for one in asked]
        assert sum(batches) == sum(hearing.encoder_passes for hearing in heard[together])
        assert (max(batches) == 3) == (together == 3)
        batches.clear()
    hook.remove()
    for alone, hearing, truth in zip(heard[1], heard[3], truths, strict=True):
        assert_same(hearing, truth)
        assert (hearing.tags is None) == (alone.tags is None)
        if hearing.tags is not None and alone.tags is not None:
            assert np.isfinite(alone.tags.when[:, 0]).any()
            np.testing.assert_allclose(hearing.tags.when[:], alone.tags.when[:], atol=1e-4)


def test_the_set_holds_what_it_should(files: list[File], truths: list[dict[str, Any]]) -> None:
    segments = [segment for truth in truths for segment in truth["segments"]]
    temperatures = {round(segment["temperature"], 1) for segment in segments}
    assert 0.2 in temperatures
    assert max(temperatures) > 0.5  # a prompt reset
    assert len({segment["seek"] for segment in truths[0]["segments"]}) >= 4
    assert len({token for segment in segments for token in segment["tokens"]}) > 100
    texts = [segment["text"] for segment in segments if segment["text"]]
    assert len(set(texts)) > 0.8 * len(texts)
    begin = 50364
    assert any(segment["tokens"] and segment["tokens"][-1] < begin for segment in segments)  # cut by the window's end
    seeks = sorted({segment["seek"] for segment in truths[0]["segments"]})
    assert max(np.diff(seeks)) > 3000  # a window between two others was skipped as silence
    windows: dict[tuple[int, int], list[int]] = {}
    for file, truth in enumerate(truths):
        for segment in truth["segments"]:
            windows.setdefault((file, segment["seek"]), []).extend(segment["tokens"])
    told = [tuple(tokens) for tokens in windows.values() if len(tokens) > 5]
    assert len(told) >= 10 and len(set(told)) == len(told)  # no window repeats another
    decoded = [result for truth in truths for result in truth["decoded"] if len(result.tokens) >= 60]
    sixties = [result.tokens[n - 60 : n] for result in decoded for n in range(60, len(result.tokens) + 1)]
    assert all(len(set(sixty)) >= 10 for sixty in sixties)  # of what was decoded, more than segments hold
    assert sum(result.temperature == 0 for result in decoded) >= 3
    asked = [options for _, options in files]
    assert {options.task for options in asked} == {"transcribe", "translate"}
    assert {options.language is None for options in asked} == {True, False}
    assert {options.beam_size for options in asked} == {None, 5}
    assert len(files[0][0]) > 5 * 30 * 16000  # six windows
    assert min(len(audio) for audio, _ in files) < 30 * 16000


@pytest.mark.parametrize("together", [1, 2])
def test_a_file_that_cannot_be_read_fails_alone(
    model: Whisper, files: list[File], truths: list[dict[str, Any]], together: int
) -> None:
    class Torn(Samples):
        """Its spool breaks in the second window."""

        reads = 0

        def read(self, start: int, stop: int) -> NDArray[np.float32]:
            self.reads += 1
            if self.reads > 4:
                raise OSError("the disk is gone")
            return super().read(start, stop)

    engine = Engine(WhisperAT(model), slots=2, together=together)
    with ThreadPoolExecutor(3) as threads:
        torn = threads.submit(engine.hear, Torn(noises(90.0, seed=2)), files[0][1])
        whole = [threads.submit(engine.hear, Samples(files[index][0]), files[index][1]) for index in (1, 5)]
        with pytest.raises(OSError, match="the disk is gone"):
            torn.result()
        for index, hearing in zip((1, 5), whole, strict=True):
            assert_same(hearing.result(), truths[index])
    assert engine.decoder.running == {}


# --- memory that runs out ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short() -> list[File]:
    """Four files of a window each, which fit into the batch together; the second is translated."""
    said = dataclasses.replace(GREEDY, logprob_threshold=None, no_speech_threshold=None)
    translated = dataclasses.replace(said, beam_size=2, language="fr", task="translate")
    kinds = [dataclasses.replace(said, language=language) for language in ("de", "en", "es")]
    kinds.insert(1, translated)
    return [(noises(3.0 + place, seed=20 + place), options) for place, options in enumerate(kinds)]


@pytest.fixture(scope="module")
def short_truths(model: Whisper, short: list[File]) -> list[dict[str, Any]]:
    truths = [transcribe(model, audio, options) for audio, options in short]
    assert len({truth["text"] for truth in truths}) == 4
    return truths


CUDA_SAYS = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
CPU_SAYS = RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory")


def test_windows_that_do_not_fit_together_are_encoded_alone(
    model: Whisper, short: list[File], short_truths: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(WhisperAT(model), slots=4, together=4)
    there = engine.models.model.encode

    def lacking(mel: torch.Tensor, frames: Any) -> Any:
        while engine.models.model.passes == 0 and len(engine._arrivals) + 4 - engine._slots.count(None) < 4:
            time.sleep(0.001)  # the first windows wait for the other files
        if len(mel) > 1:
            raise CUDA_SAYS
        return there(mel, frames)

    monkeypatch.setattr(engine.models.model, "encode", lacking)
    for hearing, truth in zip(hear_all(engine, short), short_truths, strict=True):
        assert_same(hearing, truth)
    assert engine.slots < 4


@pytest.mark.parametrize(
    ("place", "error"),
    [("step", CUDA_SAYS), ("prefill", CUDA_SAYS), ("load", CPU_SAYS), ("reserve", MemoryError())],
    ids=["step", "prefill", "load", "reserve"],
)
def test_files_that_do_not_fit_together_are_heard_with_fewer_slots(
    model: Whisper,
    short: list[File],
    short_truths: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    error: Exception,
) -> None:
    """The memory holds what two slots take."""
    engine, chosen = Engine(WhisperAT(model), slots=4), range(4)
    decoder = engine.decoder.decoder
    there = getattr(decoder, place)

    def lacking(*arguments: Any) -> Any:
        many = (
            len(arguments[0]) > 2
            if place == "step"
            else decoder.slots > 2 or arguments[0] > (2 if place == "reserve" else 1)
        )
        if many:
            raise error
        return there(*arguments)

    monkeypatch.setattr(decoder, place, lacking)
    heard = hear_all(engine, [short[index] for index in chosen])
    for index, hearing in zip(chosen, heard, strict=True):
        assert_same(hearing, short_truths[index])
    assert engine.slots <= 2


def test_an_encoder_that_does_not_fit_once_is_asked_again(
    model: Whisper, short: list[File], short_truths: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, chosen = Engine(WhisperAT(model), slots=4), range(4)
    encode, calls = engine.models.model.encode, 0

    def lacking(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise CUDA_SAYS
        return encode(*arguments)

    monkeypatch.setattr(engine.models.model, "encode", lacking)
    for index, hearing in zip(chosen, hear_all(engine, [short[index] for index in chosen]), strict=True):
        assert_same(hearing, short_truths[index])
        assert hearing.encoder_passes == hearing.windows


def test_a_file_that_does_not_fit_alone_fails_alone(
    model: Whisper, short: list[File], short_truths: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, chosen = Engine(WhisperAT(model), slots=3), range(3)
    start = engine.decoder.start

    def lacking(slot: int, attempt: Any) -> Any:
        if attempt.tokenizer.task == "translate":
            raise CUDA_SAYS
        return start(slot, attempt)

    monkeypatch.setattr(engine.decoder, "start", lacking)
    said: list[str] = []

    def hear(index: int) -> Hearing | None:
        try:
            return engine.hear(Samples(short[index][0]), short[index][1])
        except MediaError as error:
            said.append(str(error))
            return None

    with ThreadPoolExecutor(len(chosen)) as threads:
        for index, hearing in zip(chosen, threads.map(hear, chosen), strict=True):
            if index == 1:
                assert hearing is None
            else:
                assert hearing is not None
                assert_same(hearing, short_truths[index])
    assert len(said) == 1 and "does not suffice" in said[0] and "CUDA out of memory" in said[0]


@pytest.mark.parametrize("where", ["search", "together", "recorded"])
def test_what_breaks_in_one_row_leaves_the_others_alone(
    model: Whisper, short: list[File], short_truths: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """In a try's own search, or in the pass that all rows share, recorded as on a GPU or not."""
    engine, chosen = Engine(WhisperAT(model), slots=4), range(4)
    if where == "recorded":
        as_on_a_gpu(engine.decoder)
        assert engine.decoder.recorded is not None
        ranked = engine.decoder.recorded.ranked
    batch, made, shared = engine.decoder, engine.decoder._search, engine.decoder.decoder.step

    def broken(*_: Any) -> None:
        raise IndexError("index 448 is out of bounds")

    def search(attempt: Any, room: int) -> Any:
        found = made(attempt, room)
        if attempt.tokenizer.task == "translate" and where == "search":
            monkeypatch.setattr(found, "update", broken)
        return found

    def step(tokens: Any, lengths: Any) -> Any:
        if where == "together" and any(batch.running[slot].tokenizer.task == "translate" for slot in tokens):
            broken()
        return shared(tokens, lengths)

    def recorded(asked: Any, most: int) -> Any:
        if any(batch.running[slot].tokenizer.task == "translate" for slot in asked):
            broken()
        return ranked(asked, most)

    monkeypatch.setattr(batch, "_search", search)
    monkeypatch.setattr(batch.decoder, "step", step)
    if where == "recorded":
        monkeypatch.setattr(batch.recorded, "ranked", recorded)

    def hear(index: int) -> Hearing | str:
        try:
            return engine.hear(Samples(short[index][0]), short[index][1])
        except IndexError as error:
            return str(error)

    with ThreadPoolExecutor(len(chosen)) as threads:
        for index, heard in zip(chosen, threads.map(hear, chosen), strict=True):
            if index == 1:
                assert heard == "index 448 is out of bounds"
            else:
                assert isinstance(heard, Hearing)
                assert_same(heard, short_truths[index])


def test_an_interrupt_leaves_the_scheduler_usable(
    model: Whisper, files: list[File], truths: list[dict[str, Any]]
) -> None:
    engine = Engine(WhisperAT(model), slots=2)

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.hear(Samples(files[5][0]), files[5][1], progress=interrupt)
    assert_same(engine.hear(Samples(files[1][0]), files[1][1]), truths[1])


def test_nothing_of_a_file_stays_after_it_was_heard(model: Whisper, files: list[File]) -> None:
    engine = Engine(WhisperAT(model), slots=2)
    gone = []
    gc.disable()  # what only the collector frees piles up meanwhile: over a megabyte a file
    try:
        for audio, options in (files[1], files[7]):
            pcm = Samples(audio)
            gone.append(weakref.ref(pcm))
            engine.hear(pcm, options)
            del pcm
        deadline = time.monotonic() + 5  # the engine's thread ends a moment after the last file
        while time.monotonic() < deadline and any(there() is not None for there in gone):
            time.sleep(0.01)
        assert [there() for there in gone] == [None, None]
    finally:
        gc.enable()


def decoded(film: Path) -> NDArray[np.float32]:
    info = probe(film)
    return np.concatenate(list(decode_pcm(info, choose_track(info)))).astype(np.float32) / 32768


@pytest.mark.parametrize("changes", [{}, {"beam_size": None, "word_timestamps": True}], ids=["beams", "greedy, words"])
def test_the_embedded_model_hears_what_openai_whisper_hears(mini: Path, changes: dict[str, Any]) -> None:
    """Films that share the embedded model, against `whisper.transcribe` with the same checkpoint and samples."""
    model = load_whisper(mini)
    options = dataclasses.replace(TranscribeOptions(), **changes)
    audios = [decoded(SAMPLE_MEDIA / film)[: 75 * 16000] for film in ("storm.mp4", "island.mkv", "radio.mp3")]
    heard = hear_all(Engine(WhisperAT(model)), [(audio, options) for audio in audios])
    for hearing, audio in zip(heard, audios, strict=True):
        assert_same(hearing, transcribe(model, audio, options))
        assert hearing.encoder_passes == hearing.windows
