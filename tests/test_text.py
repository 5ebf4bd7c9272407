"""TSV, TXT and the plain style: what openai-whisper's own writers write."""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from whisper import utils

from tests.captionable import segment, sound, spoken
from wat_cli.captions.cues import cues_from
from wat_cli.captions.formats import CAPTION_FORMATS, render
from wat_cli.captions.rules import LayoutRules
from wat_cli.captions.srt import srt_text
from wat_cli.captions.text import tsv_text, txt_text
from wat_cli.options import CaptionOptions
from wat_cli.transcript import Segment

TALK = [
    spoken(0.5, "This is the first sentence of a talk.", rate=2.5),
    spoken(5.0, "It has two of them, and here it ends.", rate=3.0),
]
PLAIN = CaptionOptions(style="plain")


def whispers(name: str, segments: list[Segment], **options: Any) -> str:
    """What openai-whisper writes for the same segments."""
    as_dicts = [
        {**asdict(part), "words": [asdict(word) for word in part.words]} if part.words else asdict(part)
        for part in segments
    ]
    for part in as_dicts:
        if not part.get("words"):
            part.pop("words", None)
    file = io.StringIO()
    writer = {"srt": utils.WriteSRT, "tsv": utils.WriteTSV, "txt": utils.WriteTXT}[name](".")
    writer.write_result({"segments": as_dicts}, file, options)
    return file.getvalue()


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e5),
            st.floats(0, 100),
            st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"])),
        )
    )
)
@settings(max_examples=100)
def test_transcripts_are_whispers(parts: list[tuple[float, float, str]]) -> None:
    segments = [segment(start, start + length, text) for start, length, text in parts]
    assert tsv_text(segments, [], LayoutRules()) == whispers("tsv", segments)
    assert txt_text(segments, [], LayoutRules()) == whispers("txt", segments)


def test_a_tab_or_a_line_end_does_not_break_a_row() -> None:
    assert tsv_text([segment(1, 2, " one\ttwo\nthree\r\n\r\nfour")], [], LayoutRules()) == (
        "start\tend\ttext\n1000\t2000\tone two three four\n"
    )


def test_shown_sounds_are_rows_in_order_of_time() -> None:
    segments, sounds = [segment(1, 2, " One."), segment(5, 6, " Two.")], [sound(3, 4), sound(5.5, 9, "Applause")]
    assert txt_text(segments, sounds, LayoutRules()) == "One.\n[Music]\nTwo.\n[Applause]\n"


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 20])
def test_words_per_caption_are_cut_as_whisper_cuts_them(count: int) -> None:
    options = CaptionOptions(style="plain", max_words_per_line=count)
    cues = cues_from(TALK, [], 30, options).cues
    assert srt_text(cues) == whispers("srt", TALK, max_words_per_line=count)


def test_plain_captions_are_whispers() -> None:
    untimed = [segment(part.start, part.end, part.text) for part in TALK]
    assert srt_text(cues_from(untimed, [], 30, PLAIN).cues) == whispers("srt", untimed)


def test_highlighted_words_are_whispers() -> None:
    cues = cues_from(TALK, [], 30, CaptionOptions(style="plain", highlight_words=True)).cues
    assert (srt_text(cues) or "").replace("\n", " ") == whispers("srt", TALK, highlight_words=True).replace("\n", " ")


@pytest.mark.parametrize("name", CAPTION_FORMATS)
def test_every_format_can_be_rendered(name: str) -> None:
    layout = cues_from(TALK, [], 30, PLAIN)
    assert "first sentence" in (render(name, layout, TALK, PLAIN) or "").replace("\n", " ")


def test_other_formats_are_an_error() -> None:
    with pytest.raises(ValueError, match="docx"):
        render("docx", cues_from([], [], 1, PLAIN), [], PLAIN)
