"""The review page's making: what is doubtful, how loud, what goes into the page and that none of it can act."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html.parser
import json
import math
import re
import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests import reviewable
from tests.fakes import write_wav
from wat_cli import sidecar
from wat_cli.batch import Outcome, Status
from wat_cli.captions.vtt import vtt_text
from wat_cli.cli import app
from wat_cli.errors import ForeignOutput, OutputError, UsageError
from wat_cli.journal import Journal
from wat_cli.options import CaptionOptions
from wat_cli.review import Found, build, find, write_page
from wat_cli.review.doubts import confidence, doubts_of
from wat_cli.review.heat import UNKNOWN, audioset, heat_rows, voice_row
from wat_cli.review.loudness import HOP, envelope, loudness_of
from wat_cli.review.page import json_text, page_text, relative_url
from wat_cli.review.views import caption_options, file_view, speech_share
from wat_cli.transcript import HeadTuning, TagTrack

# --- doubts -----------------------------------------------------------------------------------------------------------


def reasons(logprob: float = -0.2, ratio: float = 1.0, silence: float = 0.0, temperature: float = 0.0) -> list[str]:
    line = dataclasses.replace(
        reviewable.segment(0, 1, 2, "Yes.", logprob, ratio), no_speech_prob=silence, temperature=temperature
    )
    return [doubt.reason for doubt in doubts_of([line], None)[0]]


def test_a_sure_line_is_not_doubted() -> None:
    assert reasons() == []
    assert reasons(silence=0.9) == [], "sure of the words: the silence is none (openai-whisper judges so too)"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"logprob": -0.8}, ["unsure of the words"]),
        ({"logprob": math.nan}, ["unsure of the words"]),
        ({"ratio": 2.5}, ["it repeats itself"]),
        ({"logprob": -0.8, "silence": 0.7}, ["it may be silence", "unsure of the words"]),
        ({"temperature": 0.8}, ["found only after several tries"]),
    ],
)
def test_each_reason_to_doubt(values: dict[str, float], reason: list[str]) -> None:
    assert reasons(**values) == reason


def test_words_where_the_tagger_hears_no_voice_may_be_invented() -> None:
    doubts = doubts_of(reviewable.talk_segments(), reviewable.tags())
    assert [[doubt.reason for doubt in found if doubt.hallucination] for found in doubts] == [
        [], [], ["no voice is heard here"], []
    ]  # fmt: skip


def test_confidence_is_the_mean_probability_of_a_token() -> None:
    assert confidence(reviewable.segment(0, 0, 1, "x", math.log(0.25))) == pytest.approx(0.25)
    assert confidence(reviewable.segment(0, 0, 1, "x", math.nan)) is None


def test_speech_share_counts_overlaps_once_and_sounds_never() -> None:
    lines = (
        reviewable.segment(0, 0, 4, "One."),
        reviewable.segment(1, 3, 5, "Two."),
        reviewable.segment(2, 6, 9, "[Music]"),
    )
    assert speech_share(lines, 10.0) == 0.5
    assert speech_share(lines, 0.0) is None


# --- timeline ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5000), max_size=8))
def test_loudness_does_not_depend_on_how_the_samples_come(sizes: list[int]) -> None:
    samples = np.random.default_rng(1).integers(-20000, 20000, sum(sizes)).astype(np.int16)
    chunks = np.split(samples, np.cumsum(sizes)[:-1]) if sizes else []
    levels = envelope(chunks)
    assert np.array_equal(levels, envelope([samples]))
    assert len(levels) == math.ceil(len(samples) / (HOP * 16_000))


@pytest.mark.parametrize(("level", "share"), [(0.0, 0.0), (0.001, 0.0), (0.1, 2 / 3), (1.0, 1.0)])
def test_loudness_is_in_decibels_below_full_scale(level: float, share: float) -> None:
    square = np.full(16_000, round(32767 * level), np.int16)
    assert envelope([square]) == pytest.approx(np.full(10, round(255 * share)), abs=1)


def test_loudness_of_a_file(tmp_path: Path) -> None:
    loud = write_wav(tmp_path / "loud.wav", seconds=1, level=0.5)
    levels, why = loudness_of(loud, None)
    assert levels is not None and len(levels) == 10 and levels.min() > 180 and not why
    assert loudness_of(tmp_path / "gone.wav", None)[0] is None


def test_heat_rows_are_the_strongest_groups() -> None:
    rows = heat_rows(reviewable.tags(), reviewable.talk_events())
    assert [row.caption for row in rows] == ["Music", "Dog barking"], "speech has its own row and no caption"
    assert rows[0].scores[30] == 85 and rows[0].scores[5] <= 1 and rows[0].scores[-1] == UNKNOWN
    voice = voice_row(reviewable.tags())
    assert voice[3] == 90 and voice[30] <= 1 and voice[-1] == UNKNOWN


def test_a_head_with_labels_of_its_own_is_shown_by_them_and_judges_no_speech() -> None:
    scores = np.zeros((50, 3), np.float32)
    scores[10:20, 0], scores[30:40, 1], scores[:, 2] = 0.9, 0.7, 0.1
    tags = TagTrack(scores, scores.copy(), tuning=HeadTuning(labels=("Whirligig", "music", "Faint")))
    assert audioset(tags) is None
    rows = {row.caption: row.scores for row in heat_rows(tags, ())}
    assert list(rows) == ["Whirligig", "music"]
    assert rows["Whirligig"][15] == 90 and rows["Whirligig"][5] == 0 and rows["music"][35] == 70
    assert heat_rows(TagTrack(scores, scores.copy()), ()) == (), "three classes without names"


# --- what goes into the page ------------------------------------------------------------------------------------------


class Scripts(html.parser.HTMLParser):
    """The content of each script element as a browser's parser sees it, and the names of all elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: dict[str | None, str] = {}
        self.tags: list[str] = []
        self._in: str | None = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._in = dict(attrs).get("id") if tag == "script" else ""
        if tag == "script":
            self.scripts[self._in] = ""

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in != "":
            self.scripts[self._in] += data


nasty = st.text(st.sampled_from("<>&/!-\"'\\scriptSCRIPT\u2028\u2029\u202e\ud800 "), max_size=40) | st.text()


@given(st.dictionaries(nasty, nasty | st.lists(nasty)))
def test_no_text_gets_out_of_its_place(value: dict[str, Any]) -> None:
    text = json_text(value)
    assert text.isascii() and not set("<>&") & set(text)
    assert json.loads(text) == value


@given(nasty)
def test_a_page_has_the_same_elements_whatever_the_texts(text: str) -> None:
    index = {"rows": [{"name": text}]}
    page, plain = Scripts(page_text(index, {"file-0": json_text([text])})), Scripts(page_text({}, {"file-0": "[]"}))
    assert page.tags == plain.tags
    assert json.loads(page.scripts["index"]) == index
    assert json.loads(page.scripts["file-0"]) == [text]


def test_the_policy_names_the_script_and_the_style_and_nothing_else() -> None:
    page = page_text({}, {})
    policy = re.search(r'Security-Policy" content="([^"]*)"', page)
    assert policy and "unsafe" not in policy[1] and "http" not in policy[1]
    assert {"default-src 'none'", "connect-src 'none'"} <= set(policy[1].split("; "))
    for element, content in (("style", re.search(r"<style>(.*?)</style>", page, re.S)),
                             ("script", re.search(r"<script>(.*?)</script>", page, re.S))):  # fmt: skip
        assert content is not None
        digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy[1]


def test_the_page_names_no_address() -> None:
    assert not re.search(r"https?:|//[a-z]", re.sub(r"^\s*//.*|\s// .*", "", page_text({}, {}), flags=re.MULTILINE))


@pytest.mark.parametrize("name", ["a b.mp3", "100%.mp3", "a#b?c.mp3", "ü\u202e.mp3", 'q"<>&.mp3', "javascript:x.mp3"])
def test_addresses_lead_back_to_the_file(tmp_path: Path, name: str) -> None:
    url = relative_url(tmp_path / "media" / name, tmp_path / "pages")
    assert urllib.parse.urlsplit(url).scheme == ""
    assert urllib.parse.unquote(url) == f"../media/{name}"


def test_the_view_has_the_captions_that_wat_writes() -> None:
    value = reviewable.transcript(
        Path("talk.webm"), reviewable.talk_segments(), reviewable.talk_events(), reviewable.tags()
    )
    data = sidecar.to_json(value)
    view = file_view(sidecar.from_json(data), data)
    from wat_cli import captioning

    _, contents = captioning.render(value, ["vtt"], reviewable_options())
    written = contents["vtt"]
    assert written is not None and written.decode().endswith(vtt_text(view.layout.cues).removeprefix("WEBVTT\n"))
    assert dict(view.parts)["source"] == json.dumps(json.loads(data)["source"], ensure_ascii=False), "to the nanosecond"


def reviewable_options() -> Any:
    from wat_cli.options import RunOptions

    return RunOptions()


def test_settings_that_make_no_sense_give_the_default_layout() -> None:
    assert caption_options({"style": "netflix", "max_line_width": 30}) == CaptionOptions("netflix", 30)
    assert caption_options({"style": "gothic"}) == CaptionOptions()
    assert caption_options({"max_line_width": "wide"}) == CaptionOptions()


# --- files ------------------------------------------------------------------------------------------------------------


def test_find_takes_sidecars_and_media_from_folders_and_names(tmp_path: Path) -> None:
    reviewable.write_sidecar(tmp_path / "b" / "talk.mp4", reviewable.transcript(Path("talk.mp4")))
    write_wav(tmp_path / "a.wav")
    (tmp_path / "other.json").write_text('{"schema": 7}')
    (tmp_path / ".hidden.json").write_text('{"schema": 1, "encoder_passes": 1}')
    found = find([tmp_path])
    assert found == (Found(None, tmp_path / "a.wav"), Found(tmp_path / "b" / "talk.json", None))
    assert find([tmp_path / "b" / "talk.json"]) == found[1:]
    assert find([tmp_path, tmp_path / "b"]) == found, "each once"
    write_wav(tmp_path / "b" / "talk.mp4")
    assert find([tmp_path / "b" / "talk.mp4"]) == found[1:], "a media file stands for its sidecar"
    with pytest.raises(UsageError, match=r"gone\.json"):
        find([tmp_path / "gone.json"])


def rows_of(page: Path) -> dict[str, dict[str, Any]]:
    index = json.loads(Scripts(page.read_text(encoding="utf-8")).scripts["index"])
    return {row["name"]: row for row in index["rows"]}


def test_every_file_has_its_outcome(tmp_path: Path) -> None:
    media = write_wav(tmp_path / "talk.wav", seconds=20)
    value = reviewable.transcript(media, reviewable.talk_segments(), reviewable.talk_events(), reviewable.tags())
    path = reviewable.write_sidecar(media, value)
    edited = json.loads(path.read_bytes())
    edited["segments"][0]["text"] = " Edited."
    edited["source"]["path"] = "edited.wav"
    (tmp_path / "edited.json").write_text(json.dumps(edited))
    reviewable.write_sidecar(tmp_path / "silent.wav", reviewable.transcript(Path("silent.wav")))
    (tmp_path / "broken.json").write_text('{"schema": 1, "encoder_passes": 1')
    write_wav(tmp_path / "new.wav")
    summary = write_page(find([tmp_path]), tmp_path / "review.html", loudness=False)
    rows = rows_of(summary.page)
    assert {name: row["status"] for name, row in rows.items()} == {
        "talk.wav": "captioned",
        "edited.wav": "edited",
        "silent.wav": "silent",
        "broken.json": "unreadable",
        "new.wav": "uncaptioned",
    }
    talk = rows["talk.wav"]
    assert (talk["doubts"], talk["dropped"], talk["language"], talk["duration"]) == (2, 1, "en", 20.0)
    assert talk["speech"] == pytest.approx((2.5 + 3 + 1.5 + 2) / 20)
    assert "not there" in rows["edited.wav"]["detail"] and not talk["detail"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("duration", 1e308), ("duration", -1), ("segments", [{"id": 0}]), ("events", 3), ("source", {"path": "\0"})],
)
def test_nonsense_in_a_sidecar_is_a_row_and_no_crash(tmp_path: Path, key: str, value: Any) -> None:
    media = tmp_path / "talk.wav"
    path = reviewable.write_sidecar(media, reviewable.transcript(media, reviewable.talk_segments()))
    document = json.loads(path.read_bytes())
    document[key] = {**document[key], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(document))
    summary = write_page(find([path]), tmp_path / "review.html")
    assert len(summary.rows) == 1 and summary.page.exists()


def test_large_data_go_to_a_folder_that_is_kept_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reviewable.write_many(tmp_path / "many", 30)
    found, page, folder = find([tmp_path / "many"]), tmp_path / "page.html", tmp_path / "page_files"
    inside = write_page(found, page, loudness=False)
    assert inside.folder is None and not folder.exists()
    monkeypatch.setattr(build, "SELF_CONTAINED", 10_000)
    monkeypatch.setattr(build, "TEXT_BLOCK", 200)
    outside = write_page(found, page, loudness=False)
    assert outside.folder == folder
    names = {path.name for path in folder.iterdir()}
    assert {f"file-{number}.js" for number in range(30)} < names and "text-1.js" in names
    script = (folder / "file-7.js").read_text()
    assert script.startswith('watData("file-7",{') and script.endswith("});\n")
    write_page(found[:12], page, loudness=False)
    assert len(list(folder.glob("file-*.js"))) == 12, "what an earlier page left is gone"
    (folder / "mine.txt").write_text("keep")
    with pytest.raises(ForeignOutput, match="page_files"):
        write_page(found, page, loudness=False)


def test_nobodys_page_is_replaced(tmp_path: Path) -> None:
    reviewable.write_sidecar(tmp_path / "a.wav", reviewable.transcript(Path("a.wav")))
    page = tmp_path / "review.html"
    page.write_text("<title>my own notes</title>")
    with pytest.raises(ForeignOutput, match=r"review\.html"):
        write_page(find([tmp_path]), page)
    assert page.read_text() == "<title>my own notes</title>"


def test_a_page_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    reviewable.write_sidecar(tmp_path / "a.wav", reviewable.transcript(Path("a.wav")))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_page(find([tmp_path]), tmp_path / "file" / "review.html")


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_writes_a_page_and_says_so(tmp_path: Path) -> None:
    media = write_wav(tmp_path / "talk.wav", seconds=20)
    value = reviewable.transcript(media, reviewable.talk_segments(), (), reviewable.tags())
    reviewable.write_sidecar(media, value)
    done = CliRunner().invoke(app, ["review", str(tmp_path)])
    assert done.exit_code == 0 and done.stdout == ""
    assert done.stderr.strip() == f"{tmp_path}/review.html: 1 captioned; 1 with doubtful places"
    data = json.loads(Scripts((tmp_path / "review.html").read_text()).scripts["file-0"])
    assert len(base64.b64decode(data["loudness"]["levels"])) == 200
    assert data["media"] == "talk.wav"


def test_the_list_says_why_a_file_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("bad.mp3", "again.mp3", "new.mp3"):
        Path("in").mkdir(exist_ok=True)
        (Path("in") / name).write_bytes(b"ID3")
    outcomes = [
        Outcome(Path("in/bad.mp3"), Status.FAILED, "cut off"),
        Outcome(Path("in/again.mp3"), Status.FAILED, "disk full"),
        Outcome(Path("in/again.mp3"), Status.WRITTEN),
    ]
    with Path("run.jsonl").open("w") as log:
        journal = Journal(log)
        journal.started(3)
        for outcome in outcomes:
            journal.closed(outcome)
        log.write("not JSON\n[]\n")
    done = CliRunner().invoke(app, ["review", "in", "--log", "run.jsonl", "-o", "page.html"])
    assert done.exit_code == 0
    rows = rows_of(Path("page.html"))
    assert {name: (row["status"], row["detail"]) for name, row in rows.items()} == {
        "bad.mp3": ("failed", "cut off"),
        "again.mp3": ("uncaptioned", "no sidecar beside it"),
        "new.mp3": ("uncaptioned", "no sidecar beside it"),
    }


@pytest.mark.parametrize("arguments", [["empty"], ["empty/none.json"], ["empty", "-o", "empty"]])
def test_what_the_command_cannot_do(tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["review", *arguments])
    assert isinstance(done.exception, UsageError)
