"""The sample films and their truth: ``python -m sample_media.make_films`` (or ``make films``).

Six short files in the shapes that people have: an mp4, an mkv with two audio tracks and a late start, an mp3, three
minutes of webm, one without speech, one without sound. ``truth.json`` says who says what when, and what sounds when.
Everything in them is made here: synthetic voices, effects by arithmetic, music from seeds that no training uses.
Sentences are drawn from the training grammar, except every third, which is from `ORDINARY`; none is in a training text.
Needs ffmpeg, flite, espeak-ng, festival (festvox-kallpc16k), fluidsynth and fluid-soundfont-gm.
"""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
import wave
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.effects import EFFECTS, make_effect
from training.grammar import sentence, word_sequence
from training.music import piece
from training.scenes import SPEECH_LEVEL, add_at, speech_at_level
from training.sounds import LEVEL, SAMPLE_RATE, SEEDS, levelled
from training.voices import speak
from wat_cli.tagging.policy import load_policy

FOLDER = Path(__file__).parent

SENTENCE_SEED = 9_000_000
TRAINING_SEEDS = {sentence: range(1_000_000, 1_002_000), word_sequence: range(2_000_000, 2_002_000)}
"""Seeds of the training text, generously: each gives a chunk of fifty (`training.voices.speak_pool`)."""

ORDINARY = (
    "My father kept an old radio on the table by the window.",
    "Every summer we ran down to the beach to watch the ships.",
    "There is a letter for you on the kitchen table.",
    "She has never been so far from home.",
    "What would you do with so much money?",
    "The river was cold, and it was too wide to cross.",
    "You need an hour to go from the station to the lighthouse.",
    "One of the windows was open, and the rain came in.",
    "Most of the people in this city work at the harbor.",
    "When I was a boy, there were horses on this street.",
    "He put the bread and the milk on the chair and sat down.",
    "Tell your mother that the doctor will come back tomorrow.",
    "If you want to see the stars, come out after midnight.",
    "This was the first film that our school made together.",
    "Nobody has seen my cat since Monday.",
    "We were all tired, but nobody wanted to go to bed.",
    "I think that you should read her letter again.",
    "In winter, half of the houses by the lake are empty.",
)
"""Sentences that the grammar does not make, of words that the vocabulary holds."""


@dataclass(frozen=True)
class Say:
    """The next sentence, in this voice."""

    voice: str


@dataclass(frozen=True)
class Wait:
    seconds: float


@dataclass(frozen=True)
class Sound:
    """A sound that starts now; what follows waits for its end, unless it lies `under` what follows."""

    name: str
    seconds: float
    decibels: float = 0.0
    """Its loudest 0.4 s against the speech."""
    under: bool = False


@dataclass(frozen=True)
class Film:
    name: str
    story: tuple[Say | Wait | Sound, ...]
    video: str | None = None
    """ffmpeg's lavfi source of the picture, without its size and rate."""
    encode: tuple[str, ...] = ()
    late: float = 0.0
    """Seconds by which the sound starts after the picture."""
    second_track: bool = False
    """Another audio track, first in the file and not the default: the sounds without the speech."""


SLT, RMS, AWB, KAL, DIPHONE, US, GB = (
    "flite-slt", "flite-rms", "flite-awb", "flite-kal16", "festival-kal_diphone", "espeak-en-us", "espeak-en-gb",
)  # fmt: skip

H264 = ("-c:v", "libx264", "-crf", "36", "-preset", "veryslow", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "40k")
VP9 = ("-c:v", "libvpx-vp9", "-crf", "50", "-b:v", "0", "-pix_fmt", "yuv420p", "-c:a", "libopus", "-b:a", "28k")

FILMS = (
    Film(
        "market.mp4",
        (
            Wait(0.8), Say(SLT), Wait(0.6), Say(RMS), Wait(1.2), Sound("car_horn", 1.6, 2), Wait(1.0), Say(SLT),
            Wait(0.7), Say(AWB), Wait(1.0), Sound("telephone_bell", 4.0, 0), Wait(0.8), Say(RMS), Wait(0.6), Say(SLT),
            Wait(0.8), Sound("siren_wail", 7.0, -5, under=True), Wait(1.2), Say(AWB), Wait(2.5), Say(RMS), Wait(0.8),
            Say(SLT), Wait(1.0), Sound("applause", 5.0, 1), Wait(1.2),
        ),
        "testsrc2",
        (*H264, "-movflags", "+faststart"),
    ),
    Film(
        "island.mkv",
        (
            Wait(0.5), Sound("thunder", 5.0, 2), Wait(0.8), Say(GB), Wait(0.6), Say(KAL), Wait(1.2),
            Sound("doorbell", 2.5, 1), Wait(0.8), Say(GB), Wait(0.5), Say(DIPHONE), Wait(1.0),
            Sound("glass_shatter", 1.5, 3), Wait(1.0), Say(KAL), Wait(0.8), Sound("fire_alarm", 6.0, -6, under=True),
            Wait(1.5), Say(GB), Wait(3.0), Say(DIPHONE), Wait(1.0),
        ),
        "smptebars",
        H264,
        late=1.5,
        second_track=True,
    ),
    Film(
        "radio.mp3",
        (
            Sound("music", 6.0, 0), Wait(0.5), Say(RMS), Wait(0.6), Say(RMS), Wait(0.7), Say(US), Wait(1.5),
            Sound("telephone_warble", 4.0, 0), Wait(0.6), Say(US), Wait(0.6), Say(RMS), Wait(0.8),
            Sound("music", 14.0, -9, under=True), Wait(1.5), Say(RMS), Wait(0.8), Say(US), Wait(7.0),
        ),
        None,
        ("-c:a", "libmp3lame", "-b:a", "40k"),
    ),
    Film(
        "concert.webm",
        (
            Wait(1.0), Sound("applause", 6.0, 0), Wait(1.2), Say(SLT), Wait(0.6), Say(SLT), Wait(1.0), Say(AWB),
            Wait(1.5), Sound("music", 24.0, 1), Wait(0.8), Sound("applause", 6.0, 1), Wait(1.2), Say(SLT), Wait(0.8),
            Say(KAL), Wait(0.6), Say(AWB), Wait(1.0), Sound("music", 20.0, -10, under=True), Wait(1.5), Say(SLT),
            Wait(1.0), Say(AWB), Wait(1.0), Say(KAL), Wait(13.0), Sound("applause", 5.0, -6, under=True), Wait(1.5),
            Say(RMS), Wait(3.0), Say(US), Wait(0.8), Say(GB), Wait(1.0), Sound("alarm_clock", 4.0, -1), Wait(1.0),
            Say(US), Wait(0.7), Say(RMS), Wait(3.0), Say(DIPHONE), Wait(2.0), Sound("music", 25.0, 1), Wait(0.8),
            Say(SLT), Wait(0.8), Say(AWB), Wait(1.2), Sound("fireworks", 8.0, 1), Wait(1.0), Say(SLT), Wait(0.8),
            Sound("applause", 8.0, 2), Wait(3.5),
        ),
        "gradients=duration=600:speed=0.004",
        VP9,
    ),
    Film(
        "storm.mp4",
        (
            Wait(3.0), Sound("thunder", 5.0, 2), Wait(4.0), Sound("smoke_alarm", 6.0, 0), Wait(5.0),
            Sound("explosion", 2.5, 5), Wait(5.0), Sound("siren_two_tone", 7.0, 0), Wait(4.0),
            Sound("music", 10.0, 0), Wait(3.0),
        ),
        "rgbtestsrc",
        (*H264, "-movflags", "+faststart"),
    ),
    Film("still.mp4", (Wait(6.0),), "yuvtestsrc", H264),
)  # fmt: skip


@dataclass
class Truth:
    """What is in one film, on the clock of its default audio track's container."""

    duration: float
    speech: list[dict[str, object]] = field(default_factory=list)
    events: list[dict[str, object]] = field(default_factory=list)


@cache
def trained_texts() -> frozenset[str]:
    """Every text that the embedded model's training speaks."""
    chunks = ((make, random.Random(seed)) for make, seeds in TRAINING_SEEDS.items() for seed in seeds)
    return frozenset(make(rng) for make, rng in chunks for _ in range(50))


def screenplay() -> dict[str, list[tuple[str, str]]]:
    """Voice and sentence of every utterance of every film, in order; every third sentence is an ordinary one."""
    rng, known, ordinary = random.Random(SENTENCE_SEED), set(trained_texts()), iter(ORDINARY)
    lines: dict[str, list[tuple[str, str]]] = {}
    number = 0
    for film in FILMS:
        lines[film.name] = []
        for step in film.story:
            if isinstance(step, Say):
                text = next(ordinary) if number % 3 == 0 else _new_sentence(rng, known)
                lines[film.name].append((step.voice, text))
                number += 1
    return lines


def _new_sentence(rng: random.Random, known: set[str]) -> str:
    while True:
        text = sentence(rng)
        if text not in known and 4 <= len(text.split()) <= 12:
            known.add(text)
            return text


def sound(step: Sound, seed: int) -> tuple[NDArray[np.float32], str]:
    """Samples and main label of a step's sound: music ends with a fade."""
    if step.name != "music":
        samples = make_effect(step.name, np.random.default_rng(seed), step.seconds)
        return levelled(samples), EFFECTS[step.name].labels[0]
    music = levelled(piece(seed, step.seconds)[0].astype(np.float32))
    music[-SAMPLE_RATE:] *= np.linspace(1, 0, min(SAMPLE_RATE, len(music)), dtype=np.float32)
    return music, "Music"


def compose(film: Film, number: int, lines: list[tuple[str, str]]) -> tuple[dict[str, NDArray[np.float32]], Truth]:
    """The film's audio (`all`, and `sounds` without the speech) and its truth, both on the container's clock."""
    spoken = iter(lines)
    placed: list[tuple[float, NDArray[np.float32], bool]] = []
    truth = Truth(0.0)
    now = 0.0
    for place, step in enumerate(film.story):
        if isinstance(step, Wait):
            now += step.seconds
            continue
        if isinstance(step, Say):
            voice, text = next(spoken)
            samples = speech_at_level(speak(voice, [text], random.Random(SENTENCE_SEED + 100 * number + place))[0])
            entry: dict[str, object] = {"text": text, "voice": voice}
            truth.speech.append(_timed(now + film.late, samples, entry))
        else:
            samples, label = sound(step, SEEDS["films"] + 100 * number + place)
            samples = samples * np.float32(SPEECH_LEVEL / LEVEL * 10 ** (step.decibels / 20))
            truth.events.append(_timed(now + film.late, samples, _described(label)))
        placed.append((now, samples, isinstance(step, Say)))
        if not (isinstance(step, Sound) and step.under):
            now += len(samples) / SAMPLE_RATE
    end = max([now, *(at + len(samples) / SAMPLE_RATE for at, samples, _ in placed)])
    noise = np.random.default_rng(SEEDS["films"] + number).standard_normal(round(end * SAMPLE_RATE), dtype=np.float32)
    mixes = {"all": noise * np.float32(10**-3), "sounds": noise * np.float32(10**-3)}
    for at, samples, is_speech in placed:
        for mix in ("all",) if is_speech else ("all", "sounds"):
            add_at(mixes[mix], samples, at)
    truth.duration = round(end + film.late, 3)
    return mixes, truth


def _timed(start: float, samples: NDArray[np.float32], entry: dict[str, object]) -> dict[str, object]:
    return {"start": round(start, 3), "end": round(start + len(samples) / SAMPLE_RATE, 3), **entry}


def _described(label: str) -> dict[str, object]:
    """What the caption policy makes of a class; a film's sounds are all of its first tier."""
    known = next(one for one in load_policy().classes if one.name == label)
    if known.tier != 1:
        raise ValueError(f"{label} is not captioned unless asked for")
    return {"label": label, "group": known.group, "caption": known.caption}


def _write_wave(path: Path, samples: NDArray[np.float32]) -> None:
    scaled = np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)
    with wave.open(str(path), "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(scaled.tobytes())


def encode(film: Film, mixes: dict[str, NDArray[np.float32]], duration: float) -> None:
    """Write the film beside this script."""
    command = ["ffmpeg", "-v", "error", "-y", "-fflags", "+bitexact"]
    with tempfile.TemporaryDirectory() as folder:
        if film.video:
            source = film.video + ("=" if "=" not in film.video else ":") + "size=320x180:rate=5"
            command += ["-f", "lavfi", "-t", str(duration), "-i", source]
        tracks = [] if film.name == "still.mp4" else ["sounds", "all"] if film.second_track else ["all"]
        for track in tracks:
            _write_wave(Path(folder) / f"{track}.wav", mixes[track])
            command += ["-itsoffset", str(film.late), "-i", f"{folder}/{track}.wav"]
        for stream in range(len(tracks) + bool(film.video)):
            command += ["-map", str(stream)]
        if film.second_track:
            command += ["-metadata:s:a:0", "title=Music and effects", "-metadata:s:a:1", "language=eng"]
            command += ["-disposition:a:0", "0", "-disposition:a:1", "default"]
        command += [*film.encode, "-flags", "+bitexact", "-map_metadata", "-1"]
        subprocess.run([*command, str(FOLDER / film.name)], check=True)


def main() -> None:
    lines = screenplay()
    truths = {}
    for number, film in enumerate(FILMS):
        mixes, truth = compose(film, number, lines[film.name])
        encode(film, mixes, truth.duration)
        truths[film.name] = asdict(truth)
        print(f"{film.name}: {truth.duration:.1f} s, {len(truth.speech)} utterances, {len(truth.events)} sounds")
    (FOLDER / "truth.json").write_text(json.dumps(truths, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
