"""Captions on scenes with known speech and events: sounds against whisper-at's own slots on the same scenes as one
table, and when speech is captioned, with what the tagger knows of voices and without, as another.

``python -m benchmarks.caption_scenes MODEL HEAD --speech DIR --sounds DIR [--scenes 30] [--fold] [--pause 15]``

Speech and sounds come from the pools of `training` (`training.voices`, `training.sounds`) that judge and never train.
`--fold` takes the sounds from ESC-10's fold 4 alone; the head then is one trained on folds 1 to 3. whisper-at
transcribes with the same weights; a slot's classes are those that its own `parse_at_label` would name (five best,
logit above -1), put into the same caption groups, and equal groups of neighbouring slots are one event.

When a caption should start is known where its first words are those that an utterance begins with: the scene says when
that is. Captions that begin in the middle of one, or with words that nobody said, do not count.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.event_metrics import NOTHING, Event, EventScores, event_scores
from training.grammar import words
from training.judge import Samples, new_speech, true_events
from training.scenes import Scene, SceneOptions, Spoken, scene
from training.sounds import ESC10, SAMPLE_RATE, SoundBank
from training.voices import read_pool
from wat_cli.captions.cues import Cue, cues_from
from wat_cli.engine import Engine
from wat_cli.model.heads import load_any_head
from wat_cli.model.whisper_at import WhisperAT, load_whisper
from wat_cli.options import CaptionOptions, TagOptions, TranscribeOptions
from wat_cli.tagging.events import events_from_tags
from wat_cli.tagging.policy import load_policy
from wat_cli.tagging.tuning import head_tuning
from wat_cli.tagging.voice import voiced_spans
from wat_cli.transcript import Segment, SoundEvent

SCENE_SECONDS = 60.0
TOP_K, LOGIT = 5, -1.0
"""What whisper-at's `parse_at_label` names of a slot unless told otherwise."""
FIRST_WORDS = 3
"""Words of a caption that tell which utterance it begins."""
SLOTS = (10.0, 2.0)
"""Lengths of whisper-at's slots in seconds: its default, and the shortest that others found useful."""


@dataclass(frozen=True)
class Placement:
    """What the layout did with the events of some scenes; may be added up."""

    over_speech: int = 0
    """Events that were to be shown and overlap speech."""
    shown_over_speech: int = 0
    speech_cues: int = 0
    """Captions of the same speech laid out without any sound."""
    displaced: int = 0
    """Those that start at another time once sounds are there."""

    def __add__(self, other: Placement) -> Placement:
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Placement(*(mine + its for mine, its in pairs))


def placement(
    segments: Sequence[Segment],
    events: Sequence[SoundEvent],
    duration: float,
    options: CaptionOptions,
    voiced: Sequence[tuple[float, float]] | None = None,
) -> Placement:
    """How the shown ones of `events` fare beside the speech."""
    wanted = [event for event in events if event.shown]
    layout = cues_from(segments, wanted, duration, options, voiced)
    over = [event for event in layout.events if any(s.start < event.end and s.end > event.start for s in segments)]
    spoken = {cue.start_ms for cue in layout.cues if cue.kind != "sound"}
    quiet = cues_from(segments, [], duration, options, voiced).cues
    return Placement(
        over_speech=len(over),
        shown_over_speech=sum(event.shown for event in over),
        speech_cues=len(quiet),
        displaced=sum(cue.start_ms not in spoken for cue in quiet),
    )


def start_errors(utterances: Sequence[Spoken], cues: Iterable[Cue]) -> list[float]:
    """Seconds by which each caption that begins an utterance starts after it; below 0: before it.

    Words heard and said are aligned over the whole scene. Of a caption's first `FIRST_WORDS` words, the first one that
    was said must stand as early in its utterance as in the caption.
    """
    said = [(word, place, one.start) for one in utterances for place, word in enumerate(words(one.text))]
    heard = [
        (word, place, cue.start_ms / 1000)
        for cue in cues
        for place, word in enumerate(words(" ".join(line.text[line.sound_length :] for line in cue.lines)))
    ]
    matcher = SequenceMatcher(None, [word for word, *_ in heard], [word for word, *_ in said], autojunk=False)
    errors: dict[float, float | None] = {}
    for match in matcher.get_matching_blocks():
        for step in range(match.size):
            (_, place, start), (_, true_place, true_start) = heard[match.a + step], said[match.b + step]
            if place < FIRST_WORDS:
                errors.setdefault(start, start - true_start if true_place <= place else None)
    return [error for error in errors.values() if error is not None]


def slot_events(logits: NDArray[np.float32], seconds: float) -> list[Event]:
    """Events of the first tier in whisper-at's slots of `seconds`, from its ``audio_tag`` [slots, classes]."""
    classes = load_policy().classes
    events: dict[str, list[tuple[float, float]]] = {}
    for slot, scores in enumerate(logits):
        best = [index for index in np.argsort(scores)[::-1][:TOP_K] if scores[index] > LOGIT]
        for group in {classes[index].group for index in best if classes[index].tier == 1}:
            runs = events.setdefault(group, [])
            if runs and runs[-1][1] == slot * seconds:
                runs[-1] = (runs[-1][0], (slot + 1) * seconds)
            else:
                runs.append((slot * seconds, (slot + 1) * seconds))
    return [(start, end, group) for group, runs in events.items() for start, end in runs]


def load_whisper_at(model: Path, head: Path) -> Any:
    """whisper-at's own model with these weights; its `load_model` takes only published heads."""
    from whisper_at.model import ModelDimensions, Whisper

    checkpoint = torch.load(model, map_location="cpu", weights_only=True)
    tagger = torch.load(head, map_location="cpu", weights_only=True)
    narrow = any("down" in key for key in tagger)
    whisper_at = Whisper(ModelDimensions(**checkpoint["dims"]), at_low_compute=narrow)
    whisper_at.load_state_dict({**checkpoint["model_state_dict"], **tagger}, strict=True)
    return whisper_at.eval()


def whisper_at_scores(model: Any, one: Scene, seconds: float) -> EventScores:
    """whisper-at's slots of a scene against the truth."""
    from whisper_at.transcribe import transcribe

    result = transcribe(
        model, one.samples, at_time_res=seconds, language="en", fp16=False, temperature=0.0, verbose=None
    )
    found = slot_events(result["audio_tag"].numpy(), seconds)
    return event_scores(true_events(one), found, collar=1.0, seconds=len(one.samples) / SAMPLE_RATE)


def judged_scenes(args: argparse.Namespace) -> list[Scene]:
    """Scenes from a seed of their own."""
    trained = {u.text for name in ("grammar", "loose") for u in read_pool(args.speech / name)[0]}
    speech = new_speech([args.speech / "dev-grammar"], trained, args.seed)
    folds, names = ((4,), tuple(ESC10)) if args.fold else ((), ())
    bank = SoundBank(args.sounds, folds=folds, split="judge", names=names)
    rng = np.random.default_rng(args.seed)
    options = SceneOptions() if args.pause is None else SceneOptions(pause=(0.5, args.pause), long_pause=0.0)
    drawn = (scene(rng, speech, bank, SCENE_SECONDS, options) for _ in iter(int, 1))
    return list(islice(drawn, args.scenes))


def row(name: str, scores: EventScores, placed: Placement | None = None) -> str:
    """A line of the table."""
    cells = [
        name,
        f"{scores.f1:.2f}",
        f"{scores.precision:.2f}",
        f"{scores.recall:.2f}",
        f"{scores.false_per_hour:.0f}",
        f"{scores.median_onset_error:.2f}",
        f"{placed.shown_over_speech / max(1, placed.over_speech):.2f}" if placed else "-",
        f"{placed.displaced / max(1, placed.speech_cues):.2f}" if placed else "-",
    ]
    return "| " + " | ".join(cells) + " |"


def timing_row(name: str, errors: Sequence[float]) -> str:
    """A line of the table of speech."""
    sizes = [abs(error) for error in errors]
    late, early = (sum(found) / max(1, len(errors)) for found in ([e > 0.5 for e in errors], [e < -1 for e in errors]))
    cells = [name, len(errors), f"{statistics.median(sizes):.2f}", f"{statistics.mean(sizes):.2f}"]
    return "| " + " | ".join(map(str, [*cells, f"{late:.1%}", f"{early:.1%}"])) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("head", type=Path)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--sounds", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=30)
    parser.add_argument("--seed", type=int, default=90210)
    parser.add_argument("--fold", action="store_true")
    parser.add_argument("--pause", type=float, help="speech with pauses of 0.5 s up to this many, evenly drawn")
    args = parser.parse_args()

    model = WhisperAT(load_whisper(args.model))
    head = load_any_head(args.head, layers=model.dims.n_audio_layer, width=model.dims.n_audio_state)
    engine = Engine(model, head, tuning=head_tuning(args.head))
    upstream = load_whisper_at(args.model, args.head)
    scenes = judged_scenes(args)

    scores, placed = NOTHING, Placement()
    slots = dict.fromkeys(SLOTS, NOTHING)
    starts: dict[str, list[float]] = {"Whisper's segments": [], "wat": []}
    for one in scenes:
        seconds = len(one.samples) / SAMPLE_RATE
        hearing = engine.hear(Samples(one.samples), TranscribeOptions())
        assert hearing.tags is not None
        events = events_from_tags(hearing.tags, TagOptions(), segments=hearing.segments, duration=seconds)
        voiced = voiced_spans(hearing.tags)
        layout = cues_from(hearing.segments, events, seconds, CaptionOptions(), voiced)
        found = [(event.start, event.end, event.group) for event in layout.events if event.shown]
        scores += event_scores(true_events(one), found, collar=1.0, seconds=seconds)
        placed += placement(hearing.segments, events, seconds, CaptionOptions(), voiced)
        for found_starts, known in zip(starts.values(), (None, voiced), strict=True):
            spoken_cues = cues_from(hearing.segments, [], seconds, CaptionOptions(), known).cues
            found_starts += start_errors(one.utterances, spoken_cues)
        for length in SLOTS:
            slots[length] += whisper_at_scores(upstream, one, length)

    sounds = "ESC-10 fold 4" if args.fold else "the judging pool"
    print(f"{len(scenes)} scenes of {SCENE_SECONDS:.0f} s, {scores.reference} events of {sounds}, seed {args.seed}\n")
    print("| | F1 (1 s) | precision | recall | false/h | onset error (s) | over speech, shown | speech displaced |")
    print("|---|---|---|---|---|---|---|---|")
    print(row("wat, as captioned", scores, placed))
    for length, total in slots.items():
        print(row(f"whisper-at, slots of {length:.0f} s", total))
    print("\n| times of | captions | start error, median (s) | mean (s) | over 0.5 s late | over 1 s early |")
    print("|---|---|---|---|---|---|")
    for name, errors in starts.items():
        print(timing_row(name, errors))


if __name__ == "__main__":
    main()
