"""Outputs: whose they are, and that they appear whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_sidecar import transcript
from wat_cli import outputs, sidecar
from wat_cli.errors import ForeignOutput, InWork, OutputError


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "talk.json"


def record(*contents: tuple[str, bytes | None]) -> bytes:
    hashes = {name: None if data is None else sidecar.sha256(data) for name, data in contents}
    return sidecar.to_json(dataclasses.replace(transcript(), outputs=hashes))


def written(place: Path, *contents: tuple[str, bytes | None]) -> dict[str, Path]:
    outputs.commit(place, record(*contents), {place.with_name(name): data for name, data in contents})
    return {name.rpartition(".")[2]: place.with_name(name) for name, _ in contents}


def visible(place: Path) -> list[str]:
    return sorted(path.name for path in place.parent.iterdir())


def test_a_set_is_written_and_found_again(place: Path) -> None:
    targets = written(place, ("talk.srt", b"1\n"), ("talk.vtt", b"WEBVTT\n"))
    assert visible(place) == ["talk.json", "talk.srt", "talk.vtt"]
    standing = outputs.inspect(place, targets)
    assert standing.record is not None
    assert standing.settled == {"talk.srt", "talk.vtt"}


def test_nothing_there_is_nothing_known(place: Path) -> None:
    assert outputs.inspect(place, {"srt": place.with_suffix(".srt")}) == outputs.Standing(None, frozenset())


def test_folders_are_made(tmp_path: Path) -> None:
    written(tmp_path / "a" / "b" / "talk.json", ("talk.srt", b"1\n"))
    assert (tmp_path / "a" / "b" / "talk.srt").read_bytes() == b"1\n"


def test_an_output_with_nothing_to_say_is_absent_and_settled(place: Path) -> None:
    written(place, ("talk.srt", b"1\n"))
    targets = written(place, ("talk.srt", None))
    assert visible(place) == ["talk.json"]
    assert outputs.inspect(place, targets).settled == {"talk.srt"}


def test_permissions_are_those_of_any_new_file(place: Path) -> None:
    written(place, ("talk.srt", b"1\n"))
    other = place.with_name("other")
    other.write_text("")
    assert place.stat().st_mode == other.stat().st_mode == place.with_suffix(".srt").stat().st_mode


# --- whose is it -----------------------------------------------------------------------------------------------------


def test_a_persons_captions_are_theirs(place: Path) -> None:
    place.with_suffix(".srt").write_text("mine")
    with pytest.raises(ForeignOutput, match="not written by wat"):
        outputs.inspect(place, {"srt": place.with_suffix(".srt")})


def test_a_changed_output_belongs_to_who_changed_it(place: Path) -> None:
    targets = written(place, ("talk.srt", b"1\n"))
    targets["srt"].write_text("corrected")
    with pytest.raises(ForeignOutput, match="changed since"):
        outputs.inspect(place, targets)


def test_a_changed_sidecar_belongs_to_who_changed_it(place: Path) -> None:
    targets = written(place, ("talk.srt", b"1\n"))
    place.write_bytes(place.read_bytes().replace(b'"mini"', b'"mine"'))
    with pytest.raises(ForeignOutput, match="changed since"):
        outputs.inspect(place, targets)


@pytest.mark.parametrize("text", ["", "{}", '{"text": "from whisper"}', "not json"])
def test_somebody_elses_json_is_theirs(place: Path, text: str) -> None:
    place.write_text(text)
    with pytest.raises(ForeignOutput, match="no sidecar of wat"):
        outputs.inspect(place, {})


def test_a_folder_in_the_way_is_not_replaced(place: Path) -> None:
    place.with_suffix(".srt").mkdir()
    with pytest.raises(ForeignOutput):
        outputs.inspect(place, {"srt": place.with_suffix(".srt")})


def test_a_dangling_link_is_somebodys(place: Path) -> None:
    place.with_suffix(".srt").symlink_to(place.with_name("nowhere"))
    with pytest.raises(ForeignOutput):
        outputs.inspect(place, {"srt": place.with_suffix(".srt")})


def test_a_link_is_replaced_not_followed(place: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    outputs.part_path(place).symlink_to(victim)
    place.symlink_to(victim)
    written(place)
    assert victim.read_text() == "precious"
    assert not place.is_symlink()


# --- cut off ---------------------------------------------------------------------------------------------------------


class Cut(BaseException):
    """The process dies here."""


def cut_after(monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """Let `calls` steps that change the disk pass, and die at the next one, without any clearing up."""
    left = [calls]

    def dying(function):  # type: ignore[no-untyped-def]
        def call(*args, **kwargs):  # type: ignore[no-untyped-def]
            if left[0] == 0:
                raise Cut
            left[0] -= 1
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(os, "fsync", dying(os.fsync))
    monkeypatch.setattr(Path, "replace", dying(Path.replace))
    monkeypatch.setattr(Path, "unlink", dying(Path.unlink))


@pytest.mark.parametrize("calls", range(12))
def test_a_run_cut_off_anywhere_leaves_old_or_new_and_is_mended(
    place: Path, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {"talk.srt": b"old srt", "talk.vtt": b"old vtt"}
    new = {"talk.srt": b"new srt", "talk.vtt": b"new vtt"}
    targets = written(place, *old.items())
    before = place.read_bytes()
    with monkeypatch.context() as patch:
        cut_after(patch, calls)
        with contextlib.suppress(Cut):
            written(place, *new.items())
    for name in old:  # never anything partial under a final name
        assert place.with_name(name).read_bytes() in (old[name], new[name])
    outputs.inspect(place, targets)  # and never taken for a person's
    outputs.recover(place, targets.values())
    state = {name: place.with_name(name).read_bytes() for name in old}
    assert state == (old if place.read_bytes() == before else new)
    assert visible(place) == ["talk.json", "talk.srt", "talk.vtt"]
    assert outputs.inspect(place, targets).settled == set(old)


def test_a_half_written_part_is_cleared(place: Path) -> None:
    outputs.part_path(place).write_bytes(b'{"schema": 1, "chec')
    assert not outputs.recover(place)
    assert visible(place) == []


def test_recovering_removes_nobodys_captions(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs.part_path(place).write_bytes(record(("talk.srt", None)))
    place.with_suffix(".srt").write_text("a person's, made in the meantime")
    outputs.recover(place)
    assert place.with_suffix(".srt").read_text() == "a person's, made in the meantime"


@pytest.mark.parametrize("name", ["talk.srt", "talk.json"])
def test_recovering_replaces_nobodys_file(place: Path, name: str) -> None:
    outputs.part_path(place.with_suffix(".srt")).write_bytes(b"wat's")
    outputs.part_path(place).write_bytes(record(("talk.srt", b"wat's")))
    place.with_name(name).write_text("a person's, made in the meantime")
    assert not outputs.recover(place)
    assert visible(place) == [name]
    assert place.with_name(name).read_text() == "a person's, made in the meantime"


def test_a_sidecar_that_names_other_folders_reaches_nothing_there(place: Path) -> None:
    outside = place.parent.parent / "outside.srt"
    outside.write_text("theirs")
    outputs.part_path(place).write_bytes(record(("../outside.srt", b"theirs")))
    outputs.recover(place)
    assert outside.read_text() == "theirs"


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_cannot_be_written_is_said_so(place: Path) -> None:
    place.parent.chmod(0o500)
    with pytest.raises(OutputError, match=r"talk\.json: cannot be written"):
        written(place, ("talk.srt", b"1\n"))


def test_a_full_disk_leaves_what_was_there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(place, ("talk.srt", b"old"))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        written(place, ("talk.srt", b"new"))
    assert place.with_suffix(".srt").read_bytes() == b"old"
    assert visible(place) == ["talk.json", "talk.srt"]


def test_an_open_file_is_written_as_its_bytes_would_be(tmp_path: Path) -> None:
    place, data = tmp_path / "talk.json", bytes(range(256)) * 9000
    with io.BytesIO(data) as content:
        assert outputs.digest(content) == outputs.digest(data) == sidecar.sha256(data)
        outputs.commit(place, record(("talk.npz", data)), {place.with_suffix(".npz"): content})
    assert place.with_suffix(".npz").read_bytes() == data
    assert outputs.inspect(place, {"npz": place.with_suffix(".npz")}).settled == {"talk.npz"}


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    place = tmp_path / ("n" * 250 + ".json")
    outputs.commit(place, record(), {})
    assert place.exists()


# --- locks -----------------------------------------------------------------------------------------------------------


def test_two_runs_do_not_share_a_file(place: Path) -> None:
    with outputs.locked(place), pytest.raises(InWork), outputs.locked(place):
        pytest.fail("both runs hold it")
    with outputs.locked(place):
        pass
    assert visible(place) == []


def test_a_lock_ends_with_its_holder(place: Path) -> None:
    program = (
        "import sys, os, pathlib; from wat_cli import outputs\n"
        "with outputs.locked(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(InWork), outputs.locked(place):
            pytest.fail("both runs hold it")
        holder.kill()
        holder.wait()
        assert visible(place) != []  # the file stays behind, the lock does not
        with outputs.locked(place):
            pass
    assert visible(place) == []


def test_of_many_runs_at_one_file_never_two_hold_it(place: Path) -> None:
    """The lock's file is removed each time, which some versions of filelock do not bear (see pyproject.toml)."""
    program = (
        "import sys, os, pathlib, contextlib; from wat_cli import outputs, errors\n"
        "place, held = pathlib.Path(sys.argv[1]), 0\n"
        "while held < 300:\n"
        "    with contextlib.suppress(errors.InWork), outputs.locked(place):\n"
        "        os.close(os.open(place, os.O_CREAT | os.O_EXCL))\n"
        "        os.unlink(place)\n"
        "        held += 1\n"
    )
    command = [sys.executable, "-c", program, str(place)]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for errors in [run.communicate(timeout=60)[1] for run in runs]:
        assert "FileExistsError" not in errors
    assert [run.returncode for run in runs] == [0] * 4
    assert visible(place) == []


def test_neighbours_do_not_wait_for_each_other(place: Path) -> None:
    with outputs.locked(place), outputs.locked(place.with_name("other.json")):
        pass


def test_a_disk_without_room_is_known_before_anything_is_heard(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(place.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    outputs.require_room(place, 600.0)
    outputs.require_room(place, None)
    with pytest.raises(OutputError, match=r"talk\.json: cannot be written: 976 KB are free on the disk, 3579 KB are"):
        outputs.require_room(place, 3600.0)
