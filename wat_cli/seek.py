"""One file's way through its windows: openai-whisper's `transcribe` (20250625) as a state machine without a model.

`FileSeek.run` is a generator. It yields what it wants done (`LanguageRequest`, `DecodeRequest`, `WordsRequest`), is
sent the answer, and returns the file's segments; so a scheduler can drive many files and answer them in batches. It
knows nothing of torch: windows are mel-frame numbers, text is token ids, and the vocabulary is handed in.

The rules are openai-whisper's, line by line (``whisper/transcribe.py``): where the next window starts, which try is
good enough, what counts as silence, how tokens become segments, what text prompts the next window. It differs in two
places where openai-whisper never ends: clips past the end of the file stop there, and a window that is decoded from
the same place over and over is left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from wat_cli.options import TranscribeOptions
from wat_cli.transcript import Segment, Word

SAMPLE_RATE = 16000
HOP_LENGTH = 160
N_FRAMES = 3000
"""Mel frames in a window of 30 s."""
FRAMES_PER_SECOND = 100
INPUT_STRIDE = 2
"""Mel frames per timestamp token."""
TIME_PRECISION = INPUT_STRIDE * HOP_LENGTH / SAMPLE_RATE
"""Seconds per timestamp token."""

PUNCTUATION = "\"'“¿([{-\"'.。,，!！?？:：”)]}、"
RESET_TEMPERATURE = 0.5
"""Text decoded above this temperature prompts nothing."""
STALLED_WINDOWS = 8
"""Windows decoded in turn from one place before it is left behind."""

Draft = dict[str, Any]
"""A segment in the making: openai-whisper's dictionary, which its word timing changes in place."""


class Vocabulary(Protocol):
    """What is asked of a tokenizer; openai-whisper's `Tokenizer` has it."""

    @property
    def eot(self) -> int: ...
    @property
    def timestamp_begin(self) -> int: ...
    def encode(self, text: str) -> list[int]: ...
    def decode(self, token_ids: list[int]) -> str: ...


@dataclass(frozen=True)
class Window:
    """One 30 s window of a file, as far as it has content."""

    index: int
    """Count of windows before it: one encoder pass each."""
    seek: int
    """First mel frame (10 ms)."""
    size: int
    """Mel frames of content, at most 3000; the rest of the window is padding."""


@dataclass(frozen=True)
class LanguageRequest:
    """Asked first, about the first window: the answer is the `Vocabulary` of the file's language."""

    window: Window


@dataclass(frozen=True)
class DecodeRequest:
    """Decode a window once: the answer is a `Decoded`."""

    window: Window
    prompt: tuple[int, ...]
    temperature: float


@dataclass(frozen=True)
class WordsRequest:
    """Give each segment its ``words``, in place, and send None."""

    window: Window
    segments: list[Draft]
    last_speech: float
    """End of the speech before this window, in seconds."""


Request = LanguageRequest | DecodeRequest | WordsRequest


@dataclass(frozen=True)
class Decoded:
    """One try at a window: openai-whisper's `DecodingResult`, without what a file does not need."""

    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float


def sampling_seed(seed: int, seek: int, temperature: float) -> int:
    """Seed of torch's generator for sampling the window at `seek` (mel frames) at `temperature` above 0.

    A function of these three only, so that a text does not depend on what was decoded before it. 32 bits, all that
    torch's CPU generator keeps of a seed.
    """
    return (seed * 2654435761 + seek * 101 + round(temperature * 100)) % 2**32


def seek_clips(clip_timestamps: Sequence[float], content_frames: int) -> list[tuple[int, int]]:
    """Clips as (first, stop) mel frames, inside the file's content."""
    points = [round(timestamp * FRAMES_PER_SECOND) for timestamp in clip_timestamps] or [0]
    if len(points) % 2 == 1:
        points.append(content_frames)
    return [(first, min(stop, content_frames)) for first, stop in zip(points[::2], points[1::2], strict=True)]


def needs_fallback(result: Decoded, options: TranscribeOptions) -> bool:
    """Whether a try failed its thresholds, so that the next temperature is due."""
    repetitive = options.compression_ratio_threshold is not None and (
        result.compression_ratio > options.compression_ratio_threshold
    )
    improbable = options.logprob_threshold is not None and result.avg_logprob < options.logprob_threshold
    quiet = options.no_speech_threshold is not None and result.no_speech_prob > options.no_speech_threshold
    return (repetitive or improbable) and not (quiet and improbable)


def is_silence(result: Decoded, options: TranscribeOptions) -> bool:
    """Whether a window is skipped as one without speech."""
    if options.no_speech_threshold is None or not result.no_speech_prob > options.no_speech_threshold:
        return False
    return options.logprob_threshold is None or not result.avg_logprob > options.logprob_threshold


class FileSeek:
    """The state of one file: where it is, and what it has heard so far."""

    def __init__(
        self,
        content_frames: int,
        options: TranscribeOptions,
        n_text_ctx: int = 448,
        progress: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`content_frames` are the file's mel frames of 10 ms; `progress` is told the seconds done, as they grow."""
        self.content_frames = content_frames
        self.options = options
        self.windows = 0
        self._longest_prompt = n_text_ctx // 2 - 1
        self._progress = progress
        self._segments: list[Draft] = []
        self._tokens: list[int] = []
        self._initial_prompt: list[int] = []
        self._prompt_reset_since = 0
        self._last_speech = 0.0
        self._vocabulary: Vocabulary | None = None

    def run(self) -> Generator[Request, Any, tuple[Segment, ...]]:
        """Go through the file: yields requests, takes their answers, returns the segments."""
        done = 0
        for first, stop in seek_clips(self.options.clips, self.content_frames):
            seek, stalled = first, 0
            while seek < stop:
                window = Window(self.windows, seek, min(N_FRAMES, stop - seek))
                self.windows += 1
                if self._vocabulary is None:
                    yield from self._open(window)
                following = yield from self._window(window)
                stalled = stalled + 1 if following <= seek else 0
                if stalled >= STALLED_WINDOWS:
                    following, stalled = seek + window.size, 0
                seek = max(following, first)
                done = max(done, min(seek, self.content_frames))
                self._progress(done / FRAMES_PER_SECOND)
        return tuple(_segment(index, draft, self.options.word_timestamps) for index, draft in enumerate(self._segments))

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokenizer of the file's language; known once the first window is open."""
        assert self._vocabulary is not None
        return self._vocabulary

    def _open(self, window: Window) -> Generator[Request, Any, None]:
        self._vocabulary = yield LanguageRequest(window)
        if self.options.initial_prompt is not None:
            self._initial_prompt = self.vocabulary.encode(" " + self.options.initial_prompt.strip())
            self._tokens.extend(self._initial_prompt)

    def _window(self, window: Window) -> Generator[Request, Any, int]:
        """Decode one window and keep its segments; returns where the next one starts."""
        result: Decoded = yield from self._decode_with_fallback(window)
        if is_silence(result, self.options):
            return window.seek + window.size
        segments, following, single_ending = self._slice(window, result)
        if self.options.word_timestamps:
            yield WordsRequest(window, segments, self._last_speech)
            following, forget = self._after_words(window, segments, following, single_ending)
            if forget:  # the whole window again from a later place, past a silence before a likely hallucination
                return following
            self._last_speech = _last_end(segments, self._last_speech)
        for segment in segments:
            if segment["start"] == segment["end"] or not segment["text"].strip():
                segment.update(text="", tokens=[], words=[])
        self._segments.extend(segments)
        self._tokens.extend(token for segment in segments for token in segment["tokens"])
        if not self.options.condition_on_previous_text or result.temperature > RESET_TEMPERATURE:
            self._prompt_reset_since = len(self._tokens)
        return following

    def _decode_with_fallback(self, window: Window) -> Generator[Request, Any, Decoded]:
        prompt = self._prompt()
        for temperature in self.options.temperatures:
            result: Decoded = yield DecodeRequest(window, prompt, temperature)
            if not needs_fallback(result, self.options):
                break
        return result

    def _prompt(self) -> tuple[int, ...]:
        if self.options.carry_initial_prompt:
            ignored = max(len(self._initial_prompt), self._prompt_reset_since)
            room = self._longest_prompt - len(self._initial_prompt)
            prompt = self._initial_prompt + self._tokens[ignored:][-room:]
        else:
            prompt = self._tokens[self._prompt_reset_since :]
        return tuple(prompt[-self._longest_prompt :])

    def _slice(self, window: Window, result: Decoded) -> tuple[list[Draft], int, bool]:
        """Cut a window's tokens at pairs of timestamps: segments, where to go on, whether it ends on a single one."""
        begin = self.vocabulary.timestamp_begin
        tokens = result.tokens
        stamps = [token >= begin for token in tokens]
        single_ending = stamps[-2:] == [False, True]
        offset = float(window.seek * HOP_LENGTH / SAMPLE_RATE)
        cuts = [index + 1 for index in range(len(tokens) - 1) if stamps[index] and stamps[index + 1]]
        if not cuts:
            duration = window.size * HOP_LENGTH / SAMPLE_RATE
            last = [token for token in tokens if token >= begin][-1:]
            if last and last[0] != begin:
                duration = (last[0] - begin) * TIME_PRECISION
            whole = self._draft(window, offset, offset + duration, tokens, result)
            return [whole], window.seek + window.size, single_ending
        if single_ending:
            cuts.append(len(tokens))
        segments = []
        for first, stop in zip([0, *cuts], cuts, strict=False):
            part = tokens[first:stop]
            start = offset + (part[0] - begin) * TIME_PRECISION
            end = offset + (part[-1] - begin) * TIME_PRECISION
            segments.append(self._draft(window, start, end, part, result))
        if single_ending:  # no speech after the last timestamp
            return segments, window.seek + window.size, True
        return segments, window.seek + (tokens[cuts[-1] - 1] - begin) * INPUT_STRIDE, False

    def _draft(self, window: Window, start: float, end: float, tokens: tuple[int, ...], result: Decoded) -> Draft:
        eot = self.vocabulary.eot
        return {
            "seek": window.seek,
            "start": start,
            "end": end,
            "text": self.vocabulary.decode([token for token in tokens if token < eot]),
            "tokens": list(tokens),
            "temperature": result.temperature,
            "avg_logprob": result.avg_logprob,
            "compression_ratio": result.compression_ratio,
            "no_speech_prob": result.no_speech_prob,
        }

    def _after_words(
        self, window: Window, segments: list[Draft], following: int, single_ending: bool
    ) -> tuple[int, bool]:
        """Where to go on once word times are known, and whether this window's text is to be forgotten.

        Likely hallucinations beside silence are taken out of `segments`.
        """
        offset = float(window.seek * HOP_LENGTH / SAMPLE_RATE)
        window_end = float((window.seek + N_FRAMES) * HOP_LENGTH / SAMPLE_RATE)
        threshold = self.options.hallucination_silence_threshold
        last_word_end = _last_end(segments)
        speech_ends_early = not single_ending and last_word_end is not None and last_word_end > offset
        if speech_ends_early:
            assert last_word_end is not None
            following = round(last_word_end * FRAMES_PER_SECOND)
        if threshold is None:
            return following, False
        if speech_ends_early:
            assert last_word_end is not None
            if not window_end - last_word_end > threshold:
                following = window.seek + window.size
        # skip leading silence if the first segment might be a hallucination
        first = _next_with_words(segments)
        if first is not None and is_anomaly(first):
            gap = first["start"] - offset
            if gap > threshold:
                return window.seek + round(gap * FRAMES_PER_SECOND), True
        return self._drop_hallucinations(window, segments, following, threshold, window_end), False

    def _drop_hallucinations(
        self, window: Window, segments: list[Draft], following: int, threshold: float, window_end: float
    ) -> int:
        """Cut `segments` before a likely hallucination that silence or others surround; returns where to go on."""
        offset = float(window.seek * HOP_LENGTH / SAMPLE_RATE)
        duration = window.size * HOP_LENGTH / SAMPLE_RATE
        last_end = self._last_speech
        for index, segment in enumerate(segments):
            if not segment["words"]:
                continue
            if is_anomaly(segment):
                after = _next_with_words(segments[index + 1 :])
                next_start = after["words"][0]["start"] if after is not None else offset + duration
                silence_before = (
                    segment["start"] - last_end > threshold
                    or segment["start"] < threshold
                    or segment["start"] - offset < 2.0
                )
                silence_after = (
                    next_start - segment["end"] > threshold or is_anomaly(after) or window_end - segment["end"] < 2.0
                )
                if silence_before and silence_after:
                    following = round(max(offset + 1, segment["start"]) * FRAMES_PER_SECOND)
                    content_duration = float(self.content_frames * HOP_LENGTH / SAMPLE_RATE)
                    if content_duration - segment["end"] < threshold:
                        following = self.content_frames
                    segments[index:] = []
                    break
            last_end = segment["end"]
        return following


def is_anomaly(segment: Draft | None) -> bool:
    """Whether a segment's words are so short, long or improbable that it might be a hallucination."""
    if segment is None or not segment["words"]:
        return False
    words = [word for word in segment["words"] if word["word"] not in PUNCTUATION][:8]
    score = sum(_word_anomaly(word) for word in words)
    return score >= 3 or score + 0.01 >= len(words)


def _word_anomaly(word: Draft) -> float:
    duration = word["end"] - word["start"]
    score = 0.0
    if word.get("probability", 0.0) < 0.15:
        score += 1.0
    if duration < 0.133:
        score += (0.133 - duration) * 15
    if duration > 2.0:
        score += duration - 2.0
    return score


def _next_with_words(segments: list[Draft]) -> Draft | None:
    return next((segment for segment in segments if segment["words"]), None)


def _last_end(segments: list[Draft], default: Any = None) -> Any:
    """End of the last word, or of the last segment where no segment has words (``whisper/utils.py``, `get_end`)."""
    ends = (word["end"] for segment in reversed(segments) for word in reversed(segment["words"]))
    return next(ends, segments[-1]["end"] if segments else default)


def _segment(index: int, draft: Draft, with_words: bool) -> Segment:
    words = None
    if with_words:
        words = tuple(
            Word(word["word"], float(word["start"]), float(word["end"]), float(word["probability"]))
            for word in draft["words"]
        )
    return Segment(
        id=index,
        seek=draft["seek"],
        start=float(draft["start"]),
        end=float(draft["end"]),
        text=draft["text"],
        tokens=tuple(draft["tokens"]),
        temperature=float(draft["temperature"]),
        avg_logprob=float(draft["avg_logprob"]),
        compression_ratio=float(draft["compression_ratio"]),
        no_speech_prob=float(draft["no_speech_prob"]),
        words=words,
    )
