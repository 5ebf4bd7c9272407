"""``wat caption`` as a person meets it: arguments in, exit code, stdout, stderr and files out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes import FakeEngine, write_wav
from wat_cli.cli import main
from wat_cli.options import TranscribeOptions


@dataclass(frozen=True)
class Result:
    """How one command ended."""

    code: int
    out: str
    err: str


Wat = Callable[..., Result]


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder of two good files."""
    write_wav(tmp_path / "films" / "talk.wav", 2.0)
    write_wav(tmp_path / "films" / "deep" / "show.wav", 3.0)
    return tmp_path / "films"


@pytest.fixture
def wat(tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Wat:
    """Run the command line in this process, with a fake engine behind it and weights that it would load."""
    module = types.ModuleType("wat_cli.engine")
    module.load_engine = lambda weights, options: engine  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wat_cli.engine", module)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for variable, name in (("WAT_MODEL", "model.pt"), ("WAT_TAGGER_CHECKPOINT", "head.pt")):
        (tmp_path / name).write_bytes(name.encode())
        monkeypatch.setenv(variable, str(tmp_path / name))

    def run(*arguments: str | Path) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main([os.fspath(argument) for argument in arguments])
        out, err = capfd.readouterr()
        code = end.value.code
        return Result(code if isinstance(code, int) else 0, out, err)

    return run


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# --- ends well --------------------------------------------------------------------------------------------------------


def test_a_folder_is_captioned_and_a_second_run_does_nothing(wat: Wat, films: Path, engine: FakeEngine) -> None:
    first = wat("caption", films)
    assert (first.code, first.out) == (0, "")
    assert "2 written" in first.err
    assert names(films) == {
        f"{name}.{suffix}" for name in ("talk", "deep/show") for suffix in ("wav", "srt", "vtt", "json")
    }
    second = wat("caption", films)
    assert (second.code, second.out) == (0, "")
    assert "2 skipped" in second.err
    assert len(engine.heard) == 2


def test_outputs_mirror_the_folder(wat: Wat, films: Path, tmp_path: Path) -> None:
    assert wat("caption", films, "--output_dir", tmp_path / "out", "-f", "vtt").code == 0
    assert names(tmp_path / "out") == {"talk.vtt", "talk.json", "deep/show.vtt", "deep/show.json"}
    source = json.loads((tmp_path / "out/deep/show.json").read_text())["source"]["path"]
    assert (tmp_path / "out/deep" / source).resolve() == films / "deep/show.wav"
    assert wat("caption", films, "-o", tmp_path / "out", "-f", "vtt", "-q").err == ""


def test_full_names_keep_stems_apart(wat: Wat, tmp_path: Path) -> None:
    for name in ("talk.wav", "talk.flac.wav"):
        write_wav(tmp_path / "films" / name)
    shutil.copy(tmp_path / "films/talk.wav", tmp_path / "films/talk.mp3")
    result = wat("caption", tmp_path / "films")
    assert result.code == 1
    assert "talk.mp3: failed" in result.err and "talk.wav: failed" in result.err
    assert "--names full" in result.err
    assert (tmp_path / "films/talk.flac.srt").exists()
    assert wat("caption", tmp_path / "films", "--names", "full").code == 0
    assert {"talk.wav.srt", "talk.mp3.srt"} <= names(tmp_path / "films")


def test_quiet_says_nothing_and_verbose_says_more(wat: Wat, films: Path) -> None:
    assert wat("caption", films, "-q") == Result(0, "", "")
    loud = wat("caption", films, "-v", "--overwrite")
    assert "track 0: no language (pcm_s16le)" in loud.err


def test_quiet_says_nothing_of_failures_either(wat: Wat, films: Path, tmp_path: Path) -> None:
    """The exit code, the log and the summary tell; what ends the whole run is still said."""
    bad = films / "bad.wav"
    bad.write_bytes(b"not media")
    summary = tmp_path / "summary.json"
    result = wat("caption", films, bad, "--quiet", "--verbose", "--log-json", "-", "--summary", summary)
    assert (result.code, result.err) == (1, "")
    assert [Path(entry["source"]).name for entry in json.loads(summary.read_text())["failed"]] == ["bad.wav"]
    ends = [json.loads(line) for line in result.out.splitlines() if '"file-end"' in line]
    assert {Path(end["source"]).name: end["status"] for end in ends}["bad.wav"] == "failed"
    assert wat("caption", bad, "--quiet", "-f", "srt", "-o", "-") == Result(1, "", "")
    usage = wat("caption", tmp_path / "no-such", "--quiet")
    assert usage.code == 2 and "no such file or directory" in usage.err


@pytest.mark.parametrize("option", ["--summary", "--log-json"])
def test_no_log_is_written_over_another_file(wat: Wat, films: Path, option: str) -> None:
    """Nor may a ``wat.toml`` that came with an archive name one of its films."""
    film = films / "talk.wav"
    before = film.read_bytes()
    result = wat("caption", films, option, film)
    assert result.code == 2 and "another kind" in result.err
    assert film.read_bytes() == before and not list(films.glob("*.srt"))
    assert wat("caption", films, option, films).code == 2
    assert wat("caption", films, option, films / "no/such/folder").code == 2
    for _ in range(2):  # its own it replaces, or goes on with
        assert wat("caption", films, option, films / "log").code == 0
    (films / "log").write_bytes(b"")
    assert wat("caption", films, option, films / "log").code == 0


def test_a_summary_on_standard_output(wat: Wat, films: Path) -> None:
    result = wat("caption", films, "--quiet", "--summary", "-")
    assert result.code == 0 and json.loads(result.out)["files"]["written"] == 2
    assert wat("caption", films, "--summary", "-", "--log-json", "-").code == 2


def test_the_sidecar_of_a_link_leads_to_the_link(wat: Wat, films: Path, tmp_path: Path) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / "other.wav").symlink_to(films / "talk.wav")
    assert wat("caption", folder).code == 0
    assert json.loads((folder / "other.json").read_text())["source"]["path"] == "other.wav"


def test_an_empty_path_is_not_the_working_folder(wat: Wat, films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(films)
    result = wat("caption", "")
    assert (result.code, result.out) == (2, "") and "empty" in result.err
    assert not list(films.glob("*.srt"))


def test_nothing_to_do_is_no_failure(wat: Wat, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = wat("caption", tmp_path / "empty")
    assert (result.code, result.out, result.err) == (0, "", "no media files found\n")


@pytest.mark.parametrize(
    ("arguments", "key", "value"),
    [
        (("--word_timestamps", "True"), "word_timestamps", True),
        (("--condition_on_previous_text", "False"), "condition_on_previous_text", False),
        (("--condition-on-previous-text",), "condition_on_previous_text", True),
        (("--beam_size", "None"), "beam_size", None),
        (("--beam-size=2",), "beam_size", 2),
        (("--logprob_threshold", "-1.5"), "logprob_threshold", -1.5),
        (("--suppress_tokens=-1,50",), "suppress_tokens", "-1,50"),
        (("--suppress_tokens", "-1"), "suppress_tokens", "-1"),
        (("--language", "English"), "language", "en"),
        (("--language", "None"), "language", None),
        (("--tags-threshold", "0.3"), "tags_threshold", 0.3),
        (("--initial_prompt", "None"), "initial_prompt", "None"),
        (("--temperature_increment_on_fallback", "None"), "temperature_increment_on_fallback", None),
    ],
)
def test_options_reach_the_settings(wat: Wat, films: Path, arguments: tuple[str, ...], key: str, value: object) -> None:
    result = wat("caption", *arguments, films / "talk.wav")
    assert result.code == 0, result.err
    assert json.loads((films / "talk.json").read_text())["settings"][key] == value


def test_the_environment_sets_defaults(wat: Wat, films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAT_BEAM_SIZE", "3")
    monkeypatch.setenv("WAT_TAGS", "False")
    assert wat("caption", films / "talk.wav", "--temperature", "0.2").code == 0
    document = json.loads((films / "talk.json").read_text())
    assert (document["settings"]["beam_size"], document["settings"]["tags"]) == (3, False)
    assert document["models"].keys() == {"asr"}


def test_the_engine_gets_the_options(
    wat: Wat, films: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[TranscribeOptions] = []
    hear = engine.hear
    monkeypatch.setattr(engine, "hear", lambda pcm, options, **rest: seen.append(options) or hear(pcm, options, **rest))
    wat("caption", films / "talk.wav", "--best_of", "2", "--task", "translate")
    assert (seen[0].best_of, seen[0].task) == (2, "translate")


# --- lists and streams ------------------------------------------------------------------------------------------------


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    monkeypatch.setattr(sys, "stdin", os.fdopen(read))


def test_paths_come_from_standard_input(wat: Wat, films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, f"{films / 'talk.wav'}\n\n".encode())
    assert wat("caption", "-", "-f", "srt").code == 0
    assert names(films) == {"talk.wav", "talk.srt", "talk.json", "deep/show.wav"}


def test_odd_names_come_separated_by_nul(wat: Wat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = [b"-rf.wav", b"two\nlines.wav", "schön & <b>.wav".encode(), b"caf\xe9.wav", b"a:b,c.wav", b"True.wav"]
    for name in odd:
        write_wav(tmp_path / "odd" / os.fsdecode(name))
    feed(monkeypatch, b"\0".join(os.fsencode(tmp_path / "odd") + b"/" + name for name in odd) + b"\0")
    result = wat("caption", "-0")
    assert result.code == 0, result.err
    assert len(result.err.splitlines()) == len(odd) + 1
    for name in odd:
        assert (tmp_path / "odd" / os.fsdecode(name)).with_suffix(".srt").exists()


def test_one_of_a_list_that_is_gone_fails_alone(wat: Wat, films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, f"{films / 'gone.wav'}\n{films / 'talk.wav'}\n".encode())
    result = wat("caption", "-")
    assert result.code == 1
    assert "gone.wav: failed: no such file" in result.err
    assert (films / "talk.srt").exists()


def test_one_file_in_one_format_goes_to_stdout(wat: Wat, films: Path) -> None:
    before = names(films)
    result = wat("caption", films / "talk.wav", "-f", "srt", "-o", "-")
    assert result.code == 0
    assert result.out.startswith("1\n00:00:00,000 --> 00:00:02,000\nLevel 7.\n")
    document = wat("caption", films / "talk.wav", "-f", "json", "-o", "-")
    assert json.loads(document.out)["text"] == " Level 7."
    assert names(films) == before


@pytest.mark.parametrize(
    "arguments", [("films", "-f", "srt"), ("films/talk.wav",), ("films/talk.wav", "-f", "srt,vtt")]
)
def test_stdout_takes_one_file_and_one_format(
    wat: Wat, films: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(films.parent)
    result = wat("caption", *arguments, "-o", "-")
    assert (result.code, result.out) == (2, "")


def test_a_bad_file_for_stdout_fails(wat: Wat, tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_text("text")
    result = wat("caption", tmp_path / "bad.wav", "-f", "srt", "-o", "-")
    assert (result.code, result.out) == (1, "")
    assert "bad.wav" in result.err


def test_what_failed_can_be_tried_again_alone(wat: Wat, films: Path) -> None:
    (films / "bad.wav").write_text("text")
    assert wat("caption", films, "-f", "srt").code == 1
    (films / "talk.srt").unlink()
    still_bad = wat("caption", films, "-f", "srt", "--retry-failed")
    assert still_bad.code == 1
    assert "1 failed" in still_bad.err
    write_wav(films / "bad.wav")
    mended = wat("caption", films, "-f", "srt", "--retry-failed")
    assert (mended.code, mended.err.splitlines()[-1].partition(";")[0]) == (0, "1 written")
    assert (films / "bad.srt").exists() and not (films / "talk.srt").exists()
    assert wat("caption", films, "-f", "srt", "--retry-failed").code == 0


def test_what_still_stands_in_its_own_way_still_fails(wat: Wat, films: Path) -> None:
    write_wav(films / "talk.flac")
    assert wat("caption", films).code == 1
    again = wat("caption", films, "--retry-failed")
    assert again.code == 1 and "2 failed" in again.err and "show.wav" not in again.err


# --- for programs -----------------------------------------------------------------------------------------------------


def test_json_lines_go_to_stdout_and_nothing_else(wat: Wat, films: Path) -> None:
    (films / "bad.wav").write_text("text")
    result = wat("caption", films, "--log-json", "-", "--batch-size", "1")
    assert result.code == 1
    lines = [json.loads(line) for line in result.out.splitlines()]
    assert [line["event"] for line in lines] == ["run-start", *["file-start", "file-end"] * 3, "run-end"]
    assert {Path(line["source"]).name: line["status"] for line in lines if line["event"] == "file-end"} == {
        "bad.wav": "failed",
        "show.wav": "written",
        "talk.wav": "written",
    }
    assert lines[-1]["exit_code"] == 1


def test_the_journal_grows_from_run_to_run(wat: Wat, films: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert (
            wat("caption", films, "-q", "--log-json", tmp_path / "log.jsonl", "--summary", tmp_path / "sum").code == 0
        )
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines].count("run-end") == 2
    assert json.loads((tmp_path / "sum").read_text())["files"] == {"written": 0, "partly": 0, "skipped": 2, "failed": 0}


def test_a_journal_that_cannot_be_written_ends_with_2(wat: Wat, films: Path) -> None:
    result = wat("caption", films, "--log-json", films / "no" / "log")
    assert result.code == 2
    assert names(films) == {"talk.wav", "deep/show.wav"}


# --- the plan ---------------------------------------------------------------------------------------------------------


def test_a_dry_run_prints_the_plan_and_writes_nothing(wat: Wat, films: Path, engine: FakeEngine) -> None:
    wat("caption", films / "talk.wav")
    before = names(films)
    result = wat("caption", films, "--dry-run")
    assert result.code == 0
    deep, talk = result.out.splitlines()
    assert deep.startswith(f"{films}/deep/show.wav: 0:03, track 0: no language (pcm_s16le) -> {films}/deep/show.srt")
    assert talk == f"{films}/talk.wav: skip: up to date"
    assert names(films) == before
    assert len(engine.heard) == 1


def test_a_dry_run_fetches_nothing(wat: Wat, films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAT_MODEL", "small")
    monkeypatch.delenv("WAT_TAGGER_CHECKPOINT")
    result = wat("caption", films, "--dry-run")
    assert result.code == 0
    assert "small.pt is not in" in result.err
    assert len(result.out.splitlines()) == 2


# --- ends badly -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("caption",),
        ("caption", "nowhere.mp4"),
        ("caption", ".", "--no-such-option"),
        ("caption", ".", "--beam-size", "many"),
        ("caption", ".", "--task", "sing"),
        ("caption", ".", "--language", "Klingon"),
        ("caption", ".", "--tags-threshold", "7"),
        ("caption", ".", "-f", "doc"),
        ("caption", ".", "--highlight_words", "True"),
        ("caption", ".", "--model", "no-such-model"),
        ("caption", ".", "-o", "talk.wav"),
        ("caption", "talk.wav", "--audio-track", "not a language!"),
        ("nonsense",),
    ],
)
def test_what_cannot_be_understood_ends_with_2(
    wat: Wat, films: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(films)
    before = names(films)
    result = wat(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err and "Traceback" not in result.err
    assert names(films) == before


def test_missing_weights_end_with_3_and_the_ways_out(
    wat: Wat, films: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WAT_MODEL")
    monkeypatch.delenv("WAT_TAGGER_CHECKPOINT")
    result = wat("caption", films, "--offline")
    assert (result.code, result.out, engine.heard) == (3, "", [])
    assert "wat models pull small" in result.err and "--model mini" in result.err


def test_missing_ffmpeg_ends_with_3(wat: Wat, films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    result = wat("caption", films)
    assert (result.code, result.out) == (3, "")
    assert "ffmpeg" in result.err


def test_bad_files_fail_alone(wat: Wat, films: Path) -> None:
    (films / "empty.mp4").write_bytes(b"")
    (films / "letter.mp4").write_text("Dear Sir or Madam,\n" * 50)
    (films / "cut.wav").write_bytes((films / "talk.wav").read_bytes()[:30])
    result = wat("caption", films)
    assert result.code == 1
    assert "2 written, 3 failed" in result.err
    for name in ("empty.mp4", "letter.mp4", "cut.wav"):
        assert f"{name}: failed: " in result.err
    assert "Traceback" not in result.err
    assert not {"empty.json", "letter.json", "cut.json"} & names(films)


def test_a_film_without_sound_is_a_skip(wat: Wat, films: Path) -> None:
    from wat_cli.media import find_ffmpeg

    command = [find_ffmpeg().ffmpeg, "-v", "error", "-f", "lavfi", "-i", "color=s=32x32:d=1", str(films / "mute.mp4")]
    subprocess.run(command, check=True)
    result = wat("caption", films)
    assert result.code == 0
    assert "mute.mp4: skipped: no audio track" in result.err
    assert "2 written, 1 skipped" in result.err


def test_somebody_elses_captions_are_a_skip_that_is_named(wat: Wat, films: Path) -> None:
    (films / "talk.srt").write_text("theirs")
    result = wat("caption", films)
    assert result.code == 0
    assert "talk.wav: skipped: " in result.err and "talk.srt was not written by wat" in result.err
    assert (films / "talk.srt").read_text() == "theirs"
    assert not (films / "talk.vtt").exists()


def test_an_interrupted_run_keeps_what_is_finished(
    wat: Wat, films: Path, monkeypatch: pytest.MonkeyPatch, engine: FakeEngine
) -> None:
    hear = engine.hear

    def interrupted(*arguments, **rest):  # type: ignore[no-untyped-def]
        if engine.heard:
            raise KeyboardInterrupt
        return hear(*arguments, **rest)

    monkeypatch.setattr(engine, "hear", interrupted)
    result = wat("caption", films, "--batch-size", "1")
    assert result.code == 130
    assert "interrupted" in result.err
    assert names(films) == {"talk.wav", "deep/show.wav", "deep/show.srt", "deep/show.vtt", "deep/show.json"}
    monkeypatch.undo()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_real_interrupt_ends_with_130(films: Path, tmp_path: Path, sent: signal.Signals) -> None:
    program = (
        "import sys, types, time\n"
        "module = types.ModuleType('wat_cli.engine')\n"
        "class Slow:\n"
        "    def hear(self, *a, **k): print('hearing', flush=True); time.sleep(60)\n"
        "module.load_engine = lambda *a: Slow()\n"
        "sys.modules['wat_cli.engine'] = module\n"
        "from wat_cli.cli import main\n"
        "main(sys.argv[1:])"
    )
    (tmp_path / "model.pt").write_bytes(b"x")
    model = str(tmp_path / "model.pt")
    command = [sys.executable, "-c", program, "caption", str(films), "--no-tags", "--model", model, "--batch-size", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "hearing\n"
        running.send_signal(sent)
        _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "interrupted" in err and "show.wav was dropped" in err and "Traceback" not in err
    assert "no media files found" not in err
    assert names(films) == {"talk.wav", "deep/show.wav"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--include-sounds", "Dogg"], "no sound is called 'Dogg'; did you mean dog"),
        (["--sounds-file", "nowhere.toml"], "--sounds-file nowhere.toml: No such file or directory"),
    ],
)
def test_sounds_that_do_not_exist_are_said_before_anything_is_heard(
    films: Path, wat: Wat, engine: FakeEngine, arguments: list[str], said: str
) -> None:
    ended = wat("caption", films, *arguments)
    assert ended.code == 2 and said in ended.err
    assert engine.heard == []


# --- itself -----------------------------------------------------------------------------------------------------------


def test_version_and_help(wat: Wat) -> None:
    from wat_cli import __version__

    assert wat("--version") == Result(0, f"wat {__version__}\n", "")
    assert "caption" in wat("--help").out
    assert "--tags-threshold" in wat("caption", "--help").out
