"""Probes find the layer that knows; noise is mixed at its ratio and words are counted; figures are written."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from wat_cli.errors import UsageError
from wat_cli.options import TranscribeOptions
from wat_cli.training import plots
from wat_cli.training.datasets import Clip, Dataset, Event
from wat_cli.training.metrics import Interval
from wat_cli.training.noise import Disturbed, disturb, mixed, read_speech, word_errors, words_of
from wat_cli.training.probe import Probed, probe_layers
from wat_cli.training.runs import Data, Row
from wat_cli.transcript import Hearing, Segment

pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'wat-cli[train]'")


class Layered:
    """Three layers, of which the second tells two of the sounds apart and the third all."""

    layers, width = 3, 4

    def __init__(self, labels: list[int]) -> None:
        random = np.random.default_rng(0)
        self.arrays = [random.standard_normal((6, 3, 4)).astype(np.float16) for _ in labels]
        for array, label in zip(self.arrays, labels, strict=True):
            array[:, 2, label] += 6
            array[:, 1, min(label, 1)] += 6

    def steps(self, clip: int) -> int:
        return 6

    def read(self, clip: int, start: int, stop: int) -> np.ndarray:
        return self.arrays[clip][start:stop]


def clips(labels: list[int], folds: int = 4) -> Dataset:
    made = [Clip(Path(f"{i}.wav"), (Event(0.0, 9.0, "abc"[label]),), fold=i % folds) for i, label in enumerate(labels)]
    return Dataset(tuple(made), ("a", "b", "c"))


def probed() -> Probed:
    labels = [(7 * i) % 3 for i in range(48)]
    return probe_layers(Data(clips(labels), Layered(labels)))


def test_probes_say_which_layer_knows_which_sound() -> None:
    found = probed()
    assert found.accuracy[2] > 0.95 and 0.5 < found.accuracy[1] < 0.9 and found.accuracy[0] < 0.6
    assert found.best_layer.tolist() == [2, 3, 3] or found.f1[2, 0] > found.f1[1, 0]
    assert found.f1.shape == (3, 3)


def test_probing_needs_folds() -> None:
    labels = [0, 1, 2, 0]
    with pytest.raises(UsageError, match="in folds"):
        probe_layers(Data(clips(labels, folds=1), Layered(labels)))


@pytest.mark.parametrize("decibels", [-20, 0, 10])
def test_noise_is_mixed_at_its_ratio(decibels: int) -> None:
    random = np.random.default_rng(1)
    speech = (0.01 * random.standard_normal(16000)).astype(np.float32)
    sound = (0.3 * random.standard_normal(7000)).astype(np.float32)
    total = mixed(speech, sound, decibels)
    assert len(total) == 16000 and np.abs(total).max() <= 0.99
    scale = total @ speech / (speech @ speech) if decibels >= 0 else 1.0  # turned down where it would clip
    noise = total / scale - speech
    assert 10 * np.log10((speech**2).mean() / (noise**2).mean()) == pytest.approx(decibels, abs=0.5)


def test_silence_disturbs_nothing() -> None:
    speech = np.full(100, 0.1, np.float32)
    np.testing.assert_array_equal(mixed(speech, np.zeros(0, np.float32), 0), speech)
    np.testing.assert_array_equal(mixed(speech, np.zeros(10, np.float32), 0), speech)


@pytest.mark.parametrize(
    ("found", "spoken", "errors"),
    [("a b c", "a b c", 0), ("", "a b", 2), ("a x c d", "a b c", 2), ("b c", "a b c", 1), ("x y z", "a", 3)],
)
def test_word_errors_are_counted(found: str, spoken: str, errors: int) -> None:
    assert word_errors(found.split(), spoken.split()) == errors
    assert words_of("Don't stop -- Ever!") == ["don't", "stop", "ever"]


class Parrot:
    """Hears the words where the noise is weak."""

    def hear(self, pcm: object, options: TranscribeOptions, tags: bool = True) -> Hearing:
        audio = pcm.read(0, pcm.samples)
        text = "one two three" if np.abs(audio).max() < 0.5 else "one"
        segments = (Segment(0, 0, 0.0, 1.0, text, (), 0.0, 0.0, 1.0, 0.0),)
        return Hearing(1.0, "en", segments, None, 1, 1)


def test_words_lost_are_counted_by_class_and_ratio(tmp_path: Path) -> None:
    from tests.fakes import write_wav

    write_wav(tmp_path / "speech.wav", 1.0, 0.05)
    (tmp_path / "speech.csv").write_text("path,text\nspeech.wav,One two three.\n")
    sounds = tuple(
        Clip(write_wav(tmp_path / f"{label}.wav", 0.5, level), (Event(0.0, 9.0, label),), fold=1)
        for label, level in (("quiet", 0.0), ("loud", 0.5))
    )
    speech = read_speech(tmp_path / "speech.csv")
    told: list[tuple[int, int]] = []
    found = disturb(
        Parrot(), speech, Dataset(sounds, ("loud", "quiet")), TranscribeOptions(), decibels=(-20, 20),
        tell=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert found.words == 3 and found.clean == 0 and told[-1] == (4, 4)
    assert found.errors.tolist() == [[2, 0], [0, 0]]
    with pytest.raises(UsageError, match="path and text"):
        read_speech(tmp_path / "none.csv")


def test_figures_are_written_with_their_tables(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'wat-cli[train]'")
    one = probed()
    disturbed = Disturbed(one.labels, (-10, 20), np.array([[9, 1], [5, 2], [3, 3]]), 10, 0.1)
    rows = [Row("tl-tr", 100, 2000, 0.1, {1: 0.5}, Interval(0.5, 0.4, 0.6), "accuracy")]
    written = [
        *plots.layers({"x": one, "y": one}, tmp_path),
        *plots.noise({"x": disturbed}, {"x": one}, tmp_path),
        *plots.models({"x": disturbed, "y": disturbed}, {"x": rows[0], "y": rows[0]}, tmp_path),
        *plots.widths({"x": rows}, tmp_path),
    ]
    assert {path.name for path in written} == {
        "layers.csv", "layers.png", "best_layers.png", "noise.csv", "noise.png", "noise_classes.csv",
        "noise_classes.png", "models.csv", "models.png", "widths.csv", "widths.png",
    }  # fmt: skip
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in written if path.suffix == ".png")
    with (tmp_path / "noise.csv").open() as file:
        assert list(csv.reader(file))[1] == ["x", "a", "-10", "0.9000"]
    with (tmp_path / "noise_classes.csv").open() as file:
        table = list(csv.reader(file))
    assert [row[3] for row in table[1:]] == ["0.8000", "0.3000", "0.0000"]
    with (tmp_path / "models.csv").open() as file:
        assert list(csv.reader(file))[1] == ["x", "0.1000", "0.3667", "0.5000", "0.4000", "0.6000"]


def test_correlations_are_numpys_where_there_are_any() -> None:
    random = np.random.default_rng(0)
    x, y = random.standard_normal((2, 9))
    assert plots.correlation(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert np.isnan(plots.correlation(x, np.ones(9))) and np.isnan(plots.correlation(x[:1], y[:1]))
