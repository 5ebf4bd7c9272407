"""The README's commands run as they are written, its samples are what the program writes, its pictures are there."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs import screenshots

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
ELSEWHERE = {
    "make demo": ".ci/run runs it",
    "make test": "this is it",
    "pip install .": "needs a package index",
    "wat caption ~/videos": "needs weights",
}
"""Commands that no test runs, and why."""
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line not in ELSEWHERE]
PICTURES = sorted(path for path in (ROOT / "docs" / "pictures").rglob("*") if path.suffix in (".png", ".svg"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_what_is_not_run_is_told() -> None:
    assert set(ELSEWHERE) <= {line for block in BLOCKS for line in block.splitlines()}
    assert "make demo" in (ROOT / ".ci/run").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(captioned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a fresh checkout, but that the films are captioned already, by the README's own command."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "sample_media", folder / "sample_media")
    shutil.copytree(captioned, folder / "captions")
    return folder


def test_commands_run_as_they_are_written(folder: Path) -> None:
    assert len(COMMANDS) >= 6 and COMMANDS[0].startswith("wat caption sample_media --model mini ")
    script = "\n".join(["set -euo pipefail", f'wat() {{ "{sys.executable}" -m wat_cli "$@"; }}', *COMMANDS])
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "[Doorbell]" in done.stdout
    assert (folder / "captions" / "review.html").is_file()


@pytest.mark.parametrize("name", screenshots.SAMPLES)
def test_samples_are_what_is_written(folder: Path, name: str) -> None:
    """Nearly to the letter, since another processor's rounding may turn a word."""
    real = screenshots.sample(name, folder)
    assert difflib.SequenceMatcher(None, screenshots.told_samples(README)[name], real).ratio() > 0.9, "`make pictures`"


def test_samples_are_replaced() -> None:
    changed = screenshots.with_samples(README, {name: f"{name} \\1\n" for name in screenshots.SAMPLES})
    assert screenshots.told_samples(changed) == {"before": "before \\1\n", "after": "after \\1\n"}
    assert screenshots.with_samples(changed, screenshots.told_samples(README)) == README


def test_a_sample_ends_where_it_should() -> None:
    captions = "1\n00:00:01,000 --> 00:00:02,000\na\nb\n\n2\n00:00:40,000 --> 00:00:41,000\nc\n"
    assert screenshots.beginning(captions) == "1\n00:00:01,000 --> 00:00:02,000\na\nb\n"


def test_pictures_are_there_and_shown() -> None:
    shown = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r'(?:src|srcset)="([^"]+)"|!\[[^\]]*\]\(([^)]+)\)', text):
            picture = (page.parent / "".join(target)).resolve()
            assert picture.is_file(), f"{page.name}: {picture}"
            shown.add(picture)
    assert shown == {path.resolve() for path in PICTURES}


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_pictures_are_small_and_fetch_nothing(picture: Path) -> None:
    data = picture.read_bytes()
    assert len(data) <= screenshots.LARGEST
    if picture.suffix == ".svg":
        assert re.findall(rb"https?://[^\"]*", data) == [b"http://www.w3.org/2000/svg"]
        assert not re.search(rb"<script|@import|url\((?!#)", data)
