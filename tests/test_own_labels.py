"""A head with labels of its own: its scores find AudioSet's columns by name, new names get captions of their own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from wat_cli.errors import CheckpointError, UsageError
from wat_cli.options import TagOptions
from wat_cli.tagging.events import events_from_tags
from wat_cli.tagging.labels import load_labels
from wat_cli.tagging.own_labels import new_labels, spread
from wat_cli.tagging.policy import load_policy, resolve
from wat_cli.tagging.sparse import sparse_tags, tags_from
from wat_cli.tagging.tuning import head_tuning
from wat_cli.tagging.voice import unvoiced
from wat_cli.transcript import HeadTuning, Segment, TagTrack

OWN = HeadTuning(0.5, 0.0, ("kettle_whistle", "Siren", "Phone"))
SIREN = next(label.index for label in load_labels() if label.name == "Siren")


def track(tuning: HeadTuning = OWN, steps: int = 50) -> TagTrack:
    scores = np.full((steps, 3), 0.02, np.float32)
    scores[5:20, 0], scores[25:40, 1] = 0.9, 0.8
    return TagTrack(scores, scores.copy(), tuning=tuning)


def test_scores_find_their_columns() -> None:
    wide = spread(track())
    assert new_labels(OWN.labels) == ("kettle_whistle", "Phone") and wide.classes == 529
    np.testing.assert_array_equal(wide.when[:, [527, SIREN, 528]], track().when)
    assert np.delete(wide.what[:], [527, SIREN, 528], axis=1).max() == 0
    np.testing.assert_array_equal(wide.when[5:7], wide.when[:][5:7])


def test_unknown_steps_stay_unknown() -> None:
    tags = track()
    tags.when[3] = np.nan
    wide = spread(tags)
    assert np.isnan(wide.when[3]).all() and not np.isnan(wide.when[4]).any()


def test_audiosets_tracks_stay_as_they_are() -> None:
    scores = np.zeros((2, 527), np.float32)
    tags = TagTrack(scores, scores)
    assert spread(tags) is tags


def test_captions_of_own_sounds() -> None:
    wide = spread(track())
    options = TagOptions()
    events = events_from_tags(wide, options, resolve(options, OWN.labels), (), 20.0)
    shown = [(event.caption, event.label, round(event.start, 1)) for event in events if event.shown]
    assert shown == [("Kettle whistle", "kettle_whistle", 2.0), ("Siren", "Siren", 10.0)]
    without = TagOptions(exclude_sounds="kettle whistle")
    events = events_from_tags(wide, without, resolve(without, OWN.labels), (), 20.0)
    assert [event.caption for event in events if event.shown] == ["Siren"]
    with pytest.raises(UsageError, match="no sound is called 'kettle whistle'"):
        resolve(without)


def test_a_name_that_is_a_groups_makes_a_group_of_its_own() -> None:
    policy = resolve(TagOptions(), ("Phone",))
    assert "phone" in load_policy().groups and policy.classes[527].group == "phone_"


def test_a_head_made_for_a_sound_captions_it_whatever_its_tier() -> None:
    hiss = next(sound for sound in load_policy().classes if sound.name == "Hiss")
    assert hiss.tier == 3 and hiss.index not in resolve(TagOptions()).enabled
    assert hiss.index in resolve(TagOptions(), ("hiss",)).enabled


def test_nothing_is_said_about_voices() -> None:
    segment = Segment(0, 0, 0.0, 20.0, " Words.", (), 0.0, -0.1, 1.0, 0.0)
    assert unvoiced(track(), [segment]) == ()


def test_labels_lie_beside_the_head(tmp_path: Path) -> None:
    (tmp_path / "head.json").write_text(json.dumps({"threshold": 0.4, "labels": ["a", "b"]}))
    assert head_tuning(tmp_path / "head.pt") == HeadTuning(0.4, 0.0, ("a", "b"))
    for labels in ("a", [1], ["a", " "]):
        (tmp_path / "head.json").write_text(json.dumps({"threshold": 0.4, "labels": labels}))
        with pytest.raises(CheckpointError, match="labels is a list of names"):
            head_tuning(tmp_path / "head.pt")


def test_the_sidecar_keeps_them() -> None:
    document = json.loads(json.dumps(sparse_tags(track(), OWN.labels)))
    tags, _ = tags_from(document)
    assert tags.tuning == OWN
    assert "labels" not in sparse_tags(track(HeadTuning()))["tuning"]
    document["tuning"]["labels"] = ["one"]
    with pytest.raises(ValueError, match="1 labels for 3 classes"):
        tags_from(document)
    document["tuning"]["labels"] = [1, 2, 3]
    with pytest.raises(TypeError, match="a label is a text"):
        tags_from(document)


def test_as_many_labels_as_classes() -> None:
    with pytest.raises(ValueError, match="2 labels for 3 classes"):
        spread(dataclasses.replace(track(), tuning=HeadTuning(0.5, 0.0, ("a", "b"))))
