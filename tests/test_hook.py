"""The command after each file: what it is told, where its words go, and that its failure costs no captions."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from pathlib import Path

import pytest

from tests.test_cli_caption import Result, Wat, engine, films, wat  # noqa: F401 (fixtures)
from wat_cli.batch import Outcome, Status
from wat_cli.cli.parameters import environment_name
from wat_cli.errors import UsageError
from wat_cli.hook import Hook, environment_of, words_of

TELL = (
    "import json, os, sys; told = {k: v for k, v in os.environ.items() if k.startswith('WAT_')}; "
    "open(os.environ['TOLD'], 'a').write(json.dumps([sys.argv[1:], told]) + '\\n')"
)
WRITTEN = Outcome(Path("talk.mp4"), Status.WRITTEN, outputs=(Path("talk.srt"), Path("talk.json")))


class Complaints(list[tuple[Path, str]]):
    def __call__(self, source: Path, text: str) -> None:
        self.append((source, text))


def python(program: str, *arguments: str) -> str:
    return shlex.join([sys.executable, "-c", program, *arguments])


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    return tmp_path / "told"


def lines(told: Path) -> list[tuple[list[str], dict[str, str]]]:
    return [tuple(json.loads(line)) for line in told.read_text().splitlines()]


def test_the_command_is_told_of_the_file(told: Path) -> None:
    complaints = Complaints()
    Hook(python(TELL, "{}", "--for={}!", "a b"), complaints).closed(WRITTEN)
    ((arguments, environment),) = lines(told)
    here = Path.cwd()
    assert arguments == [str(here / "talk.mp4"), f"--for={here}/talk.mp4!", "a b"]
    assert environment["WAT_INPUT"] == str(here / "talk.mp4")
    assert environment["WAT_STATUS"] == "written"
    assert json.loads(environment["WAT_OUTPUTS"]) == [str(here / "talk.srt"), str(here / "talk.json")]
    assert complaints == []


def test_there_is_no_shell(told: Path, tmp_path: Path) -> None:
    source = tmp_path / "$(touch pwned); `id` && {} \"quoted' *.mp4"
    Hook(python(TELL, "{}", "$HOME", "*", ";", "|"), Complaints()).closed(Outcome(source, Status.FAILED, "a\0b\nc"))
    ((arguments, environment),) = lines(told)
    assert arguments == [str(source), "$HOME", "*", ";", "|"]
    assert environment["WAT_REASON"] == "ab\nc"


@pytest.mark.parametrize("name", [b"-rf.mp4", b"two\nlines.mp4", b"caf\xe9.mp4", b"n" * 255])
def test_odd_names_arrive_as_they_are(told: Path, name: bytes) -> None:
    complaints = Complaints()
    Hook(python(TELL, "{}"), complaints).closed(Outcome(Path(os.fsdecode(name)), Status.WRITTEN))
    (((argument,), environment),) = lines(told)
    assert argument == environment["WAT_INPUT"] == f"{Path.cwd()}/{os.fsdecode(name)}"
    assert complaints == []


@pytest.mark.parametrize("status", Status)
def test_files_with_which_nothing_was_done_are_not_told_of(told: Path, status: Status) -> None:
    Hook(python(TELL), Complaints()).closed(Outcome(Path("a"), status))
    assert told.exists() is (status is not Status.SKIPPED)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (python("import sys; sys.exit(3)"), "ended with exit code 3"),
        (python("import os; os.kill(os.getpid(), 9)"), "was ended by signal 9"),
        ("/no/such/program {}", "/no/such/program cannot be run: No such file or directory"),
    ],
)
def test_what_goes_wrong_is_said(command: str, said: str) -> None:
    complaints = Complaints()
    hook = Hook(command, complaints)
    hook.closed(WRITTEN)
    ((source, text),) = complaints
    assert source == Path("talk.mp4")
    assert text.startswith("--on-file: ") and text.endswith(said)
    assert hook.failed == 1


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pid_file, complaints = tmp_path / "pid", Complaints()
    program = 'trap "" TERM; sleep 60 & echo $! > "$1"; wait'
    hook = Hook(shlex.join(["sh", "-c", program, "sh", str(pid_file)]), complaints)
    hook._seconds = 1.5
    hook.closed(WRITTEN)
    assert "took more than" in complaints[0][1]
    pid = int(pid_file.read_text())
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("command", ["", "  ", "rsync 'open"])
def test_what_is_no_command_is_said_at_once(command: str) -> None:
    with pytest.raises(UsageError, match="--on-file"):
        words_of(command)


def test_what_is_told_is_no_option_of_a_wat_that_the_command_may_run() -> None:
    from tests.test_options import our_fields

    assert not set(environment_of(WRITTEN)) & {environment_name(name) for name in our_fields()}


# --- from the command line --------------------------------------------------------------------------------------------


def test_it_runs_after_each_file_and_stdout_stays_clean(wat: Wat, films: Path, told: Path) -> None:  # noqa: F811
    (films / "bad.wav").write_text("text")
    result: Result = wat("caption", films, "--log-json", "-", "--on-file", python(TELL + "; print('noise')"))
    assert result.code == 1
    assert all(json.loads(line)["event"] for line in result.out.splitlines())
    assert {Path(told["WAT_INPUT"]).name: told["WAT_STATUS"] for _, told in lines(told)} == {
        "bad.wav": "failed",
        "show.wav": "written",
        "talk.wav": "written",
    }
    for _, environment in lines(told):
        assert all(Path(path).exists() for path in json.loads(environment["WAT_OUTPUTS"]))


def test_its_failure_loses_no_file_and_is_told(wat: Wat, films: Path) -> None:  # noqa: F811
    result: Result = wat("caption", films, "--log-json", "-", "--on-file", python("raise SystemExit(4)"))
    assert result.code == 1
    assert result.err.count("ended with exit code 4") == 2
    events = [json.loads(line) for line in result.out.splitlines()]
    assert [event["status"] for event in events if event["event"] == "file-end"] == ["written", "written"]
    assert [event["reason"].endswith("exit code 4") for event in events if event["event"] == "complaint"] == [True] * 2
    assert events[-1]["exit_code"] == 1
    assert (films / "talk.srt").exists()
    assert wat("caption", films, "--quiet", "--on-file", python("raise SystemExit(4)")) == Result(0, "", "")


def test_an_open_quote_ends_with_2(wat: Wat, films: Path) -> None:  # noqa: F811
    result: Result = wat("caption", films, "--on-file", "echo 'a")
    assert (result.code, result.out) == (2, "")
    assert "No closing quotation" in result.err
