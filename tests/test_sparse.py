import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tests.tag_scenes import track_of
from wat_cli.tagging.labels import load_labels
from wat_cli.tagging.sparse import sparse_tags, tags_from
from wat_cli.transcript import HeadTuning, TagTrack

scores = st.integers(0, 100).map(lambda percent: np.float32(percent / 100)) | st.just(np.float32(0))


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 30), st.integers(1, 6))
def test_scores_come_back_rounded(data: st.DataObject, steps: int, classes: int) -> None:
    what, when = (data.draw(npst.arrays(np.float32, (steps, classes), elements=scores)) for _ in range(2))
    for array in (what, when):
        array[data.draw(npst.arrays(bool, steps))] = np.nan
    track = TagTrack(what=what, when=when, tuning=HeadTuning(0.4, 0.2))
    document = json.loads(json.dumps(sparse_tags(track)))
    again, labels = tags_from(document)
    for before, after in ((what, again.what), (when, again.when)):
        np.testing.assert_array_equal(np.isnan(before), np.isnan(after))
        kept = np.where(before >= 0.05, before, 0)
        np.testing.assert_allclose(np.nan_to_num(after), np.nan_to_num(kept), atol=1e-6)
    assert again.tuning == track.tuning
    assert labels == ()
    assert sparse_tags(again) == sparse_tags(track)


def test_names_of_the_classes_that_occur_are_kept() -> None:
    names = [label.name for label in load_labels()]
    document = sparse_tags(track_of([("Music", 3, 9), ("Dog", 12, 14)], 20.0), names)
    assert document["labels"] == {"74": "Dog", "137": "Music"}
    _, labels = tags_from(document)
    assert (labels[74], labels[137], labels[0]) == ("Dog", "Music", "")


def test_an_hour_is_small() -> None:
    """Eight classes in every two seconds and fifteen in every ten, as a published head scores ordinary speech."""
    rng = np.random.default_rng(0)
    when, what = np.zeros((9000, 527), np.float32), np.zeros((9000, 527), np.float32)
    for step in range(9000):
        when[step, rng.choice(527, 8, replace=False)] = rng.uniform(0.05, 1, 8)
        if step % 10 == 0:
            what[step : step + 10, rng.choice(527, 15, replace=False)] = rng.uniform(0.05, 1, 15)
    assert len(json.dumps(sparse_tags(TagTrack(what=what, when=when)))) < 1_500_000


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("steps",), 10**12),
        (("steps",), -1),
        (("classes",), 0),
        (("hop",), 0.1),
        (("when", "step"), [5]),
        (("when", "step"), [0, 0]),
        (("when", "count"), [2]),
        (("when", "count"), [True]),
        (("when", "class"), [600]),
        (("when", "class"), ["a"]),
        (("when", "score"), [2.0]),
        (("when", "score"), [float("nan")]),
        (("when", "score"), []),
        (("when",), None),
        (("tuning",), {"threshold": "high"}),
        (("labels",), {"9999": "x"}),
    ],
)
def test_a_document_from_anywhere_is_not_believed(path: tuple[str, ...], value: object) -> None:
    when = np.zeros((10, 527), np.float32)
    when[:, 137] = 0.5
    document = sparse_tags(TagTrack(what=when, when=when))
    assert document["when"] == {"step": [0], "count": [1], "class": [137], "score": [0.5]}
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises((ValueError, KeyError, TypeError)):
        tags_from(document)
