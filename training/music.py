"""Random pieces of music: MIDI from a seed, rendered by fluidsynth with a free General MIDI soundfont.

The soundfont is Debian's ``fluid-soundfont-gm`` (FluidR3 by Frank Wen, MIT licence). TimGM6mb would do too, but it is
GPL-2 and smaller. No choir or voice programme is used: nothing here may sound like speech.
"""

from __future__ import annotations

import subprocess
import tempfile
import wave
from pathlib import Path

import mido
import numpy as np
from numpy.typing import NDArray

SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
SAMPLE_RATE = 16_000
DRUM_CHANNEL = 9
_TICKS = 480

_KEYS = ("Keyboard (musical)",)
_PLUCKED = ("Guitar", "Plucked string instrument")
_MALLETS = ("Mallet percussion", "Percussion")
_BOWED = ("Bowed string instrument",)
_BRASS = ("Brass instrument",)
_WIND = ("Wind instrument, woodwind instrument",)

PROGRAMMES: dict[int, tuple[str, ...]] = {
    0: ("Piano", *_KEYS), 1: ("Piano", *_KEYS), 4: ("Electric piano", "Piano", *_KEYS), 6: ("Harpsichord", *_KEYS),
    9: ("Glockenspiel", *_MALLETS), 11: ("Vibraphone", *_MALLETS), 12: ("Marimba, xylophone", *_MALLETS),
    16: ("Hammond organ", "Organ", *_KEYS), 19: ("Organ", *_KEYS), 21: ("Accordion",), 22: ("Harmonica",),
    24: ("Acoustic guitar", *_PLUCKED), 25: ("Acoustic guitar", *_PLUCKED), 27: ("Electric guitar", *_PLUCKED),
    29: ("Electric guitar", *_PLUCKED), 40: ("Violin, fiddle", *_BOWED), 42: ("Cello", *_BOWED),
    45: ("Pizzicato", "Violin, fiddle", *_BOWED), 46: ("Harp",), 48: ("String section", *_BOWED),
    56: ("Trumpet", *_BRASS), 57: ("Trombone", *_BRASS), 60: ("French horn", *_BRASS), 65: ("Saxophone", *_WIND),
    71: ("Clarinet", *_WIND), 73: ("Flute", *_WIND), 81: ("Synthesizer", *_KEYS), 88: ("Synthesizer", *_KEYS),
    104: ("Sitar", "Plucked string instrument"), 105: ("Banjo", "Plucked string instrument"),
    114: ("Steelpan", *_MALLETS),
}  # fmt: skip
"""General MIDI programmes that are used, with the AudioSet classes of their sound (`Music` goes without saying)."""

BASSES: dict[int, tuple[str, ...]] = {
    32: ("Double bass", *_BOWED),
    33: ("Bass guitar", *_PLUCKED),
    35: ("Bass guitar", *_PLUCKED),
}
DRUM_LABELS = ("Drum kit", "Drum", "Percussion", "Snare drum", "Bass drum", "Hi-hat", "Cymbal")
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10), (0, 2, 4, 7, 9, 12, 14))

Note = tuple[float, float, int, int, int]
"""Start and length in beats, channel, key, velocity."""


def _chords(rng: np.random.Generator, scale: tuple[int, ...], root: int, style: str, beats: int) -> list[Note]:
    degrees = [int(rng.integers(0, 6)) for _ in range(4)]
    notes: list[Note] = []
    for bar in range(beats // 4):
        keys = [
            root + scale[(degrees[bar % 4] + step) % 7] + 12 * ((degrees[bar % 4] + step) // 7) for step in (0, 2, 4)
        ]
        if style == "held":
            notes += [(4 * bar, 3.9, 0, key, 70) for key in keys]
        elif style == "strummed":
            notes += [(4 * bar + beat + 0.02 * i, 0.8, 0, key, 80) for beat in range(4) for i, key in enumerate(keys)]
        else:
            pattern = rng.permutation([*keys, keys[0] + 12])
            notes += [(4 * bar + 0.5 * i, 0.5, 0, int(pattern[i % 4]), 80) for i in range(8)]
        notes += [(4 * bar + beat, 0.9, 2, keys[0] - 24, 90) for beat in (0, 2)]
    return notes


def _melody(rng: np.random.Generator, scale: tuple[int, ...], root: int, beats: int) -> list[Note]:
    notes, at, degree = [], 0.0, 4
    while at < beats:
        length = float(rng.choice([0.5, 0.5, 1, 1, 1.5, 2]))
        degree = int(np.clip(degree + rng.integers(-2, 3), -3, 11))
        if rng.random() < 0.9 or at == 0:
            notes.append(
                (at, 0.95 * length, 1, root + 12 + scale[degree % 7] + 12 * (degree // 7), int(rng.integers(75, 115)))
            )
        at += length
    return notes


def _drums(rng: np.random.Generator, beats: int) -> list[Note]:
    kick, hat = (
        rng.choice([[0, 2], [0, 1, 2, 3], [0, 2.5]][int(rng.integers(3))], 2),
        float(rng.choice([0.5, 1.0, 0.25])),
    )
    notes: list[Note] = []
    for bar in range(beats // 4):
        notes += [(4 * bar + float(beat), 0.2, DRUM_CHANNEL, 36, 110) for beat in {0.0, *map(float, kick)}]
        notes += [(4 * bar + beat, 0.2, DRUM_CHANNEL, 38, 100) for beat in (1, 3)]
        notes += [(4 * bar + beat, 0.1, DRUM_CHANNEL, 42, int(rng.integers(50, 90))) for beat in np.arange(0, 4, hat)]
        notes += [(4.0 * bar, 0.5, DRUM_CHANNEL, 49, 90)] if bar % 4 == 0 else []
    return notes


def _midi(notes: list[Note], programmes: dict[int, int], beats_per_minute: float) -> mido.MidiFile:
    file, track = mido.MidiFile(ticks_per_beat=_TICKS), mido.MidiTrack()
    file.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(beats_per_minute)))
    for channel, programme in programmes.items():
        track.append(mido.Message("program_change", channel=channel, program=programme))
    events = [(start, 1, channel, key, velocity) for start, _, channel, key, velocity in notes]
    events += [(start + length, 0, channel, key, 0) for start, length, channel, key, _ in notes]
    now = 0
    for at, on, channel, key, velocity in sorted(events):
        tick = int(at * _TICKS)
        kind = "note_on" if on else "note_off"
        track.append(
            mido.Message(kind, channel=channel, note=int(np.clip(key, 24, 108)), velocity=velocity, time=tick - now)
        )
        now = tick
    return file


def piece(seed: int, seconds: float = 24.0) -> tuple[NDArray[np.int16], tuple[str, ...]]:
    """A piece of at least `seconds` from `seed`, int16 at 16 kHz from its first note on, with its AudioSet classes."""
    rng = np.random.default_rng(seed)
    tempo, root, scale = float(rng.uniform(70, 150)), int(rng.integers(50, 62)), SCALES[int(rng.integers(len(SCALES)))]
    beats = 4 * int(np.ceil(seconds * tempo / 240))
    chords, lead, bass = (int(rng.choice(list(table))) for table in (PROGRAMMES, PROGRAMMES, BASSES))
    parts = {"solo": "c", "duo": "cl", "band": "clbd", "trio": "lbd", "beat": "d", "lead": "l"}[
        str(rng.choice(["solo", "duo", "band", "band", "trio", "beat", "lead"]))
    ]
    harmony = _chords(rng, scale, root, str(rng.choice(["held", "strummed", "broken"])), beats)
    wanted = {
        "c": [n for n in harmony if n[2] == 0],
        "b": [n for n in harmony if n[2] == 2],
        "l": _melody(rng, scale, root, beats),
        "d": _drums(rng, beats),
    }
    named = {"c": PROGRAMMES[chords], "l": PROGRAMMES[lead], "b": BASSES[bass], "d": DRUM_LABELS}
    notes = [note for part in parts for note in wanted[part]]
    labels = dict.fromkeys(("Music", "Musical instrument", *(label for part in parts for label in named[part])))
    samples = _rendered(_midi(notes, {0: chords, 1: lead, 2: bass}, tempo))
    heard = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max(initial=1))
    return samples[heard[0] : heard[0] + int(seconds * SAMPLE_RATE)], tuple(labels)


def _rendered(file: mido.MidiFile) -> NDArray[np.int16]:
    with tempfile.TemporaryDirectory() as folder:
        file.save(f"{folder}/piece.mid")
        command = [
            "fluidsynth",
            "-ni",
            "-q",
            "-r",
            str(SAMPLE_RATE),
            "-g",
            "0.7",
            "-T",
            "wav",
            "-F",
            f"{folder}/piece.wav",
        ]
        subprocess.run([*command, str(SOUNDFONT), f"{folder}/piece.mid"], check=True, capture_output=True)
        with wave.open(f"{folder}/piece.wav") as reader:
            frames = np.frombuffer(reader.readframes(reader.getnframes()), dtype=np.int16)
            return frames.reshape(-1, reader.getnchannels()).mean(axis=1).astype(np.int16)
