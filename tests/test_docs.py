"""The documents say what is so: options, commands, make targets and files that they name exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

import wat_cli
from wat_cli.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = ("README.md", "CHANGELOG.md", "NOTICE.md", "training/README.md")
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
LATER = {"wat_cli/data/mini.md", "wat_cli/data/mini_vocabulary.txt"}
"""Files that come with the embedded model."""


def options(command: Any) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def test_make_targets_exist() -> None:
    for name in DOCUMENTS:
        assert set(re.findall(r"`make ([\w-]+)", (ROOT / name).read_text(encoding="utf-8"))) <= TARGETS, name
    assert set(re.findall(r"^make ([\w-]+)", README, re.MULTILINE)) == {"demo", "test"}
    assert {"demo", "test"} <= TARGETS


def test_commands_of_the_readme_are_understood() -> None:
    found = re.findall(r"(?:^|`|\| )wat ((?:caption|models|check|doctor)[^`\n|]*)", README, re.MULTILINE)
    assert len(found) >= 5
    for line in found:
        name, *arguments = shlex.split(line)
        command = COMMANDS[name]
        assert {word for word in arguments if word.startswith("-") and word != "-"} <= options(command) | {"--help"}


def test_options_of_the_documents_exist() -> None:
    known = set().union(*(options(command) for command in COMMANDS.values())) | {"--help"}
    for name in DOCUMENTS[:-1]:  # the last tells of other programs
        text = (ROOT / name).read_text(encoding="utf-8")
        assert set(re.findall(r"(?<![\w-])(--[a-z][\w-]+)", text)) <= known, name


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_that_are_named_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:wat_cli|training|sample_media|tests|benchmarks)/[\w./]*|LICENSE|[A-Z]+\.md)`", text))
    named -= set() if (ROOT / "wat_cli/data/mini.pt").exists() else LATER
    assert [path for path in sorted(named) if path.isupper() and not (ROOT / path).exists()] == []
    assert [path for path in sorted(named) if not path.isupper() and not (ROOT / path).exists()] == []


def test_changelog_tells_of_this_version() -> None:
    assert wat_cli.__version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_command_and_option_has_help() -> None:
    for name, command in COMMANDS.items():
        assert command.help, name
        for parameter in command.params:
            assert getattr(parameter, "help", "there are no words for arguments here"), f"{name} {parameter.name}"
