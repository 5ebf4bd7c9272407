"""A head for three sounds of one's own, as the guide makes it: a table of clips, `wat train`, `wat caption`."""

from __future__ import annotations

import csv
import json
import wave
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from wat_cli.cli import app
from wat_cli.media import SAMPLE_RATE
from wat_cli.training.datasets import Clip
from wat_cli.training.features import clip_samples

SOUNDS = ("helicopter", "rain", "rooster")


def run(*arguments: str | Path) -> None:
    common = ("--model", "mini", "--threads", "1", "--device", "cpu")
    result = CliRunner().invoke(app, [*map(str, arguments), *common])
    assert result.exit_code == 0, (result.output, result.exception)


def test_three_sounds_are_captioned_after_a_short_training(shared: Path, tmp_path: Path) -> None:
    folders = {name: sorted((shared / "data/esc10" / name).glob("1-*"))[:4] for name in (*SOUNDS, "dog_bark")}
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "labels"))
        for name, paths in folders.items():
            table.writerows((path, name.replace("_", " ") if name in SOUNDS else "") for path in paths)
    run(
        "train", tmp_path / "clips.csv", "-o", tmp_path / "my-head", "--cache", tmp_path / "cache", "--scenes", 16,
        "--epochs", 12,
    )  # fmt: skip

    pause = np.zeros(3 * SAMPLE_RATE, np.int16)
    parts = [part for name in SOUNDS for part in (clip_samples(Clip(folders[name][0], ())), pause)]
    film = tmp_path / "film.wav"
    with wave.open(str(film), "wb") as audio:
        audio.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        audio.writeframes(np.concatenate(parts).tobytes())
    run(
        "caption", film, "--tagger-checkpoint", tmp_path / "my-head/head.pt", "-f", "srt", "--beam-size", "None",
        "--temperature-increment-on-fallback", "None", "--quiet",
    )  # fmt: skip
    events = json.loads((tmp_path / "film.json").read_text())["events"]
    for number, caption in enumerate(("Helicopter", "Rain", "Rooster")):  # a clip begins every eight seconds
        assert any(
            event["caption"] == caption and 8 * number - 1 <= event["start"] < 8 * number + 5 for event in events
        )
        assert f"[{caption}]" in (tmp_path / "film.srt").read_text()
