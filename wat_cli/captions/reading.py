"""Caption files read strictly: every cue that can be told, and every fault of syntax on the way.

Players forgive most of these faults, each in its own way; `wat check` names them. SRT as its players agree on it,
WebVTT by its specification (https://www.w3.org/TR/webvtt1/, section 4).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.entities import html5

from wat_cli.captions.characters import clean_text
from wat_cli.captions.rules import BrokenRule, Cue, CueLine

_LENIENT = re.compile(r"\s*(?:(\d+):)?(\d+):(\d+)[.,](\d+)\s*-->\s*(?:(\d+):)?(\d+):(\d+)[.,](\d+)(.*)")
_SRT_TIMING = re.compile(r"\d{2,}:[0-5]\d:[0-5]\d,\d{3} --> \d{2,}:[0-5]\d:[0-5]\d,\d{3}\s*")
_VTT_TIMING = re.compile(
    r"(?:\d{2,}:)?[0-5]\d:[0-5]\d\.\d{3}[ \t]+-->[ \t]+(?:\d{2,}:)?[0-5]\d:[0-5]\d\.\d{3}((?:[ \t]+\S+)*)[ \t]*"
)
_VTT_SETTING = re.compile(
    r"vertical:(rl|lr)|line:-?\d+(\.\d+)?%?(,(start|center|end))?|size:\d+(\.\d+)?%"
    r"|position:\d+(\.\d+)?%(,(line-left|center|line-right))?|align:(start|center|end|left|right)|region:\S+"
)
_VTT_TAG = re.compile(r"<(/?)(c|i|b|u|ruby|rt|v|lang)?((?:\.[^\s<>&.]+)*)([ \t][^<>]*)?>")
_VTT_INNER_TIME = re.compile(r"<(?:\d{2,}:)?[0-5]\d:[0-5]\d\.\d{3}>")
_SRT_TAG = re.compile(r"</?(?:b|i|u|s|font)(?:\s[^<>]*)?>|\{\\[^}]*\}", re.IGNORECASE)
_ENTITY = re.compile(r"&(#\d+;|#[xX][0-9a-fA-F]+;|[A-Za-z][A-Za-z0-9]*;)?")


@dataclass
class Reading:
    """What a caption file holds."""

    cues: list[Cue] = field(default_factory=list)
    """Every cue with a time, in the order of the file; texts without markup."""
    faults: list[BrokenRule] = field(default_factory=list)

    def fault(self, line: int, detail: str) -> None:
        """Note a fault of syntax in a line (from 1); it belongs to the cue that is being read."""
        start = self.cues[-1].start_ms if self.cues else 0
        self.faults.append(BrokenRule(len(self.cues), start, "syntax", f"line {line}: {detail}"))


def read_captions(data: bytes) -> Reading:
    """Read the content of a caption file, WebVTT if it says so and SRT otherwise."""
    reading = Reading()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reading.fault(data[: error.start].count(b"\n") + 1, "not UTF-8")
        text = data.decode("utf-8-sig", "replace")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if "\0" in line:
            reading.fault(number, "a NUL character")
    (_read_vtt if text.lstrip().startswith("WEBVTT") else _read_srt)(lines, reading)
    return reading


def _blocks(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Runs of lines that are not blank, each with the number of its first line."""
    block: list[str] = []
    for number, line in enumerate([*lines, ""], start=1):
        if line.strip():
            block.append(line)
        elif block:
            yield number - len(block), block
            block = []


def _times(timing: re.Match[str]) -> tuple[int, int]:
    """Start and end in milliseconds from a match of `_LENIENT`."""
    hour, minute, second, fraction, hour_, minute_, second_, fraction_, _ = timing.groups()
    return _milliseconds(hour, minute, second, fraction), _milliseconds(hour_, minute_, second_, fraction_)


def _milliseconds(hour: str | None, minute: str, second: str, fraction: str) -> int:
    whole = (int((hour or "0")[-9:]) * 60 + int(minute[-9:])) * 60 + int(second[-9:])
    return whole * 1000 + int(fraction[:3].ljust(3, "0"))


def _timing_place(block: list[str]) -> int | None:
    """Which line of a block is its first timing line."""
    return next((place for place, line in enumerate(block) if _LENIENT.match(line)), None)


# --- SRT ------------------------------------------------------------------------------------------------------------


def _read_srt(lines: list[str], reading: Reading) -> None:
    for number, block in _blocks(lines):
        place = _timing_place(block)
        if place is None:
            reading.fault(number, "text that belongs to no caption: a blank line inside one, or a broken time")
            continue
        _srt_number(block[:place], number, reading)
        _srt_cue(block[place:], number + place, reading)
    if not reading.cues:
        reading.fault(1, "no captions at all")


def _srt_number(before: list[str], line: int, reading: Reading) -> None:
    wanted = len(reading.cues) + 1
    if len(before) != 1 or not before[0].strip().isdecimal():
        reading.fault(line, f"the line before the time is not the caption's number, {wanted}")
    elif int(before[0].strip()[-9:]) != wanted:
        reading.fault(line, f"number {before[0].strip()} where {wanted} is due")


def _srt_cue(block: list[str], line: int, reading: Reading) -> None:
    timing = _LENIENT.match(block[0])
    assert timing is not None
    texts = block[1:]
    nested = _timing_place(texts)
    following: list[str] = []
    if nested is not None:
        cut = nested - 1 if nested and texts[nested - 1].strip().isdecimal() else nested
        texts, following = texts[:cut], texts[cut:]
    clean = [CueLine(clean_text(_SRT_TAG.sub("", text))) for text in texts]
    reading.cues.append(Cue(*_times(timing), tuple(clean)))
    if not _SRT_TIMING.fullmatch(block[0]):
        reading.fault(line, f"not a time of SRT (00:00:00,000 --> 00:00:00,000): {block[0].strip()[:60]}")
    for place, text in enumerate(texts, start=1):
        if "-->" in text:
            reading.fault(line + place, "an arrow --> in the text")
    if following:
        below = line + 1 + len(texts)
        reading.fault(below, "a caption starts without a blank line before it")
        place = _timing_place(following) or 0
        _srt_number(following[:place], below, reading)
        _srt_cue(following[place:], below + place, reading)


# --- WebVTT ---------------------------------------------------------------------------------------------------------


def _read_vtt(lines: list[str], reading: Reading) -> None:
    if not lines[0].startswith("WEBVTT") or not (lines[0] == "WEBVTT" or lines[0][6] in " \t"):
        reading.fault(1, "the file does not start with a line WEBVTT")
    identifiers: set[str] = set()
    for number, block in _blocks(lines):
        if number == 1:
            if len(block) > 1:
                reading.fault(2, "no blank line after the header")
            place = _timing_place(block)
            if place is not None:
                _vtt_cue(block[place:], number + place, reading)
            continue
        place = _timing_place(block)
        kind = block[0].split(maxsplit=1)[0]
        if kind in ("NOTE", "STYLE", "REGION") and place != 0:
            _vtt_other(kind, block, number, reading)
        elif place is None:
            reading.fault(number, "text that belongs to no caption: a blank line inside one, or a broken time")
        else:
            _vtt_identifier(block[:place], number, identifiers, reading)
            _vtt_cue(block[place:], number + place, reading)


def _vtt_other(kind: str, block: list[str], line: int, reading: Reading) -> None:
    if kind != "NOTE" and reading.cues:
        reading.fault(line, f"{kind} after the first caption")
    for place, text in enumerate(block):
        if "-->" in text:
            reading.fault(line + place, f"an arrow --> in a {kind} block")


def _vtt_identifier(before: list[str], line: int, identifiers: set[str], reading: Reading) -> None:
    if len(before) > 1:
        reading.fault(line, "more than one line before the time")
    for identifier in before[:1]:
        if "-->" in identifier:
            reading.fault(line, "an arrow --> before the time")
        if identifier in identifiers:
            reading.fault(line, f"the identifier {identifier[:40]} stands twice")
        identifiers.add(identifier)


def _vtt_cue(block: list[str], line: int, reading: Reading) -> None:
    lenient = _LENIENT.match(block[0])
    assert lenient is not None
    start, end = _times(lenient)
    payload = "\n".join(block[1:])
    plain, faults = vtt_plain(payload, start, end)
    texts = [clean_text(text) for text in plain.split("\n")] if payload else []
    reading.cues.append(Cue(start, end, tuple(CueLine(text) for text in texts)))
    timing = _VTT_TIMING.fullmatch(block[0])
    if timing is None:
        reading.fault(line, f"not a time of WebVTT (00:00:00.000 --> 00:00:00.000): {block[0].strip()[:60]}")
    else:
        for detail in _setting_faults(timing.group(1).split()):
            reading.fault(line, detail)
    for place, detail in faults:
        reading.fault(line + 1 + payload[:place].count("\n"), detail)


def _setting_faults(settings: list[str]) -> Iterator[str]:
    names = [setting.split(":")[0] for setting in settings]
    for name in {name for name in names if names.count(name) > 1}:
        yield f"the setting {name} stands twice"
    for setting in settings:
        if not _VTT_SETTING.fullmatch(setting):
            yield f"not a cue setting: {setting[:40]}"


def vtt_plain(payload: str, start_ms: int, end_ms: int) -> tuple[str, list[tuple[int, str]]]:
    """A cue's text as a viewer reads it, and its faults, each with its place in `payload`."""
    faults: list[tuple[int, str]] = [
        (found.start(), "an arrow --> in the text") for found in re.finditer("-->", payload)
    ]
    parts: list[str] = []
    scope: list[str] = []
    place = 0
    while place < len(payload):
        character = payload[place]
        if character == "<":
            place, detail = _vtt_tag(payload, place, scope, start_ms, end_ms)
            if detail:
                faults.append((place - 1, detail))
        elif character == "&":
            entity = _ENTITY.match(payload, place)
            assert entity is not None
            name = entity.group(1)
            if name is None or not (name.startswith("#") or name in html5):
                faults.append((place, "a bare & (write &amp;)"))
            parts.append(html.unescape(entity.group()))
            place = entity.end()
        else:
            parts.append(character)
            place += 1
    open_tags = [name for name in scope if name not in ("v", "lang")]
    if open_tags or len(scope) > 1:
        faults.append((len(payload), f"<{scope[-1]}> is never closed"))
    return "".join(parts), faults


def _vtt_tag(payload: str, place: int, scope: list[str], start_ms: int, end_ms: int) -> tuple[int, str | None]:
    """Where the tag at `place` ends, and what is wrong with it; `scope` holds the open tags."""
    inner = _VTT_INNER_TIME.match(payload, place)
    if inner:
        time = _LENIENT.match(f"{inner.group()[1:-1]} --> 0:00.0")
        assert time is not None
        inside = start_ms < _times(time)[0] < end_ms
        return inner.end(), None if inside else "a time inside the text that lies outside the caption"
    tag = _VTT_TAG.match(payload, place)
    if tag is None:
        end = payload.find(">", place)
        return (end + 1 if end >= 0 else len(payload)), "a bare < or an unknown tag (write &lt;)"
    closing, name, _, _ = tag.groups()
    if not closing:
        scope.append(name or "")
        return tag.end(), None if name else "a tag without a name"
    if scope and scope[-1] == name:
        scope.pop()
        return tag.end(), None
    return tag.end(), f"</{name or ''}> closes nothing"
