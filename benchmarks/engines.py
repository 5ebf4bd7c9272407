"""The programs that are compared, each behind the same two calls: load a model, and caption files with it.

Only the program that is asked for is imported. Each runs by its own public call, at its documented settings; what it
decoded is read from the segments that it gives.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

WINDOW_SECONDS = 30.0


@dataclass(frozen=True)
class Setup:
    """One program, its model, and what it may use."""

    program: str
    """A key of `PROGRAMS`."""
    checkpoint: str
    """In OpenAI's format; its conversion for CTranslate2 is the folder of the same name, its head lies beside it."""
    threads: int
    compute_type: str = "float32"
    batch: int = 1
    """Windows decoded together: of several files in `wat`, of one file in faster-whisper."""
    workers: int = 1
    """Files that faster-whisper decodes side by side, with an equal share of the threads each."""
    tags: bool = False
    shards: str | None = None
    device: str = "cpu"
    """Or ``cuda``, where openai-whisper, transformers and `wat` compute in float16."""
    environment: dict[str, str] = field(default_factory=dict)
    """Environment variables of the process."""


@dataclass(frozen=True)
class Work:
    """What is to be captioned, and how."""

    files: tuple[str, ...]
    beam: int | None = None
    timestamps: bool = True
    real: bool = False
    """Decode as a person would, with thresholds, fallback and the text before as a prompt."""
    language: str = "en"


Windows = list[tuple[int, list[int]]]
"""What was decoded in one file: first mel frame and tokens of each window."""


@dataclass(frozen=True)
class Heard:
    """What a program gave."""

    files: list[Windows]
    text: list[str]
    """Of each file."""
    extra: dict[str, float] = field(default_factory=dict)


def windows_of(segments: Iterable[tuple[int, Sequence[int]]]) -> Windows:
    """Segments (first frame of their window, tokens) put together by window."""
    found: dict[int, list[int]] = {}
    for seek, tokens in segments:
        found.setdefault(seek, []).extend(tokens)
    return sorted(found.items())


def _whisper_options(work: Work, fp16: bool = False) -> dict[str, Any]:
    """Keyword arguments of openai-whisper's and whisper-at's `transcribe`."""
    options: dict[str, Any] = {"language": work.language, "fp16": fp16, "without_timestamps": not work.timestamps}
    if work.beam is not None:
        options["beam_size"] = work.beam
    if work.real:
        options["best_of"] = 5  # as openai-whisper's command line, faster-whisper and wat have it
    else:
        options |= {"temperature": 0.0, "condition_on_previous_text": False}
        options |= dict.fromkeys(("compression_ratio_threshold", "logprob_threshold", "no_speech_threshold"))
    return options


def openai_whisper(setup: Setup) -> Callable[[Work], Heard]:
    """openai-whisper: one file, one window at a time."""
    import torch
    import whisper

    torch.set_num_threads(setup.threads)
    model = whisper.load_model(setup.checkpoint, device=setup.device)

    def run(work: Work) -> Heard:
        options = _whisper_options(work, fp16=setup.device != "cpu")
        results = [whisper.transcribe(model, path, **options) for path in work.files]
        windows = [windows_of((one["seek"], one["tokens"]) for one in result["segments"]) for result in results]
        return Heard(windows, [result["text"] for result in results])

    return run


def load_whisper_at(checkpoint: Path, head: Path) -> Any:
    """whisper-at's own model with these weights; its `load_model` takes only published heads."""
    import torch
    from whisper_at.model import ModelDimensions, Whisper

    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    tagger = torch.load(head, map_location="cpu", weights_only=True)
    model = Whisper(ModelDimensions(**content["dims"]), at_low_compute=any("down" in name for name in tagger))
    model.load_state_dict({**content["model_state_dict"], **tagger}, strict=True)
    return model.eval()


def whisper_at(setup: Setup) -> Callable[[Work], Heard]:
    """whisper-at: text and a tag for each 10 s, one window at a time."""
    import torch
    from whisper_at.transcribe import transcribe

    torch.set_num_threads(setup.threads)
    model = load_whisper_at(Path(setup.checkpoint), head_of(setup))

    def run(work: Work) -> Heard:
        results = [transcribe(model, path, at_time_res=10, **_whisper_options(work)) for path in work.files]
        windows = [windows_of((one["seek"], one["tokens"]) for one in result["segments"]) for result in results]
        return Heard(windows, [result["text"] for result in results])

    return run


def faster_whisper(setup: Setup) -> Callable[[Work], Heard]:
    """faster-whisper, file by file; with `workers` above one as many files side by side, as its documentation says."""
    from faster_whisper import WhisperModel

    model = WhisperModel(
        str(Path(setup.checkpoint).with_suffix("")),
        device="cpu",
        compute_type=setup.compute_type,
        cpu_threads=max(1, setup.threads // setup.workers),
        num_workers=setup.workers,
    )

    def transcribe(path: str, work: Work) -> Any:
        segments, _ = model.transcribe(path, vad_filter=False, **_faster_options(work))
        return list(segments)

    def run(work: Work) -> Heard:
        with ThreadPoolExecutor(setup.workers) as pool:
            results = list(pool.map(lambda path: transcribe(path, work), work.files))
        return _from_faster(results)

    return run


def faster_whisper_batched(setup: Setup) -> Callable[[Work], Heard]:
    """faster-whisper's batched pipeline, the windows of each file given as clips."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel
    from faster_whisper.audio import decode_audio

    model = WhisperModel(
        str(Path(setup.checkpoint).with_suffix("")),
        device="cpu",
        compute_type=setup.compute_type,
        cpu_threads=setup.threads,
    )
    pipeline = BatchedInferencePipeline(model)

    def transcribe(path: str, work: Work) -> Any:
        samples = decode_audio(path)
        starts = [WINDOW_SECONDS * index for index in range(-(-len(samples) // int(16000 * WINDOW_SECONDS)))]
        clips = [{"start": start, "end": min(start + WINDOW_SECONDS, len(samples) / 16000)} for start in starts]
        options = _faster_options(work)
        options.pop("condition_on_previous_text", None)
        segments, _ = pipeline.transcribe(samples, batch_size=setup.batch, clip_timestamps=clips, **options)
        return list(segments)

    return lambda work: _from_faster([transcribe(path, work) for path in work.files])


def _faster_options(work: Work) -> dict[str, Any]:
    options: dict[str, Any] = {
        "language": work.language,
        "beam_size": work.beam or 1,
        "without_timestamps": not work.timestamps,
    }
    if not work.real:
        options |= {"temperature": 0.0, "condition_on_previous_text": False}
        options |= dict.fromkeys(("compression_ratio_threshold", "log_prob_threshold", "no_speech_threshold"))
    return options


def _from_faster(results: Sequence[Sequence[Any]]) -> Heard:
    windows = [windows_of((segment.seek, segment.tokens) for segment in segments) for segments in results]
    return Heard(windows, ["".join(segment.text for segment in segments) for segments in results])


def transformers_batched(setup: Setup) -> Callable[[Work], Heard]:
    """transformers' pipeline, windows of all files in batches."""
    import torch

    from benchmarks import hugging_face

    torch.set_num_threads(setup.threads)
    decoders: dict[tuple[str, bool, int | None], hugging_face.Decode] = {}

    def run(work: Work) -> Heard:
        asked = work.language, work.timestamps, work.beam
        if asked not in decoders:
            decoders[asked] = hugging_face.load(Path(setup.checkpoint), setup.device, setup.batch, *asked)
        heard = decoders[asked](work.files)
        frames = int(100 * WINDOW_SECONDS)
        windows = [[(frames * index, tokens) for index, tokens in enumerate(found)] for _, found in heard]
        return Heard(windows, [text for text, _ in heard])

    return run


def wat(setup: Setup) -> Callable[[Work], Heard]:
    """`wat` as its command line runs it: files in, caption files and sidecars out."""
    from benchmarks.running_wat import load

    return load(setup)


def head_of(setup: Setup) -> Path:
    checkpoint = Path(setup.checkpoint)
    return checkpoint.with_name(checkpoint.stem + "_head.pt")


PROGRAMS: dict[str, Callable[[Setup], Callable[[Work], Heard]]] = {
    "openai-whisper": openai_whisper,
    "whisper-at": whisper_at,
    "faster-whisper": faster_whisper,
    "faster-whisper batched": faster_whisper_batched,
    "transformers": transformers_batched,
    "wat": wat,
}


def load(setup: Setup) -> Callable[[Work], Heard]:
    """Load a program's model; what comes back captions files."""
    warnings.simplefilter("ignore")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return PROGRAMS[setup.program](setup)


def setup_from(values: dict[str, Any]) -> Setup:
    """A `Setup` that went through JSON."""
    return Setup(**{name: values[name] for name in (one.name for one in fields(Setup)) if name in values})


def work_from(values: dict[str, Any]) -> Work:
    """A `Work` that went through JSON."""
    return Work(**{**values, "files": tuple(values["files"])})
