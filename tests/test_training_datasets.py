"""Manifests, AudioSet's files and ESC's folders become clips with labels; what is wrong is said with its line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from wat_cli.errors import UsageError
from wat_cli.training.datasets import Event, audioset_names, read_dataset, read_labels


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_manifest(tmp_path: Path) -> None:
    path = write(
        tmp_path / "clips.csv",
        'path,start,end,labels,fold\na/1.wav,2,7.5,"Bell; Whoosh, swoosh, swish",1\nb.wav,,,,2\n/abs/c.wav,,,Bell,\n',
    )
    data = read_dataset(path)
    assert data.labels == ("Bell", "Whoosh, swoosh, swish")
    first, second, third = data.clips
    assert (first.path, first.start, first.end, first.fold) == (tmp_path / "a/1.wav", 2.0, 7.5, 1)
    assert first.events == (Event(0.0, math.inf, "Bell"), Event(0.0, math.inf, "Whoosh, swoosh, swish"))
    assert second.labels == () and (second.start, second.end) == (0.0, None)
    assert third.path == Path("/abs/c.wav") and third.fold is None
    assert data.folds == (1, 2)
    assert data.without_fold(1).clips == (second, third) and data.fold(2).clips == (second,)


def test_a_jsonl_manifest_may_say_when(tmp_path: Path) -> None:
    rows = [
        {"path": "a.wav", "events": [{"start": 1, "end": 2.5, "label": "Bell"}, {"start": 4, "label": "Dog"}]},
        {"path": "b.wav", "labels": ["Dog"], "start": 3},
    ]
    path = write(tmp_path / "clips.jsonl", "\n".join(map(json.dumps, rows)) + "\n\n")
    data = read_dataset(path, audio=tmp_path / "sounds", labels=("Dog", "Bell", "Cat"))
    assert data.labels == ("Dog", "Bell", "Cat") and data.index["Cat"] == 2
    assert data.clips[0].events == (Event(1.0, 2.5, "Bell"), Event(4.0, math.inf, "Dog"))
    assert data.clips[0].path == tmp_path / "sounds/a.wav"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,labels\n", "names no clips"),
        ("path,labels\na.wav,\n", "no clip has a label"),
        ("file,labels\na.wav,Dog\n", r"line 2: it has no 'path'"),
        ("path,start,end,labels\na.wav,0,5,Dog\nb.wav,5,5,Dog\n", r"line 3: the clip ends \(5.0 s\) before"),
        ("path,start,labels\na.wav,soon,Dog\n", "line 2: could not convert"),
        ("path,start,labels\na.wav,nan,Dog\n", "line 2: 'nan' is no number of seconds"),
        ("path,labels,fold\na.wav,Dog,first\n", "line 2: invalid literal"),
    ],
)
def test_a_wrong_csv_row_is_named(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        read_dataset(write(tmp_path / "clips.csv", text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "line 1: Expecting"),
        ("[]", "line 1: "),
        ('{"path": 7, "labels": []}', "line 1: 7 is no path"),
        ('{"path": "a.wav", "labels": "Dog"}', "line 1: its labels are a text"),
        ('{"path": "a.wav", "events": [{"start": 2, "end": 1, "label": "Dog"}]}', "is no event"),
        ('{"path": "a.wav", "labels": [3]}', "is no event"),
    ],
)
def test_a_wrong_json_row_is_named(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        read_dataset(write(tmp_path / "clips.jsonl", text))


def test_labels_outside_the_set_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "clips.csv", "path,labels\na.wav,Dog;Cat\n")
    with pytest.raises(UsageError, match=r"a\.wav is labelled 'Cat'"):
        read_dataset(path, labels=("Dog",))
    with pytest.raises(UsageError, match="no such file"):
        read_dataset(tmp_path / "none.csv")


def test_audiosets_segments(tmp_path: Path) -> None:
    path = write(
        tmp_path / "eval_segments.csv",
        "# Segments csv created Sun Mar  5 10:54:25 2017\n# num_ytids=4, num_segs=4\n"
        "# YTID, start_seconds, end_seconds, positive_labels\n"
        '--4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_"\n'
        '--BfvyPmVMo, 20.000, 30.000, "/m/03l9g"\n'
        '-1nilez17Dg, 30.000, 40.000, "/m/04rlf"\n'
        'gone1234567, 30.000, 40.000, "/m/04rlf"\n',
    )
    for name in ("Y--4gqARaEJE.wav", "deep/--BfvyPmVMo_20000.flac", "-1nilez17Dg_30.000.wav", "notes.txt"):
        write(tmp_path / "audio" / name, "x")
    data = read_dataset(path, audio=tmp_path / "audio")
    assert data.is_audioset and len(data.labels) == 527
    assert [clip.path.name for clip in data.clips] == [
        "Y--4gqARaEJE.wav", "--BfvyPmVMo_20000.flac", "-1nilez17Dg_30.000.wav",
    ]  # fmt: skip
    assert data.clips[2].labels == ("Music",) and audioset_names()[137] == "Music"
    with pytest.raises(UsageError, match="none of its 4 clips"):
        read_dataset(path, audio=tmp_path / "deep")


def test_esc50_as_published(tmp_path: Path) -> None:
    write(
        tmp_path / "meta/esc50.csv",
        "filename,fold,target,category,esc10,src_file,take\n"
        "1-100032-A-0.wav,1,0,dog,True,100032,A\n5-9032-A-0.wav,5,16,sea_waves,True,9032,A\n",
    )
    data = read_dataset(tmp_path)
    assert data.labels == ("dog", "sea waves") and data.folds == (1, 5)
    assert data.clips[1].path == tmp_path / "audio/5-9032-A-0.wav" and data.clips[1].end == 5.0


def test_esc10s_folders(shared: Path) -> None:
    data = read_dataset(shared / "data/esc10")
    assert len(data.labels) == 10 and "person sneeze" in data.labels and data.folds == (1, 2, 3, 4)
    assert len(data.clips) == 320 and all(len(data.fold(fold).clips) == 80 for fold in data.folds)


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither ESC-50"):
        read_dataset(tmp_path)


def test_label_files(tmp_path: Path) -> None:
    assert read_labels(write(tmp_path / "a.txt", "Dog\n\nWhoosh, swoosh\n")) == ("Dog", "Whoosh, swoosh")
    table = write(tmp_path / "a.csv", 'index,mid,display_name\n0,/m/1,"Dog, bark"\n1,/m/2,Cat\n')
    assert read_labels(table) == ("Dog, bark", "Cat")
    with pytest.raises(UsageError, match="a label twice"):
        read_labels(write(tmp_path / "b.txt", "Dog\nDog\n"))
    with pytest.raises(UsageError, match="no labels"):
        read_labels(write(tmp_path / "c.txt", "\n"))


def test_the_fingerprint_knows_labels_and_times_and_not_folders(tmp_path: Path) -> None:
    text = "path,end,labels\na.wav,5,Dog\n"
    here = read_dataset(write(tmp_path / "x/clips.csv", text)).fingerprint()
    assert read_dataset(write(tmp_path / "y/clips.csv", text)).fingerprint() == here
    assert read_dataset(write(tmp_path / "z/clips.csv", text.replace("5", "6"))).fingerprint() != here
