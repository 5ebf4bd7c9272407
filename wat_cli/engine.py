"""The engine: owns the model, answers what a file's seek asks for, and counts encoder passes.

One pass of the encoder per 30 s window: language, every temperature of the fallback, word times and sound tags all
read the same `Encoded`. A model belongs to one thread of one process: openai-whisper's decoding keeps state on the
module.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import whisper
from numpy.typing import NDArray
from torch import Tensor
from whisper.decoding import DecodingOptions, detect_language
from whisper.tokenizer import LANGUAGES, TO_LANGUAGE_CODE, Tokenizer, get_tokenizer

from wat_cli.errors import CheckpointError, UsageError, shown
from wat_cli.model.alignment import add_words
from wat_cli.model.heads import Head, load_any_head
from wat_cli.model.mel import LogMelMaximum, content_frames, window_mel
from wat_cli.model.whisper_at import Encoded, WhisperAT, load_whisper
from wat_cli.options import ModelOptions, TranscribeOptions
from wat_cli.resume import WindowRecord
from wat_cli.seek import (
    SAMPLE_RATE,
    Decoded,
    DecodeRequest,
    FileSeek,
    LanguageRequest,
    Request,
    Window,
    WordsRequest,
    sampling_seed,
)
from wat_cli.tagging.grid import WHAT, WHEN, Placement, TagAccumulator, batches, place_window
from wat_cli.tagging.labels import load_labels
from wat_cli.tagging.tuning import head_tuning
from wat_cli.transcript import HeadTuning, Hearing

__all__ = ["Engine", "Pcm", "load_engine", "sampling_seed"]

_SCAN_SAMPLES = 60 * SAMPLE_RATE


class Pcm(Protocol):
    """A file's samples: 16 kHz, mono; `media.PcmSpool` is one."""

    @property
    def samples(self) -> int: ...
    def read(self, start: int, stop: int) -> NDArray[np.float32]: ...


class WeightFile(Protocol):
    """A checkpoint on disk and the name it goes by."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path: ...


class Weights(Protocol):
    """The files of one engine: `checkpoints.ResolvedWeights` is one."""

    @property
    def asr(self) -> WeightFile: ...
    @property
    def head(self) -> WeightFile | None: ...
    @property
    def second_encoder(self) -> WeightFile | None: ...


class Notebook(Protocol):
    """Keeps what each window was answered; `resume.ResumeLog` is one."""

    def recall(self, seek: int, size: int) -> WindowRecord | None: ...
    def keep(self, record: WindowRecord) -> None: ...


class Engine:
    """A speech model, and perhaps a tagging head that reads it or a second, smaller encoder."""

    def __init__(
        self,
        model: WhisperAT,
        head: Head | None = None,
        tagger: WhisperAT | None = None,
        tuning: HeadTuning | None = None,
    ) -> None:
        """`head` reads `tagger` where there is one, otherwise `model`; `tuning` says how to read its scores."""
        self.model, self.head, self.tagger, self.tuning = model, head, tagger, tuning

    def hear(
        self,
        pcm: Pcm,
        options: TranscribeOptions,
        tags: bool = True,
        progress: Callable[[float], None] = lambda seconds: None,
        notebook: Notebook | None = None,
    ) -> Hearing:
        """Hear one file: its segments, its language, and with `tags` the tag track.

        `progress` is told how many seconds of the file are done. What `notebook` recalls is not heard again, and what
        is heard is kept in it. Raises UsageError for a language that the model does not know.
        """
        file = _File(self, pcm, options, tags and self.head is not None, progress)
        run = file.seek.run()
        notes = _Notes(file, notebook) if notebook is not None else None
        answer: Any = None
        while True:
            try:
                request = run.send(answer)
            except StopIteration as end:
                return file.hearing(end.value)
            answer = self.answer(file, request) if notes is None else notes.answer(request)

    def answer(self, file: _File, request: Request) -> Any:
        """Ask the models what a file's seek wants to know."""
        encoded = file.encoded(request.window)
        match request:
            case LanguageRequest():
                return file.tokenizer(encoded)
            case DecodeRequest():
                return self._decode(encoded, request, file)
            case WordsRequest():
                add_words(
                    self.model.model,
                    file.seek.vocabulary,
                    encoded.audio_features[0],
                    request.segments,
                    frames=request.window.size,
                    last_speech=request.last_speech,
                    prepend_punctuations=file.options.prepend_punctuations,
                    append_punctuations=file.options.append_punctuations,
                )

    def _decode(self, encoded: Encoded, request: DecodeRequest, file: _File) -> Decoded:
        options = decoding_options(file.options, file.language, request, self.model.dtype)
        if request.temperature > 0:
            torch.manual_seed(sampling_seed(file.options.seed, request.window.seek, request.temperature))
        result = whisper.decode(self.model.model, encoded.audio_features[0], options)
        assert not isinstance(result, list)
        return Decoded(
            tokens=tuple(result.tokens),
            temperature=request.temperature,
            avg_logprob=float(result.avg_logprob),
            no_speech_prob=float(result.no_speech_prob),
            compression_ratio=float(result.compression_ratio),
        )


def decoding_options(
    options: TranscribeOptions, language: str | None, request: DecodeRequest, dtype: torch.dtype
) -> DecodingOptions:
    """openai-whisper's options of one try: beams at temperature 0 only, candidates above it only."""
    sampling = request.temperature > 0
    return DecodingOptions(
        task=options.task,
        language=language,
        temperature=request.temperature,
        best_of=options.best_of if sampling else None,
        beam_size=None if sampling else options.beam_size,
        patience=None if sampling else options.patience,
        length_penalty=options.length_penalty,
        prompt=list(request.prompt),
        suppress_tokens=options.suppress_tokens,
        fp16=dtype == torch.float16,
    )


class _File:
    """One file in the engine: its place, the window under way, and what its tags add up to."""

    def __init__(
        self, engine: Engine, pcm: Pcm, options: TranscribeOptions, tags: bool, progress: Callable[[float], None]
    ) -> None:
        self.engine, self.pcm, self.options = engine, pcm, options
        self.frames = content_frames(pcm.samples)
        self.seek = FileSeek(self.frames, options, engine.model.dims.n_text_ctx, progress)
        self.language = _language_code(options.language, engine.model)
        self.language_probability: float | None = None
        head = engine.head
        tuned = engine.tuning
        self.tags = TagAccumulator(self.frames, head.classes, tuned) if tags and head is not None else None
        self._log_max = {model.dims.n_mels: 0.0 for model in (engine.model, engine.tagger) if model is not None}
        for n_mels in self._log_max:
            self._log_max[n_mels] = _log_mel_maximum(pcm, n_mels)
        self.passes = self.tagger_passes = 0
        self._window: Window | None = None
        self._encoded: Encoded | None = None
        self.logits: list[NDArray[np.float32]] = []
        """What the head said about the window under way, in the order of its calls."""

    def encoded(self, window: Window) -> Encoded:
        """The features of `window`: encoded, and tagged, the first time it is asked for."""
        if self._encoded is None or window != self._window:
            self._window, self._encoded = window, self._encode(window)
        return self._encoded

    def _encode(self, window: Window) -> Encoded:
        engine, self.logits = self.engine, []
        place = place_window(window.seek, window.seek + window.size) if self.tags is not None else None
        spans = [place.frames] if place is not None else None
        encoded = engine.model.encode(self._mel(window, engine.model), None if engine.tagger is not None else spans)
        self.passes += 1
        layers = encoded.layer_features
        if place is not None and engine.tagger is not None:
            layers = engine.tagger.encode(self._mel(window, engine.tagger), spans).layer_features
            self.tagger_passes += 1
        if place is not None and layers is not None:
            self._tag(place, layers[0])
        return Encoded(encoded.audio_features, None)

    def _mel(self, window: Window, model: WhisperAT) -> Tensor:
        n_mels = model.dims.n_mels
        return window_mel(self.pcm.read, window.seek, window.size, self._log_max[n_mels], n_mels)[None]

    def _tag(self, place: Placement, layer_features: Tensor) -> None:
        head, tags = self.engine.head, self.tags
        assert head is not None and tags is not None
        with torch.inference_mode():
            for kind in (WHAT, WHEN):
                for decisions in batches(kind.decisions(place.steps)):
                    spans = [(decision.start, decision.stop) for decision in decisions]
                    logits = head.decide(layer_features, spans).float().cpu().numpy()
                    self.logits.append(logits)
                    tags.add(kind, place, decisions, logits)

    def recall(self, window: Window, record: WindowRecord) -> None:
        """Take a window for encoded and tagged that an earlier run encoded and tagged."""
        self.passes += 1
        self.tagger_passes += self.engine.tagger is not None
        if self.tags is not None:
            place, answers = place_window(window.seek, window.seek + window.size), iter(record.logits)
            for kind in (WHAT, WHEN):
                for decisions in batches(kind.decisions(place.steps)):
                    self.tags.add(kind, place, decisions, next(answers))

    def tokenizer(self, encoded: Encoded) -> Tokenizer:
        """The tokenizer of the file's language, which is detected from `encoded` where it was not given."""
        model = self.engine.model.model
        if self.language is None:
            _, probabilities = detect_language(model, encoded.audio_features[0])
            assert isinstance(probabilities, dict)
            self.language = max(probabilities, key=lambda code: probabilities[code])
            self.language_probability = probabilities[self.language]
        return self.vocabulary()

    def vocabulary(self) -> Tokenizer:
        """The tokenizer of the file's language, which is known."""
        model = self.engine.model.model
        return get_tokenizer(
            model.is_multilingual, num_languages=model.num_languages, language=self.language, task=self.options.task
        )

    def hearing(self, segments: tuple[Any, ...]) -> Hearing:
        """What was heard, once `segments` are complete."""
        return Hearing(
            duration=self.pcm.samples / SAMPLE_RATE,
            language=self.language or "en",
            segments=segments,
            tags=self.tags.track() if self.tags is not None else None,
            windows=self.seek.windows,
            encoder_passes=self.passes,
            tagger_passes=self.tagger_passes,
            language_probability=self.language_probability,
        )


class _Notes:
    """Answers a file's requests from its notebook as far as that goes, then from the engine, and notes the answers."""

    def __init__(self, file: _File, notebook: Notebook) -> None:
        self._file, self._notebook = file, notebook
        self._window: Window | None = None
        self._recalled: deque[Any] | None = None
        self._answers: list[Any] = []

    def answer(self, request: Request) -> Any:
        if request.window != self._window:
            self._turn_to(request.window)
        if self._recalled is not None:
            return self._again(request, self._recalled.popleft())
        answer = self._file.engine.answer(self._file, request)
        self._answers.append(self._noted(request, answer))
        return answer

    def _turn_to(self, window: Window) -> None:
        """A window's record is written when the next window begins: all that was asked about it is known then."""
        if self._window is not None and self._recalled is None:
            record = WindowRecord(self._window.seek, self._window.size, tuple(self._answers), tuple(self._file.logits))
            self._notebook.keep(record)
        self._window = window
        self._answers = []
        found = self._notebook.recall(window.seek, window.size)
        self._recalled = deque(found.answers) if found is not None else None
        if found is not None:
            self._file.recall(window, found)

    def _noted(self, request: Request, answer: Any) -> Any:
        match request:
            case LanguageRequest():
                return [self._file.language, self._file.language_probability]
            case DecodeRequest():
                return asdict(answer)
            case WordsRequest():
                return copy.deepcopy(request.segments)

    def _again(self, request: Request, noted: Any) -> Any:
        match request:
            case LanguageRequest():
                self._file.language, self._file.language_probability = noted
                return self._file.vocabulary()
            case DecodeRequest():
                return Decoded(**{**noted, "tokens": tuple(noted["tokens"])})
            case WordsRequest():
                request.segments[:] = noted
                return None


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
        raise UsageError(f"--language {language}: this model does not know it; try its two-letter code, or leave it out")
    return code


@dataclass(frozen=True)
class Compute:
    """Where and how the engine computes, with the reason for a person who wonders."""

    device: torch.device
    dtype: torch.dtype
    reason: str


def choose_compute(options: ModelOptions) -> Compute:
    """Device and number format: float16 on a GPU unless ``--fp16 False``, always float32 on a CPU."""
    name = options.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        reason = "auto: a CUDA device was found" if name == "cuda" else "auto: no CUDA device was found"
    else:
        reason = f"--device {name}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: it is auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: it is auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device {name}: {torch.cuda.device_count()} CUDA devices are here; --device cpu always works")
    half = device.type == "cuda" and options.fp16
    return Compute(device, torch.float16 if half else torch.float32, reason)


def use_fast_float32() -> bool:
    """Let torch use oneDNN for float32 products where that is still float32; True if the switch was set.

    On AMD machines torch's own choice (MKL) takes a slow path; "medium" precision sends Linear to oneDNN, which is 2.4
    times faster at the same accuracy there. On a machine with AMX the same switch computes in bfloat16, so the product
    is measured, and the switch set back where it lost accuracy. Process-wide.
    """
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(256, 384, generator=generator), torch.randn(384, 384, generator=generator)
    exact = left.double() @ right.double()
    torch.set_float32_matmul_precision("medium")
    error = (torch.nn.functional.linear(left, right.T.contiguous()).double() - exact).abs().max() / exact.abs().max()
    if error < 1e-5:
        return True
    torch.set_float32_matmul_precision("highest")
    return False


def load_engine(weights: Weights, options: ModelOptions) -> Engine:
    """Load the models that `weights` names where `options` says; CheckpointError for a file that is not a model."""
    compute = choose_compute(options)
    if options.threads > 0:
        torch.set_num_threads(options.threads)
    if compute.device.type == "cpu":
        use_fast_float32()
    model = _load_model(weights.asr, compute)
    tagger = _load_model(weights.second_encoder, compute) if weights.second_encoder is not None else None
    head, tuning = None, None
    if weights.head is not None:
        dims = (tagger or model).dims
        path = weights.head.path
        head = load_any_head(path, layers=dims.n_audio_layer, width=dims.n_audio_state).to(compute.device)
        tuning = head_tuning(path)
        if len(tuning.labels or load_labels()) != head.classes:
            own = f"{len(tuning.labels)} labels" if tuning.labels else "no labels, so there must be AudioSet's 527"
            beside = path.with_suffix(".json").name
            raise CheckpointError(f"{shown(path)} has {head.classes} classes; {beside} has {own}")
    return Engine(model, head, tagger, tuning)


def _load_model(file: WeightFile, compute: Compute) -> WhisperAT:
    return WhisperAT(load_whisper(file.path, file.name, compute.device), compute.dtype)
