"""Runs that are killed, and runs that meet: nothing partial, nothing twice, nobody's file lost.

Small versions, with the fake engine, of the proofs in `stress`.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from stress import cluster, concurrent, kills, media, mutants, soak, ten_hours
from stress.runs import Program, Run, events, hidden, visible
from tests.fakes import write_wav

FILES = 6


@pytest.fixture
def fake(tmp_path: Path) -> Program:
    """``wat`` with an engine that needs no model."""
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"weights")
    checkpoints = {"WAT_MODEL": str(weights), "WAT_TAGGER_CHECKPOINT": str(weights)}
    return Program("tests.fake_wat", (), {**checkpoints, "XDG_CACHE_HOME": str(tmp_path / "cache")})


@pytest.fixture
def films(tmp_path: Path) -> Path:
    for number in range(FILES):
        write_wav(tmp_path / "films" / f"{number}.wav", 1.0 + number, level=0.1 + number / 10)
    return tmp_path / "films"


def slower(program: Program, delay: float) -> Program:
    return Program(program.module, program.arguments, {**program.environment, "FAKE_WAT_DELAY": str(delay)})


def test_a_run_killed_at_any_moment_goes_on_where_it_was(films: Path, fake: Program) -> None:
    assert "5 kills" in kills.prove(films, 5, slower(fake, 0.2)).title


def test_an_interrupt_ends_several_workers_cleanly(films: Path, fake: Program, tmp_path: Path) -> None:
    run = Run(slower(fake, 0.5), [films, "-f", "srt,vtt", "--jobs", "2"], tmp_path / "trace")
    while not run.ended and b"file-end" not in (run.log.read_bytes() if run.log.exists() else b""):
        run.sleep(0.05)
    run.process.send_signal(signal.SIGINT)
    run.finish(130, timeout=60)
    assert "dropped. What is finished stays" in run.stderr()
    Run(fake, [films, "-f", "srt,vtt", "--jobs", "2"], tmp_path / "trace").finish(timeout=60)
    assert len(visible(films)) == 4 * FILES and hidden(films) == []


def test_the_proofs_themselves_see_every_window(tmp_path: Path) -> None:
    """With the engine that ships, not the fake one."""
    write_wav(tmp_path / "films" / "long.wav", 65.0)
    run = Run(Program(), [tmp_path / "films", "--no-tags"], tmp_path / "trace")
    run.finish(timeout=120)
    told = events(tmp_path / "trace")
    assert [event.second for event in told if event.what == "window"] == [0, 30, 60]
    assert {"file", "hear", "write", "end"} < {event.what for event in told}


def test_broken_and_hostile_media_end_in_a_clear_word(tmp_path: Path, fake: Program) -> None:
    assert mutants.prove(tmp_path / "work", 30, fake).table


def test_runs_that_meet_share_the_work(tmp_path: Path, fake: Program) -> None:
    for number in range(50):
        write_wav(tmp_path / f"films/shelf-{number % 3}/{number}.wav", 1.0 + number / 20, level=0.1 + number / 100)
    assert concurrent.prove(tmp_path / "films", (2, 4), fake).table


def test_a_cluster_that_loses_a_worker_does_all_files(films: Path, fake: Program) -> None:
    pytest.importorskip("distributed")
    in_turn = replace(slower(fake, 0.2), arguments=("--batch-size", "1"))  # something is left when one of them dies
    assert cluster.prove(films, (), in_turn).table


def test_a_long_file_takes_no_more_memory_and_is_gone_on_with(tmp_path: Path, fake: Program) -> None:
    assert ten_hours.prove(*ten_hours.make_media(tmp_path, hours=0.35), kill_at=900, program=slower(fake, 0.1)).table


def test_many_short_files_leave_nothing_open(tmp_path: Path, fake: Program) -> None:
    assert soak.prove(soak.make_media(tmp_path / "films", 50), program=fake).table


def test_short_films_differ(tmp_path: Path) -> None:
    made = media.short_films(tmp_path, 90, plain=True)
    assert len({path.read_bytes() for path in made}) == 90
