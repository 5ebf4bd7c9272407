"""Speech beside sound: where the tagger hears a voice, and what of the recogniser's text is not speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wat_cli.tagging.policy import Policy
from wat_cli.tagging.scores import Curve
from wat_cli.transcript import Segment, TagTrack

VOICES = frozenset((*range(0, 16), *range(27, 38), 68, 69, 70, 71, 254, 255, 266))
"""Classes with a human voice in them: speech, shouts, whispers, singing, rapping, chatter, songs."""

NO_VOICE = 0.1
"""Where every voice scores below this over two seconds and over ten, nobody speaks or sings."""

CONFIDENT_LOGPROB = -0.7
CONFIDENT_NO_SPEECH = 0.5


def voice_activity(tags: TagTrack) -> Curve:
    """How likely somebody speaks or sings in each step: the best voice, over 2 s or over 10 s; NaN if unknown."""
    voices = sorted(VOICES)
    best: Curve = np.maximum(tags.when[:, voices], tags.what[:, voices]).max(axis=1)
    return best


def unvoiced(tags: TagTrack, segments: Sequence[Segment]) -> tuple[int, ...]:
    """Positions in `segments` of text where the tagger is sure that nobody speaks or sings: probable hallucinations.

    Every step that the segment touches must be known and without a voice, and half a second around it, since
    segment times are rough.
    """
    activity = voice_activity(tags)
    found = []
    for position, segment in enumerate(segments):
        steps = _steps(segment.start - 0.5, segment.end + 0.5, len(activity), tags.hop)
        heard = activity[steps]
        if segment.text.strip() and len(heard) and bool((heard < NO_VOICE).all()):
            found.append(position)
    return tuple(found)


def confident_speech(segments: Sequence[Segment], steps: int, hop: float) -> NDArray[np.bool_]:
    """Steps in which the recogniser is sure of words."""
    spoken = np.zeros(steps, bool)
    for segment in segments:
        sure = segment.avg_logprob > CONFIDENT_LOGPROB and segment.no_speech_prob < CONFIDENT_NO_SPEECH
        if sure and any(c.isalnum() for c in segment.text) and sound_text(segment.text) is None:
            spoken[_steps(segment.start, segment.end, steps, hop)] = True
    return spoken


def _steps(start: float, end: float, steps: int, hop: float) -> slice:
    first = int(np.clip(np.floor(start / hop + 1e-6), 0, steps))
    return slice(first, int(np.clip(np.ceil(end / hop - 1e-6), first, steps)))


# --- text that is no speech -----------------------------------------------------------------------------------------

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
    """The group that a sound text means: by caption, label or group name, or by its last or first word."""
    plain = _plain(text)
    plain = _SPOKEN_OF.get(plain, plain)
    names = policy.names()
    words = plain.split()
    while words and words[-1] in _ENDINGS:
        words.pop()
    for name in (plain, " ".join(words), *(words[-1:]), *(words[:1])):
        if name in names:
            return names[name]
    return None


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())
