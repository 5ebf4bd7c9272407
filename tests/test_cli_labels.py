"""``wat labels``: AudioSet's classes and those of a head of one's own, as the captions would use them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wat_cli.cli import main
from wat_cli.cli.labels import rows
from wat_cli.options import TagOptions
from wat_cli.tagging.events import events_from_tags
from wat_cli.tagging.labels import load_labels
from wat_cli.tagging.policy import load_policy, resolve
from wat_cli.transcript import HeadTuning, TagTrack

Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    def run(*arguments: str) -> list[dict[str, Any]]:
        with pytest.raises(SystemExit) as end:
            main(["labels", "--json", *arguments])
        out, err = capsys.readouterr()
        assert not end.value.code, err
        found: list[dict[str, Any]] = json.loads(out)
        return found

    return run


def test_all_classes_in_the_heads_order(ask: Ask) -> None:
    found = ask()
    assert [(row["index"], row["mid"], row["name"]) for row in found] == [
        (label.index, label.mid, label.name) for label in load_labels()
    ]
    assert {row["name"] for row in found if row["captioned"]} == {
        load_policy().classes[index].name for index in load_policy().enabled
    }
    assert all(row["captioned"] or row["reason"] for row in found)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["dog", "bark"], {"Dog", "Bark", "Yip", "Bow-wow"}),
        (["GLASS", "shatter"], {"Shatter"}),
        (["/m/04rlf"], {"Music"}),
        (["glass_shattering"], {"Shatter"}),
        (["no such sound"], set()),
    ],
)
def test_search(ask: Ask, words: list[str], names: set[str]) -> None:
    found = {row["name"] for row in ask(*words)}
    assert found >= names and bool(found) == bool(names)
    texts = [f"{row['name']} {row['group']} {row['caption']} {row['mid']}".casefold() for row in ask(*words)]
    assert all(word.casefold() in text for word in words for text in texts)


def test_sound_options_change_what_is_captioned(ask: Ask, tmp_path: Path) -> None:
    table = tmp_path / "sounds.toml"
    table.write_text('suppress = ["Applause"]\n[captions]\n"Howl" = "Wolf howls"\n[thresholds]\n"Howl" = 0.2\n')
    (howl,) = ask("howl", "wolf", "--sounds-file", str(table), "--sounds", "more")
    assert (howl["caption"], howl["captioned"], howl["starts_at"]) == ("Wolf howls", True, 0.2)
    (applause,) = [row for row in ask("--sounds-file", str(table), "applause") if row["name"] == "Applause"]
    assert (applause["captioned"], applause["reason"]) == (False, "excluded")
    assert {row["group"] for row in ask("--captioned", "--sounds", "none", "--include-sounds", "music")} == {"music"}


@pytest.mark.parametrize("name", ["Applause", "Keys jangling", "Clicking"])
@pytest.mark.parametrize("asked", [None, 0.3])
def test_a_sound_does_start_at_the_score_that_is_told(name: str, asked: float | None) -> None:
    """Events themselves are the judge: just above the told score there is one, just below there is none."""
    options = TagOptions(sounds="all", tags_threshold=asked)
    row = next(row for row in rows(options) if row.name == name)
    assert row.starts_at is not None

    def events(score: float) -> int:
        scores = np.zeros((50, 527), np.float32)
        scores[10:40, row.index] = score
        return len(events_from_tags(TagTrack(scores, scores), options, resolve(options), (), 20.0))

    assert events(row.starts_at + 0.02) == 1
    assert events(row.starts_at - 0.02) == 0


def test_the_labels_of_a_head_of_ones_own(ask: Ask, tmp_path: Path) -> None:
    head = tmp_path / "head.pt"
    head.write_bytes(b"weights are not looked at")
    head.with_suffix(".json").write_text(json.dumps({"threshold": 0.4, "labels": ["kettle_boils", "Dog", "Speech"]}))
    found = ask("--tagger-checkpoint", str(head))
    assert [(row["index"], row["name"], row["caption"]) for row in found] == [
        (0, "kettle_boils", "Kettle boils"), (1, "Dog", "Dog barking"), (2, "Speech", "")
    ]  # fmt: skip
    assert [row["starts_at"] for row in found] == [0.4, 0.4, None]
    assert [row["captioned"] for row in found] == [True, True, False]
    tuning = HeadTuning(0.4, 0.0, ("kettle_boils", "Dog", "Speech"))
    assert resolve(TagOptions(), tuning.labels).enabled >= {527, 74}


def test_columns_are_separated_by_tabs_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["labels", "siren"])
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out), delimiter="\t"))
    assert {row["name"] for row in table} >= {"Siren", "Civil defense siren"}
    assert all(row["captioned"] in ("yes", "no") for row in table)


def test_a_misspelt_word_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["labels", "aplause"])
    assert not end.value.code
    assert "no class matches aplause; did you mean applause" in capsys.readouterr().err


def test_a_head_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["labels", "--tagger-checkpoint", "gone.pt"])
    assert (end.value.code, "gone.pt: no such file" in capsys.readouterr().err) == (2, True)


def test_a_terminal_gets_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with pytest.raises(SystemExit):
        main(["labels", "howl"])
    out = capsys.readouterr().out
    assert "\t" not in out
    assert "Howling" in out and "shown with --sounds more" in " ".join(out.split())
