"""Downloads against a real HTTP server on this machine: whole, cut off, resumed, wrong, refused, unreachable."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import threading
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from filelock import FileLock

from tests.publisher import Publisher, checkpoint_bytes, serving
from wat_cli.checkpoints.download import WrongHash, fetch
from wat_cli.checkpoints.transfer import Patience, Transfer
from wat_cli.errors import ExitCode, WeightsMissing

BODY = checkpoint_bytes(300_000)
BLOCK = 65_536
SHA256 = hashlib.sha256(BODY).hexdigest()
QUICK = Patience(first_answer=2.0, next_answer=2.0, silence=2.0, pauses=(0.0, 0.0, 0.0, 0.0))


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with serving() as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "small.pt"


def leftovers(target: Path) -> set[str]:
    """What lies beside the target, the lock apart."""
    return {path.name for path in target.parent.iterdir()} - {f".{target.name}.lock"}


@pytest.mark.parametrize("manners", [{}, {"ranges": False}, {"chunked": True}, {"length": False}], ids=str)
def test_a_file_arrives_whole_with_its_hash(publisher: Publisher, target: Path, manners: dict[str, bool]) -> None:
    seen: list[Transfer] = []
    url = publisher.offer("/small.pt", BODY, **manners)
    assert fetch(url, target, SHA256, seen.append, patience=QUICK) == SHA256
    assert target.read_bytes() == BODY
    assert leftovers(target) == {"small.pt"}
    assert seen[0].done == 0
    assert seen[-1].done == len(BODY)
    assert seen[-1].total == (None if "chunked" in manners or "length" in manners else len(BODY))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_cut_in_the_middle_is_gone_on_with_from_there(publisher: Publisher, target: Path, chunked: bool) -> None:
    notes: list[str] = []
    url = publisher.offer("/small.pt", BODY, cuts=[2 * BLOCK, BLOCK], chunked=chunked)
    fetch(url, target, SHA256, lambda transfer: notes.append(transfer.note or ""), patience=QUICK)
    assert target.read_bytes() == BODY
    assert publisher.asked == [("/small.pt", None), ("/small.pt", "bytes=131072-"), ("/small.pt", "bytes=196608-")]
    assert any("broke after 0.1 MB" in note for note in notes)


def test_a_cut_without_range_starts_over(publisher: Publisher, target: Path) -> None:
    url = publisher.offer("/small.pt", BODY, cuts=[100_000], ranges=False)
    fetch(url, target, SHA256, patience=QUICK)
    assert target.read_bytes() == BODY
    assert len(publisher.asked) == 2


def test_after_the_last_try_the_part_stays_for_the_next_run(publisher: Publisher, target: Path) -> None:
    url = publisher.offer("/small.pt", BODY, cuts=[BLOCK] * 3)
    with pytest.raises(WeightsMissing, match="broke off") as caught:
        fetch(url, target, SHA256, patience=replace(QUICK, pauses=(0.0, 0.0)))
    assert caught.value.exit_code is ExitCode.MISSING
    part = target.with_name("small.pt.part")
    assert str(part) in str(caught.value)
    assert part.read_bytes() == BODY[: 3 * BLOCK]
    assert not target.exists()
    fetch(url, target, SHA256, patience=QUICK)
    assert publisher.asked[-1] == ("/small.pt", "bytes=196608-")
    assert target.read_bytes() == BODY
    assert leftovers(target) == {"small.pt"}


def test_a_whole_part_is_only_renamed(publisher: Publisher, target: Path) -> None:
    url = publisher.offer("/small.pt", BODY)
    target.parent.mkdir()
    target.with_name("small.pt.part").write_bytes(BODY)
    assert fetch(url, target, SHA256, patience=QUICK) == SHA256
    assert publisher.asked == [("/small.pt", f"bytes={len(BODY)}-")]


def test_a_part_that_is_too_long_starts_over(publisher: Publisher, target: Path) -> None:
    url = publisher.offer("/small.pt", BODY)
    target.parent.mkdir()
    target.with_name("small.pt.part").write_bytes(BODY + b"more")
    assert fetch(url, target, SHA256, patience=QUICK) == SHA256
    assert target.read_bytes() == BODY


def test_a_part_of_something_else_ends_as_a_wrong_hash_and_is_thrown_away(publisher: Publisher, target: Path) -> None:
    url = publisher.offer("/small.pt", BODY)
    target.parent.mkdir()
    target.with_name("small.pt.part").write_bytes(b"PK\x03\x04" + bytes(1000))
    with pytest.raises(WrongHash):
        fetch(url, target, SHA256, patience=QUICK)
    assert leftovers(target) == set()
    fetch(url, target, SHA256, patience=QUICK)
    assert target.read_bytes() == BODY


def test_a_wrong_hash_leaves_what_was_there(publisher: Publisher, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"an older file")
    url = publisher.offer("/small.pt", checkpoint_bytes(300_000, seed=1))
    with pytest.raises(WrongHash) as caught:
        fetch(url, target, SHA256, patience=QUICK)
    assert caught.value.expected == SHA256
    assert target.read_bytes() == b"an older file"
    assert leftovers(target) == {"small.pt"}


class TestWithoutAPublishedHash:
    """Heads: nothing would notice two halves of two versions, a page instead of a file, or a file cut short."""

    def test_a_part_is_not_gone_on_with(self, publisher: Publisher, target: Path) -> None:
        url = publisher.offer("/small.pt", BODY, cuts=[100_000])
        assert fetch(url, target, None, patience=QUICK) == SHA256
        assert publisher.asked == [("/small.pt", None), ("/small.pt", None)]

    def test_but_with_the_publishers_word_that_it_is_the_same(self, publisher: Publisher, target: Path) -> None:
        url = publisher.offer("/small.pt", BODY, cuts=[BLOCK], etag='"v1"')
        assert fetch(url, target, None, patience=QUICK) == SHA256
        assert publisher.asked[-1] == ("/small.pt", "bytes=65536-")
        assert leftovers(target) == {"small.pt"}

    def test_a_new_version_since_the_cut_is_fetched_whole(self, publisher: Publisher, target: Path) -> None:
        url = publisher.offer("/small.pt", BODY, cuts=[100_000] * 2, etag='"v1"')
        with pytest.raises(WeightsMissing):
            fetch(url, target, None, patience=replace(QUICK, pauses=(0.0,)))
        newer = checkpoint_bytes(300_000, seed=2)
        publisher.offer("/small.pt", newer, etag='"v2"')
        fetch(url, target, None, patience=QUICK)
        assert target.read_bytes() == newer

    def test_a_body_of_no_stated_length_that_ends_early_is_noticed(self, publisher: Publisher, target: Path) -> None:
        url = publisher.offer("/small.pt", BODY, cuts=[100_000], length=False)
        with pytest.raises(WeightsMissing, match="damaged"):
            fetch(url, target, None, patience=QUICK)
        assert leftovers(target) == set()

    def test_a_page_is_no_checkpoint(self, publisher: Publisher, target: Path) -> None:
        url = publisher.offer("/small.pt", b"<!DOCTYPE html><title>This link was removed</title>" * 10)
        with pytest.raises(WeightsMissing, match="something else than a checkpoint"):
            fetch(url, target, None, patience=QUICK)
        assert not target.exists()
        publisher.offer("/small.pt", BODY)
        assert fetch(url, target, None, patience=QUICK) == SHA256


def test_not_found_is_said_with_the_address(publisher: Publisher, target: Path) -> None:
    url = publisher.base + "/gone.pt"
    with pytest.raises(WeightsMissing, match=f"404 .*{url}"):
        fetch(url, target, SHA256, patience=QUICK)
    assert len(publisher.asked) == 1


def test_a_publisher_out_of_order_is_said_at_once(publisher: Publisher, target: Path) -> None:
    url = publisher.offer("/small.pt", BODY, status=503)
    with pytest.raises(WeightsMissing, match="it answers 503"):
        fetch(url, target, SHA256, patience=QUICK)
    assert len(publisher.asked) == 1


def test_another_part_than_asked_for_is_not_put_behind_the_first(publisher: Publisher, target: Path) -> None:
    url = publisher.offer("/small.pt", BODY, cuts=[BLOCK], shift=1)
    assert fetch(url, target, SHA256, patience=QUICK) == SHA256
    assert publisher.asked == [("/small.pt", None), ("/small.pt", "bytes=65536-"), ("/small.pt", None)]


def test_a_refused_connection_is_said_at_once(target: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(WeightsMissing, match="127.0.0.1 cannot be reached .the connection is refused"):
        fetch(f"http://127.0.0.1:{port}/small.pt", target, SHA256)


def test_a_name_that_cannot_be_looked_up_is_said(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(WeightsMissing, match="its name cannot be looked up"):
        fetch("http://weights.invalid/small.pt", target, SHA256)


@pytest.mark.parametrize("silent_part", ["look-up", "server"])
def test_silence_counts_as_no_network(
    publisher: Publisher, target: Path, monkeypatch: pytest.MonkeyPatch, silent_part: str
) -> None:
    """Neither a look-up without end nor a server that accepts and says nothing may outlast the limit."""
    over = threading.Event()
    url = publisher.offer("/small.pt", BODY, delay=1.5 if silent_part == "server" else 0.0)
    if silent_part == "look-up":

        def hang(*arguments: object, **options: object) -> None:
            over.wait(5)
            raise socket.gaierror

        monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        with pytest.raises(WeightsMissing, match=r"no answer in 0\.2 s"):
            fetch(url, target, SHA256, patience=replace(QUICK, first_answer=0.2))
    finally:
        over.set()


def test_no_network_is_said_within_ten_seconds() -> None:
    assert Patience().first_answer < 10


def test_a_redirection_out_of_https_is_not_followed_to_a_file(
    publisher: Publisher, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the https address had led to this server's http one."""
    plain, real_get = publisher.offer("/small.pt", BODY), requests.get
    monkeypatch.setattr(requests, "get", lambda url, **options: real_get(plain, **options))
    with pytest.raises(WeightsMissing, match="without encryption"):
        fetch("https://weights.invalid/small.pt", target, None, patience=QUICK)
    assert not target.exists()


def test_a_full_disk_is_said_before_the_download(
    publisher: Publisher, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1_000_000))
    url = publisher.offer("/small.pt", BODY)
    with pytest.raises(WeightsMissing, match="no room for small.pt.*--model-dir"):
        fetch(url, target, SHA256, patience=QUICK)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_said(publisher: Publisher, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(WeightsMissing, match="cannot be written"):
        fetch(publisher.offer("/small.pt", BODY), folder / "small.pt", SHA256, patience=QUICK)


def test_a_folder_in_place_of_a_file_is_said(publisher: Publisher, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(WeightsMissing, match="cannot be written"):
        fetch(publisher.offer("/small.pt", BODY), tmp_path / "cache" / "small.pt", SHA256, patience=QUICK)


def test_a_second_run_waits_for_the_first_and_then_has_the_file(publisher: Publisher, target: Path) -> None:
    url = publisher.offer("/small.pt", BODY)
    target.parent.mkdir()
    waiting = threading.Event()
    results: list[str | None] = []

    def second_run() -> None:
        results.append(
            fetch(url, target, SHA256, lambda transfer: waiting.set(), still_wanted=lambda: not target.exists())
        )

    with FileLock(target.with_name(".small.pt.lock")):
        thread = threading.Thread(target=second_run)
        thread.start()
        assert waiting.wait(5)
        target.write_bytes(BODY)
    thread.join(10)
    assert results == [None]
    assert publisher.asked == []


def test_an_interruption_keeps_the_part(publisher: Publisher, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = publisher.offer("/small.pt", BODY)

    def interrupt(transfer: Transfer) -> None:
        if transfer.done >= 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(url, target, SHA256, interrupt, patience=QUICK)
    kept = target.with_name("small.pt.part").stat().st_size
    assert kept >= 100_000
    fetch(url, target, SHA256, patience=QUICK)
    assert publisher.asked[-1] == ("/small.pt", f"bytes={kept}-")
    assert target.read_bytes() == BODY
