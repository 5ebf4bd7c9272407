"""The windows that the embedded model's head is trained on are data that `wat train` reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.head import STEPS, write_manifest
from training.sounds import Sounding, label_indices
from wat_cli.training.datasets import Event, audioset_names, read_dataset
from wat_cli.training.examples import Truth


def test_a_windows_manifest_is_read_as_it_was_mixed(tmp_path: Path) -> None:
    index = label_indices()
    siren, alarm = index["Siren"], index["Alarm"]
    truth = [[Sounding(-1.5, 2.25, (siren, alarm)), Sounding(28.0, 33.1234, (siren,))], []]
    write_manifest(truth, tmp_path / "windows.jsonl")
    data = read_dataset(tmp_path / "windows.jsonl", labels=audioset_names())
    assert data.is_audioset and len(data.clips) == 2 and data.clips[1].events == ()
    assert data.clips[0].events == (
        Event(-1.5, 2.25, "Siren"), Event(-1.5, 2.25, "Alarm"), Event(28.0, 33.123, "Siren")
    )  # fmt: skip
    target = Truth(data).target(0, 0, 3)  # 1.2 s of a sound that began before the window
    assert target[siren] == target[alarm] == 1 and target.sum() == 2
    assert Truth(data).target(0, 4, 9)[siren] == pytest.approx(0.65 / 2.0, rel=1e-3)
    assert Truth(data).target(0, 70, STEPS)[siren] == 1
