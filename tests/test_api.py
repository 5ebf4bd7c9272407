"""``from wat_cli import load_model, caption``: what the command line gives, from Python."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import wat_cli
from tests.fakes import FakeEngine, write_wav
from wat_cli import Captioned, Model, caption, load_model, sidecar
from wat_cli.cli import main
from wat_cli.errors import NoAudioTrack, UndecodableMedia, UsageError, WatError, WeightsMissing
from wat_cli.media import SAMPLE_RATE, decode_pcm, probe
from wat_cli.options import CaptionOptions, RunOptions

ROOT = Path(__file__).parents[1]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """Stands where `load_model` and the command line look for the real one."""
    engine, module = FakeEngine(), types.ModuleType("wat_cli.engine")
    module.load_engine = lambda weights, options: engine  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wat_cli.engine", module)
    return engine


@pytest.fixture
def model(engine: FakeEngine, mini: Path) -> Model:
    return load_model("mini")


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "talk.wav", 3.0, level=0.4)


def samples_of(path: Path) -> np.ndarray:
    info = probe(path)
    return np.concatenate(list(decode_pcm(info, info.audio[0])))


# --- the same as the command line -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["srt", "vtt", "txt", "tsv", "json"])
def test_it_renders_what_the_command_line_writes(
    model: Model, talk: Path, name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAT_MODEL", "mini")
    with pytest.raises(SystemExit) as end:
        main(["caption", str(talk), "-f", name])
    assert not end.value.code, capfd.readouterr().err
    given = caption(model, talk).render(name)
    if name != "json":
        assert given == talk.with_suffix(f".{name}").read_text()
        return
    ours, theirs = json.loads(given), json.loads(talk.with_suffix(".json").read_text())
    for document in (ours, theirs):
        for changing in ("timings", "outputs", "checksum"):
            document.pop(changing, None)
    assert ours == theirs


def test_options_by_name_and_as_a_whole(model: Model, talk: Path) -> None:
    changed = caption(model, talk, language="German", sounds="none", max_line_width=20)
    assert (changed.language, changed.options.captions.max_line_width) == ("de", 20)
    assert not any(cue.kind == "sound" for cue in changed.cues)
    whole = caption(model, talk, RunOptions(captions=CaptionOptions(style="netflix")), max_line_width=20)
    assert (whole.options.captions.style, whole.options.captions.max_line_width) == ("netflix", 20)
    assert "[music]" in "".join(cue.text for cue in whole.cues)


def test_nothing_is_written(model: Model, talk: Path) -> None:
    caption(model, talk)
    assert [path.name for path in talk.parent.iterdir()] == ["talk.wav"]


def test_what_comes_back(model: Model, talk: Path) -> None:
    found = caption(model, str(talk))
    assert isinstance(found, Captioned)
    assert (found.text, found.language, found.duration) == (" Level 28.", "en", 3.0)
    assert [segment.text for segment in found.segments] == [" Level 28."]
    assert [(event.caption, event.shown) for event in found.events] == [("Music", True)]
    assert [(cue.start_ms, cue.text, cue.kind) for cue in found.cues] == [(0, "[Music]\nLevel 28.", "mixed")]
    assert sidecar.checksum(json.loads(found.render("json"))) == json.loads(found.render("json"))["checksum"]
    with pytest.raises(ValueError, match="docx"):
        found.render("docx")


def test_progress_is_told(model: Model, talk: Path) -> None:
    told: list[float] = []
    caption(model, talk, progress=told.append)
    assert told == [3.0]


# --- samples ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.int16, np.float16, np.float32, np.float64])
def test_samples_give_what_their_file_gives(model: Model, talk: Path, kind: type) -> None:
    samples = samples_of(talk)
    given = samples if kind is np.int16 else (samples / 32768).astype(kind)
    heard = caption(model, given)
    assert heard.segments == caption(model, talk).segments
    assert heard.cues == caption(model, talk).cues
    assert heard.duration == len(samples) / SAMPLE_RATE


def test_every_sample_reaches_the_engine_as_it_is(
    model: Model, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 50_000).astype(np.float32)
    read: list[np.ndarray] = []
    hear = engine.hear
    monkeypatch.setattr(engine, "hear", lambda pcm, *a, **k: read.append(pcm.read(-5, 60_000)) or hear(pcm, *a, **k))
    caption(model, samples)
    np.testing.assert_array_equal(read[0], samples)
    assert read[0].dtype == np.float32


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros((2, 16_000), np.float32),
        np.zeros((), np.float32),
        np.zeros(16_000, np.int32),
        np.zeros(16_000, np.uint8),
        np.zeros(16_000, np.complex64),
        np.full(16_000, np.nan, np.float32),
        np.array(["talk.wav"]),
    ],
)
def test_other_arrays_are_refused(model: Model, samples: np.ndarray) -> None:
    with pytest.raises(UsageError, match="samples"):
        caption(model, samples)


def test_no_samples_at_all(model: Model) -> None:
    empty = caption(model, np.zeros(0, np.float32))
    assert (empty.text, empty.cues, empty.duration, empty.render("srt")) == ("", (), 0.0, "")


# --- errors -----------------------------------------------------------------------------------------------------------


def test_media_that_cannot_be_heard(model: Model, tmp_path: Path) -> None:
    (tmp_path / "letter.mp4").write_text("Dear Sir or Madam")
    with pytest.raises(UndecodableMedia, match="letter.mp4"):
        caption(model, tmp_path / "letter.mp4")
    with pytest.raises(OSError):
        caption(model, tmp_path / "gone.mp4")
    with pytest.raises(NoAudioTrack):
        caption(model, ROOT / "sample_media/still.mp4")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"langauge": "de"}, "no option is called langauge; did you mean language?"),
        ({"device": "cpu"}, "device is an option of load_model"),
        ({"output_format": "srt"}, "no option is called output_format"),
        ({"tags_threshold": 7}, "it lies between 0 and 1"),
        ({"highlight_words": True}, "needs --word-timestamps"),
    ],
)
def test_options_that_cannot_be(model: Model, talk: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        caption(model, talk, **change)


def test_models_that_cannot_be(engine: FakeEngine, tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="wat models pull"):
        load_model("small", model_dir=tmp_path, offline=True)
    with pytest.raises(WatError, match="no-such-model"):
        load_model("no-such-model")
    with pytest.raises(UsageError, match="did you mean device"):
        load_model("mini", devise="cpu")


def test_a_model_without_a_head_hears_no_sounds(engine: FakeEngine, mini: Path, talk: Path) -> None:
    model = load_model("mini", tags=False)
    found = caption(model, talk)
    assert (model.tags, found.events, found.transcript.hearing.tags) == (False, (), None)
    assert found.transcript.models.keys() == {"asr"}


# --- a good package ---------------------------------------------------------------------------------------------------


def test_importing_it_costs_nothing() -> None:
    program = (
        "import sys, wat_cli\n"
        "first = {'torch', 'whisper', 'numpy', 'typer'} & set(sys.modules)\n"
        "from wat_cli import load_model, caption\n"
        "print(sorted(first), sorted({'torch', 'whisper', 'numba', 'typer'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[] []\n"


def test_all_names_are_there_documented_and_typed() -> None:
    for name in wat_cli.__all__:
        thing = getattr(wat_cli, name)
        if callable(thing):
            assert inspect.getdoc(thing)
            annotated = inspect.signature(thing).parameters.values()
            assert all(parameter.annotation is not inspect.Parameter.empty for parameter in annotated)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = wat_cli.nonsense  # type: ignore[attr-defined]
    assert (ROOT / "wat_cli/py.typed").exists()


def test_the_guides_examples_run(mini: Path, tmp_path: Path) -> None:
    """With the embedded model and a real film, every block in turn, in a process of its own."""
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    (tmp_path / "talk.mp4").symlink_to(ROOT / "sample_media/island.mkv")
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:wat_cli", "-c", "\n".join(blocks)],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "talk.vtt").read_text().startswith("WEBVTT\n")
    cues = re.findall(r"^[\d.]+ [\d.]+ (.*)$", done.stdout, re.MULTILINE)
    assert len(cues) > 3
    assert re.search(r"^ *\d+\.\d\d s  \S", done.stdout, re.MULTILINE)
