"""One file in the engine: its samples, the window under way, its language, and what its tags add up to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from whisper.decoding import detect_language
from whisper.tokenizer import LANGUAGES, TO_LANGUAGE_CODE, Tokenizer, get_tokenizer

from wat_cli.errors import UsageError
from wat_cli.model.deciding import Decider
from wat_cli.model.heads import Head
from wat_cli.model.mel import LogMelMaximum, content_frames, window_mel
from wat_cli.model.whisper_at import Encoded, WhisperAT
from wat_cli.options import TranscribeOptions
from wat_cli.resume import WindowRecord
from wat_cli.seek import SAMPLE_RATE, FileSeek, Window
from wat_cli.tagging.grid import WHAT, WHEN, Placement, TagAccumulator, place_window
from wat_cli.transcript import HeadTuning

_SCAN_SAMPLES = 60 * SAMPLE_RATE


@dataclass(frozen=True)
class Models:
    """A speech model, and perhaps a tagging head that reads it or a second, smaller encoder."""

    model: WhisperAT
    head: Head | None = None
    tagger: WhisperAT | None = None
    """What `head` reads, where it does not read `model`."""
    tuning: HeadTuning | None = None
    """How to read the head's scores."""

    @cached_property
    def decider(self) -> Decider | None:
        """What answers for `head`."""
        return Decider(self.head) if self.head is not None else None


class Pcm(Protocol):
    """A file's samples: 16 kHz, mono; `media.PcmSpool` is one."""

    @property
    def samples(self) -> int: ...
    def read(self, start: int, stop: int) -> NDArray[np.float32]: ...


class Recording:
    """What all shards of a file share: its samples, its loudest mel, its language, and what its tags add up to."""

    def __init__(self, models: Models, pcm: Pcm, options: TranscribeOptions, tags: bool) -> None:
        self.models, self.pcm = models, pcm
        self.frames = content_frames(pcm.samples)
        self.language = _language_code(options.language, models.model)
        self.language_probability: float | None = None
        head = models.head
        tuned = models.tuning
        self.tags = TagAccumulator(self.frames, head.classes, tuned) if tags and head is not None else None
        self.log_max = {model.dims.n_mels: 0.0 for model in (models.model, models.tagger) if model is not None}
        for n_mels in self.log_max:
            self.log_max[n_mels] = _log_mel_maximum(pcm, n_mels)


class File:
    """One file in the engine, or one shard of it: its place and the window under way."""

    def __init__(
        self, recording: Recording, options: TranscribeOptions, progress: Callable[[float], None], first: bool = True
    ) -> None:
        """`options.clips` are the shard's; the `first` shard detects the language for the others."""
        self.recording, self.models, self.pcm, self.options = recording, recording.models, recording.pcm, options
        self.tags = recording.tags
        self.seek = FileSeek(recording.frames, options, self.models.model.dims.n_text_ctx, progress)
        self._first = first
        self.passes = self.tagger_passes = 0
        self._window: Window | None = None
        self._encoded: Encoded | None = None
        self.logits: NDArray[np.float32] | None = None
        """What the head said about the window under way: [decisions, classes], of what sounds, then of when."""

    @property
    def ready(self) -> bool:
        """Whether it can begin: all shards but the first wait for the language."""
        return self._first or self.recording.language is not None

    def holds(self, window: Window) -> bool:
        """Whether the features of `window` are there."""
        return self._encoded is not None and window == self._window

    def encoded(self, window: Window) -> Encoded:
        """The features of `window`: encoded, and tagged, the first time it is asked for."""
        if not self.holds(window):
            encode_together([(self, window)])
        assert self._encoded is not None
        return self._encoded

    def take(self, window: Window, audio_features: Tensor, place: Placement | None, layers: Tensor | None) -> None:
        """Have the features of `window`, [1, 1500, width], and with `layers` the tags of the steps at `place`."""
        self._window, self._encoded, self.logits = window, Encoded(audio_features, None), None
        self.passes += 1
        self.tagger_passes += place is not None and self.models.tagger is not None
        if place is not None and place.steps and layers is not None:
            self._tag(place, layers)

    def mel(self, window: Window, model: WhisperAT) -> Tensor:
        """What `model` hears of a window: [1, n_mels, 3000]."""
        n_mels = model.dims.n_mels
        log_max = self.recording.log_max[n_mels]
        return window_mel(self.pcm.read, window.seek, window.size, log_max, n_mels, model.device)[None]

    def _tag(self, place: Placement, layer_features: Tensor) -> None:
        decider = self.models.decider
        assert decider is not None
        spans = [(asked.start, asked.stop) for kind in (WHAT, WHEN) for asked in kind.decisions(place.steps)]
        self.logits = decider.decide(layer_features, spans).cpu().numpy()
        self._add(place, self.logits)

    def _add(self, place: Placement, logits: NDArray[np.float32]) -> None:
        """File the head's answers, to what sounds and then to when."""
        assert self.tags is not None
        done = 0
        for kind in (WHAT, WHEN):
            decisions = kind.decisions(place.steps)
            self.tags.add(kind, place, decisions, logits[done : done + len(decisions)])
            done += len(decisions)

    def recall(self, window: Window, record: WindowRecord) -> None:
        """Take a window for encoded and tagged that an earlier run encoded and tagged."""
        self.passes += 1
        self.tagger_passes += self.models.tagger is not None
        if self.tags is not None and record.logits:
            self._add(place_window(window.seek, window.seek + window.size), record.logits[0])

    def tokenizer(self, encoded: Encoded) -> Tokenizer:
        """The tokenizer of the file's language, which is detected from `encoded` where it was not given."""
        recording = self.recording
        if recording.language is None:
            _, probabilities = detect_language(self.models.model.model, encoded.audio_features[0])
            assert isinstance(probabilities, dict)
            recording.language = max(probabilities, key=lambda code: probabilities[code])
            recording.language_probability = probabilities[recording.language]
        return self.vocabulary()

    def vocabulary(self) -> Tokenizer:
        """The tokenizer of the file's language, which is known."""
        model = self.models.model.model
        return get_tokenizer(
            model.is_multilingual,
            num_languages=model.num_languages,
            language=self.recording.language,
            task=self.options.task,
        )


def encode_together(asked: Sequence[tuple[File, Window]]) -> None:
    """Encode windows of files of one engine, all with tags or none, in one pass of each model, and tag them."""
    models, tagged = asked[0][0].models, asked[0][0].tags is not None
    places = [place_window(window.seek, window.seek + window.size) if tagged else None for _, window in asked]
    spans = [place.frames for place in places if place is not None] or None
    encoded = models.model.encode(_mels(asked, models.model), None if models.tagger is not None else spans)
    layers = encoded.layer_features
    if models.tagger is not None and spans is not None:
        layers = models.tagger.encode(_mels(asked, models.tagger), spans).layer_features
    for row, ((file, window), place) in enumerate(zip(asked, places, strict=True)):
        features = encoded.audio_features[row : row + 1]
        # a part of a batch would hold the whole of it
        file.take(window, features.clone() if len(asked) > 1 else features, place, layers[row] if layers else None)


def _mels(asked: Sequence[tuple[File, Window]], model: WhisperAT) -> Tensor:
    return torch.cat([file.mel(window, model) for file, window in asked])


def _log_mel_maximum(pcm: Pcm, n_mels: int) -> float:
    maximum = LogMelMaximum(n_mels)
    for start in range(0, pcm.samples, _SCAN_SAMPLES):
        maximum.feed(pcm.read(start, start + _SCAN_SAMPLES))
    return maximum.value


def _language_code(language: str | None, model: WhisperAT) -> str | None:
    """The code of a language given by code or name; English for an English-only model, whatever was asked."""
    if not model.model.is_multilingual:
        return "en"
    if language is None:
        return None
    code: str = TO_LANGUAGE_CODE.get(language.lower(), language.lower())
    if code not in list(LANGUAGES)[: model.model.num_languages]:
        way_out = "try its two-letter code, or leave it out"
        raise UsageError(f"--language {language}: this model does not know it; {way_out}")
    return code
