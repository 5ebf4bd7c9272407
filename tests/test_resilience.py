"""Runs that are killed, and runs that meet: nothing partial, nothing twice, nobody's file lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import write_wav

ROOT = Path(__file__).parents[1]
FILES = 6


@pytest.fixture
def films(tmp_path: Path) -> Path:
    for number in range(FILES):
        write_wav(tmp_path / "films" / f"{number}.wav", 1.0 + number, level=0.1 + number / 10)
    return tmp_path / "films"


def wat(films: Path, *arguments: str, delay: float = 0.0) -> subprocess.Popen[str]:
    """Start ``wat caption`` with the fake engine in a process of its own."""
    weights = films.parent / "model.pt"
    weights.write_bytes(b"weights")
    environment = {
        **os.environ,
        "FAKE_WAT_DELAY": str(delay),
        "XDG_CACHE_HOME": str(films.parent / "cache"),
        "WAT_MODEL": str(weights),
        "WAT_TAGGER_CHECKPOINT": str(weights),
    }
    command = [sys.executable, "-m", "tests.fake_wat", "caption", str(films), "-f", "srt,vtt", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def visible(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.startswith(".")}


def comparable(name: str, data: bytes) -> Any:
    """A file's content without what differs from run to run."""
    if not name.endswith(".json"):
        return data
    document = json.loads(data)
    return {key: value for key, value in document.items() if key not in ("timings", "checksum")}


def test_a_run_killed_at_any_moment_goes_on_where_it_was(films: Path) -> None:
    with wat(films) as undisturbed:
        assert undisturbed.wait() == 0, undisturbed.communicate()[1]
    expected = visible(films)
    for path in films.iterdir():
        if path.suffix != ".wav":
            path.unlink()
    generator = random.Random(7)
    kills = 0
    while kills < 5:
        with wat(films, "--log-json", "-", delay=0.2) as running:
            assert running.stdout is not None
            for line in running.stdout:  # it takes a while to start: count from the first file on
                if "file-start" in line:
                    break
            time.sleep(generator.uniform(0.05, 0.5))
            running.kill()
            running.wait()
        kills += 1
        for name, data in visible(films).items():
            assert comparable(name, data) == comparable(name, expected[name]), f"{name} after kill {kills}"
    with wat(films, "--log-json", "-") as last:
        out, err = last.communicate()
    assert last.returncode == 0, err
    assert "was not written by wat" not in err and "was changed since" not in err
    found = visible(films)
    assert {name: comparable(name, data) for name, data in found.items()} == {
        name: comparable(name, data) for name, data in expected.items()
    }
    assert [path.name for path in films.iterdir() if path.name.startswith(".")] == []


def test_an_interrupt_ends_several_workers_cleanly(films: Path) -> None:
    with wat(films, "--jobs", "2", "--log-json", "-", delay=0.5) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if "file-end" in line:
                break
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "What was in work was dropped" in err and "Traceback" not in err
    with wat(films, "--jobs", "2") as again:
        _, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert len(visible(films)) == 4 * FILES
    assert [path.name for path in films.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("runs", [2, 4])
def test_runs_that_meet_share_the_work(films: Path, runs: int) -> None:
    started = [wat(films, "--log-json", "-", delay=0.05) for _ in range(runs)]
    lines: list[dict[str, Any]] = []
    for running in started:
        out, err = running.communicate()
        assert running.returncode == 0, err
        lines += [json.loads(line) for line in out.splitlines()]
    written = [Path(line["source"]).name for line in lines if line.get("status") == "written"]
    assert sorted(written) == [f"{number}.wav" for number in range(FILES)]
    assert len(visible(films)) == 4 * FILES
    assert [path.name for path in films.iterdir() if path.name.startswith(".")] == []
