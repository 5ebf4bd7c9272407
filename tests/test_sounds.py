"""Sounds start when they say, are labelled as AudioSet would, and come out the same from the same seed."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from training.effects import EFFECTS, SAMPLE_RATE, make_effect
from training.music import BASSES, DRUM_LABELS, PROGRAMMES, SOUNDFONT, piece
from training.sounds import ESC10, LEVEL, SoundBank, active_stretches, label_indices, levelled, make_pool
from wat_cli.tagging.policy import load_policy

COMPANIONS = {
    "Applause": {"Clapping"},
    "Siren": {"Police car (siren)", "Ambulance (siren)", "Emergency vehicle"},
    "Explosion": {"Boom"},
    "Tick-tock": {"Tick"},
    "Mains hum": {"Hum"},
}
"""Classes beside the main one that are true of an effect without being above it in the ontology."""

KINDS = {name: (effect.labels) for name, effect in EFFECTS.items()} | {
    name: labels for name, (_, labels) in ESC10.items()
}


def ancestors(index: int) -> set[int]:
    parents = load_policy().classes[index].parents
    return set(parents).union(*(ancestors(parent) for parent in parents))


@pytest.mark.parametrize("name", KINDS)
def test_labels_are_the_class_and_its_parents(name: str) -> None:
    main, *others = KINDS[name]
    index = label_indices()
    above = {load_policy().classes[i].name for i in ancestors(index[main])}
    assert set(others) <= above | COMPANIONS.get(main, set())
    assert len(set(KINDS[name])) == len(KINDS[name])


def test_instruments_are_audioset_classes() -> None:
    used = {label for labels in [*PROGRAMMES.values(), *BASSES.values(), DRUM_LABELS] for label in labels}
    music = {label_indices()["Music"]}
    assert all(music <= ancestors(label_indices()[label]) for label in used)


@pytest.mark.parametrize("name", EFFECTS)
def test_effect_starts_at_once_and_follows_its_seed(name: str) -> None:
    made = [make_effect(name, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(made[0], made[1])
    assert len(made[0]) != len(made[2]) or not np.allclose(made[0], made[2])
    for samples in (made[0], made[2]):
        assert samples.dtype == np.float32 and np.isfinite(samples).all()
        assert np.abs(samples).max() == pytest.approx(1.0, abs=1e-3)
        assert active_stretches(samples)[0][0] <= 0.06 * SAMPLE_RATE


def test_active_stretches_are_where_the_sound_is() -> None:
    samples = np.zeros(4 * SAMPLE_RATE, np.float32)
    samples[8000:16000] = 0.5
    samples[24000:32000] = 0.1  # half a second later: the same stretch
    samples[56000:60000] = 0.5
    assert active_stretches(samples) == [(8000, 32000), (56000, 60160)]  # whole frames of 20 ms
    assert active_stretches(np.zeros(SAMPLE_RATE, np.float32)) == []


def test_level_is_that_of_the_loudest_part() -> None:
    samples = np.r_[np.full(6400, 0.01), np.full(6400, 0.5)].astype(np.float32)
    assert np.sqrt(np.mean(levelled(samples)[6400:] ** 2)) == pytest.approx(LEVEL, rel=1e-4)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool with two of each effect, and two made-up ESC-10 clips: noise from 1 s on, folds 1 and 4."""
    folder = tmp_path_factory.mktemp("pool")
    (folder / "esc10/dog_bark").mkdir(parents=True)
    for fold in (1, 4):
        sound = "anoisesrc=d=1:r=44100:seed=1,adelay=1000,apad=whole_dur=3"
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", sound, f"{folder}/esc10/dog_bark/{fold}-1-A.ogg"]
        subprocess.run(command, check=True)
    make_pool(folder, "train", variants=2, pieces=0, esc10=folder / "esc10")
    return folder


def test_drawn_clip_is_levelled_labelled_and_starts_at_its_onset(pool: Path) -> None:
    bank, rng = SoundBank(pool), np.random.default_rng(0)
    for name in bank.names:
        clip = bank.draw(rng, 3.0, name)
        assert len(clip.samples) <= 3.05 * SAMPLE_RATE
        assert clip.main in clip.labels and list(clip.labels) == sorted(clip.labels)
        assert active_stretches(clip.samples)[0][0] <= 0.06 * SAMPLE_RATE
        size = int(0.4 * SAMPLE_RATE)
        loudest = max(np.mean(clip.samples[i : i + size] ** 2) for i in range(0, len(clip.samples), size))
        assert np.sqrt(loudest) >= LEVEL * 0.99


def test_folds_are_kept_apart(pool: Path) -> None:
    assert len(list(SoundBank(pool, folds=(1, 2, 3, 4)).clips("dog_bark"))) == 2
    assert len(list(SoundBank(pool, folds=(1, 2, 3)).clips("dog_bark"))) == 1
    assert "dog_bark" not in SoundBank(pool, folds=()).names


def test_silence_before_a_clip_is_cut(pool: Path) -> None:
    for clip in SoundBank(pool).clips("dog_bark"):
        assert len(clip.samples) == pytest.approx(SAMPLE_RATE, abs=0.05 * SAMPLE_RATE)


def test_background_fills_what_is_asked_at_one(pool: Path) -> None:
    background = SoundBank(pool).background(random.Random(3), 5 * SAMPLE_RATE)
    assert background.shape == (5 * SAMPLE_RATE,)
    assert np.sqrt(np.mean(background**2)) == pytest.approx(1.0, rel=1e-3)


@pytest.mark.skipif(
    not (shutil.which("fluidsynth") and SOUNDFONT.exists()), reason="needs fluidsynth and fluid-soundfont-gm"
)
def test_music_follows_its_seed_and_starts_with_a_note() -> None:
    samples, labels = piece(7, 6.0)
    again, _ = piece(7, 6.0)
    np.testing.assert_array_equal(samples, again)
    assert labels[:2] == ("Music", "Musical instrument")
    assert len(samples) == 6 * SAMPLE_RATE
    assert np.abs(samples[:800]).max() > 0.01 * np.abs(samples).max()
