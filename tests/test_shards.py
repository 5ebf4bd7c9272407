"""A file cut at its silences: where the cuts lie, and that each part hears what openai-whisper hears in it."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from random_whisper import Samples, noises, random_whisper
from reference import assert_same, transcribe
from whisper.model import Whisper

from wat_cli import shards
from wat_cli.engine import Engine
from wat_cli.errors import UsageError
from wat_cli.model.tltr import TLTR
from wat_cli.model.whisper_at import WhisperAT
from wat_cli.options import TranscribeOptions
from wat_cli.resume import ResumeLog
from wat_cli.shards import joins, levels, long_silences, wanted_shards
from wat_cli.transcript import Hearing

RATE = 16000
OPTIONS = TranscribeOptions(
    beam_size=None,
    temperature_increment_on_fallback=None,
    logprob_threshold=None,
    compression_ratio_threshold=None,
    shards="3",
)


def talk(seconds: float, pauses: list[tuple[float, float]], seed: int = 3, floor: float = 0.0) -> NDArray[np.float32]:
    """Noises with pauses (start, end in seconds) in them, over a floor of faint noise."""
    audio = noises(seconds, seed)
    for start, end in pauses:
        audio[int(start * RATE) : int(end * RATE)] = 0
    faint = floor * np.random.default_rng(seed).standard_normal(len(audio))
    return (audio + faint).astype(np.float32)


# --- where a file is cut ----------------------------------------------------------------------------------------------


def test_cuts_lie_amid_the_long_silences() -> None:
    audio = talk(200.0, [(10.0, 12.0), (52.0, 53.0), (61.0, 63.4), (99.0, 99.2), (104.0, 105.2), (148.3, 150.0)])
    found = joins(Samples(audio), "3")
    # even places are 66.7 s and 133.3 s
    assert [join / 100 for join in found] == pytest.approx([62.2, 149.2], abs=0.4)


@pytest.mark.parametrize("floor", [0.0005, 0.01])
def test_a_pause_in_a_noisy_room_is_a_silence(floor: float) -> None:
    audio = talk(130.0, [(60.0, 62.0)], floor=floor)
    assert [join / 100 for join in joins(Samples(audio), "2")] == pytest.approx([61.0], abs=0.4)


def test_without_silence_a_file_stays_whole() -> None:
    assert joins(Samples(noises(240.0, seed=3)), "4") == ()
    steady = 0.1 * np.sin(2 * np.pi * 440 * np.arange(240 * RATE) / RATE).astype(np.float32)
    assert joins(Samples(steady), "4") == ()
    assert joins(Samples(np.zeros(240 * RATE, np.float32)), "4") == ()


def test_where_one_silence_is_there_two_shards_are_made() -> None:
    audio = talk(240.0, [(118.0, 121.0)])
    assert len(joins(Samples(audio), "4")) == 1


def test_short_gaps_between_words_are_no_place_to_cut() -> None:
    gaps = [(start, start + 0.4) for start in np.arange(2.0, 238.0, 2.0)]
    assert joins(Samples(talk(240.0, gaps)), "4") == ()


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_cuts_are_in_silences_on_the_grid_and_apart(data: st.DataObject) -> None:
    """Over any pattern of loud and quiet tenths of a second, for any number of shards."""
    lengths = data.draw(st.lists(st.integers(1, 60), min_size=2, max_size=120))
    loud = np.concatenate([np.full(length, index % 2 == 0) for index, length in enumerate(lengths)])
    loud = np.resize(loud, data.draw(st.integers(100, 4000)))

    class Tenths(Samples):
        """One sample of a tenth stands for all of them."""

        def read(self, start: int, stop: int) -> NDArray[np.float32]:
            stop = min(stop, len(loud) * 1600)
            return np.repeat(np.where(loud, np.float32(0.3), np.float32(0.001)), 1600)[start:stop]

        @property
        def samples(self) -> int:
            return len(loud) * 1600

    wanted = data.draw(st.integers(2, 12))
    cuts = joins(Tenths(np.zeros(0, np.float32)), str(wanted))
    assert len(cuts) < max(wanted, 1)
    assert all(cut % 40 == 0 for cut in cuts)
    assert all(not loud[cut // 10 - 1 : cut // 10 + 1].any() for cut in cuts)
    ends = [0, *cuts, len(loud) * 10]
    even = len(loud) * 10 / wanted_shards(len(loud) / 10, str(wanted))
    assert all(after - before >= 0.5 * even - 20 for before, after in pairwise(ends))


def test_levels_are_read_in_pieces_and_are_decibels() -> None:
    audio = np.concatenate([noises(61.0, seed=1), np.full(90 * RATE, 0.1, np.float32)])
    reads: list[int] = []

    class Counted(Samples):
        def read(self, start: int, stop: int) -> NDArray[np.float32]:
            reads.append(stop - start)
            return super().read(start, stop)

    found = levels(Counted(audio))
    assert max(reads) <= 60 * RATE
    assert len(found) == 1510
    assert found[-1] == pytest.approx(-20.0, abs=1e-3)
    truth = [10 * np.log10(np.mean(audio[i * 1600 : (i + 1) * 1600].astype(float) ** 2)) for i in (0, 599, 600, 700)]
    assert found[[0, 599, 600, 700]] == pytest.approx(truth, abs=1e-3)
    assert long_silences(levels(Samples(np.zeros(100, np.float32)))) == []


@pytest.mark.parametrize(
    ("seconds", "asked", "wanted"),
    [
        (36000, None, 1),
        (36000, "auto", 16),
        (960, "auto", 8),
        (239, "auto", 1),
        (600, "4", 4),
        (150, "8", 2),
        (5, "8", 1),
    ],
)
def test_how_many(seconds: float, asked: str | None, wanted: int) -> None:
    assert wanted_shards(seconds, asked) == wanted


def test_what_is_asked_for_is_checked() -> None:
    assert TranscribeOptions(shards="08").shards == "8"
    assert TranscribeOptions(shards="1", clip_timestamps="3,7").shards is None
    for wrong in ("0", "257", "many", "-3", "1.5", "٣", "99999999999"):
        with pytest.raises(UsageError, match="--shards"):
            TranscribeOptions(shards=wrong)
    with pytest.raises(UsageError, match="--clip-timestamps"):
        TranscribeOptions(shards="4", clip_timestamps="3,7")


# --- what its parts hear ----------------------------------------------------------------------------------------------

AUDIO = talk(72.0, [(24.0, 25.7), (47.1, 48.4)])
"""Three shards of a window each, or two where a timestamp leads back."""


@pytest.fixture(scope="module")
def model() -> Whisper:
    return random_whisper(1, ending=0.6)


@pytest.fixture
def _short_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute is long, by the standards of this test."""
    monkeypatch.setattr(shards, "LEAST_SECONDS", 20)


shorter = pytest.mark.usefixtures("_short_shards")


def expected(model: Whisper, audio: NDArray[np.float32], options: TranscribeOptions, heard: Hearing) -> dict[str, Any]:
    """`whisper.transcribe` between each two joins, in the file's language, as one; no segment goes on past a join."""
    ends = [0.0, *heard.joins, len(audio) // 160 / 100]
    segments: list[dict[str, Any]] = []
    for start, stop in pairwise(ends):
        clip = dataclasses.replace(options, clip_timestamps=f"{start},{stop}", language=heard.language, shards=None)
        for segment in transcribe(model, audio, clip)["segments"]:
            if stop != ends[-1]:
                for timed in (segment, *segment.get("words", [])):
                    timed.update(start=min(timed["start"], stop), end=min(timed["end"], stop))
            segments.append({**segment, "id": len(segments)})
    return {"language": heard.language, "segments": segments}


@shorter
@pytest.mark.parametrize(
    "changes",
    [
        {"logprob_threshold": -5.0, "temperature_increment_on_fallback": 0.8, "best_of": 1},
        {"word_timestamps": True, "language": "en"},
        {"initial_prompt": "Names: Ada.", "task": "translate"},
    ],
    ids=["fallback", "words", "prompt, translated"],
)
def test_each_shard_is_what_openai_whisper_hears_there(model: Whisper, changes: dict[str, Any]) -> None:
    options = dataclasses.replace(OPTIONS, **changes)
    passes: list[int] = []
    hook = model.encoder.conv1.register_forward_hook(lambda *_: passes.append(1))
    heard = Engine(WhisperAT(model)).hear(Samples(AUDIO), options)
    hook.remove()
    assert len(heard.joins) == 2
    assert len(passes) == heard.encoder_passes == heard.windows >= 3
    assert_same(heard, expected(model, AUDIO, options, heard))
    assert len({token for segment in heard.segments for token in segment.tokens}) > 20
    for join in heard.joins:
        assert all(segment.end <= join or segment.start >= join for segment in heard.segments)
    assert (heard.language_probability is None) == (options.language is not None)


@shorter
@pytest.mark.parametrize("slots", [1, 2])
def test_what_is_heard_does_not_depend_on_the_slots(model: Whisper, slots: int) -> None:
    heard = Engine(WhisperAT(model), slots=slots).hear(Samples(AUDIO), OPTIONS)
    assert_same(heard, expected(model, AUDIO, OPTIONS, heard))


@shorter
def test_a_file_without_silence_is_heard_whole(model: Whisper) -> None:
    audio = noises(40.0, seed=3)
    heard = Engine(WhisperAT(model)).hear(Samples(audio), OPTIONS)
    assert heard.joins == ()
    assert_same(heard, transcribe(model, audio, OPTIONS))


@shorter
def test_the_embedded_model_hears_each_shard_as_openai_whisper(mini: Path) -> None:
    from wat_cli.media import choose_track, decode_pcm, probe
    from wat_cli.model.whisper_at import load_whisper

    model, film = load_whisper(mini), Path(__file__).parents[1] / "sample_media" / "radio.mp3"
    info = probe(film)
    audio = np.concatenate(list(decode_pcm(info, choose_track(info)))).astype(np.float32) / 32768
    options = TranscribeOptions(shards="2")
    heard = Engine(WhisperAT(model)).hear(Samples(audio), options)
    assert len(heard.joins) == 1
    assert_same(heard, expected(model, audio, options, heard))
    assert heard.segments


def random_head(model: Whisper) -> TLTR:
    torch.manual_seed(5)
    return TLTR(model.dims.n_audio_layer, model.dims.n_audio_state, 7).eval().requires_grad_(False)


@shorter
def test_tags_lie_on_the_files_own_grid(model: Whisper) -> None:
    """Steps away from the windows' edges say nearly what they say in a whole file; none is unknown or said twice."""
    engine = Engine(WhisperAT(model), random_head(model))
    heard = engine.hear(Samples(AUDIO), OPTIONS)
    whole = engine.hear(Samples(AUDIO), dataclasses.replace(OPTIONS, shards=None))
    assert heard.tags is not None and whole.tags is not None
    assert heard.tags.steps == whole.tags.steps == 180
    assert np.isfinite(heard.tags.when).all() and np.isfinite(heard.tags.what).all()
    alone = engine.hear(
        Samples(AUDIO), dataclasses.replace(OPTIONS, shards=None, clip_timestamps=f"{heard.joins[1]},72")
    )
    assert alone.tags is not None
    first = round(heard.joins[1] / 0.4)
    np.testing.assert_array_equal(heard.tags.when[first:], alone.tags.when[first:])


@shorter
def test_progress_counts_every_second_once(model: Whisper) -> None:
    told: list[float] = []
    Engine(WhisperAT(model)).hear(Samples(AUDIO), OPTIONS, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 72.0


def assert_alike(heard: Hearing, expected: Hearing) -> None:
    """The same text at the same times; how sure, to what a batch of another size rounds to."""
    assert len(heard.segments) == len(expected.segments)
    for one, other in zip(heard.segments, expected.segments, strict=True):
        assert (one.start, one.end, one.tokens) == (other.start, other.end, other.tokens)
        assert abs(one.avg_logprob - other.avg_logprob) < 1e-4


class Killed(BaseException):
    """The process dies."""


@shorter
def test_a_killed_run_goes_on_in_every_shard(model: Whisper, tmp_path: Path) -> None:
    audio, options = Samples(talk(90.0, [(44.0, 46.0)])), dataclasses.replace(OPTIONS, shards="2")
    engine = Engine(WhisperAT(model), random_head(model))
    expected = engine.hear(audio, options)
    passes: list[int] = []

    def die(after: float) -> Any:
        def progress(seconds: float) -> None:
            if seconds > after:
                raise Killed

        return progress

    for after in (40.0, 80.0):
        with pytest.raises(Killed), ResumeLog(tmp_path / "log", "key") as log:
            engine.hear(audio, options, progress=die(after), notebook=log)
    hook = model.encoder.conv1.register_forward_hook(lambda *_: passes.append(1))
    with ResumeLog(tmp_path / "log", "key") as log:
        heard = engine.hear(audio, options, notebook=log)
    hook.remove()
    assert log.recalled >= 2
    assert len(passes) == expected.windows - log.recalled
    assert_alike(heard, expected)
    assert (heard.language, heard.windows, heard.joins) == (expected.language, expected.windows, expected.joins)
    assert heard.tags is not None and expected.tags is not None
    np.testing.assert_array_equal(heard.tags.when, expected.tags.when)


@shorter
def test_what_fails_in_one_shard_fails_the_file_alone(model: Whisper) -> None:
    class Torn(Samples):
        """Its spool breaks towards the end."""

        scanned = False

        def read(self, start: int, stop: int) -> NDArray[np.float32]:
            if self.scanned and start > 50 * RATE:
                raise OSError("the disk is gone")
            self.scanned = self.scanned or stop >= len(self.audio)
            return super().read(start, stop)

    engine = Engine(WhisperAT(model))
    torn = Torn(AUDIO)
    found = joins(torn, "3")
    with pytest.raises(OSError, match="the disk is gone"):
        engine.hear(torn, OPTIONS)
    assert found and engine.decoder.running == {}
    heard = engine.hear(Samples(AUDIO), OPTIONS)
    assert heard.segments
