"""Every window's mel is the slice of openai-whisper's whole-file mel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from whisper.audio import N_FRAMES, N_SAMPLES, log_mel_spectrogram, pad_or_trim

from wat_cli.model.mel import LogMelMaximum, content_frames, window_mel


def signal(samples: int, seed: int, loud_from: float = 0.0) -> NDArray[np.float32]:
    """Noise with a tone, loud only from a fraction of its length on; rounded to 16 bits as decoded audio is."""
    random = np.random.default_rng(seed)
    audio = 0.003 * random.standard_normal(samples)
    first = int(loud_from * samples)
    audio[first:] += 0.4 * np.sin(np.arange(samples - first) * 0.3) * random.random(samples - first)
    return (np.round(audio * 32768).clip(-32768, 32767) / 32768).astype(np.float32)


def maximum(audio: NDArray[np.float32], n_mels: int, chunk: int) -> float:
    log_max = LogMelMaximum(n_mels)
    for start in range(0, len(audio), chunk):
        log_max.feed(audio[start : start + chunk])
    return log_max.value


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize(
    ("samples", "chunk"),
    [
        (16000 * 47 + 123, 4096),  # more than a window, no whole number of frames
        (16000 * 61, 16000 * 60),  # the last chunk is a second long
        (16000 * 9 + 1, 7),  # chunks shorter than a frame's hop
        (480000, 480000),
        (1601, 200),
        (160, 33),  # shorter than the reflection at the start
    ],
)
def test_every_window_is_the_slice_of_the_whole(samples: int, chunk: int, n_mels: int) -> None:
    if chunk < 100 and samples > 10000 and n_mels == 128:
        pytest.skip("chunking does not depend on the number of bands")
    audio = signal(samples, seed=samples, loud_from=0.6)
    whole = log_mel_spectrogram(audio, n_mels, padding=N_SAMPLES)
    log_max = maximum(audio, n_mels, chunk)
    frames = content_frames(samples)
    assert frames == whole.shape[-1] - N_FRAMES
    for seek in sorted({0, 1, 2, 7, 399, 2740, max(frames - 1, 0)}):
        size = min(N_FRAMES, frames - seek)
        if size <= 0:
            continue
        expected = pad_or_trim(whole[:, seek : seek + size], N_FRAMES)
        mel = window_mel(lambda start, stop: audio[start:stop], seek, size, log_max, n_mels)
        assert mel.shape == expected.shape
        torch.testing.assert_close(mel, expected, atol=1e-5, rtol=0)


def test_the_clamp_is_the_files_own() -> None:
    """A quiet first window is clamped to the loud end of the file: without the file's maximum it would differ."""
    audio = signal(16000 * 65, seed=1, loud_from=0.9)
    frames, alone = content_frames(len(audio)), content_frames(16000 * 30)
    mel = window_mel(lambda start, stop: audio[start:stop], 0, alone, maximum(audio, 80, 48000), 80)
    quiet = window_mel(lambda start, stop: audio[start:stop], 0, alone, maximum(audio[: 16000 * 30], 80, 48000), 80)
    assert frames > alone
    assert (mel - quiet).abs().max() > 0.1


def test_sixteen_bit_chunks_measure_as_floats_do() -> None:
    audio = signal(50000, seed=3)
    log_max = LogMelMaximum(80)
    log_max.feed((audio * 32768).astype(np.int16))
    assert log_max.value == maximum(audio, 80, 50000)


def test_the_maximum_of_silence_is_the_floor() -> None:
    assert maximum(np.zeros(40000, np.float32), 80, 1000) == -10.0


def test_a_clip_cuts_the_window_and_pads_with_zeros() -> None:
    audio = signal(16000 * 40, seed=5)
    log_max = maximum(audio, 80, 16000)
    mel = window_mel(lambda start, stop: audio[start:stop], 301, 250, log_max, 80)
    assert mel[:, 250:].eq(0).all()
    whole = log_mel_spectrogram(audio, 80, padding=N_SAMPLES)
    torch.testing.assert_close(mel[:, :250], whole[:, 301:551], atol=1e-5, rtol=0)


def test_transforms_come_in_few_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """MKL keeps buffers for each length: two hundred kilobytes for every file of a night."""
    lengths, transform = set(), torch.stft

    def counted(samples: torch.Tensor, *given: object, **named: object) -> torch.Tensor:
        lengths.add(samples.shape[0])
        return transform(samples, *given, **named)

    monkeypatch.setattr(torch, "stft", counted)
    for size in range(40, 3000, 37):
        samples = np.ones(size * 160, dtype=np.float32)
        maximum = LogMelMaximum(80)
        maximum.feed(samples)
        window_mel(lambda start, stop, samples=samples: samples[start:stop], 0, size, maximum.value, 80)
    assert len(lengths) <= 3000 / 250
