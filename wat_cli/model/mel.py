"""Log-mel spectrograms of single windows, equal to slices of openai-whisper's whole-file spectrogram.

openai-whisper computes the spectrogram of the whole file at once (1.7 GB an hour) because its dynamic range is clamped
to the file's own maximum (``whisper/audio.py``, `log_mel_spectrogram`). Here that maximum is taken while the samples
arrive (`LogMelMaximum`), and each window is computed from its own samples (`window_mel`): same short-time Fourier
transform, same filters, same padding (reflected at the file's start, 30 s of silence after its end).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from whisper.audio import HOP_LENGTH, N_FFT, N_FRAMES, mel_filters

EDGE = N_FFT // 2
"""Samples that a frame reaches to each side of its centre."""

SILENCE = 1e-10
"""Smallest mel power; openai-whisper's clamp before the logarithm."""

_CHUNK_FRAMES = 3000
"""Frames transformed at once while the maximum is taken; bounds memory."""

_STRIDE = 250
"""Fewer frames are padded to a multiple of so many: MKL keeps buffers for each length of a transform that it met."""

ReadPcm = Callable[[int, int], NDArray[np.float32]]
"""read(start, stop) -> samples in [-1, 1]; clipped to what exists, never padded."""


def content_frames(samples: int) -> int:
    """Mel frames (10 ms) of the file's own content: openai-whisper's ``content_frames``."""
    return samples // int(HOP_LENGTH)


def _mel_power(samples: Tensor, n_mels: int) -> Tensor:
    """Mel power [n_mels, frames] of every full frame in `samples` [n]; frame 0 is centred `EDGE` samples in."""
    frames = (samples.shape[0] - N_FFT) // HOP_LENGTH + 1
    padded = N_FFT + (-(-frames // _STRIDE) * _STRIDE - 1) * HOP_LENGTH
    samples = torch.nn.functional.pad(samples, (0, padded - samples.shape[0]))
    window = torch.hann_window(N_FFT, device=samples.device)
    stft = torch.stft(samples, N_FFT, HOP_LENGTH, window=window, center=False, return_complex=True)
    # openai-whisper squares the absolute value: the same, but for a root that takes a third of the whole
    power = stft.real.square().addcmul_(stft.imag, stft.imag)
    filters: Tensor = mel_filters(samples.device, n_mels)
    return (filters @ power)[:, :frames]


class LogMelMaximum:
    """The file-wide maximum of the log-mel spectrogram, taken as the samples arrive.

    Feed it every chunk in order, then read `value` once: log10 of the largest mel power of the file, of its 30 s of
    padding and of the frames across the border, as ``log_spec.max()`` in openai-whisper.
    """

    def __init__(self, n_mels: int) -> None:
        self.n_mels = n_mels
        self._power = SILENCE
        self._head: list[NDArray[np.float32]] = []
        self._head_samples = 0
        self._pending: NDArray[np.float32] | None = None
        self._value: float | None = None

    def feed(self, chunk: NDArray[np.int16] | NDArray[np.float32]) -> None:
        """Take the next samples: int16, or float32 in [-1, 1]."""
        samples = pcm_to_float(chunk)
        if self._pending is None:  # the reflection at the file's start needs EDGE + 1 samples
            self._head.append(samples)
            self._head_samples += samples.size
            if self._head_samples <= EDGE:
                return
            start = np.concatenate(self._head)
            self._head.clear()
            self._pending = np.concatenate([start[EDGE:0:-1], start])
        else:
            self._pending = np.concatenate([self._pending, samples])
        if self._pending.size >= N_FFT + (_CHUNK_FRAMES - 1) * HOP_LENGTH:
            self._measure()

    @property
    def value(self) -> float:
        """log10 of the largest mel power; closes the measurement."""
        if self._value is None:
            # every frame that still touches a real sample; what follows is silence, already counted
            self.feed(np.zeros(2 * N_FFT, dtype=np.float32))
            self._measure()
            self._value = float(torch.tensor(self._power, dtype=torch.float32).log10())
        return self._value

    def _measure(self) -> None:
        pending = self._pending
        if pending is None or pending.size < N_FFT:
            return
        frames = (pending.size - N_FFT) // HOP_LENGTH + 1
        for first in range(0, frames, _CHUNK_FRAMES):
            last = min(first + _CHUNK_FRAMES, frames)
            samples = torch.from_numpy(pending[first * HOP_LENGTH : (last - 1) * HOP_LENGTH + N_FFT])
            self._power = max(self._power, float(_mel_power(samples, self.n_mels).max()))
        self._pending = pending[frames * HOP_LENGTH :]


def pcm_to_float(chunk: NDArray[np.int16] | NDArray[np.float32]) -> NDArray[np.float32]:
    """16-bit samples as float32 in [-1, 1), as `whisper.load_audio` scales them."""
    if chunk.dtype == np.int16:
        return chunk.astype(np.float32) / 32768.0
    return chunk.astype(np.float32, copy=False)


def window_samples(read: ReadPcm, seek: int, size: int) -> NDArray[np.float32]:
    """Samples under the mel frames [seek, seek + size) with `EDGE` more on each side, padded as the file is."""
    start, stop = seek * HOP_LENGTH - EDGE, (seek + size - 1) * HOP_LENGTH + EDGE
    samples = read(max(start, 0), stop)
    missing = stop - max(start, 0) - samples.size
    if missing > 0:
        samples = np.concatenate([samples, np.zeros(missing, dtype=np.float32)])
    if start < 0:  # reflect the file's start (whole frames start at multiples of 160, so only frames 0 and 1 reach it)
        mirror = read(1, 1 - start)
        mirror = np.concatenate([mirror, np.zeros(-start - mirror.size, dtype=np.float32)])
        samples = np.concatenate([mirror[::-1], samples])
    return samples


def window_mel(
    read: ReadPcm, seek: int, size: int, log_max: float, n_mels: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Mel of one window as openai-whisper feeds it to the encoder, computed on `device`.

    `seek` and `size` are mel frames of 10 ms; `log_max` is the file's `LogMelMaximum`. Gives float32
    [n_mels, 3000]: ``pad_or_trim(log_mel_spectrogram(file, padding=N_SAMPLES)[:, seek : seek + size], 3000)``, so
    frames past `size` are zero after the normalisation, not silence.
    """
    device = torch.device(device)
    mel = torch.zeros(n_mels, N_FRAMES, device=device)
    if size <= 0:
        return mel
    samples = torch.from_numpy(window_samples(read, seek, size))
    if device.type == "cuda":
        samples = samples.pin_memory()  # only from there a copy goes on beside other work
    samples = samples.to(device, non_blocking=True)
    log_spec = _mel_power(samples, n_mels).clamp_(min=SILENCE).log10_()
    mel[:, :size] = (torch.clamp(log_spec, min=log_max - 8.0) + 4.0) / 4.0
    return mel
