"""Clips to pooled encoder features, and where a training reads them from.

A clip is heard as `wat caption` would hear it as a file: its own log-mel maximum, one 30 s window with zeros after its
end, every layer averaged over steps of 0.4 s (Whisper-AT's 20:1 pooling), of which those with sound are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from wat_cli.errors import MediaError, UsageError, shown
from wat_cli.media import SAMPLE_RATE, choose_track, decode_pcm, probe
from wat_cli.model.mel import LogMelMaximum, content_frames, window_mel
from wat_cli.model.whisper_at import WhisperAT
from wat_cli.tagging.grid import place_window
from wat_cli.training.cache import FeatureCache
from wat_cli.training.datasets import Clip, Dataset

WINDOW_SECONDS = 30.0
"""A longer clip is cut into pieces of an encoder window; each keeps the labels that sound in it."""

SILENT = "it holds no sound"

LARGEST = 65504.0
"""Half precision holds no larger number."""

Steps = NDArray[np.float16]
"""[steps, layers, width]"""


class Features(Protocol):
    """Pooled features of numbered clips."""

    @property
    def layers(self) -> int: ...
    @property
    def width(self) -> int: ...
    def steps(self, clip: int) -> int:
        """Steps of 0.4 s of a clip."""

    def read(self, clip: int, start: int, stop: int) -> Steps:
        """Some steps of a clip."""


class CachedFeatures:
    """Clips that a cache holds, by their number in a data set."""

    def __init__(self, cache: FeatureCache, clips: Sequence[Clip]) -> None:
        self.layers, self.width = cache.layers, cache.width
        self._cache, self._keys = cache, [cache.key(clip) for clip in clips]

    def steps(self, clip: int) -> int:
        """Steps of 0.4 s of a clip."""
        return self._cache.steps(self._keys[clip])

    def read(self, clip: int, start: int, stop: int) -> Steps:
        """Some steps of a clip, mapped."""
        return self._cache.read(self._keys[clip], start, stop)


class ArrayFeatures:
    """Features that lie in one array [clips, layers, steps, width], perhaps mapped: windows mixed by a program."""

    def __init__(self, array: NDArray[np.float16]) -> None:
        self._array = array
        self.layers, self.width = array.shape[1], array.shape[3]

    def steps(self, clip: int) -> int:
        """Steps of 0.4 s of a clip: the same for all."""
        return int(self._array.shape[2])

    def read(self, clip: int, start: int, stop: int) -> Steps:
        """Some steps of a clip."""
        return self._array[clip, :, start:stop].transpose(1, 0, 2)


def read_features(path: Path, clips: int, layers: int, width: int) -> ArrayFeatures:
    """Features made by another program: a NumPy file of half-precision [clips, layers, steps, width], mapped.

    Raises UsageError where it is not that, or for other clips or another encoder.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"--features {shown(path)}: no NumPy file that can be mapped ({error})") from None
    if array.ndim != 4 or array.dtype != np.float16 or (len(array), *array.shape[1::2]) != (clips, layers, width):
        wanted = f"[{clips}, {layers}, steps, {width}] in half precision"
        raise UsageError(f"--features {shown(path)}: it holds {list(array.shape)} of {array.dtype}, not {wanted}")
    return ArrayFeatures(array)


class LiveFeatures:
    """Features made when they are read, every time anew: nothing on disk, and an encoder pass for each reading."""

    def __init__(self, model: WhisperAT, clips: Sequence[Clip]) -> None:
        self._model, self._clips = model, clips
        self.layers, self.width = int(model.dims.n_audio_layer), int(model.dims.n_audio_state)
        self._steps = [_steps(clip_samples(clip).size) for clip in clips]

    def steps(self, clip: int) -> int:
        """Steps of 0.4 s of a clip."""
        return self._steps[clip]

    def read(self, clip: int, start: int, stop: int) -> Steps:
        """Some steps of a clip, from a pass of the encoder."""
        return encode_clips(self._model, [clip_samples(self._clips[clip])])[0][start:stop]


def readable(dataset: Dataset) -> tuple[Dataset, tuple[tuple[Path, str], ...]]:
    """The clips that can be read and hold sound, and the others with the reason."""
    kept, left_out = [], []
    for clip in dataset.clips:
        try:
            if _steps(clip_samples(clip).size):
                kept.append(clip)
            else:
                left_out.append((clip.path, SILENT))
        except MediaError as error:
            left_out.append((clip.path, str(error)))
    return dataset.only(kept), tuple(left_out)


# --- clips to features ----------------------------------------------------------------------------------------------


def clip_samples(clip: Clip) -> NDArray[np.int16]:
    """The clip's own samples, 16 kHz mono, at most 30 s. Raises MediaError where the file cannot be read."""
    info = probe(clip.path)
    first = round(clip.start * SAMPLE_RATE)
    seconds = WINDOW_SECONDS if clip.end is None else min(clip.end - clip.start, WINDOW_SECONDS)
    last, at, kept = first + round(seconds * SAMPLE_RATE), 0, []
    chunks = decode_pcm(info, choose_track(info, None))
    for chunk in chunks:
        kept.append(chunk[max(0, first - at) : max(0, last - at)])
        at += len(chunk)
        if at >= last:
            break
    return np.concatenate(kept) if kept else np.zeros(0, np.int16)


def encode_clips(model: WhisperAT, clips: Sequence[NDArray[np.int16]]) -> list[Steps]:
    """Features of some clips in one batch of the encoder."""
    places = [place_window(0, content_frames(samples.size)) for samples in clips]
    mels = torch.stack([_mel(samples, model.dims.n_mels) for samples in clips])
    layers = model.encode(mels, [place.frames for place in places]).layer_features
    assert layers is not None
    return [one.clamp(-LARGEST, LARGEST).half().transpose(0, 1).contiguous().cpu().numpy() for one in layers]


def _mel(samples: NDArray[np.int16], n_mels: int) -> torch.Tensor:
    maximum = LogMelMaximum(n_mels)
    maximum.feed(samples)
    audio = samples.astype(np.float32) / 32768.0
    return window_mel(lambda a, b: audio[a:b], 0, content_frames(samples.size), maximum.value, n_mels)


def _steps(samples: int) -> int:
    return place_window(0, content_frames(samples)).steps


# --- a data set into the cache --------------------------------------------------------------------------------------


def pieces(dataset: Dataset) -> Dataset:
    """The same data set with every clip at most one encoder window long.

    A piece has the events that overlap it. Files of unknown length are probed; one that cannot be stays as it is, and
    is left out when it is read.
    """
    return dataset.only(piece for clip in dataset.clips for piece in _pieces(clip))


def _pieces(clip: Clip) -> Iterator[Clip]:
    end = clip.end
    if end is None:
        try:
            duration = probe(clip.path).duration
        except MediaError:
            duration = None
        if duration is None or duration - clip.start <= WINDOW_SECONDS:
            yield clip
            return
        end = duration
    start = clip.start
    while start < end:
        stop = min(end, start + WINDOW_SECONDS)
        if end - stop < 1.0:  # a last second would be a piece of its own
            stop = end if end - start <= WINDOW_SECONDS else stop
        offset = start - clip.start
        events = tuple(
            replace(event, start=max(0.0, event.start - offset), end=event.end - offset)
            for event in clip.events
            if event.end > offset and event.start < stop - clip.start
        )
        yield replace(clip, events=events, start=start, end=None if clip.end is None and stop == end else stop)
        start = stop


@dataclass(frozen=True)
class Extracted:
    """What came of bringing a data set into a cache."""

    dataset: Dataset
    """The clips that the cache holds."""
    left_out: tuple[tuple[Path, str], ...]
    """Files that could not be read, with the reason."""
    encoded: int
    """Clips that went through the encoder; the others were there."""


def extract(
    model: WhisperAT,
    dataset: Dataset,
    cache: FeatureCache,
    *,
    batch: int = 8,
    workers: int = 4,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Extracted:
    """Bring every clip of `dataset` into `cache`: decoded by `workers` threads, encoded `batch` at a time.

    What is there is not done again. Clips that cannot be read, or are shorter than a mel frame, are left out.
    `progress` is told how many clips of how many are done.
    """
    left_out: list[tuple[Path, str]] = []
    wanted = []
    for clip in dataset.clips:
        try:
            if cache.key(clip) not in cache:
                wanted.append(clip)
        except OSError as error:
            left_out.append((clip.path, error.strerror or str(error)))
    done = len(dataset.clips) - len(wanted)
    encoded = 0
    ready: list[tuple[Clip, NDArray[np.int16]]] = []
    for clip, samples in _decoded(wanted, workers):
        done += 1
        if isinstance(samples, MediaError):
            left_out.append((clip.path, str(samples)))
        elif not _steps(samples.size):
            left_out.append((clip.path, SILENT))
        else:
            ready.append((clip, samples))
        if len(ready) >= batch or (ready and done == len(dataset.clips)):
            cache.add(zip([clip for clip, _ in ready], encode_clips(model, [s for _, s in ready]), strict=True))
            encoded += len(ready)
            ready.clear()
        progress(done, len(dataset.clips))
    kept = [clip for clip in dataset.clips if clip.path.is_file() and cache.key(clip) in cache]
    return Extracted(dataset.only(kept), tuple(left_out), encoded)


def _decoded(clips: Sequence[Clip], workers: int) -> Iterator[tuple[Clip, NDArray[np.int16] | MediaError]]:
    """The clips in order with their samples, a few decoded ahead."""

    def decode(clip: Clip) -> NDArray[np.int16] | MediaError:
        try:
            return clip_samples(clip)
        except MediaError as error:
            return error

    waiting = iter(clips)
    with ThreadPoolExecutor(workers) as pool:
        ahead: list[tuple[Clip, Future[NDArray[np.int16] | MediaError]]] = []
        ahead += [(clip, pool.submit(decode, clip)) for clip in islice(waiting, 2 * workers)]
        while ahead:
            clip, future = ahead.pop(0)
            samples = future.result()
            ahead += [(following, pool.submit(decode, following)) for following in islice(waiting, 1)]
            yield clip, samples
