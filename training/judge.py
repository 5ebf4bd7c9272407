"""Judge the embedded model: ``python -m training.judge words|sounds MODEL ... --speech DIR --sounds DIR``.

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
from training.event_metrics import NOTHING, Event, EventScores, event_scores, scores_by_name
from training.grammar import words
from training.scenes import Scene, SceneOptions, Speech, scene
from training.sounds import ESC10, SAMPLE_RATE, SoundBank
from training.voices import read_pool
from wat_cli.engine import Engine
from wat_cli.model.heads import load_any_head
from wat_cli.model.whisper_at import WhisperAT, load_whisper
from wat_cli.options import TagOptions, TranscribeOptions
from wat_cli.tagging.events import UNSHOWN, events_from_tags
from wat_cli.tagging.policy import load_policy
from wat_cli.tagging.tuning import head_tuning
from wat_cli.transcript import TagTrack

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


@dataclass(frozen=True)
class Samples:
    """A scene as the engine reads it."""

    signal: NDArray[np.float32]

    @property
    def samples(self) -> int:
        return len(self.signal)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        return self.signal[start:stop]


def hear_sounds(engine: Engine, one: Scene) -> TagTrack:
    """The tag track of a scene; its words are left out (greedy, one try), as only the encoder's pass matters."""
    options = TranscribeOptions(beam_size=None, temperature_increment_on_fallback=None)
    tags = engine.hear(Samples(one.samples), options).tags
    assert tags is not None
    return tags


def sound_scores(one: Scene, tags: TagTrack, options: TagOptions) -> EventScores:
    """The sidecar's events against the scene's own, of the first tier."""
    truth, found = true_events(one), found_events(tags, options)
    return event_scores(truth, found, collar=1.0, seconds=len(one.samples) / SAMPLE_RATE)


def true_events(one: Scene, at: float = 0.0) -> list[Event]:
    """The scene's events of the first tier, by caption group, `at` seconds later."""
    classes = load_policy().classes
    return [(at + e.start, at + e.end, classes[e.main].group) for e in one.events if classes[e.main].tier == 1]


def found_events(tags: TagTrack, options: TagOptions, at: float = 0.0) -> list[Event]:
    """Events that captions show, or would if they had not just shown the same sound."""
    events = events_from_tags(tags, options)
    return [(at + e.start, at + e.end, e.group) for e in events if e.shown or e.reason == UNSHOWN["repeat"]]


def judge_sounds(args: argparse.Namespace) -> None:
    """F1, onset error and false captions per hour over scenes of `args.scenes` minutes, for several thresholds."""
    model = WhisperAT(load_whisper(args.model))
    head = load_any_head(args.head, layers=model.dims.n_audio_layer, width=model.dims.n_audio_state)
    engine = Engine(model, head, tuning=head_tuning(args.head))
    trained = {u.text for name in ("grammar", "loose") for u in read_pool(args.speech / name)[0]}
    rng = np.random.default_rng(args.seed)
    folds = (4,) if args.fold else ()
    names = tuple(ESC10) if args.fold else ()
    bank = SoundBank(args.sounds, folds=folds, split=args.split, names=names)
    speech = new_speech([args.speech / "dev-grammar"], trained, args.seed)
    heard = []
    for _ in range(args.scenes):
        one = scene(rng, speech, bank, 60.0, SceneOptions())
        heard.append((one, hear_sounds(engine, one)))
    for threshold in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        scores = [sound_scores(one, tags, TagOptions(tags_threshold=threshold)) for one, tags in heard]
        total = sum(scores, NOTHING)
        print(
            f"threshold {threshold}: F1 {total.f1:.3f} precision {total.precision:.3f} recall {total.recall:.3f} "
            f"onset {total.median_onset_error:.2f} s, false {total.false_per_hour:.0f}/h, events {total.reference}"
        )
    truth = [event for i, (one, _) in enumerate(heard) for event in true_events(one, 1000.0 * i)]
    found = [event for i, (_, tags) in enumerate(heard) for event in found_events(tags, TagOptions(), 1000.0 * i)]
    for name, score in scores_by_name(truth, found).items():
        bias = statistics.median(score.onset_errors) if score.onset_errors else float("nan")
        print(
            f"  {name}: F1 {score.f1:.2f}, {score.matched} of {score.reference}, "
            f"found {score.found}, onset {bias:+.2f} s"
        )


def judge_words(args: argparse.Namespace) -> None:
    """Word error rates, segment starts and silence, set by set."""
    model = whisper.load_model(str(args.model))
    trained = {u.text for name in ("grammar", "loose") for u in read_pool(args.speech / name)[0]}
    bank = SoundBank(args.sounds, folds=(), split="judge")
    rng = np.random.default_rng(args.seed)

    def drawn(name: str, change: Callable[[Scene], Scene] = lambda one: one) -> list[Scene]:
        speech = new_speech([args.speech / name], trained, args.seed)
        return [change(scene(rng, speech, None, SECONDS, SceneOptions())) for _ in range(args.scenes)]

    def noisy(one: Scene) -> Scene:
        name = str(rng.choice(["music", "rain", "wind", "white_noise", "engine"]))
        return with_noise(one, np.resize(bank.draw(rng, SECONDS, name).samples, len(one.samples)), 10.0)

    quiet = [scene(rng, iter(()), bank if i % 2 else None, SECONDS, SceneOptions()) for i in range(args.scenes)]
    sets = {
        "grammar": drawn("dev-grammar"),
        "loose": drawn("dev-loose"),
        "grammar, 10 dB": drawn("dev-grammar", noisy),
        "held-out voices": drawn("held-out"),
        "ordinary sentences": drawn("ordinary"),
        "no speech": quiet,
    }
    for name, scenes in sets.items():
        heard = hear(model, scenes, None if args.greedy else 5)
        median = statistics.median(heard.start_errors) if heard.start_errors else None
        figures = {"wer": round(heard.word_error_rate, 4), "words": heard.words, "start": median}
        print(name, json.dumps({**figures, "with_text": heard.with_text, "scenes": heard.scenes}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["words", "sounds"])
    parser.add_argument("model", type=Path)
    parser.add_argument("--head", type=Path)
    parser.add_argument("--fold", action="store_true", help="judge the sounds on ESC-10's fold 4 alone")
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--sounds", type=Path, required=True)
    parser.add_argument("--split", choices=["judge", "tune"], default="judge", help="tune: to choose a threshold on")
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--greedy", action="store_true")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    (judge_sounds if args.what == "sounds" else judge_words)(args)


if __name__ == "__main__":
    main()
