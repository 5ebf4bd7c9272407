"""Speech from Debian's synthetic voices.

``python -m training.voices COUNT OUT SEED [--text loose|ordinary] [--voices held-out]``

Writes ``OUT.npy`` (int16 at 16 kHz, all utterances end to end) and ``OUT.json`` (text, voice, offset, length of each).
Needs flite, espeak-ng and, for its two voices, festival with festvox-kallpc16k and festvox-us-slt-hts.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import subprocess
import tempfile
import wave
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from training.grammar import sentence, word_sequence

SAMPLE_RATE = 16_000

TRAINED = ("flite-slt", "flite-rms", "flite-awb", "flite-kal16", "festival-kal_diphone", "espeak-en-us", "espeak-en-gb")
"""Voices that the embedded model is taught, and that its card names."""

HELD_OUT = ("espeak-en-gb-scotland", "festival-cmu_us_slt_arctic_hts")
"""Voices that no training audio uses: the card reports how the model hears them."""

ORDINARY = tuple(Path(__file__).with_name("ordinary_sentences.txt").read_text().splitlines())
"""English that nobody fitted to the vocabulary: the card reports how the model fares with it."""

_FESTIVAL_VOICES = {"kal_diphone": "voice_kal_diphone", "cmu_us_slt_arctic_hts": "voice_cmu_us_slt_arctic_hts"}


@dataclass(frozen=True)
class Utterance:
    """Where one spoken sentence lies in the pool of samples."""

    text: str
    voice: str
    offset: int
    length: int


def _read_wave(data: bytes) -> tuple[int, np.ndarray]:
    # espeak-ng streams its output with a length field that lies: take what follows the 44-byte header.
    with wave.open(io.BytesIO(data)) as reader:
        rate, frames = reader.getframerate(), reader.getnframes()
        if frames < 2**28:
            return rate, np.frombuffer(reader.readframes(frames), dtype=np.int16)
    return rate, np.frombuffer(data[44 : 44 + (len(data) - 44) // 2 * 2], dtype=np.int16)


def trimmed_16k(rate: int, samples: np.ndarray) -> np.ndarray:
    """Resample to 16 kHz and cut the silence before and after the speech (10 and 20 ms are kept)."""
    signal = samples.astype(np.float32)
    if rate != SAMPLE_RATE:
        divisor = int(np.gcd(rate, SAMPLE_RATE))
        signal = resample_poly(signal, SAMPLE_RATE // divisor, rate // divisor)
    signal = np.clip(signal, -32768, 32767).astype(np.int16)
    loud = np.flatnonzero(np.abs(signal) > 0.02 * np.abs(signal).max(initial=1))
    return signal[max(0, loud[0] - 160) : loud[-1] + 320] if len(loud) else signal[:0]


def _festival(voice: str, texts: list[str], stretches: list[float], folder: str) -> list[bytes]:
    commands = [f"({_FESTIVAL_VOICES[voice]})"]
    paths = [f"{folder}/{i}.wav" for i in range(len(texts))]
    for text, stretch, path in zip(texts, stretches, paths, strict=True):
        commands.append(f"(Parameter.set 'Duration_Stretch {stretch})")
        commands.append(f'(utt.save.wave (utt.synth (Utterance Text "{text}")) "{path}" \'riff)')
    subprocess.run(["festival", "--pipe"], input="\n".join(commands).encode(), check=True, capture_output=True)
    return [Path(path).read_bytes() for path in paths]


def speak(voice: str, texts: list[str], rng: random.Random) -> list[np.ndarray]:
    """Each text in `voice` as int16 samples at 16 kHz, with a little of the speaker's own variety in pace and pitch."""
    engine, name = voice.split("-", 1)
    waves: list[bytes] = []
    with tempfile.TemporaryDirectory() as folder:
        if engine == "festival":
            waves = _festival(name, texts, [rng.choice([0.9, 1.0, 1.1]) for _ in texts], folder)
        for text in texts if engine == "flite" else []:
            path = f"{folder}/one.wav"
            stretch = f"duration_stretch={rng.choice([0.9, 1.0, 1.0, 1.1])}"
            command = ["flite", "-voice", name, "--setf", stretch, "-t", text, "-o", path]
            subprocess.run(command, check=True, capture_output=True)
            waves.append(Path(path).read_bytes())
        for text in texts if engine == "espeak" else []:
            pace, pitch = str(rng.randint(140, 175)), str(rng.randint(42, 58))
            command = ["espeak-ng", "-v", name, "-s", pace, "-p", pitch, "--stdout", text]
            waves.append(subprocess.run(command, check=True, capture_output=True).stdout)
    return [trimmed_16k(*_read_wave(data)) for data in waves]


def _chunk(arguments: tuple[str, int, int, str]) -> list[tuple[str, str, np.ndarray]]:
    voice, count, seed, kind = arguments
    rng = random.Random(seed)
    texts = list(ORDINARY[:count])
    if kind != "ordinary":
        texts = [(word_sequence if kind == "loose" else sentence)(rng) for _ in range(count)]
    return [
        (text, voice, samples) for text, samples in zip(texts, speak(voice, texts, rng), strict=True) if len(samples)
    ]


def speak_pool(count: int, out: Path, seed: int, kind: str, voices: tuple[str, ...], workers: int) -> None:
    """Speak `count` texts of `kind` ("grammar", "loose", "ordinary") into ``out.npy`` and ``out.json``.

    The voices take turns, each with 50 texts or with every ordinary sentence.
    """
    size = len(ORDINARY) if kind == "ordinary" else 50
    jobs = [(voices[i % len(voices)], size, seed + i, kind) for i in range(-(-count // size))]
    utterances: list[Utterance] = []
    pieces: list[np.ndarray] = []
    offset = 0
    with ProcessPoolExecutor(workers) as pool:
        for chunk in pool.map(_chunk, jobs):
            for text, voice, samples in chunk:
                utterances.append(Utterance(text, voice, offset, len(samples)))
                pieces.append(samples)
                offset += len(samples)
    np.save(out.with_suffix(".npy"), np.concatenate(pieces))
    out.with_suffix(".json").write_text(json.dumps([asdict(u) for u in utterances]))
    print(f"{out}: {len(utterances)} utterances, {offset / SAMPLE_RATE / 3600:.2f} h")


def read_pool(path: Path) -> tuple[list[Utterance], np.ndarray]:
    """The utterances and the samples (memory-mapped) that `speak_pool` wrote."""
    utterances = [Utterance(**u) for u in json.loads(path.with_suffix(".json").read_text())]
    return utterances, np.load(path.with_suffix(".npy"), mmap_mode="r")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("--text", choices=["grammar", "loose", "ordinary"], default="grammar")
    parser.add_argument("--voices", choices=["trained", "held-out"], default="trained")
    parser.add_argument("--workers", type=int, default=4)
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    voices = TRAINED if args.voices == "trained" else HELD_OUT
    speak_pool(args.count, args.out, args.seed, args.text, voices, args.workers)


if __name__ == "__main__":
    main()
