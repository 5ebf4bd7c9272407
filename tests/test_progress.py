"""What a person sees of a run: an estimate that can be believed, a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from tests.fakes import FakeEngine, load_fake, write_wav
from wat_cli.batch import Captioner, Outcome, Planned, Progress, Report, Status, setting_of
from wat_cli.captioning import Setting
from wat_cli.checkpoints import ResolvedWeights, WeightFile
from wat_cli.cli import estimate as estimates
from wat_cli.cli.estimate import Estimate, look_ahead
from wat_cli.cli.progress import Bar, Lines, outcome_table, standing_line, work_lines
from wat_cli.discovery import Job, Outputs
from wat_cli.errors import ExitCode
from wat_cli.media import MediaInfo
from wat_cli.options import RunOptions
from wat_cli.parallel import Heard, Journal, from_line, run_parallel
from wat_cli.together import run_jobs

A, B, C = Path("a.mp4"), Path("b.mp4"), Path("c.mp4")


class Clock:
    """A clock that is set by hand."""

    time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def job(source: Path) -> Job:
    return Job(source, Outputs(source.parent, source.stem))


def done(source: Path, seconds: float = 0.0, status: Status = Status.WRITTEN, reason: str = "") -> Outcome:
    return Outcome(source, status, reason, audio_seconds=seconds, wall_seconds=1.0)


# --- the estimate -----------------------------------------------------------------------------------------------------


def test_speed_and_what_is_left(clock: Clock) -> None:
    run = Estimate(2, clock)
    run.expected(A, 120.0)
    run.expected(B, 60.0)
    run.opened(A)
    clock.time = 30.0  # the model is loaded, the first window decoded
    run.heard(A, 30.0)
    assert (run.standing.speed, run.standing.left) == (None, None)
    for _ in range(3):
        clock.time += 3.0
        run.heard(A, run.standing.heard + 30.0)
    standing = run.standing
    assert standing.speed == pytest.approx(10.0)  # 90 s in 9 s: loading is no part of it
    assert standing.left == pytest.approx(6.0)
    assert (standing.heard, standing.total, standing.certain) == (120.0, 180.0, True)
    clock.time += 2.0
    assert run.standing.left == pytest.approx(4.0), "it counts down between two windows"
    clock.time += 60.0
    assert run.standing.speed < 2.0, "a run that stands still is not fast"


def test_an_estimate_of_an_even_run_is_right_from_the_beginning_to_the_end(clock: Clock) -> None:
    run = Estimate(20, clock)
    for number in range(20):
        run.expected(Path(str(number)), 90.0)
    for number in range(20):
        run.opened(Path(str(number)))
        for part in (30.0, 60.0, 90.0):
            clock.time += 2.0
            run.heard(Path(str(number)), part)
            left = run.standing.left
            if left is not None:
                assert left == pytest.approx(120.0 - clock.time, abs=0.1)
        run.closed(Path(str(number)), 90.0)
    assert run.standing.left == 0.0


def test_what_is_skipped_is_no_work(clock: Clock) -> None:
    run = Estimate(3, clock)
    run.expected(A, 0.0)
    run.expected(B, 600.0)
    run.expected(C, 0.0)
    assert (run.standing.total, run.standing.certain) == (600.0, True)
    for source in (A, C):
        run.opened(source)
        run.closed(source, 0.0)
    assert (run.standing.files, run.standing.heard, run.standing.total) == (2, 0.0, 600.0)
    run.closed(B, 0.0)  # it failed
    assert run.standing.total == 0.0


def test_lengths_that_nobody_knows_are_taken_for_the_others(clock: Clock) -> None:
    run = Estimate(4, clock)
    assert run.standing.total is None
    run.expected(A, 100.0)
    assert (run.standing.total, run.standing.certain) == (400.0, False)  # three were not looked at
    run.expected(B, 0.0)
    assert run.standing.total == pytest.approx(200.0)  # half of those looked at are up to date
    run.expected(C, None)
    run.expected(Path("d"), 0.0)
    assert (run.standing.total, run.standing.certain) == (200.0, False)
    run.opened(C)
    run.heard(C, 150.0)
    assert run.standing.total == 250.0, "a file is at least as long as what was heard of it"
    run.closed(C, 170.0)
    assert (run.standing.total, run.standing.certain) == (270.0, True)


def test_what_was_heard_before_is_no_speed(clock: Clock) -> None:
    run = Estimate(1, clock)
    run.expected(A, 36_000.0)
    run.opened(A)
    for window in range(1, 1001):  # a resumed file runs through what it knows
        clock.time += 0.001
        run.heard(A, 30.0 * window)
    for window in range(1001, 1011):
        clock.time += 3.0
        run.heard(A, 30.0 * window)
    standing = run.standing
    assert standing.heard == 30_300.0
    assert standing.speed == pytest.approx(10.0, rel=0.01)
    assert standing.left == pytest.approx(570.0, rel=0.01)
    run.closed(A, 36_000.0)
    assert run.standing.left == 0.0


def test_several_files_in_work_add_up(clock: Clock) -> None:
    run = Estimate(2, clock)
    for source in (A, B):
        run.expected(source, 300.0)
        run.opened(source)
    speeds = []
    for turn in range(1, 6):
        for source in (A, B):
            clock.time += 1.5
            run.heard(source, 30.0 * turn)
            speeds.append(run.standing.speed)
    assert speeds[-1] == pytest.approx(20.0, rel=0.15)
    assert all(speed is None or speed < 21.0 for speed in speeds), "no too good beginning"
    assert [(path, far, length) for path, far, length in run.standing.in_work] == [(A, 150.0, 300.0), (B, 150.0, 300.0)]


def test_a_file_that_another_worker_begins_anew(clock: Clock) -> None:
    run = Estimate(1, clock)
    run.expected(A, 300.0)
    run.opened(A)
    for turn, seconds in enumerate((30.0, 60.0, 90.0, 30.0)):
        clock.time = 3.0 * turn
        run.heard(A, seconds)
    assert (run.standing.heard, run.standing.speed) == (30.0, None)


def test_what_is_none_of_the_jobs_does_not_count(clock: Clock) -> None:
    run = Estimate(1, clock)
    run.closed(B, 0.0)  # refused when the paths were read
    assert (run.standing.files, run.standing.of) == (0, 1)


event = st.tuples(
    st.sampled_from(["expected", "opened", "heard", "closed"]), st.sampled_from([A, B, C]),
    st.none() | st.floats(0, 1e5), st.floats(0, 100),
)  # fmt: skip


def test_what_is_told_of_a_file_that_is_done_with_does_not_count() -> None:
    run = Estimate(1, Clock())
    run.opened(A)
    run.closed(A, 0.0)
    run.heard(A, 1.0)
    assert run.standing.heard == 0


@given(st.lists(event, max_size=40))
@example([("expected", B, 1.0, 0.0), ("heard", A, None, 0.0), ("expected", A, None, 1.0), ("heard", A, 5e-324, 0.0)])
def test_whatever_happens_the_numbers_make_sense(events: list[tuple[str, Path, float | None, float]]) -> None:
    clock = Clock()
    run = Estimate(3, clock)
    for name, source, seconds, passed in events:
        clock.time += passed
        if name == "opened":
            run.opened(source)
        elif name == "expected":
            run.expected(source, seconds)
        else:
            getattr(run, name)(source, seconds or 0.0)
        standing = run.standing
        assert standing.heard >= 0 and standing.files <= 3
        assert standing.total is None or standing.total >= standing.heard - 1e-6
        assert standing.speed is None or standing.speed > 0
        assert standing.left is None or standing.left >= 0
        assert standing_line(standing) and len(work_lines(standing)) <= 5


# --- looking ahead ----------------------------------------------------------------------------------------------------


def test_looking_ahead_asks_what_the_run_would_ask(tmp_path: Path, clock: Clock) -> None:
    sources = [write_wav(tmp_path / f"{name}.wav", seconds) for name, seconds in (("a", 2.0), ("b", 5.0))]
    (tmp_path / "bad.wav").write_text("text")
    run = Estimate(3, clock)
    run.opened(sources[0])
    clock.time = 1.0
    jobs = [job(path) for path in (*sources, tmp_path / "bad.wav")]
    look_ahead(jobs, Setting(RunOptions(), {}, {}, ""), run, threading.Event())
    assert (run.standing.total, run.standing.certain) == (7.0, True)


def test_looking_ahead_leaves_alone_what_is_done(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def planned(jobs: list[Job], setting: Setting) -> Iterator[Planned]:
        asked.extend(job.source for job in jobs)
        if jobs[0].source == B:
            raise RuntimeError("nobody foresaw this")
        yield Planned(done(jobs[0].source), MediaInfo(jobs[0].source, 9.0, 0.0, "wav", (), False, ()), None, heard=True)

    monkeypatch.setattr(estimates, "planned", planned)
    run = Estimate(3, clock)
    for source in (A, B):
        run.opened(source)
    clock.time = 1.0
    run.closed(A, 5.0)
    look_ahead([job(A), job(B), job(C)], Setting(RunOptions(), {}, {}, ""), run, threading.Event())
    assert asked == [B, C]
    assert run.standing.total == pytest.approx(7.5), "another layout is no audio; b is not known"


def test_a_run_that_does_nothing_is_not_looked_ahead_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "planned", lambda *_: pytest.fail("asked"))
    stop = threading.Event()
    stop.set()
    look_ahead([job(A)], Setting(RunOptions(), {}, {}, ""), Estimate(1), stop)


# --- what reaches it --------------------------------------------------------------------------------------------------


class Told(Progress):
    """Keeps how far each file was said to be."""

    def __init__(self) -> None:
        self.far: dict[str, float] = {}

    def heard(self, source: Path, seconds: float) -> None:
        assert seconds >= self.far.get(source.name, 0.0)
        self.far[source.name] = seconds


WEIGHTS = ResolvedWeights(WeightFile("a", Path("a"), "a" * 64), None, None)
Run = Callable[[list[Job], Progress], Iterator[Outcome]]


def one_after_the_other(jobs: list[Job], progress: Progress) -> Iterator[Outcome]:
    return run_jobs(jobs, Captioner(setting_of(RunOptions(), WEIGHTS), FakeEngine, progress), 1)


def together(jobs: list[Job], progress: Progress) -> Iterator[Outcome]:
    return run_jobs(jobs, Captioner(setting_of(RunOptions(), WEIGHTS), FakeEngine, progress), 2)


def in_processes(jobs: list[Job], progress: Progress) -> Iterator[Outcome]:
    return run_parallel(jobs, RunOptions(), WEIGHTS, ("cpu", "cpu"), progress, load_fake)


@pytest.mark.parametrize("run", [one_after_the_other, together, in_processes])
def test_how_far_each_file_is_is_told_however_they_are_heard(run: Run, tmp_path: Path) -> None:
    sources = [write_wav(tmp_path / f"{number}.wav", 2.0 + number) for number in range(3)]
    told = Told()
    assert len(list(run([job(source) for source in sources], told))) == 3
    assert told.far == {"0.wav": 2.0, "1.wav": 3.0, "2.wav": 4.0}


def test_a_worker_tells_how_far_it_is_once_a_second(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr("wat_cli.parallel.time.monotonic", clock)
    lines: list[bytes] = []
    journal = Journal(lines.append)
    for tenth in range(35):
        clock.time = tenth / 10
        journal.heard(A, float(tenth))
        journal.heard(B, float(tenth))
    told = [from_line(line) for line in lines]
    assert [(at.source, at.seconds) for at in told if isinstance(at, Heard)] == [
        (source, seconds) for seconds in (0.0, 10.0, 20.0, 30.0) for source in (A, B)
    ]


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_lines_of_a_standing(clock: Clock) -> None:
    run = Estimate(3, clock)
    assert standing_line(run.standing) == "0:00 of audio, 0 of 3 files"
    run.expected(A, 3600.0)
    run.opened(A)
    for turn in (1, 2, 3):
        clock.time = 10.0 * turn
        run.heard(A, 30.0 * turn)
    assert standing_line(run.standing) == "1:30 of ~3:00:00 of audio, 3.0x real time, ~59:30 left, 0 of 3 files"
    assert work_lines(run.standing) == ["a.mp4  1:30 of 1:00:00"]
    for number in range(9):
        run.opened(Path(f"{number}\n.mp4"))
    assert work_lines(run.standing)[1] == "0\\n.mp4"
    assert work_lines(run.standing)[-1] == "and 6 more"


def terminal() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=True, width=120, color_system=None, soft_wrap=True), out


def test_failures_are_shown_as_they_come_and_again_at_the_end() -> None:
    console, out = terminal()
    report = Report()
    with Bar(console) as bar:
        bar.started(2)
        for outcome in (done(B, 0.0, Status.FAILED, "broken [bold]"), done(A, 60.0)):
            bar.opened(job(outcome.source))
            bar.heard(outcome.source, 30.0)
            report.add(outcome)
            bar.closed(outcome)
            assert outcome.source.name in out.getvalue()
        bar.ended(report, ExitCode.SOME_FAILED)
    told = out.getvalue()
    assert told.count("b.mp4: failed: broken [bold]") == 2
    assert "in all       2   1:00" in told


def test_a_bar_without_jobs_leaves_no_trace() -> None:
    console, out = terminal()
    with Bar(console) as bar:
        bar.started(0)
        bar.ended(Report(), ExitCode.OK)
    assert out.getvalue() == "no media files found\n"


def test_the_table_counts_what_there_is() -> None:
    report = Report()
    for outcome in (
        done(A, 60.0), done(B, 30.0), Outcome(C, Status.SKIPPED, "up to date", up_to_date=True),
        done(Path("d"), 0.0, Status.FAILED, "broken"),
    ):  # fmt: skip
        report.add(outcome)
    out = io.StringIO()
    Console(file=out, width=100).print(outcome_table(report))
    rows = [line.split() for line in out.getvalue().splitlines()]
    assert rows[1:4] == [["written", "2", "1:30"], ["skipped", "1", "1", "up", "to", "date"], ["failed", "1"]]
    assert rows[4][:5] == ["in", "all", "4", "1:30", "in"]


def test_plain_lines_are_lines(tmp_path: Path) -> None:
    """In cron there is no terminal: nothing moves, nothing is coloured, and --quiet leaves nothing."""
    for quiet, expected in ((False, 3), (True, 0)):
        out = io.StringIO()
        lines = Lines(Console(file=out, width=80, soft_wrap=True), quiet=quiet)
        report = Report()
        with lines:
            lines.started(2)
            lines.look_ahead([job(A), job(B)], Setting(RunOptions(), {}, {}, ""))
            for outcome in (done(A, 60.0), done(B, 0.0, Status.FAILED, "broken")):
                lines.opened(job(outcome.source))
                lines.heard(outcome.source, 30.0)
                report.add(outcome)
                lines.closed(outcome)
            lines.ended(report, ExitCode.SOME_FAILED)
        assert out.getvalue().count("\n") == expected
        assert "\x1b" not in out.getvalue() and "\r" not in out.getvalue()
        assert quiet or f"{B}: failed: broken{os.linesep}" in out.getvalue()
