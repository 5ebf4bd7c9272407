"""Captions under the names by which players know them (``wat caption --player-names``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeEngine, write_wav
from tests.test_batch import WEIGHTS
from wat_cli import sidecar
from wat_cli.batch import Captioner, Outcome, Progress, Status, run, setting_of
from wat_cli.discovery import Job, Outputs
from wat_cli.errors import UsageError
from wat_cli.options import CaptionOptions, OutputOptions, RunOptions, TranscribeOptions


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "talk.wav", 2.0, level=0.4)


def caption(
    source: Path,
    engine: FakeEngine | None = None,
    *,
    style: str = "default",
    language: str | None = None,
    **output: Any,
) -> Outcome:
    options = RunOptions(
        transcribe=TranscribeOptions(language=language),
        captions=CaptionOptions(style=style),
        output=OutputOptions(**{"player_names": True, **output}),
    )
    work = Captioner(setting_of(options, WEIGHTS), lambda: engine or FakeEngine(), Progress())
    (outcome,) = run([Job(source, Outputs(source.parent, source.stem))], work)
    return outcome


def there(source: Path) -> set[str]:
    return {path.name for path in source.parent.iterdir()} - {source.name}


SOUNDS = {"talk.en.sdh.srt", "talk.en.sdh.vtt", "talk.json"}


def test_names_tell_language_and_sounds(talk: Path) -> None:
    outcome = caption(talk)
    assert outcome.status is Status.WRITTEN
    assert there(talk) == {path.name for path in outcome.outputs} == SOUNDS
    record = sidecar.read(talk.with_suffix(".json"))
    assert record.unchanged and set(record.transcript.outputs) == SOUNDS - {"talk.json"}
    for name, digest in record.transcript.outputs.items():
        assert sidecar.sha256_of_file(talk.with_name(name)) == digest


def test_content_is_that_of_the_usual_names(talk: Path) -> None:
    caption(talk)
    named = talk.with_name("talk.en.sdh.srt").read_bytes()
    engine = FakeEngine()
    assert caption(talk, engine, player_names=False).status is Status.WRITTEN
    assert talk.with_name("talk.srt").read_bytes() == named and not engine.heard


def test_a_second_run_does_nothing_and_a_missing_file_is_written_again(talk: Path) -> None:
    caption(talk)
    engine = FakeEngine()
    outcome = caption(talk, engine)
    assert outcome.up_to_date and outcome.status is Status.SKIPPED
    talk.with_name("talk.en.sdh.srt").unlink()
    outcome = caption(talk, engine)
    assert outcome.status is Status.WRITTEN and there(talk) == SOUNDS
    assert not engine.heard


def test_another_layout_is_written_without_hearing(talk: Path) -> None:
    caption(talk)
    before, engine = talk.with_name("talk.en.sdh.srt").read_bytes(), FakeEngine()
    outcome = caption(talk, engine, style="netflix")
    assert outcome.status is Status.WRITTEN and not engine.heard
    assert talk.with_name("talk.en.sdh.srt").read_bytes() != before


def test_another_language_is_another_name(talk: Path) -> None:
    caption(talk, language="de", output_format="srt")
    assert "talk.de.sdh.srt" in there(talk)


def test_a_persons_captions_stay_and_are_named(talk: Path) -> None:
    mine = talk.with_name("talk.en.sdh.srt")
    mine.write_text("mine")
    first, second = caption(talk), caption(talk, engine := FakeEngine())
    assert first.status is Status.WRITTEN and "talk.en.sdh.srt was not written by wat" in " ".join(first.notes)
    assert second.status is Status.SKIPPED and not second.up_to_date and "--overwrite" in second.reason
    assert not engine.heard and mine.read_text() == "mine"
    assert caption(talk, overwrite=True).status is Status.WRITTEN and mine.read_text() != "mine"


def test_an_edited_file_stays(talk: Path) -> None:
    caption(talk)
    edited = talk.with_name("talk.en.sdh.srt")
    edited.write_text("edited")
    assert caption(talk).up_to_date
    assert "was changed" in " ".join(caption(talk, style="netflix").notes)
    assert edited.read_text() == "edited"


def test_existing_outputs_are_left_alone_where_that_is_asked_for(talk: Path) -> None:
    caption(talk, player_names=False)
    assert caption(talk, skip_existing=True).up_to_date
    assert there(talk) == {"talk.srt", "talk.vtt", "talk.json"}


def test_silence_has_nothing_to_name(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "talk.wav", 2.0, level=0.0)
    outcome = caption(source, FakeEngine())
    assert outcome.status is Status.WRITTEN
    assert caption(source, FakeEngine()).up_to_date


def test_standard_output_has_no_name() -> None:
    with pytest.raises(UsageError, match="no name"):
        OutputOptions(player_names=True, output_dir=Path("-"), output_format="srt")
