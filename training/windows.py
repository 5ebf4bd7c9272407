"""Training windows of the embedded model: utterances and background mixed on the fly, with their token targets.

A window of `Mixture.seconds` holds utterances with gaps between them, at random levels, sometimes with noise or a
sound under them; some hold no speech, some end in the middle of an utterance. What the decoder is taught for each is
what openai-whisper's `transcribe` expects to read back: see `targets`.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset
from whisper.audio import HOP_LENGTH, N_FFT, mel_filters
from whisper.tokenizer import get_tokenizer

from training.grammar import words
from training.sounds import SoundBank, Sounding, label_indices
from training.voices import SAMPLE_RATE, Utterance, read_pool

TOKENIZER = get_tokenizer(False)
TIMESTAMP_BEGIN = TOKENIZER.timestamp_begin
N_VOCAB = 51_864
CTC_CLASSES = {letter: i + 1 for i, letter in enumerate("abcdefghijklmnopqrstuvwxyz '")}
IGNORE = -100

MAX_INITIAL_TIMESTAMP = 50
"""openai-whisper allows a window's first timestamp up to 1.00 s only (`DecodingOptions.max_initial_timestamp`)."""

Background = Callable[[random.Random, int], np.ndarray]
"""Draws `n` samples of background at RMS 1."""

CLASSES = 527
STEP = 6400
"""Samples of a tag step: 0.4 s, twenty encoder positions."""


@dataclass(frozen=True)
class Mixture:
    """What a stage's windows are made of."""

    seconds: tuple[float, ...]
    """Window lengths, used in turn."""
    batch_seconds: float
    """Seconds of audio in a batch."""
    noise: float = 0.0
    """Share of windows with a background under the speech."""
    snr: tuple[float, float] = (10.0, 30.0)
    """dB between speech and background."""
    silence: float = 0.0
    """Share of windows without speech."""
    partial: float = 0.0
    """Share of windows whose last utterance may be cut by the window's end."""
    long_gaps: float = 0.2
    """Share of gaps drawn up to six seconds long."""
    prompt: float = 0.0
    """Share of windows with a previous-text prompt."""
    lone: float = 0.0
    """Share of windows with one utterance and silence after it."""
    masking: float = 0.0
    """Share of windows with SpecAugment bands."""
    events: float = 0.0
    """Share of windows with labelled sounds over and between the speech, in place of a background."""
    codec: float = 0.0
    """Share of windows that went through a lossy codec at a low bit rate."""
    decoder: bool = True


class SpeechPool:
    """Utterances of one or more pools, reachable by length."""

    def __init__(self, paths: list[Path]) -> None:
        self.parts = [read_pool(path) for path in paths]
        self.index = sorted(
            ((u.length, p, i) for p, (utterances, _) in enumerate(self.parts) for i, u in enumerate(utterances)),
        )
        self.lengths = np.array([length for length, _, _ in self.index])

    def draw(self, rng: random.Random, most: int) -> tuple[Utterance, np.ndarray] | None:
        """An utterance of at most `most` samples, as float32 at RMS 1; None if there is none."""
        count = int(np.searchsorted(self.lengths, most, side="right"))
        if not count:
            return None
        _, part, i = self.index[rng.randrange(count)]
        utterances, samples = self.parts[part]
        one = utterances[i]
        signal = samples[one.offset : one.offset + one.length].astype(np.float32)
        return one, signal / (np.sqrt(np.mean(signal**2)) + 1.0)

    def texts(self) -> list[str]:
        return [u.text for utterances, _ in self.parts for u in utterances]


_TOKENS: dict[str, list[int]] = {}


def text_tokens(text: str) -> list[int]:
    """Tokens of an utterance as Whisper writes it, with its leading space."""
    if text not in _TOKENS:
        _TOKENS[text] = TOKENIZER.encode(" " + text)
    return _TOKENS[text]


def coloured_noise(rng: random.Random, n: int) -> np.ndarray:
    """Noise with a random spectral slope (white to brown) and slow level changes, at RMS 1."""
    generator = np.random.default_rng(rng.getrandbits(32))
    spectrum = np.fft.rfft(generator.standard_normal(n))
    spectrum *= np.maximum(np.arange(len(spectrum)), len(spectrum) / 200) ** -rng.uniform(0.0, 1.0)
    noise = np.fft.irfft(spectrum, n)
    if rng.random() < 0.5:
        knots = generator.uniform(0.2, 1.0, max(2, n // 8000))
        noise *= np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(knots)), knots)
    return (noise / (np.sqrt(np.mean(noise**2)) + 1e-9)).astype(np.float32)


@dataclass(frozen=True)
class Spoken:
    """An utterance's place in a window, in samples; `end` is None where the window's end cuts it."""

    text: str
    start: int
    end: int | None


@dataclass(frozen=True)
class Window:
    """One training example."""

    samples: np.ndarray
    spoken: tuple[Spoken, ...]
    offset: int
    """20 ms encoder positions by which the window is moved within the 30 s."""
    tokens: list[int]
    """Decoder input: prompt, then <|startoftranscript|> and what follows."""
    labels: list[int]
    """What each position of `tokens` should predict; IGNORE inside the prompt."""
    sounding: tuple[Sounding, ...] | None = None
    """What sounds when, speech included; None where a background without labels lies under it."""


def targets(
    spoken: tuple[Spoken, ...], offset: int, prompt: list[int], rng: random.Random
) -> tuple[list[int], list[int]]:
    """Decoder inputs and labels for a window.

    Speech: ``<|start|> text <|end|>`` for each utterance, its start alone where the window cuts it; sometimes
    ``<|notimestamps|> text``. The first timestamp never exceeds 1.00 s, as openai-whisper's sampling rules have it.
    No speech: ``<|nospeech|>`` after <|startoftranscript|> (from which `no_speech_prob` is read), and an end right
    after ``<|0.00|>`` (which is what decoding samples, <|nospeech|> being suppressed there).
    """
    sot, eot = TOKENIZER.sot, TOKENIZER.eot
    ignored = [IGNORE] * len(prompt)
    if not spoken:
        first = TOKENIZER.no_speech if rng.random() < 0.9 else TIMESTAMP_BEGIN
        return [*prompt, sot, TIMESTAMP_BEGIN], [*ignored, first, eot]
    complete = all(s.end is not None for s in spoken)
    if complete and rng.random() < 0.15:
        target = [TOKENIZER.no_timestamps, *(t for s in spoken for t in text_tokens(s.text))]
    else:
        target = []
        for i, s in enumerate(spoken):
            start = min(1500, offset + round(s.start / 320))
            target.append(TIMESTAMP_BEGIN + (min(start, MAX_INITIAL_TIMESTAMP) if i == 0 else start))
            if s.end is not None:
                target += [*text_tokens(s.text), TIMESTAMP_BEGIN + min(1500, offset + round(s.end / 320))]
    sequence = [*prompt, sot, *target, eot]
    return sequence[:-1], [*ignored, *sequence[len(prompt) + 1 :]]


def draw_prompt(pool: SpeechPool, rng: random.Random) -> list[int]:
    """Previous text as `transcribe` gives it (with timestamps), or as an initial prompt (without)."""
    length = rng.randint(4, 223) if rng.random() < 0.6 else rng.randint(4, 60)
    timed, clock, tokens = rng.random() < 0.6, 0, []
    while len(tokens) < length:
        drawn = pool.draw(rng, 10**9)
        assert drawn is not None
        text = text_tokens(drawn[0].text)
        if timed:
            end = min(1500, clock + drawn[0].length // 320)
            tokens += [TIMESTAMP_BEGIN + clock, *text, TIMESTAMP_BEGIN + end]
            clock = 0 if end > 1300 else end + rng.randint(0, 60)
        else:
            tokens += text
    return [TOKENIZER.sot_prev, *tokens[-length:]]


def add_sounds(samples: np.ndarray, bank: SoundBank, level: float, rng: random.Random) -> list[Sounding]:
    """Mix up to five sounds into a window, some older than it, 16 dB below to 6 dB above the speech's `level`."""
    generator, sounding = np.random.default_rng(rng.getrandbits(32)), []
    length = len(samples) / SAMPLE_RATE
    for _ in range(rng.choice([1, 1, 2, 2, 3, 4, 5]) if length >= 30 else 1):
        clip = bank.draw(generator, seconds=rng.choice([2.0, 4.0, 8.0, 16.0, 30.0]))
        start = int(rng.uniform(-4.0, length - 0.5) * SAMPLE_RATE)
        gain = rng.choice([1.0, level / 0.1]) * 10 ** (rng.uniform(-16, 6) / 20)
        heard = clip.samples[max(0, -start) : len(samples) - start]
        if len(heard):
            samples[max(0, start) : max(0, start) + len(heard)] += gain * heard
            sounding.append(Sounding(start / SAMPLE_RATE, (start + len(clip.samples)) / SAMPLE_RATE, clip.labels))
    return sounding


CODECS = (("libopus", (12, 16, 24, 32)), ("aac", (24, 32, 48)), ("libmp3lame", (24, 32, 40, 64)))


def through_codec(samples: np.ndarray, rng: random.Random) -> np.ndarray:
    """The window as a low bit rate leaves it: what films carry."""
    codec, rates = rng.choice(CODECS)
    raw = ("-f", "f32le", "-ar", str(SAMPLE_RATE), "-ac", "1")
    peak = max(1.0, float(np.abs(samples).max()))
    encode = ["ffmpeg", "-v", "error", *raw, "-i", "-", "-c:a", codec, "-b:a", f"{rng.choice(rates)}k"]
    packed = subprocess.run(
        [*encode, "-f", "matroska", "-"], input=(samples / peak).tobytes(), capture_output=True, check=True
    )
    decode = ["ffmpeg", "-v", "error", "-i", "-", *raw, "-"]
    heard = subprocess.run(decode, input=packed.stdout, capture_output=True, check=True).stdout
    out = np.zeros_like(samples)
    back = np.frombuffer(heard, np.float32)[: len(samples)]
    out[: len(back)] = back * peak
    return out


def draw_window(
    pool: SpeechPool,
    mixture: Mixture,
    seconds: float,
    rng: random.Random,
    background: Background,
    bank: SoundBank | None = None,
) -> Window:
    """Mix one window; `bank` has the labelled sounds of `mixture.events`."""
    n = int(seconds * SAMPLE_RATE)
    samples = np.zeros(n, np.float32)
    spoken: list[Spoken] = []
    level = 0.1 * 10 ** (rng.uniform(-14, 4) / 20)
    speech, full = rng.random() >= mixture.silence, seconds >= 30
    at = int(rng.uniform(0, 0.6 if rng.random() < 0.7 else min(6.0, seconds / 5)) * SAMPLE_RATE)
    cut_allowed = rng.random() < mixture.partial
    # some windows end in silence: the last part of a file, padded
    last = n if not full or rng.random() < 0.7 else max(int(rng.uniform(0.1, 1.0) * n), at + 8 * SAMPLE_RATE)
    most = 1 if rng.random() < mixture.lone else 1000
    while speech and len(spoken) < most:
        drawn = pool.draw(rng, 10**9 if full else n - at)
        if drawn is None:
            break
        one, signal = drawn
        gain = level * 10 ** (rng.uniform(-4, 4) / 20)
        if at + one.length > last:
            if last == n and cut_allowed and n - at > 4800:
                samples[at:] += gain * signal[: n - at]
                spoken.append(Spoken(one.text, at, None))
            elif not spoken and full:
                continue
            break
        samples[at : at + one.length] += gain * signal
        spoken.append(Spoken(one.text, at, at + one.length))
        gap = rng.uniform(0.5, 6.0) if rng.random() < mixture.long_gaps else rng.uniform(0.08, 0.7)
        at += one.length + int(gap * SAMPLE_RATE)
    sounding: list[Sounding] | None = []
    if bank and rng.random() < mixture.events:
        sounding = add_sounds(samples, bank, level, rng)
    elif rng.random() < mixture.noise or not spoken and rng.random() < 0.8:
        noise_level = level * 10 ** (-rng.uniform(*mixture.snr) / 20) if spoken else 10 ** rng.uniform(-4, -0.7)
        samples += noise_level * background(rng, n)
        sounding = None
    # digital silence, a recording's floor, and everything between
    samples += 10 ** rng.uniform(-6.5, -3.2) * np.random.default_rng(rng.getrandbits(32)).standard_normal(n).astype(
        np.float32
    )
    if rng.random() < mixture.codec:
        samples = through_codec(samples, rng)
    positions = n // 320
    offset = 0 if full or rng.random() < 0.15 else rng.randint(0, 1500 - positions)
    prompt = draw_prompt(pool, rng) if rng.random() < mixture.prompt else []
    tokens, labels = targets(tuple(spoken), offset, prompt, rng)
    if sounding is not None:
        speech_label = (label_indices()["Speech"],)
        sounding += [Sounding(u.start / SAMPLE_RATE, (u.end or n) / SAMPLE_RATE, speech_label) for u in spoken]
    return Window(samples, tuple(spoken), offset, tokens, labels, None if sounding is None else tuple(sounding))


def step_targets(window: Window) -> np.ndarray | None:
    """What sounds in each 0.4 s step, as the share of the step [steps, CLASSES]; None where that is not known."""
    if window.sounding is None:
        return None
    edges = np.arange(len(window.samples) // STEP + 1) * (STEP / SAMPLE_RATE)
    shares = np.zeros((len(edges) - 1, CLASSES), np.float32)
    for one in window.sounding:
        heard = np.clip(np.minimum(edges[1:], one.end) - np.maximum(edges[:-1], one.start), 0, None)
        labels = list(one.labels)
        shares[:, labels] = np.maximum(shares[:, labels], (heard * SAMPLE_RATE / STEP)[:, None])
    return shares


_FILTERS = mel_filters("cpu", 80)
_HANN = torch.hann_window(N_FFT)


def log_mel(samples: torch.Tensor, uplift: torch.Tensor) -> torch.Tensor:
    """openai-whisper's log-mel of each row [batch, n] -> [batch, 80, n / 160].

    `uplift` [batch] raises the maximum of the clamp (in log10 units): in a file the loudest window sets it for all.
    """
    stft = torch.stft(samples, N_FFT, HOP_LENGTH, window=_HANN, return_complex=True)
    log_spec = torch.clamp(_FILTERS @ (stft[..., :-1].abs() ** 2), min=1e-10).log10()
    highest = log_spec.amax(dim=(1, 2), keepdim=True) + uplift[:, None, None]
    return (torch.maximum(log_spec, highest - 8.0) + 4.0) / 4.0


@dataclass(frozen=True)
class Batch:
    """A batch of windows of one length."""

    mel: torch.Tensor
    offsets: torch.Tensor
    tokens: torch.Tensor
    labels: torch.Tensor
    letters: list[torch.Tensor]
    """CTC targets of each row; empty where the row has none."""
    labelled: torch.Tensor
    """Rows whose sounds are known."""
    sounds: torch.Tensor
    """`step_targets` of those rows [labelled, steps, CLASSES]."""

    def __reduce__(self) -> tuple[Callable[..., Batch], tuple[Any, ...]]:
        """Cross from the loader's process as plain bytes; torch would use shared memory, which can be small."""
        tensors = (self.mel, self.offsets, self.tokens, self.labels, self.labelled, self.sounds)
        return _batch_from_numpy, ([t.numpy() for t in tensors], [row.numpy() for row in self.letters])


def _batch_from_numpy(arrays: list[np.ndarray], letters: list[np.ndarray]) -> Batch:
    mel, offsets, tokens, labels, labelled, sounds = (torch.from_numpy(a) for a in arrays)
    return Batch(mel, offsets, tokens, labels, [torch.from_numpy(row) for row in letters], labelled, sounds)


def collate(windows: list[Window], mixture: Mixture, rng: random.Random) -> Batch:
    """Windows of one length as tensors, with SpecAugment bands on `mixture.masking` of the rows."""
    uplift = torch.tensor([rng.uniform(0, 1.5) if rng.random() < 0.3 else 0.0 for _ in windows])
    mel = log_mel(torch.from_numpy(np.stack([w.samples for w in windows])), uplift)
    for row in mel:
        if rng.random() < mixture.masking:
            low, at = rng.randrange(70), rng.randrange(mel.shape[2] - 40)
            row[low : low + rng.randrange(10)] = row.min()
            row[:, at : at + rng.randrange(15)] = row.min()
    width = max(len(w.tokens) for w in windows)
    tokens = torch.full((len(windows), width), TOKENIZER.eot)
    labels = torch.full((len(windows), width), IGNORE)
    letters = []
    for i, w in enumerate(windows):
        tokens[i, : len(w.tokens)] = torch.tensor(w.tokens)
        labels[i, : len(w.labels)] = torch.tensor(w.labels)
        whole = all(s.end is not None for s in w.spoken)
        text = " ".join(word for s in w.spoken for word in words(s.text)) if whole else ""
        letters.append(torch.tensor([CTC_CLASSES[c] for c in text], dtype=torch.long))
    known = [(i, shares) for i, w in enumerate(windows) if (shares := step_targets(w)) is not None]
    labelled = torch.tensor([i for i, _ in known], dtype=torch.long)
    sounds = torch.from_numpy(np.stack([shares for _, shares in known])) if known else torch.zeros(0, 0, CLASSES)
    return Batch(mel, torch.tensor([w.offset for w in windows]), tokens, labels, letters, labelled, sounds)


class Windows(IterableDataset[Batch]):
    """Endless batches of a stage, from a seed; made in a DataLoader's worker beside the training."""

    def __init__(
        self, pools: list[Path], mixture: Mixture, seed: int, background: Background, bank: SoundBank | None = None
    ) -> None:
        self.pools, self.mixture, self.seed, self.background, self.bank = pools, mixture, seed, background, bank

    def __iter__(self) -> Iterator[Batch]:
        pool, rng, mixture = SpeechPool(self.pools), random.Random(self.seed), self.mixture
        step = 0
        while True:
            seconds = mixture.seconds[step % len(mixture.seconds)]
            size = max(2, round(mixture.batch_seconds / seconds))
            drawn = [draw_window(pool, mixture, seconds, rng, self.background, self.bank) for _ in range(size)]
            yield collate(drawn, mixture, rng)
            step += 1
