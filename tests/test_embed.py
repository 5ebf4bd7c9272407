"""Captions as a track in a copy of the film."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import srt
from typer.testing import CliRunner, Result

from tests.captionable import segment, sound
from tests.fakes import FakeEngine, write_wav
from tests.test_batch import WEIGHTS
from tests.test_render import transcript
from wat_cli import sidecar
from wat_cli.batch import Captioner, Outcome, Progress, Status, run, setting_of
from wat_cli.captions.rules import Cue, CueLine
from wat_cli.captions.srt import srt_text
from wat_cli.captions.vtt import vtt_text
from wat_cli.cli import app
from wat_cli.discovery import Job, Outputs, discover
from wat_cli.embed import copy_name, embed
from wat_cli.errors import MediaError
from wat_cli.options import OutputOptions, RunOptions
from wat_cli.transcript import Source

FILMS = Path(__file__).parents[1] / "sample_media"
CUES = [
    Cue(5000, 6500, (CueLine("[Music]", 7), CueLine("Hello & 5 < 6 > 4"))),
    Cue(8000, 9000, (CueLine("日本"),)),
]
SRT = (srt_text(CUES) or "").encode()

needs_ffprobe = pytest.mark.skipif(not shutil.which("ffprobe"), reason="ffprobe is not installed")


def streams(path: Path) -> list[dict[str, object]]:
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["streams"]


def packets(path: Path, kind: str) -> str:
    """Checksum of the packets of the first track of a kind: the same for a true copy."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", f"0:{kind}:0", "-c", "copy", "-f", "streamhash", "-"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def captions_in(path: Path, track: int = 0) -> list[tuple[float, float, str]]:
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", f"0:s:{track}", "-f", "srt", "-"]
    text = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    return [(cue.start.total_seconds(), cue.end.total_seconds(), cue.content) for cue in srt.parse(text)]


def film(name: str) -> Path:
    path = FILMS / name
    if not path.exists():
        pytest.skip(f"needs sample_media/{name}")
    return path


@needs_ffprobe
@pytest.mark.parametrize(
    ("name", "codec", "flag", "language"),
    [
        ("market.mp4", "mov_text", "hearing_impaired", "deu"),
        ("island.mkv", "subrip", "hearing_impaired", "ger"),
        ("concert.webm", "webvtt", "captions", "deu"),
    ],
)
def test_a_copy_has_the_captions_and_is_else_the_same(
    tmp_path: Path, name: str, codec: str, flag: str, language: str
) -> None:
    part = tmp_path / ".part"
    captions = vtt_text(CUES, "a note", classes=True).encode() if name.endswith("webm") else SRT
    embed(film(name), captions, part, "de")
    before, after = streams(film(name)), streams(part)
    assert [s["codec_name"] for s in after] == [*(s["codec_name"] for s in before), codec]
    track = after[-1]
    assert track["disposition"][flag] == 1 and track["tags"]["language"] == language  # type: ignore[index]
    assert all(packets(part, kind) == packets(film(name), kind) for kind in "va")
    found = captions_in(part)
    assert [text for _, _, text in found] == ["[Music]\nHello & 5 < 6 > 4", "日本"]
    assert [start for start, _, _ in found] == pytest.approx([5, 8], abs=0.01)


@needs_ffprobe
def test_a_second_track_joins_the_first(tmp_path: Path) -> None:
    once, twice = tmp_path / "once.mkv", tmp_path / ".part"
    embed(film("island.mkv"), SRT, once, "en")
    embed(once, SRT.replace(b"[Music]", b"[Applause]"), twice, "fr")
    assert [s["tags"]["language"] for s in streams(twice) if s["codec_type"] == "subtitle"] == ["eng", "fre"]  # type: ignore[index]
    assert captions_in(twice, 0)[0][2].startswith("[Music]") and captions_in(twice, 1)[0][2].startswith("[Applause]")


@pytest.mark.parametrize("content", [b"", b"not a film at all", None])
def test_what_is_no_film_leaves_nothing(tmp_path: Path, content: bytes | None) -> None:
    source, part = tmp_path / "film.mp4", tmp_path / "part"
    if content is None:
        source = film("radio.mp3")
    else:
        source.write_bytes(content)
    with pytest.raises(MediaError):
        embed(source, SRT, part, "en")
    assert not part.exists()


def test_a_damaged_film_leaves_nothing(tmp_path: Path) -> None:
    damaged, part = tmp_path / "film.mp4", tmp_path / "part"
    data = film("market.mp4").read_bytes()
    damaged.write_bytes(data[: len(data) // 3])
    with pytest.raises(MediaError):
        embed(damaged, SRT, part, "en")
    assert not part.exists()


@pytest.mark.parametrize(
    ("name", "copy"),
    [("talk.mp4", "talk.captioned.mp4"), ("a.b.MKV", "a.b.captioned.MKV"), ("old.avi", "old.captioned.mkv")],
)
def test_copy_name(name: str, copy: str) -> None:
    assert copy_name(Path(name)) == copy


# --- in a batch -----------------------------------------------------------------------------------------------------


def caption(source: Path, engine: FakeEngine, formats: str = "srt") -> Outcome:
    options = RunOptions(output=OutputOptions(output_format=formats, embed=True))
    work = Captioner(setting_of(options, WEIGHTS), lambda: engine, Progress())
    (outcome,) = run([Job(source, Outputs(source.parent, source.stem))], work)
    return outcome


def test_a_batch_makes_the_copy_once_and_again_if_it_is_gone(tmp_path: Path) -> None:
    source, copy = tmp_path / "talk.mp4", tmp_path / "talk.captioned.mp4"
    shutil.copy(film("market.mp4"), source)
    engine = FakeEngine()
    first = caption(source, engine)
    assert first.status is Status.WRITTEN and copy in first.outputs and captions_in(copy)
    made = copy.read_bytes()
    assert caption(source, engine).up_to_date and copy.read_bytes() == made
    copy.unlink()
    again = caption(source, engine)
    assert again.status is Status.WRITTEN and again.outputs == (copy,) and copy.read_bytes() == made
    more = caption(source, engine, "srt,vtt")
    assert more.status is Status.WRITTEN and tmp_path / "talk.vtt" in more.outputs
    assert len(engine.heard) == 1, "none of this hears the film again"


def test_sound_without_picture_gets_no_copy_and_no_failure(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "talk.wav", 2.0)
    outcome = caption(source, FakeEngine())
    assert outcome.status is Status.WRITTEN and any("no video" in note for note in outcome.notes)
    assert caption(source, FakeEngine()).up_to_date


def test_a_persons_film_under_the_copys_name_fails_the_file_alone(tmp_path: Path) -> None:
    source, copy = tmp_path / "talk.mp4", tmp_path / "talk.captioned.mp4"
    shutil.copy(film("market.mp4"), source)
    copy.write_bytes(b"mine")
    outcome = caption(source, FakeEngine())
    assert outcome.status is Status.FAILED and "--overwrite" in outcome.reason and copy.read_bytes() == b"mine"
    assert (tmp_path / "talk.srt").exists()


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A film with its sidecar, in the working folder."""
    monkeypatch.chdir(tmp_path)
    video = tmp_path / "talk.mp4"
    shutil.copy(film("market.mp4"), video)
    source = Source("talk.mp4", video.stat().st_size, video.stat().st_mtime_ns, 44.6)
    made = transcript(segments=(segment(2, 4, " Hello."),), events=(sound(10, 16),), source=source)
    (tmp_path / "talk.json").write_bytes(sidecar.to_json(made))
    return tmp_path


def wat(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["render", *arguments])


def test_embed_by_command_and_again(talk: Path) -> None:
    for style in ("default", "netflix"):
        done = wat("talk.json", "-f", "srt", "--embed", "--style", style)
        assert done.exit_code == 0, done.stderr
        assert captions_in(talk / "talk.captioned.mp4")[1][2] == ("[Music]" if style == "default" else "[music]")
    record = sidecar.read(talk / "talk.json")
    assert record.unchanged
    assert record.transcript.outputs["talk.captioned.mp4"] == sidecar.sha256_of_file(talk / "talk.captioned.mp4")
    assert sorted(path.name for path in talk.iterdir()) == ["talk.captioned.mp4", "talk.json", "talk.mp4", "talk.srt"]


@pytest.mark.parametrize("stem", ["talk", "fête 日本"])
def test_own_copies_are_no_inputs(talk: Path, stem: str) -> None:
    def found() -> list[str]:
        return [job.source.name for job in discover([talk], lambda path: False, folds_case=lambda folder: False).jobs]

    shutil.copy(talk / "talk.mp4", talk / "a.captioned.mp4")
    (talk / "talk.json").rename(talk / f"{stem}.json")
    assert found() == ["a.captioned.mp4", "talk.mp4"]
    wat(f"{stem}.json", "--embed")
    copy = talk / f"{stem}.captioned.mp4"
    assert copy.exists() and found() == ["a.captioned.mp4", "talk.mp4"]
    named = discover([copy], lambda path: False, folds_case=lambda folder: False)
    assert not named.jobs and [(item.reason, item.failed) for item in named.refused] == [("written by wat", False)]


def test_a_persons_copy_is_never_replaced(talk: Path) -> None:
    copy = talk / "talk.captioned.mp4"
    copy.write_bytes(b"mine")
    assert wat("talk.json", "--embed").exit_code == 1 and copy.read_bytes() == b"mine"
    assert wat("talk.json", "--embed", "--overwrite").exit_code == 0 and copy.read_bytes() != b"mine"


def test_a_film_that_is_gone_or_another_is_said(talk: Path) -> None:
    (talk / "talk.mp4").write_bytes(b"another")
    done = wat("talk.json", "--embed")
    assert done.exit_code == 1 and "not the one that was captioned" in done.stderr
    assert not (talk / "talk.captioned.mp4").exists()


def test_names_that_players_know(talk: Path) -> None:
    assert wat("talk.json", "-f", "srt", "--player-names").exit_code == 0
    assert wat("talk.json", "-f", "vtt", "--player-names", "--exclude-sounds", "Music").exit_code == 1  # no tag track
    assert (talk / "talk.en.sdh.srt").exists()
    record = sidecar.read(talk / "talk.json")
    assert "talk.en.sdh.srt" in record.transcript.outputs
