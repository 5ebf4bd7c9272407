"""Judge the embedded model: ``python -m training.judge MODEL [--head HEAD] --speech DIR --sounds DIR``; prints the card's table.

Everything judged is new: sentences that no training text holds, seeds of their own, and for the sounds a pool that
training never saw. Words are read back by ``wat``'s engine with the options of ``wat caption``.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import whisper
from numpy.typing import NDArray

from training.asr import edit_distance
from training.grammar import words
from training.scenes import Scene, SceneOptions, Speech, scene
from training.sounds import SoundBank
from training.voices import read_pool

SECONDS = 30.0


@dataclass(frozen=True)
class Heard:
    """What the model made of some scenes."""

    word_errors: int
    words: int
    start_errors: tuple[float, ...]
    """Seconds between each utterance's true start and the nearest segment's."""
    with_text: int
    """Scenes in which any text was found."""
    scenes: int

    @property
    def word_error_rate(self) -> float:
        return self.word_errors / max(1, self.words)


def new_speech(pools: list[Path], trained: set[str], seed: int) -> Iterator[Speech]:
    """Utterances in random order, again and again, without the sentences in `trained`."""
    found = []
    for path in pools:
        utterances, samples = read_pool(path)
        found += [(u, samples) for u in utterances if u.text not in trained]
    rng = random.Random(seed)
    while True:
        rng.shuffle(found)
        for one, samples in found:
            yield Speech(one.text, one.voice, np.asarray(samples[one.offset : one.offset + one.length]))


def with_noise(one: Scene, noise: NDArray[np.float32], decibels: float) -> Scene:
    """The scene with `noise` at `decibels` below its speech (root mean square over the whole scene)."""
    level = np.sqrt(np.mean(one.samples**2)) * 10 ** (-decibels / 20)
    noise = noise / (np.sqrt(np.mean(noise**2)) + 1e-9)
    return Scene((one.samples + level * noise).astype(np.float32), one.utterances, one.events)


def hear(model: whisper.Whisper, scenes: list[Scene], beam_size: int | None) -> Heard:
    """Transcribe scenes as `wat caption` would, and count."""
    errors = total = with_text = 0
    starts: list[float] = []
    for one in scenes:
        temperatures = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
        result = whisper.transcribe(
            model, one.samples, fp16=False, beam_size=beam_size, best_of=5, temperature=temperatures, language="en"
        )
        wanted = [word for spoken in one.utterances for word in words(spoken.text)]
        errors += edit_distance(words(result["text"]), wanted)
        total += len(wanted)
        with_text += bool(words(result["text"]))
        found = [segment["start"] for segment in result["segments"]]
        starts += [min(abs(start - spoken.start) for start in found) for spoken in one.utterances if found]
    return Heard(errors, total, tuple(starts), with_text, len(scenes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--sounds", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--greedy", action="store_true")
    parser.add_argument("--threads", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = whisper.load_model(str(args.model))
    trained = {u.text for name in ("grammar", "loose") for u in read_pool(args.speech / name)[0]}
    bank = SoundBank(args.sounds, folds=(), split="judge")
    rng = np.random.default_rng(1)

    def drawn(name: str, change: Callable[[Scene], Scene] = lambda one: one) -> list[Scene]:
        speech = new_speech([args.speech / name], trained, 1)
        return [change(scene(rng, speech, None, SECONDS, SceneOptions())) for _ in range(args.scenes)]

    def noisy(one: Scene) -> Scene:
        clip = np.resize(bank.draw(rng, SECONDS, str(rng.choice(["music", "rain", "wind", "white_noise", "engine"]))).samples, len(one.samples))
        return with_noise(one, clip, 10.0)

    quiet = [scene(rng, iter(()), bank if i % 2 else None, SECONDS, SceneOptions()) for i in range(args.scenes)]
    sets = {
        "grammar": drawn("dev-grammar"),
        "loose": drawn("dev-loose"),
        "grammar, 10 dB": drawn("dev-grammar", noisy),
        "held-out voices": drawn("held-out"),
        "no speech": quiet,
    }
    figures = {}
    for name, scenes in sets.items():
        heard = hear(model, scenes, None if args.greedy else 5)
        median = statistics.median(heard.start_errors) if heard.start_errors else None
        figures[name] = {"wer": heard.word_error_rate, "words": heard.words, "start": median, "with_text": heard.with_text, "scenes": heard.scenes}
        print(name, json.dumps(figures[name]), flush=True)


if __name__ == "__main__":
    main()
