"""Features are what the encoder makes of a clip; the cache keeps them through kills, moves and changes."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from whisper.audio import N_SAMPLES, log_mel_spectrogram, pad_or_trim

from tests.fakes import write_wav
from tests.random_whisper import random_whisper
from wat_cli.errors import CheckpointError, UsageError
from wat_cli.model.whisper_at import WhisperAT
from wat_cli.training.cache import FeatureCache
from wat_cli.training.datasets import Clip, Dataset, Event
from wat_cli.training.features import ArrayFeatures, CachedFeatures, LiveFeatures, extract, pieces

SHA = "ab" * 32


@pytest.fixture(scope="module")
def model() -> WhisperAT:
    return WhisperAT(random_whisper(0, width=32))


def clip_of(path: Path, start: float = 0.0, end: float | None = None) -> Clip:
    return Clip(path, (Event(0.0, math.inf, "tone"),), start, end)


def steps(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 2, 3)).astype(np.float16)


def cache(root: Path, write: bool = True, **options: int) -> FeatureCache:
    return FeatureCache(root, SHA, 2, 3, write=write, **options)


@torch.no_grad()
def truth(model: WhisperAT, path: Path, steps: int) -> torch.Tensor:
    """Every block's output on openai-whisper's own spectrogram of the file, averaged over 20 frames."""
    mel = log_mel_spectrogram(whisper.load_audio(str(path)), padding=N_SAMPLES)
    content = mel.shape[-1] - N_SAMPLES // 160
    x = pad_or_trim(mel[:, :content], 3000)[None]
    encoder = model.model.encoder
    x = torch.nn.functional.gelu(encoder.conv1(x))
    x = torch.nn.functional.gelu(encoder.conv2(x)).permute(0, 2, 1) + encoder.positional_embedding
    layers = []
    for block in encoder.blocks:
        x = block(x)
        layers.append(x[0].view(75, 20, -1).mean(dim=1)[:steps])
    return torch.stack(layers, dim=1)


def test_features_are_the_pooled_layers_of_the_clip(model: WhisperAT, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", 3.1)
    data = Dataset((clip_of(path), clip_of(write_wav(tmp_path / "b.wav", 1.0, 0.4))), ("tone",))
    with FeatureCache(tmp_path / "cache", SHA, 2, 32, write=True) as store:
        result = extract(model, data, store, batch=2, workers=1)
        features = CachedFeatures(store, result.dataset.clips)
        assert result.encoded == 2 and not result.left_out
        assert (features.steps(0), features.steps(1)) == (8, 3)  # 3.1 s are 7.75 steps
        expected = truth(model, path, 8)
        np.testing.assert_allclose(features.read(0, 0, 8), expected.numpy(), atol=2e-3, rtol=2e-3)
        live = LiveFeatures(model, result.dataset.clips)
        assert live.steps(0) == 8
        np.testing.assert_allclose(live.read(0, 2, 5), features.read(0, 2, 5), atol=2e-3, rtol=2e-3)
        again = extract(model, data, store)
        assert again.encoded == 0 and again.dataset == result.dataset


def test_a_part_of_a_file_is_that_part(model: WhisperAT, tmp_path: Path) -> None:
    whole = write_wav(tmp_path / "whole.wav", 4.0)
    audio = whisper.load_audio(str(whole))
    from wat_cli.training.features import clip_samples

    samples = clip_samples(clip_of(whole, 1.0, 2.5))
    np.testing.assert_array_equal(samples.astype(np.float32) / 32768, audio[16000:40000])
    assert clip_samples(clip_of(whole, 3.5)).size == 8000
    assert clip_samples(clip_of(whole, 9.0)).size == 0


def test_files_that_cannot_be_read_are_left_out_with_the_reason(model: WhisperAT, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not audio")
    good = clip_of(write_wav(tmp_path / "good.wav"))
    bad = [clip_of(tmp_path / "text.wav"), clip_of(tmp_path / "gone.wav"), clip_of(good.path, 5.0)]
    with FeatureCache(tmp_path / "cache", SHA, 2, 32, write=True) as store:
        result = extract(model, Dataset((*bad, good), ("tone",)), store)
    assert result.dataset.clips == (good,)
    reasons = {path.name: reason for path, reason in result.left_out}
    assert set(reasons) == {"text.wav", "gone.wav", "good.wav"}
    assert reasons["gone.wav"] == "No such file or directory" and reasons["good.wav"] == "it holds no sound"


def test_long_clips_are_cut_at_the_encoders_window(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "long.wav", 65.0, 0.0)
    clip = Clip(path, (Event(5.0, 10.0, "a"), Event(28.0, 35.0, "b"), Event(0.0, math.inf, "c")))
    cut = pieces(Dataset((clip,), ("a", "b", "c"))).clips
    assert [(piece.start, piece.end) for piece in cut] == [(0.0, 30.0), (30.0, 60.0), (60.0, None)]
    assert cut[0].labels == ("a", "b", "c") and cut[1].events[0] == Event(0.0, 5.0, "b") and cut[2].labels == ("c",)
    short = Clip(path, clip.events[:1], 3.0, 20.0)
    assert pieces(Dataset((short,), ("a", "b", "c"))).clips == (short,)


# --- the cache ------------------------------------------------------------------------------------------------------


def test_shards_are_filled_in_turn_and_read_by_another(tmp_path: Path) -> None:
    clips = [clip_of(write_wav(tmp_path / f"{i}.wav", 0.1 * (i + 1))) for i in range(5)]
    with cache(tmp_path, shard_bytes=12 * 10) as store:  # ten steps a shard
        for i, clip in enumerate(clips):
            store.add([(clip, steps(i, 4))])
            np.testing.assert_array_equal(store.read(store.key(clip)), steps(i, 4))
        assert sorted(path.name for path in store.folder.glob("shard*")) == [f"shard-{i:05d}.f16" for i in range(3)]
    reader = cache(tmp_path, write=False)
    for i, clip in enumerate(clips):
        np.testing.assert_array_equal(reader.read(reader.key(clip), 1, 3), steps(i, 4)[1:3])
    assert len(reader) == 5


def test_what_a_killed_run_left_is_cut_off(tmp_path: Path) -> None:
    first, second = (clip_of(write_wav(tmp_path / name, length)) for name, length in (("a.wav", 0.1), ("b.wav", 0.2)))
    with cache(tmp_path) as store:
        store.add([(first, steps(1, 4))])
        shard, index = store._path(0), store.folder / "index.jsonl"
    whole = index.read_bytes()
    with shard.open("ab") as file:  # killed between the steps and their line, and in the middle of a line
        file.write(b"\1" * 17)
    index.write_bytes(whole + whole[:40])
    with cache(tmp_path) as store:
        assert index.read_bytes() == whole and shard.stat().st_size == 4 * 12
        assert store.key(second) not in store
        store.add([(second, steps(2, 3))])
    with cache(tmp_path) as store:
        np.testing.assert_array_equal(store.read(store.key(first)), steps(1, 4))
        np.testing.assert_array_equal(store.read(store.key(second)), steps(2, 3))


def test_a_moved_file_is_found_again_and_a_changed_one_is_not(tmp_path: Path) -> None:
    clip = clip_of(write_wav(tmp_path / "a.wav", 0.1), 0.0, 0.05)
    with cache(tmp_path) as store:
        store.add([(clip, steps(1, 2))])
        moved = clip_of(clip.path.rename(tmp_path / "moved.wav"), 0.0, 0.05)
        assert store.key(moved) in store
        assert store.key(clip_of(moved.path, 0.0, 0.06)) not in store
        write_wav(moved.path, 0.1, 0.3)
        os.utime(moved.path, ns=(0, 0))
        assert store.key(moved) not in store


def test_a_closed_cache_is_read_while_another_adds_to_it(tmp_path: Path) -> None:
    clips = [clip_of(write_wav(tmp_path / name, length)) for name, length in (("a.wav", 0.1), ("b.wav", 0.2))]
    with cache(tmp_path) as first:
        first.add([(clips[0], steps(1, 4))])
    with cache(tmp_path) as second:
        second.add([(clips[1], steps(2, 4))])
        np.testing.assert_array_equal(first.read(first.key(clips[0])), steps(1, 4))
        with pytest.raises(ValueError, match="open for reading"):
            first.add([(clips[1], steps(2, 4))])


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with cache(tmp_path), pytest.raises(UsageError, match="another run of wat writes to it"):
        cache(tmp_path)
    cache(tmp_path).close()


def test_a_damaged_cache_is_said_to_be(tmp_path: Path) -> None:
    clip = clip_of(write_wav(tmp_path / "a.wav", 0.1))
    with cache(tmp_path) as store:
        store.add([(clip, steps(1, 4))])
        shard, index = store._path(0), store.folder / "index.jsonl"
    os.truncate(shard, 10)
    with pytest.raises(CheckpointError, match="shorter than its index says"):
        cache(tmp_path, write=False)
    index.write_text('{"key": 1}\n')
    with pytest.raises(CheckpointError, match="line 1: damaged"):
        cache(tmp_path, write=False)


def test_windows_in_an_array() -> None:
    array = np.arange(2 * 3 * 4 * 5, dtype=np.float16).reshape(2, 3, 4, 5)
    features = ArrayFeatures(array)
    assert (features.layers, features.width, features.steps(1)) == (3, 5, 4)
    np.testing.assert_array_equal(features.read(1, 2, 4), array[1].swapaxes(0, 1)[2:4])
