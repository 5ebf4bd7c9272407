"""``wat --help`` and what a shell completes: grouped, with examples that are understood, and quick to come."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from docs import reference
from wat_cli.cli import app


def help_of(*command: str) -> str:
    done = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert done.exit_code == 0
    return done.output


def test_commands_stand_in_groups() -> None:
    panels = re.findall(r"^╭─ (.*?) ─+╮$", help_of(), re.MULTILINE)
    assert panels == ["Options", "Captions", "This machine, and what is chosen", "Heads of your own"]
    for name, _ in reference.commands():
        assert re.search(rf"^│ {name.split()[1]} ", help_of(), re.MULTILINE), name


@pytest.mark.parametrize("command", [(), ("caption",), ("labels",), ("review",)])
def test_help_ends_with_examples_of_commands_that_exist(command: tuple[str, ...]) -> None:
    examples = help_of(*command).rpartition("Examples:")[2]
    known = {name for name, _ in reference.commands()}
    named = re.findall(r"\bwat ([a-z]+)", examples)
    assert named
    assert {f"wat {name}" for name in named} <= known


def complete(line: str, tmp_path: Path) -> list[str]:
    """What bash would be offered."""
    words = line.split(" ")
    done = subprocess.run(
        [sys.executable, "-c", "from wat_cli.cli import main; main()"],
        capture_output=True, text=True, cwd=tmp_path,
        env=os.environ | {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_WAT_COMPLETE": "complete_bash"},
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("wat cap", ["caption"]),
        ("wat models p", ["pull", "path"]),
        ("wat caption --sty", ["--style"]),
        ("wat caption --style n", ["netflix"]),
        ("wat labels --sounds ", ["none", "default", "more", "all"]),
    ],
)
def test_a_shell_completes(line: str, offered: list[str], tmp_path: Path) -> None:
    (tmp_path / "wat.toml").write_text("broken")  # is no hindrance
    assert complete(line, tmp_path) == offered


def test_completion_installs_itself(tmp_path: Path) -> None:
    pytest.importorskip("shellingham")
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m wat_cli --install-completion; true"],
        capture_output=True, text=True, env=os.environ | {"HOME": str(tmp_path)},
    )  # fmt: skip
    assert "completion installed" in done.stdout, done.stderr
    (script,) = tmp_path.rglob("wat.sh")
    assert "_WAT_COMPLETE=complete_bash" in script.read_text()
