"""``wat models`` from the outside: what it prints where, and how it ends."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from rich.console import Console

from tests.publisher import Publisher, checkpoint_bytes, serving
from wat_cli import checkpoints
from wat_cli.checkpoints import Transfer, registry
from wat_cli.checkpoints.registry import FULL_MODE, NARROW_MODE, Head, Model, Remote
from wat_cli.cli import main
from wat_cli.cli.download_bar import DownloadBar

SPEECH = checkpoint_bytes(50_000, seed=1)
FULL_HEAD = checkpoint_bytes(20_000, seed=2)
NARROW_HEAD = checkpoint_bytes(10_000, seed=3)


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Wat = Callable[..., Ended]


@pytest.fixture
def wat(capsys: pytest.CaptureFixture[str]) -> Wat:
    """Runs ``wat models ...`` as the console script does."""

    def run(*arguments: str) -> Ended:
        try:
            main(["models", *arguments])
            code = 0
        except SystemExit as exit:
            code = int(exit.code or 0)
        return Ended(code, *capsys.readouterr())

    return run


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder, and a data folder with the two files of ``mini``, both the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = tmp_path / "data"
    data.mkdir()
    (data / "mini.pt").write_bytes(SPEECH)
    (data / "mini_head.pt").write_bytes(FULL_HEAD)
    monkeypatch.setattr(checkpoints, "DATA_FOLDER", data)
    return tmp_path / "cache" / "whisper"


@pytest.fixture(autouse=True)
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    """Every published model is this server's, so that no test can reach the real publishers."""
    with serving() as running:
        for name, model in registry.MODELS.items():
            speech = Remote(running.offer(f"/{name}.pt", SPEECH), f"{name}.pt", hashlib.sha256(SPEECH).hexdigest())
            heads = {}
            for width, head in model.heads.items():
                body, mode = (FULL_HEAD, FULL_MODE) if width == "full" else (NARROW_HEAD, NARROW_MODE)
                remote = Remote(running.offer(f"/{head.file.filename}", body), head.file.filename, None)
                heads[width] = Head(mode, head.parameters, head.mean_average_precision, remote)
            own = Model(name, model.parameters, model.megabytes, speech, heads, model.aliases)
            monkeypatch.setitem(registry.MODELS, name, own)
        yield running


def test_list_shows_every_model_and_is_honest_about_mini(wat: Wat, folder: Path) -> None:
    ended = wat("list")
    assert ended.code == 0
    for name in registry.names():
        assert name in ended.out
    assert "synthetic English voices" in ended.out
    assert "not made for real recordings" in " ".join(ended.out.split())
    assert str(folder) in ended.out
    assert ended.err == ""


def test_list_as_json_says_what_is_on_this_machine(wat: Wat, folder: Path) -> None:
    wat("pull", "small")
    rows = {row["name"]: row for row in json.loads(wat("list", "--json").out)}
    assert list(rows) == ["mini", *registry.MODELS]
    assert rows["small"]["cached"] == [str(folder / "small.pt"), str(folder / "small_low.pth")]
    assert rows["base"]["cached"] == []
    assert rows["large-v3"]["heads"] == {}
    assert rows["large-v3"]["aliases"] == ["large"]
    assert [Path(path).name for path in rows["mini"]["cached"]] == ["mini.pt", "mini_head.pt"]
    assert "small.pt, small_low.pth" in wat("list").out


def test_pull_fetches_the_checkpoint_and_its_head(wat: Wat, folder: Path) -> None:
    ended = wat("pull", "small", "tiny")
    assert (ended.code, ended.out) == (0, "")
    assert (folder / "small.pt").read_bytes() == (folder / "tiny.pt").read_bytes() == SPEECH
    assert (folder / "small_low.pth").read_bytes() == NARROW_HEAD
    assert (folder / "tiny_ori.pth").read_bytes() == FULL_HEAD
    for name in ("small.pt", "small_low.pth", "tiny.pt", "tiny_ori.pth"):
        assert f"fetched {name}" in ended.err
        assert str(folder / name) in ended.err


def test_pull_again_fetches_nothing(wat: Wat, publisher: Publisher) -> None:
    wat("pull", "small")
    publisher.asked.clear()
    assert wat("pull", "small").code == 0
    assert publisher.asked == []


def test_pull_of_a_model_without_a_head_says_so(wat: Wat, folder: Path) -> None:
    ended = wat("pull", "turbo")
    assert ended.code == 0
    assert "no head to tag sounds with is published for large-v3-turbo" in ended.err
    assert {path.name for path in folder.glob("[!.]*.pt*")} == {"large-v3-turbo.pt"}


def test_pull_can_leave_the_head_or_take_the_full_one(wat: Wat, folder: Path) -> None:
    wat("pull", "small", "--no-tags")
    assert {path.name for path in folder.glob("[!.]*.pt*")} == {"small.pt"}
    wat("pull", "small", "--tagger-head", "full")
    assert {path.name for path in folder.glob("[!.]*.pt*")} == {"small.pt", "small_ori.pth"}


def test_pull_into_another_folder(wat: Wat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wat("pull", "tiny", "--model-dir", str(tmp_path / "a"))
    assert (tmp_path / "a" / "tiny.pt").is_file()
    monkeypatch.setenv("WAT_MODEL_DIR", str(tmp_path / "b"))
    wat("pull", "tiny")
    assert (tmp_path / "b" / "tiny_ori.pth").is_file()
    wat("pull", "tiny", "--model_dir", str(tmp_path / "c"))
    assert (tmp_path / "c" / "tiny.pt").is_file()


def test_an_unknown_name_is_a_usage_error_before_anything_is_fetched(wat: Wat, publisher: Publisher) -> None:
    ended = wat("pull", "small", "smol")
    assert ended.code == 2
    assert "Did you mean small?" in ended.err
    assert publisher.asked == []


def test_an_unknown_width_is_a_usage_error(wat: Wat) -> None:
    assert wat("pull", "small", "--tagger-head", "256").code == 2


def test_pull_without_the_publisher_ends_as_missing(wat: Wat, publisher: Publisher) -> None:
    publisher.offers.clear()
    ended = wat("pull", "small")
    assert ended.code == 3
    assert "404" in ended.err
    assert "--model mini" in ended.err


def test_path_prints_the_checkpoint_and_the_head(wat: Wat, folder: Path) -> None:
    wat("pull", "small", "turbo")
    assert wat("path", "small") == (0, f"{folder}/small.pt\n{folder}/small_low.pth\n", "")
    turbo = wat("path", "turbo")
    assert (turbo.code, turbo.out) == (0, f"{folder}/large-v3-turbo.pt\n")
    assert wat("path", "small", "--no-tags").out == f"{folder}/small.pt\n"


def test_path_of_mini_is_in_the_package(wat: Wat, tmp_path: Path) -> None:
    assert wat("path", "mini").out == f"{tmp_path}/data/mini.pt\n{tmp_path}/data/mini_head.pt\n"


def test_path_of_what_is_not_there_prints_no_path(wat: Wat) -> None:
    ended = wat("path", "small")
    assert (ended.code, ended.out) == (3, "")
    assert "wat models pull small" in ended.err


def test_verify_finds_nothing_wrong_with_what_was_pulled(wat: Wat, folder: Path) -> None:
    wat("pull", "small")
    ended = wat("verify")
    assert ended.code == 0
    verdicts = {line.split()[1]: line for line in ended.out.splitlines()}
    assert verdicts[str(folder / "small.pt")].endswith("as published")
    assert verdicts[str(folder / "small_low.pth")].endswith("as first seen")
    assert len(verdicts) == 4  # and the two of mini


def test_verify_reads_again_and_names_what_is_wrong(wat: Wat, folder: Path) -> None:
    """Same size, same time of change: only reading the file tells."""
    wat("pull", "small")
    stat = (folder / "small.pt").stat()
    (folder / "small.pt").write_bytes(SPEECH[::-1])
    os.utime(folder / "small.pt", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    ended = wat("verify", "small")
    assert ended.code == 1
    assert f"wrong  {folder}/small.pt\n" in ended.out
    assert "wat models pull small" in ended.err
    assert wat("pull", "small").code == 0
    assert wat("verify", "small").code == 0


def test_verify_of_what_is_not_there_ends_as_missing(wat: Wat) -> None:
    assert wat("verify", "base").code == 3


def test_a_changed_head_is_trusted_only_when_asked(wat: Wat, folder: Path, publisher: Publisher) -> None:
    wat("pull", "small")
    (folder / "small_low.pth").unlink()
    publisher.offer("/small_low.pth", FULL_HEAD)
    refused = wat("pull", "small")
    assert refused.code == 3
    assert "--trust-changed" in refused.err
    assert wat("pull", "small", "--trust-changed").code == 0
    assert (folder / "small_low.pth").read_bytes() == FULL_HEAD
    assert wat("verify", "small").code == 0


class TestDownloadBar:
    def drawn(self, terminal: bool, *transfers: Transfer) -> str:
        stream = io.StringIO()
        with DownloadBar(Console(file=stream, force_terminal=terminal, width=100)) as bar:
            for transfer in transfers:
                bar(transfer)
        return stream.getvalue()

    def test_plain_lines_where_nobody_watches(self) -> None:
        steps = [Transfer("small.pt", done, 4_000_000) for done in (0, 2_000_000, 4_000_000)]
        assert self.drawn(False, *steps) == "fetching small.pt (4 MB)\nfetched small.pt\n"

    def test_a_bar_on_a_terminal(self) -> None:
        drawn = self.drawn(True, Transfer("small.pt", 0, 4_000_000), Transfer("small.pt", 4_000_000, 4_000_000))
        assert "small.pt" in drawn
        assert "4.0/4.0 MB" in drawn

    def test_an_unknown_length_is_no_obstacle(self) -> None:
        assert "small.pt" in self.drawn(True, Transfer("small.pt", 0, None), Transfer("small.pt", 5, None))
        assert self.drawn(False, Transfer("small.pt", 0, None)) == "fetching small.pt\n"

    def test_notes_are_said_and_small_checks_are_not(self) -> None:
        note = Transfer("small.pt", 0, None, "waiting for [another] run")
        assert (
            self.drawn(False, note, Transfer("small.pt", 5, 10, "checking")) == "small.pt: waiting for [another] run\n"
        )

    def test_a_long_check_is_shown(self) -> None:
        assert "checking large-v3.pt" in self.drawn(True, Transfer("large-v3.pt", 1 << 20, 3 << 30, "checking"))
