"""SubRip (SRT) text, through pysrt.

SRT has no specification and no escapes, so text that a reader would take for markup is written with look-alikes:
``<i>`` as ``‹i>``, ``{\\an8}`` as ``(\\an8)``, ``-->`` as ``->``. Cues come with clean lines, without blank ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pysrt

from wat_cli.captions.rules import Cue, CueLine

# What pysubs2, ffmpeg and players take for a tag; a lone "<" stays as it is
_TAG = re.compile(r"<(?=\s*[/!?]?\s*[^\W\d_])")
_BRACES = str.maketrans("{}", "()")
# Two times in one line are a caption's time to pysubs2, arrow or not
_TIME = re.compile(r"(\d:\d{1,2}:\d{1,2})[.,](?=\d)")
_BACKSLASH = re.compile(r"\\(?=[Nnh{}])")


def srt_text(cues: Sequence[Cue], eol: str = "\n") -> str | None:
    """The cues as an SRT file's text; None where there are none.

    An empty SRT file is an error to ffmpeg, so none is written: the caller says so to its user.
    """
    if not cues:
        return None
    items = [
        pysrt.SubRipItem(number, cue.start_ms, cue.end_ms, "\n".join(_line(line) for line in cue.lines))
        for number, cue in enumerate(cues, start=1)
    ]
    text = "\n".join(map(str, items)) + "\n"
    return text if eol == "\n" else text.replace("\n", eol)


def plain_line(text: str) -> str:
    """A line without anything that a reader of SRT would take for markup."""
    text = text.replace("-->", "->")
    if "<" in text:
        text = _TAG.sub("‹", text)
    if "{" in text or "}" in text:
        text = text.translate(_BRACES)
    if text.count(":") > 3:
        text = _TIME.sub("\\1‚", text)
    return _BACKSLASH.sub("∖", text) if "\\" in text else text


def _line(line: CueLine) -> str:
    if line.underlined is None:
        return plain_line(line.text)
    first, stop = line.underlined
    before, word, after = line.text[:first], line.text[first:stop], line.text[stop:]
    return f"{plain_line(before)}<u>{plain_line(word)}</u>{plain_line(after)}"
