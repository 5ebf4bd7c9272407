"""The JSON lines and the summary: each line by the schema, the whole as the run went."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from wat_cli import journal
from wat_cli.batch import Outcome, Report, Status
from wat_cli.discovery import Job, Outputs
from wat_cli.errors import ExitCode, OutputError
from wat_cli.journal import Journal, Summary

ODD = Path("two\nlines-caf\udce9.mp4")
OUTCOMES = [
    Outcome(Path("a.mp4"), Status.WRITTEN, outputs=(Path("a.srt"),), audio_seconds=60.0, wall_seconds=2.0),
    Outcome(Path("b.mp4"), Status.FAILED, "broken"),
    Outcome(Path("c.mp4"), Status.SKIPPED, "up to date", up_to_date=True),
    Outcome(Path("d.mp4"), Status.SKIPPED, "no audio track"),
    Outcome(ODD, Status.PARTLY, "the audio ends early", notes=("a note",)),
]


def test_every_line_is_json_by_the_schema() -> None:
    stream = io.StringIO()
    written = Journal(stream, now=lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    written.started(5)
    for outcome in OUTCOMES:
        written.opened(Job(outcome.source, Outputs(Path(), "x")))
        written.closed(outcome)
    written.ended(Report(OUTCOMES), ExitCode.SOME_FAILED)
    stream.getvalue().encode("ascii")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    validator = jsonschema.Draft202012Validator(journal.schema())
    validator.check_schema(journal.schema())
    for line in lines:
        validator.validate(line)
    assert [line["event"] for line in lines] == ["run-start", *["file-start", "file-end"] * 5, "run-end"]
    assert lines[0]["time"] == "2026-01-02T03:04:05.000+00:00"
    assert lines[2]["outputs"] == ["a.srt"]
    assert lines[-2]["source"] == str(ODD)
    assert lines[-1]["files"] == {"written": 1, "partly": 1, "skipped": 2, "failed": 1}
    assert lines[-1]["exit_code"] == 1


def test_the_schema_refuses_what_it_does_not_describe() -> None:
    validator = jsonschema.Draft202012Validator(journal.schema())
    line = {"version": 1, "time": "now", "event": "file-start", "source": "a", "surprise": 1}
    assert not validator.is_valid(line)


def test_the_summary_names_what_is_not_as_it_should_be(tmp_path: Path) -> None:
    Summary(tmp_path / "summary.json").ended(Report(OUTCOMES), ExitCode.SOME_FAILED)
    read = json.loads((tmp_path / "summary.json").read_text())
    assert [entry["source"] for entry in read["failed"]] == ["b.mp4"]
    assert [entry["source"] for entry in read["partly"]] == [str(ODD)]
    assert [entry["source"] for entry in read["skipped"]] == ["d.mp4"]
    assert read["exit_code"] == 1
    assert read["audio_seconds"] == 60.0
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_a_summary_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="--summary"):
        Summary(tmp_path / "no" / "folder.json").ended(Report(), ExitCode.OK)
