"""The sample films are what they claim, hold nothing that the embedded model was trained on, and come out right."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from sample_media.make_films import FILMS, ORDINARY, screenplay, trained_texts
from training.asr import edit_distance
from training.grammar import VOCABULARY, words
from training.sounds import SEEDS
from wat_cli.tagging.policy import load_policy

FOLDER = Path(__file__).parents[1] / "sample_media"
TRUTH = json.loads((FOLDER / "truth.json").read_text(encoding="utf-8"))
SPOKEN = [entry["text"] for film in TRUTH.values() for entry in film["speech"]]


def test_truth_is_the_screenplay() -> None:
    written = {name: [(voice, text) for voice, text in lines] for name, lines in screenplay().items()}
    spoken = {name: [(entry["voice"], entry["text"]) for entry in film["speech"]] for name, film in TRUTH.items()}
    assert spoken == written


def test_no_sentence_is_in_a_training_text() -> None:
    assert trained_texts().isdisjoint(SPOKEN)
    assert len(set(SPOKEN)) == len(SPOKEN)


def test_a_third_of_the_sentences_are_ordinary_english_in_the_vocabulary() -> None:
    assert sum(text in ORDINARY for text in SPOKEN) * 3 >= len(SPOKEN)
    assert {word for text in SPOKEN for word in words(text)} <= set(VOCABULARY)


def test_sounds_have_seeds_of_their_own() -> None:
    firsts = sorted(SEEDS.values())
    assert all(after - before >= 100_000 for before, after in pairwise(firsts))
    assert max(SEEDS.values()) == SEEDS["films"]


def test_every_sound_is_captioned_by_default() -> None:
    policy = {sound.name: sound for sound in load_policy().classes}
    for film in TRUTH.values():
        for event in film["events"]:
            assert policy[event["label"]].tier == 1
            assert (policy[event["label"]].group, policy[event["label"]].caption) == (event["group"], event["caption"])


def test_truth_lies_inside_the_films() -> None:
    assert list(TRUTH) == [film.name for film in FILMS]
    for name, film in TRUTH.items():
        assert (FOLDER / name).stat().st_size < 1_000_000
        for entry in [*film["speech"], *film["events"]]:
            assert 0 <= entry["start"] < entry["end"] <= film["duration"]
        for before, after in pairwise(film["speech"]):
            assert before["end"] < after["start"]


@pytest.fixture(scope="module")
def sidecars(captioned: Path) -> dict[str, dict]:
    """What ``wat caption sample_media --model mini`` writes, by film."""
    written = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in captioned.rglob("*.json")}
    return {name: written[f"{Path(name).stem}.json"] for name in TRUTH if f"{Path(name).stem}.json" in written}


def test_every_film_with_sound_is_captioned(sidecars: dict[str, dict]) -> None:
    assert set(sidecars) == set(TRUTH) - {"still.mp4"}
    for name, sidecar in sidecars.items():
        assert sidecar["encoder_passes"] == sidecar["windows"] > 0, name


def test_words_are_heard(sidecars: dict[str, dict], mini: Path) -> None:
    """Word error over all films is at most what the model's card says of them."""
    wrong = total = 0
    for name, sidecar in sidecars.items():
        said = words(" ".join(entry["text"] for entry in TRUTH[name]["speech"]))
        heard = words(" ".join(segment["text"] for segment in sidecar["segments"]))
        wrong, total = wrong + edit_distance(heard, said), total + len(said)
    assert wrong / total <= card_word_error(mini), f"{wrong} of {total} words"


def card_word_error(mini: Path) -> float:
    """The word error in the row "sample films" of the card's table, as a share."""
    card = mini.with_suffix(".md").read_text(encoding="utf-8")
    found = re.search(r"^\| sample films[^|]*\| *([\d.]+) ?% *\|", card, re.MULTILINE)
    assert found, "the card has no row for the sample films"
    return float(found[1]) / 100


def test_sounds_are_heard_at_their_onset(sidecars: dict[str, dict]) -> None:
    events = [(name, event) for name in sidecars for event in TRUTH[name]["events"]]
    found = [
        any(
            heard["group"] == event["group"] and abs(heard["start"] - event["start"]) <= 1.0
            for heard in sidecars[name]["events"]
        )
        for name, event in events
    ]
    missed = [
        (name, event["caption"], event["start"]) for (name, event), hit in zip(events, found, strict=True) if not hit
    ]
    assert sum(found) >= 0.8 * len(events), f"missed: {missed}"


def test_nothing_is_said_in_the_speechless_film(sidecars: dict[str, dict]) -> None:
    assert not "".join(segment["text"] for segment in sidecars["storm.mp4"]["segments"])
