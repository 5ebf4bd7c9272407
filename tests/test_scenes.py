"""A scene's truth says where in its samples each utterance and each sound is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from training.scenes import SPEECH_LEVEL, SceneOptions, Speech, clip_at_level, scene, speech_at_level
from training.sounds import SAMPLE_RATE, SoundBank, make_pool

QUIET = SceneOptions(floor=(-120.0, -120.0))


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> SoundBank:
    folder = tmp_path_factory.mktemp("pool")
    make_pool(folder, "judge", variants=1, pieces=0, esc10=None)
    return SoundBank(folder, split="judge")


def tone(seconds: float) -> Speech:
    samples = np.sin(np.arange(int(seconds * SAMPLE_RATE)) / 8).astype(np.float32)
    return Speech("a tone", "none", samples)


def test_sound_is_where_the_truth_says(bank: SoundBank) -> None:
    made = scene(np.random.default_rng(4), [tone(2.0)] * 20, bank, 60.0, QUIET)
    heard = np.zeros(len(made.samples), bool)
    for part in (*made.utterances, *made.events):
        span = slice(round(part.start * SAMPLE_RATE), round(part.end * SAMPLE_RATE))
        assert np.abs(made.samples[span]).max() > 0.005
        heard[span] = True
    assert np.abs(made.samples[~heard]).max() < 1e-4
    assert len(made.utterances) > 5 and len(made.events) > 2


def test_equal_seeds_give_equal_scenes(bank: SoundBank) -> None:
    one, other = (scene(np.random.default_rng(5), [tone(1.0)] * 9, bank, 30.0) for _ in range(2))
    np.testing.assert_array_equal(one.samples, other.samples)
    assert (one.utterances, one.events) == (other.utterances, other.events)


def test_order_and_bounds(bank: SoundBank) -> None:
    for seed in range(20):
        made = scene(np.random.default_rng(seed), [tone(1.5)] * 40, bank, 45.0)
        assert len(made.samples) == 45 * SAMPLE_RATE and np.abs(made.samples).max() <= 0.991
        assert all(before.end < after.start for before, after in pairwise(made.utterances))
        assert all(0 <= event.start < event.end <= 45.0 for event in made.events)
        for number, event in enumerate(made.events):
            earlier = [one for one in made.events[:number] if one.main == event.main]
            assert all(one.end + 2.0 < event.start for one in earlier)


def test_levels_are_against_the_speech(bank: SoundBank) -> None:
    assert np.sqrt(np.mean(speech_at_level(tone(1.0).samples, 6.0) ** 2)) == pytest.approx(
        SPEECH_LEVEL * 1.995, rel=1e-3
    )
    clip = next(bank.clips("white_noise"))
    level = np.sqrt(np.mean(clip_at_level(clip, -6.0)[:6400] ** 2))
    assert level == pytest.approx(SPEECH_LEVEL / 1.995, rel=0.05)
