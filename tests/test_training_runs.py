"""From a manifest to a head that captions: the commands, on a small random encoder that tells sounds apart."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from tests.random_whisper import random_whisper, save_checkpoint
from wat_cli.cli import app
from wat_cli.errors import UsageError, WatError
from wat_cli.model.deciding import Decider
from wat_cli.model.heads import build_head, load_any_head
from wat_cli.tagging.tuning import head_tuning
from wat_cli.training.card import save_head, write_tuning
from wat_cli.training.datasets import Clip, Dataset, Event, audioset_names
from wat_cli.training.encoder import Encoder, encoder_size
from wat_cli.training.judging import evaluate, tag_track
from wat_cli.training.mixing import mix_scene
from wat_cli.training.runs import Data

RATE = 16000


def sound(label: str, seconds: float, random: np.random.Generator) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    noise = random.standard_normal(time.size)
    tone = np.sin(2 * np.pi * random.uniform(300, 400) * time)
    made = {"hiss": noise, "hum": tone, "clicks": noise * (time % 0.25 < 0.01) * 3, "": 0.01 * noise}[label]
    return 0.2 * random.uniform(0.5, 1.0) * made


def write(path: Path, samples: np.ndarray) -> Path:
    import wave

    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, len(samples), "NONE", ""))
        file.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, and a manifest of 24 clips of three sounds and nothing, in four folds."""
    folder = tmp_path_factory.mktemp("training")
    save_checkpoint(random_whisper(1, width=32), folder / "model.pt")
    random = np.random.default_rng(0)
    with (folder / "clips.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "labels", "fold"])
        for number in range(24):
            label = ["hiss", "hum", "clicks", ""][number % 4]
            path = write(folder / f"{number}.wav", sound(label, random.uniform(1.5, 4.0), random))
            table.writerow([path.name, label, number // 6 + 1])
        table.writerow(["gone.wav", "hum", 1])
    return folder


def run(place: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        app, [*arguments, "--model", str(place / "model.pt"), "--threads", "1", "--device", "cpu"]
    )


def good(place: Path, *arguments: str) -> Result:
    result = run(place, *arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


@pytest.fixture(scope="module")
def trained(place: Path) -> Result:
    return good(
        place, "train", str(place / "clips.csv"), "-o", str(place / "out"), "--cache", str(place / "cache"),
        "--epochs", "3", "--fold", "4", "--head", "tl-tr", "--scenes", "12",
    )  # fmt: skip


def test_a_head_is_trained_with_all_that_travels_with_it(place: Path, trained: Result) -> None:
    path = place / "out/head.pt"
    assert trained.stdout.strip() == str(path)
    assert "left out" in trained.stderr and "gone.wav" in trained.stderr and "epoch 3: loss" in trained.stderr
    head = load_any_head(path, layers=2, width=32)
    tuning = head_tuning(path)
    assert head.classes == 3 and tuning.labels == ("clicks", "hiss", "hum") and 0 < tuning.threshold < 1
    notes = json.loads((place / "out/head.json").read_text())
    assert notes["clips"] == 30 and notes["held_out"] == 6 and notes["figures"]["mAP"] > 0.9
    assert notes["encoder"]["layers"] == 2
    card = (place / "out/README.md").read_text()
    for part in ("clicks, hiss, hum", "recipe captions, 3 epochs", "| mAP |", notes["encoder"]["sha256"]):
        assert part in card
    assert len((place / "out/log.jsonl").read_text().splitlines()) == 3


def test_the_same_command_finds_its_work_done(place: Path, trained: Result) -> None:
    before = (place / "out/head.pt").read_bytes()
    again = good(
        place, "train", str(place / "clips.csv"), "-o", str(place / "out"), "--cache", str(place / "cache"),
        "--epochs", "3", "--fold", "4", "--head", "tl-tr", "--scenes", "12",
    )  # fmt: skip
    assert "epoch" not in again.stderr and "0 of them heard now" in again.stderr
    assert (place / "out/head.pt").read_bytes() == before
    other = run(
        place, "train", str(place / "clips.csv"), "-o", str(place / "out"), "--cache", str(place / "cache"),
        "--epochs", "3", "--fold", "4", "--head", "tl-tr", "--seed", "2", "--scenes", "12",
    )  # fmt: skip
    assert isinstance(other.exception, UsageError) and "--restart" in str(other.exception)


def test_a_head_is_judged(place: Path, trained: Result) -> None:
    common = ("evaluate", str(place / "out/head.pt"), str(place / "clips.csv"), "--cache", str(place / "cache"))
    report = json.loads(good(place, *common, "--fold", "4", "--json", "--resamples", "20").stdout)
    assert report["judgement"]["clips"] == 6 and report["judgement"]["figures"]["mAP"]["value"] > 0.9
    assert set(report["judgement"]["by_class"]) == {"clicks", "hiss", "hum"}
    text = good(place, *common, "--fold", "4", "--resamples", "0", "--per-class", "--calibrate").stdout
    assert "mAP" in text and "clips  hiss" in text
    assert head_tuning(place / "out/head.pt").threshold == pytest.approx(report["threshold"], abs=1e-3)


def test_the_head_captions_its_own_sounds(place: Path, trained: Result, tmp_path: Path) -> None:
    random = np.random.default_rng(9)
    film = write(tmp_path / "film.wav", np.concatenate([sound("hiss", 3.2, random), sound("", 4.0, random)]))
    good(
        place, "caption", str(film), "--tagger-checkpoint", str(place / "out/head.pt"), "--beam-size", "None",
        "--temperature-increment-on-fallback", "None", "-f", "srt", "--quiet",
    )  # fmt: skip
    sidecar = json.loads((tmp_path / "film.json").read_text())
    assert sidecar["tags"]["tuning"]["labels"] == ["clicks", "hiss", "hum"] and sidecar["tags"]["classes"] == 3
    heard = [event for event in sidecar["events"] if event["caption"] == "Hissing"]
    assert heard and heard[0]["start"] == 0 and heard[0]["end"] <= 5.2
    assert "[Hissing]" in (tmp_path / "film.srt").read_text()


def test_folds_are_held_out_in_turn(place: Path) -> None:
    result = good(
        place, "train", str(place / "clips.csv"), "--cross-validate", "--cache", str(place / "cache"), "--epochs", "1",
        "--head", "last-mlp,tl-tr",
    )  # fmt: skip
    lines = result.stdout.splitlines()
    assert lines[0].startswith(
        "| head | parameters | multiply-adds | ms a clip | fold 1 | fold 2 | fold 3 | fold 4 | mAP"
    )
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["last-mlp", "tl-tr"]
    assert result.stderr.count("fold") == 8


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--recipe", "best"), "--recipe best"),
        ((), "--output-dir is missing"),
        (("-o", "x", "--fold", "9"), "no such fold"),
        (("-o", "x", "--recipe", "esc50"), "exactly one label"),
        (("-o", "x", "--head", "cnn"), "--head cnn"),
    ],
)
def test_what_cannot_be_trained_is_said(place: Path, arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    arguments = tuple(str(tmp_path / "x") if part == "x" else part for part in arguments)
    result = run(place, "train", str(place / "clips.csv"), "--cache", str(place / "cache"), *arguments)
    assert isinstance(result.exception, WatError) and said in str(result.exception)


def test_the_encoders_size_is_read_from_its_checkpoint(place: Path) -> None:
    assert encoder_size(str(place / "model.pt")) == (2, 32)


def test_a_head_of_audiosets_classes_loads_in_whisper_at(tmp_path: Path) -> None:
    upstream = pytest.importorskip("whisper_at.model", reason="whisper-at is not installed (pip install --no-deps)")
    head = build_head("tl-tr", 2, 32)
    save_head(head, tmp_path / "head.pt")
    write_tuning(tmp_path / "head.pt", Dataset((), audioset_names()), None, {})
    assert head_tuning(tmp_path / "head.pt").labels == ()
    theirs = upstream.ATModel(n_layer=2, rep_dim=32, mode="tl_tr_1_8").eval()
    state = torch.load(tmp_path / "head.pt", weights_only=True)
    theirs.load_state_dict({name.removeprefix("at_model."): value.float() for name, value in state.items()})
    ours = load_any_head(tmp_path / "head.pt", layers=2, width=32)
    features = torch.randn(2, 25, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(features[None]), theirs(features, time_resolution=10), atol=1e-4, rtol=0)


def test_nothing_is_kept_on_request(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    rows = (place / "clips.csv").read_text().splitlines()
    (tmp_path / "some.csv").write_text("\n".join([*rows[:5], rows[-1]]))
    result = good(
        place, "train", str(tmp_path / "some.csv"), "--audio", str(place), "-o", str(tmp_path / "out"), "--cache",
        "none", "--scenes", "0", "--head", "last-mlp", "--recipe", "as20k", "--epochs", "1",
    )  # fmt: skip
    assert "gone.wav" in result.stderr and "No clips were held out" in (tmp_path / "out/README.md").read_text()
    assert not list((tmp_path / "caches").rglob("*.f16"))


def test_features_made_elsewhere(place: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    array = random.standard_normal((12, 2, 10, 32)).astype(np.float16)
    array[::2, :, :, 0] += 3
    np.save(tmp_path / "windows.npy", array)
    rows = [{"path": f"w{i}", "labels": ["Siren"] if i % 2 == 0 else []} for i in range(12)]
    (tmp_path / "windows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arguments = ("train", str(tmp_path / "windows.jsonl"), "--labels", "audioset", "-o", str(tmp_path / "out"),
                 "--epochs", "1", "--cache", str(place / "cache"))  # fmt: skip
    good(place, *arguments, "--features", str(tmp_path / "windows.npy"))
    assert load_any_head(tmp_path / "out/head.pt", layers=2, width=32).classes == 527
    assert "labels" not in json.loads((tmp_path / "out/head.json").read_text())
    np.save(tmp_path / "few.npy", array[:5])
    result = run(place, *arguments, "--features", str(tmp_path / "few.npy"))
    assert isinstance(result.exception, UsageError) and "[5, 2, 10, 32]" in str(result.exception)
    result = run(place, *arguments, "--features", str(tmp_path / "windows.jsonl"))
    assert isinstance(result.exception, UsageError) and "no NumPy file" in str(result.exception)


def test_scenes_know_what_sounds_when(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    loud = np.full(2 * RATE, 0.5, np.float32)
    dataset = Dataset((Clip(Path("a"), (Event(0.5, float("inf"), "x"),)), Clip(Path("b"), ())), ("x",))
    samples, events = mix_scene(dataset, [loud, np.zeros(RATE, np.float32)], np.array([0.7, 0.3]), random)
    assert samples.shape == (30 * RATE,) and samples.dtype == np.int16 and events
    level = np.abs(samples.astype(float)).reshape(-1, RATE // 10).mean(axis=1)
    for event in events:
        assert 0.5 <= event.start < event.end <= 30.0 and event.end - event.start <= 1.5 + 1e-9
        assert level[int(event.start * 10) + 1 : int(event.end * 10) - 1].min(initial=9e9) > 3000
    again = mix_scene(dataset, [loud, np.zeros(RATE, np.float32)], np.array([0.7, 0.3]), np.random.default_rng(0))
    np.testing.assert_array_equal(samples, again[0])


class Loud:
    """Features whose first number says what sounds: a head that reads it hears perfectly."""

    layers, width = 1, 8

    def __init__(self, events: list[tuple[int, int, int]], steps: int) -> None:
        self.array = np.full((steps, 1, 8), -1.0, np.float16)
        for first, stop, column in events:
            self.array[first:stop, 0, column] = 1.0

    def steps(self, clip: int) -> int:
        return len(self.array)

    def read(self, clip: int, start: int, stop: int) -> np.ndarray:
        return self.array[start:stop]


def test_events_are_matched_with_strong_labels(tmp_path: Path, place: Path) -> None:
    head = build_head("last-mlp", 1, 8, 2)
    norm, linear = head.mlp_layer
    with torch.no_grad():
        norm.weight.fill_(1.0)
        linear.weight.zero_()
        linear.bias.fill_(-4.0)
        linear.weight[0, 0] = linear.weight[1, 1] = 3.0
    save_head(head, tmp_path / "head.pt")
    events = (Event(4.0, 12.0, "Siren"), Event(20.0, 28.0, "kettle"))
    dataset = Dataset((Clip(Path("x.wav"), events),), ("Siren", "kettle"))
    write_tuning(tmp_path / "head.pt", dataset, None, {})
    data = Data(dataset, Loud([(10, 30, 0), (50, 70, 1)], 75))
    model = random_whisper(0, width=8, layers=1)

    from wat_cli.model.whisper_at import WhisperAT

    report = evaluate(tmp_path / "head.pt", data, Encoder(WhisperAT(model), "x", "0"), resamples=0)
    assert report.events is not None
    assert (report.events.precision, report.events.recall) == (1.0, 1.0) and report.events.onset_error < 1.0
    track = tag_track(Decider(head.eval()), data.features.read(0, 0, 75), head_tuning(tmp_path / "head.pt"))
    assert track.when[20, 0] > 0.9 and track.when[40, 0] < 0.3
