"""Paths to jobs, in folders made here; what only ffmpeg can tell is told by a function of a line."""

from __future__ import annotations

import io
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wat_cli.discovery import Discovery, Job, Outputs, discover, read_paths
from wat_cli.errors import UsageError

MEDIA = b"\x00\x00\x00\x18ftypmp42"
"""First bytes that are no text and no well-known other kind."""


def never(path: Path) -> bool:
    raise AssertionError(f"{path} was looked into")


def has_magic(path: Path) -> bool:
    """Stands for ffprobe."""
    return path.read_bytes().startswith(MEDIA)


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """Makes files under a folder: names ending in / are folders; the content is media unless given."""

    def make(*names: str, **contents: bytes) -> Path:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                path.mkdir(exist_ok=True)
            else:
                path.write_bytes(contents.get("content", MEDIA))
        return tmp_path

    return make


Tree = Callable[..., Path]


def sources(found: Discovery, root: Path) -> list[str]:
    return [str(job.source.relative_to(root)) for job in found.jobs]


def reasons(found: Discovery) -> dict[str, tuple[bool, str]]:
    return {refused.path.name: (refused.failed, refused.reason) for refused in found.refused}


# --- what is found ----------------------------------------------------------------------------------------------------


def test_folders_are_walked_in_the_order_of_names(tree: Tree) -> None:
    root = tree("b.mp4", "a/z.mkv", "a/b/c.MP3", "c.wav", "B.flac", "a10.mp4", "a9.mp4")
    found = discover([root], never)
    assert sources(found, root) == ["B.flac", "a/b/c.MP3", "a/z.mkv", "a10.mp4", "a9.mp4", "b.mp4", "c.wav"]
    assert found.refused == ()


def test_the_order_of_the_arguments_is_kept_and_nothing_comes_twice(tree: Tree) -> None:
    root = tree("b.mp4", "a.mp4", "sub/x.mp4")
    found = discover([root / "sub/x.mp4", root / "b.mp4", root, root / "sub/../a.mp4"], never)
    assert sources(found, root) == ["sub/x.mp4", "b.mp4", "a.mp4"]


def test_unknown_names_are_looked_into(tree: Tree) -> None:
    root = tree("film", "film2.xyz", "film3.jpg", "stream.ts")
    (root / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (root / "zeros.bin").write_bytes(bytes(5000))
    assert sources(discover([root], has_magic), root) == ["film", "film2.xyz", "film3.jpg", "stream.ts"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"export const x = 1;\n",
        "Grüße, 世界".encode(),
        b"a" + "é".encode() * 4000,  # the look ends within a character
        b"\x89PNG\r\n\x1a\n\0\0",
        b"%PDF-1.7\0",
        b"PK\x03\x04\0\0",
        b"\x7fELF\0",
    ],
)
def test_well_known_other_kinds_are_not_looked_into(tree: Tree, content: bytes) -> None:
    root = tree("thing.ts", "thing", content=content)
    assert discover([root], never) == Discovery((), ())


def test_a_file_by_name_is_always_tried(tree: Tree) -> None:
    root = tree("notes.md", ".hidden.mp4", "empty.dat", "talk.mp4", content=b"text")
    names = ["notes.md", ".hidden.mp4", "empty.dat", "talk.mp4"]
    assert sources(discover([root / name for name in names], never), root) == names


def test_captions_by_name_are_tried_without_standing_in_a_films_way(tree: Tree) -> None:
    root = tree("talk.mp4", "film.txt")
    (root / "talk.srt").write_bytes(b"1\n")
    (root / "film.srt").write_bytes(b"1\n")
    found = discover(sorted(root.iterdir()), has_magic, names="full")
    assert sources(found, root) == ["film.txt", "talk.mp4"]
    assert reasons(found)["talk.srt"] == (True, "captions or data, not media")


def test_broken_media_in_a_folder_are_for_the_probe_to_refuse(tree: Tree) -> None:
    root = tree("empty.mp4", content=b"")
    assert sources(discover([root], never), root) == ["empty.mp4"]


def test_hidden_names_are_left_out_below_what_was_asked_for(tree: Tree) -> None:
    root = tree(".git/x.mp4", "._talk.mp4", ".talk.mp4", "sub/.x/y.mp4", "talk.mp4", ".open/a.mp4")
    assert sources(discover([root], never), root) == ["talk.mp4"]
    assert sources(discover([root / ".open"], never), root) == [".open/a.mp4"]


def test_links_are_followed_but_not_in_circles(tree: Tree) -> None:
    root = tree("a/talk.mp4", "elsewhere.d/film.mp4")
    (root / "a/up").symlink_to(root)
    (root / "a/self").symlink_to(".")
    (root / "a/other").symlink_to(root / "elsewhere.d")
    (root / "a/copy.mp4").symlink_to("talk.mp4")
    (root / "a/circle.mp4").symlink_to("circle.mp4")
    (root / "a/dangling.txt").symlink_to("nowhere.txt")
    (root / "a/dangling.mp4").symlink_to("nowhere.mp4")
    found = discover([root / "a"], never)
    assert sources(found, root) == ["a/copy.mp4", "a/other/film.mp4", "a/talk.mp4"]
    assert {name: failed for name, (failed, _) in reasons(found).items()} == {"circle.mp4": True, "dangling.mp4": True}


def test_deep_folders_are_no_trouble(tmp_path: Path) -> None:
    deep = tmp_path
    here = Path.cwd()
    try:
        os.chdir(tmp_path)
        for _ in range(300):
            os.mkdir("d")  # noqa: PTH102 (relative, step by step)
            os.chdir("d")
        Path("x.mp4").write_bytes(MEDIA)
    finally:
        os.chdir(here)
    assert len(discover([deep], never).jobs) == 1


def test_special_files_in_folders_are_left_out(tree: Tree) -> None:
    root = tree("a.mp4")
    os.mkfifo(root / "pipe.mp4")
    assert sources(discover([root], never), root) == ["a.mp4"]


def test_a_closed_folder_is_named(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree("open.mp4", "closed/x.mp4")

    def scandir(path: Path, listed: Callable[[Path], object] = os.scandir) -> object:
        if path.name == "closed":  # the superuser, who may run this test, may list every folder
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = discover([root], never)
    assert sources(found, root) == ["open.mp4"]
    assert reasons(found) == {"closed": (True, "permission denied")}


def test_a_missing_path_by_name_ends_it_all(tree: Tree) -> None:
    root = tree("a.mp4")
    with pytest.raises(UsageError, match=r"gone\.mp4: no such file"):
        discover([root / "a.mp4", root / "gone.mp4"], never)
    with pytest.raises(UsageError, match="and 7 more"):
        discover([root / f"gone{number}" for number in range(10)], never)
    with pytest.raises(UsageError, match="too long"):
        discover([root / ("n" * 300)], never)


def test_a_missing_path_in_a_list_is_one_failure(tree: Tree) -> None:
    root = tree("a.mp4", "sub/b.mp4")
    found = discover([], never, listed=[root / "gone.mp4", root / "a.mp4", root / "sub", Path("nul\0byte")])
    assert sources(found, root) == ["a.mp4", "sub/b.mp4"]
    assert reasons(found)["gone.mp4"] == (True, "no such file or directory")
    assert reasons(found)["nul\0byte"][0]


def test_own_outputs_are_left_out(tree: Tree) -> None:
    root = tree("talk.mp4", "other.mp4")
    for suffix in ("srt", "vtt", "txt", "tsv"):
        (root / f"talk.{suffix}").write_text("1\n")
    (root / "talk.json").write_text('{\n"schema": 1,\n"encoder_passes": 3,\n"windows": 3\n}\n')
    (root / "talk.npz").write_bytes(b"PK\x03\x04\0\0\0")
    (root / "other.srt").write_text("a person's")
    assert sources(discover([root], never), root) == ["other.mp4", "talk.mp4"]
    found = discover(sorted(root.iterdir()), has_magic)  # videos/*
    assert sources(found, root) == ["other.mp4", "talk.mp4"]
    assert reasons(found)["other.srt"][0]
    left_out = {name for name, (failed, _) in reasons(found).items() if not failed}
    assert left_out == {"talk.srt", "talk.vtt", "talk.txt", "talk.tsv", "talk.json", "talk.npz"}


# --- where outputs go -------------------------------------------------------------------------------------------------


def test_outputs_lie_beside_their_source(tree: Tree) -> None:
    root = tree("sub/talk.one.mp4")
    (job,) = discover([root], never).jobs
    assert job == Job(root / "sub/talk.one.mp4", Outputs(root / "sub", "talk.one"))
    assert job.outputs.sidecar == root / "sub/talk.one.json"
    assert job.outputs.scores == root / "sub/talk.one.npz"
    assert job.outputs.captions == {s: root / f"sub/talk.one.{s}" for s in ("srt", "vtt", "txt", "tsv")}
    (full,) = discover([root], never, names="full").jobs
    assert full.outputs.captions["srt"] == root / "sub/talk.one.mp4.srt"


def test_an_output_folder_mirrors_the_folder_asked_for(tree: Tree, tmp_path: Path) -> None:
    root, out = tree("shows/a/x.mp4", "shows/y.mp4", "single/z.mp4"), Path("/out")
    found = discover([root / "shows", root / "single/z.mp4"], never, output_dir=out)
    assert [job.outputs.sidecar for job in found.jobs] == [out / "a/x.json", out / "y.json", out / "z.json"]


def test_a_path_with_dots_cannot_leave_the_output_folder(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree("shows/a/x.mp4", "z.mp4")
    monkeypatch.chdir(root / "shows")
    found = discover([Path("../shows/a/.."), Path("../z.mp4")], never, output_dir=Path("out"))
    assert [str(job.outputs.sidecar) for job in found.jobs] == ["out/a/x.json", "out/z.json"]


def test_a_job_is_small_and_picklable(tree: Tree) -> None:
    (job,) = discover([tree(os.fsdecode(b"caf\xe9\n.mp4"))], never).jobs
    assert pickle.loads(pickle.dumps(job)) == job
    assert len(pickle.dumps(job)) < 1000


# --- clashes ----------------------------------------------------------------------------------------------------------


def test_inputs_with_one_output_are_all_left_out_and_the_rest_goes_on(tree: Tree) -> None:
    root = tree("a.mp3", "a.mp4", "b.mp4", "sub/a.mp4")
    found = discover([root], never)
    assert sources(found, root) == ["b.mp4", "sub/a.mp4"]
    assert set(reasons(found)) == {"a.mp3", "a.mp4"}
    failed, reason = reasons(found)["a.mp3"]
    assert failed and "a.mp4" in reason and "--names full" in reason
    assert sources(discover([root], never, names="full"), root) == ["a.mp3", "a.mp4", "b.mp4", "sub/a.mp4"]


def test_clashes_in_an_output_folder_are_found(tree: Tree) -> None:
    root = tree("one/talk.mp4", "two/talk.mp4", "two/b.mp4")
    found = discover([root / "one", root / "two"], never, output_dir=root / "out")
    assert sources(found, root) == ["two/b.mp4"]
    assert all("common folder" in refused.reason for refused in found.refused)
    assert len(discover([root], never, output_dir=root / "out").jobs) == 3


def test_clashes_through_links_are_found(tree: Tree) -> None:
    root = tree("real/a.mp4", "b/a.mkv")
    (root / "link").symlink_to("real")
    found = discover([root / "real/a.mp4", root / "b"], never, output_dir=root / "link")
    assert found.jobs == ()
    found = discover([root / "link/a.mp4", root / "real/a.mp4"], never)
    assert sources(found, root) == ["link/a.mp4"]


def test_outputs_do_not_leave_their_folder_through_links(tree: Tree) -> None:
    root = tree("in/a.mp4", "in/sub/b.mp4", "in/near/c.mp4", "in/round/d.mp4", "secret/x", "out/real/x")
    (root / "out/sub").symlink_to("../secret")
    (root / "out/near").symlink_to("real")
    (root / "out/round").symlink_to("round")  # leads nowhere
    found = discover([root / "in"], never, output_dir=root / "out")
    assert sources(found, root) == ["in/a.mp4", "in/near/c.mp4", "in/round/d.mp4"]  # writing the last one fails
    assert "sub leads out of it" in next(item for item in found.refused if item.path.name == "b.mp4").reason
    (root / "link").symlink_to("out")  # which a user may name
    assert len(discover([root / "in/a.mp4"], never, output_dir=root / "link").jobs) == 1


@pytest.mark.parametrize(("folds", "left"), [(False, 4), (True, 0)])
def test_case_counts_where_the_file_system_counts_it(tree: Tree, folds: bool, left: int) -> None:
    root = tree("Talk.mkv", "talk.mp4", "stra\u00dfe.mp4", "STRASSE.mkv")
    assert len(discover([root], never, folds_case=lambda folder: folds).jobs) == left


def test_case_is_asked_of_the_file_system(tree: Tree) -> None:
    root = tree("Talk.mkv", "talk.mp4")  # both are there, so this file system tells them apart
    assert len(list(root.iterdir())) == 2
    assert len(discover([root], never, output_dir=root / "not/yet/there").jobs) == 2


def test_an_input_is_never_an_output(tree: Tree) -> None:
    root = tree("talk.srt")  # a film of that name
    found = discover([root / "talk.srt"], has_magic)
    assert found.jobs == ()
    assert "would replace the input" in reasons(found)["talk.srt"][1]
    assert len(discover([root / "talk.srt"], has_magic, names="full").jobs) == 1


def test_a_name_that_leaves_no_room_for_a_suffix_is_named(tree: Tree) -> None:
    fits, long = "f" * 250 + ".mp4", "g" * 251 + ".mp4"
    root = tree(fits, long)
    found = discover([root], never)
    assert sources(found, root) == [fits]
    assert "255" in reasons(found)[long][1]


# --- lists ------------------------------------------------------------------------------------------------------------


def test_a_list_by_line() -> None:
    names = read_paths(io.BytesIO(b"a.mp4\r\n\nb c.mp4\n-x\ncaf\xe9.mp4"))
    assert names == (Path("a.mp4"), Path("b c.mp4"), Path("-x"), Path(os.fsdecode(b"caf\xe9.mp4")))


def test_a_list_by_nul_read_by_line_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="-0"):
        read_paths(io.BytesIO(b"a.mp4\0b.mp4\0"))


@given(st.lists(st.binary(min_size=1).filter(lambda name: b"\0" not in name)))
def test_a_list_by_nul_holds_any_name(names: list[bytes]) -> None:
    got = read_paths(io.BytesIO(b"".join(name + b"\0" for name in names)), null=True)
    assert list(got) == [Path(os.fsdecode(name)) for name in names]


def test_the_names_from_a_list_open_the_files(tree: Tree) -> None:
    names = [b"two\nlines.mp4", b"\xff\xfe.mp4", b" spaces .mp4"]
    root = tree(*(os.fsdecode(name) for name in names))
    listing = b"\0".join(os.fsencode(root) + b"/" + name for name in names)
    found = discover([], never, listed=read_paths(io.BytesIO(listing), null=True))
    assert [os.fsencode(job.source.name) for job in found.jobs] == names
    shutil.rmtree(root)
