"""Who may import whom, and that nobody pays for torch who does not hear anything."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "wat_cli"

OWN = {
    "errors": set(),
    "languages": set(),
    "options": {"errors", "languages"},
    "transcript": {"errors"},
    "discovery": {"errors", "options"},
    "media": {"errors", "options"},
    "checkpoints": {"errors", "options"},
    "model": {"errors", "transcript"},
    "seek": {"transcript", "options"},
    "tagging": {"transcript", "options", "errors"},
    "captions": {"transcript", "options", "errors"},
    "resume": set(),
    "cpus": {"options"},
    "shards": {"tagging"},
    "engine": {"resume", "shards", "model", "seek", "tagging", "media", "transcript", "options", "errors"},
    "sidecar": {"errors", "options", "transcript", "tagging"},
    "outputs": {"errors", "sidecar"},
    "subtitled": {"discovery", "languages", "media", "options", "outputs"},
    "captioning": {
        "errors",
        "subtitled",
        "resume",
        "options",
        "transcript",
        "discovery",
        "media",
        "tagging",
        "captions",
        "sidecar",
        "outputs",
    },
    "embed": {"errors", "languages", "media", "options"},
    "rendering": {"errors", "options", "transcript", "captioning", "sidecar", "outputs", "embed"},
    "batch": {
        "errors",
        "options",
        "transcript",
        "discovery",
        "media",
        "checkpoints",
        "sidecar",
        "tagging",
        "outputs",
        "captioning",
        "rendering",
        "embed",
    },
    "api": {
        "errors",
        "options",
        "transcript",
        "discovery",
        "media",
        "checkpoints",
        "sidecar",
        "captions",
        "captioning",
        "batch",
        "cpus",
        "engine",
    },
    "parallel": {"batch", "captioning", "checkpoints", "cpus", "discovery", "engine", "options", "together"},
    "cluster": {"batch", "checkpoints", "discovery", "errors", "options", "parallel"},
    "together": {"batch", "captioning", "discovery", "media"},
    "failures": {"batch", "checkpoints"},
    "hook": {"batch", "errors"},
    "journal": {"errors", "discovery", "batch", "options", "outputs"},
    "review": {
        "errors",
        "options",
        "transcript",
        "discovery",
        "media",
        "tagging",
        "captions",
        "sidecar",
        "outputs",
        "captioning",
    },
    "doctor": {"errors", "options", "media", "checkpoints", "cpus"},
    "training": {"errors", "options", "transcript", "media", "checkpoints", "model", "engine", "tagging", "cpus"},
}
"""What each room may import from the package. ``cli``, at the top, may import everything; nothing imports ``cli``."""

OUTSIDE = {
    "torch": {"model", "engine", "doctor", "training"},
    "whisper": {"model", "engine", "training"},
    "typer": {"cli"},
    "rich": {"cli"},
    "platformdirs": {"cli"},
    "ffmpeg": {"media"},
    "imageio_ffmpeg": {"media"},
    "subprocess": {"media", "doctor", "hook"},
    "joblib": {"parallel", "cluster", "cpus"},
    "distributed": {"cluster"},
    "requests": {"checkpoints"},
    "pysrt": {"captions"},
    "filelock": {"checkpoints", "outputs", "parallel", "training"},
}
"""Which rooms alone may import these."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Full names of everything that a module imports, wherever in it; imports for type checkers only are free."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    free = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in free:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_those_below_it(path: Path) -> None:
    here = room(path)
    for name in imported(path):
        parts = name.split(".")
        if (
            parts[0] == "wat_cli"
            and len(parts) > 1
            and (PACKAGE / parts[1]).with_suffix(".py").exists() | (PACKAGE / parts[1]).is_dir()
        ):
            if here in ("cli", "__main__", "__init__") or parts[1] == here:
                continue
            assert here in OWN, f"{path}: a new room; say in this test what it may import"
            assert parts[1] in OWN[here], f"{here} must not import {name}"
        elif parts[0] in OUTSIDE:
            assert here in OUTSIDE[parts[0]], f"{here} must not import {parts[0]}"


def test_the_table_names_rooms_that_are_there() -> None:
    rooms = {room(path) for path in modules()}
    assert set(OWN) <= rooms
    assert rooms - set(OWN) == {"cli", "__init__", "__main__"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["caption", "--help"],
        ["caption", "/no/such/file"],
        ["models", "--help"],
        ["models", "list"],
        ["labels", "dog"],
        ["config"],
        ["caption", "--print-config"],
    ],
)
def test_what_takes_long_to_load_is_not_loaded_for(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from wat_cli.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print('LOADED', sorted({'torch', 'whisper', 'numba', 'scipy', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_help_loads_neither_numpy_nor_ffmpeg() -> None:
    program = "import sys, wat_cli.cli; print(sorted({'numpy', 'ffmpeg', 'pysrt', 'filelock'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
