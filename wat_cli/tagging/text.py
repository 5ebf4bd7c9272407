"""Sounds that the speech recogniser wrote: ``[Music]``, ``(applause)``, lone notes. They are candidates, not speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wat_cli.tagging.policy import Policy
from wat_cli.transcript import Segment

_BRACKETS = {"[": "]", "(": ")", "{": "}", "<": ">", "*": "*", "【": "】", "（": "）", "「": "」", "［": "］"}  # noqa: RUF001
_NOTES = frozenset("♩♪♫♬♭♮♯🎵🎶#")
_NOTHING = frozenset({"", "blank audio", "silence", "no audio", "no speech", "inaudible", "pause", "end", "noise"})
_SPOKEN_OF = {"clapping": "applause", "laughs": "laughter", "laughing": "laughter", "laugh": "laughter"}
_ENDINGS = ("playing", "continues", "stops", "fades", "starts")


def sound_text(text: str) -> str | None:
    """What a text says sounds, if it says nothing else: ``[Music]``, ``(applause)``, ``*laughs*``, ``♪♪``; else None.

    Notes alone give ``Music``. Words between notes are lyrics, and a bracket inside a sentence belongs to it.
    """
    stripped = text.strip().strip(".,!-–—… ")  # noqa: RUF001
    bare = "".join(c for c in stripped if c not in _NOTES and not c.isspace())
    if not bare:
        return "Music" if any(c in _NOTES and c != "#" for c in stripped) else None
    inside, rest = [], "".join(c for c in stripped if c not in _NOTES).strip()
    while rest:
        close = _BRACKETS.get(rest[0])
        end = rest.find(close, 1) if close else -1
        if end < 0:
            return None
        inside.append(" ".join(rest[1:end].replace("_", " ").split()))
        rest = rest[end + 1 :].strip(".,;!-–—… ")  # noqa: RUF001
    return ", ".join(part for part in inside if part)


@dataclass(frozen=True)
class SoundText:
    """A segment of the recogniser's that names a sound instead of words."""

    start: float
    end: float
    text: str
    """What it says, without its brackets; empty where it says that nothing sounds (``[BLANK_AUDIO]``)."""


def split_sound_text(segments: Sequence[Segment]) -> tuple[tuple[Segment, ...], tuple[SoundText, ...]]:
    """The segments that are speech, and what the others say sounds; both in order."""
    speech, sounds = [], []
    for segment in segments:
        said = sound_text(segment.text)
        if said is None:
            speech.append(segment)
        else:
            sounds.append(SoundText(segment.start, segment.end, "" if _plain(said) in _NOTHING else said))
    return tuple(speech), tuple(sounds)


def named_group(text: str, policy: Policy) -> str | None:
    """The group that a sound text means: by caption, label or group name; failing that by its last or first word."""
    plain = _plain(text)
    words = plain.split()
    while words and words[-1] in _ENDINGS:
        words.pop()
    candidates = [_SPOKEN_OF.get(name, name) for name in (plain, " ".join(words), *words[-1:], *words[:1])]
    return next((policy.named_groups[name] for name in candidates if name in policy.named_groups), None)


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())
