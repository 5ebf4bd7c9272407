import numpy as np
import pytest

from tests.tag_scenes import INDEX
from wat_cli.tagging import npz
from wat_cli.tagging.grid import WHAT, WHEN, TagAccumulator, place_window
from wat_cli.tagging.npz import score_file
from wat_cli.transcript import TagTrack


def track() -> TagTrack:
    accumulator = TagAccumulator(4000, 527)
    place = place_window(0, 4000)
    for kind in (WHAT, WHEN):
        decisions = kind.decisions(place.steps)
        accumulator.add(kind, place, decisions, np.random.default_rng(1).normal(-6, 2, (len(decisions), 527)))
    return accumulator.track()


@pytest.mark.parametrize("chunk", [7, 1024])
def test_every_score_is_there_as_the_head_gave_it(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(npz, "_CHUNK", chunk)
    heard = track()
    assert heard.exact is not None
    with score_file(heard, list(INDEX)) as file, np.load(file, allow_pickle=False) as scores:
        for name in ("what", "when"):
            np.testing.assert_array_equal(scores[name], np.asarray(getattr(heard.exact, name)).astype(np.float16))
        assert 0 < scores["when"][:75].min() < 0.05  # what the track itself keeps as 0
        assert np.isnan(scores["when"][80]).all()
        assert scores["hop"] == 0.4
        assert scores["labels"].tolist() == list(INDEX)


def test_a_track_without_exact_scores_gives_those_it_has() -> None:
    scores = np.full((5, 2), 0.25, np.float32)
    with score_file(TagTrack(what=scores, when=scores), ["a", "b"]) as file, np.load(file) as found:
        assert (found["what"] == 0.25).all() and found["what"].shape == (5, 2)


def test_the_same_scores_give_the_same_bytes() -> None:
    with score_file(track(), ["a"]) as one, score_file(track(), ["a"]) as two:
        assert one.read() == two.read()
