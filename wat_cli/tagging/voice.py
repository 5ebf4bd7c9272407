"""Speech beside sound: where the tagger hears a voice, and where the recogniser is sure of words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wat_cli.tagging.scores import Curve, runs
from wat_cli.tagging.table import ScoreTable
from wat_cli.tagging.text import sound_text
from wat_cli.transcript import Scores, Segment, TagTrack

VOICES = frozenset((*range(0, 16), *range(27, 38), 68, 69, 70, 71, 254, 255, 266))
"""Classes with a human voice in them: speech, shouts, whispers, singing, rapping, chatter, songs."""

NO_VOICE = 0.1
"""Where every voice scores below this over two seconds and over ten, nobody speaks or sings."""

CONFIDENT_LOGPROB = -0.7
CONFIDENT_NO_SPEECH = 0.5


def voice_activity(tags: TagTrack) -> Curve:
    """How likely somebody speaks or sings in each step: the best voice, over 2 s or over 10 s; NaN if unknown."""
    return np.maximum(best_voice(tags.when), best_voice(tags.what))


def best_voice(scores: Scores) -> Curve:
    """The score of the best voice in each step; NaN if unknown."""
    table = ScoreTable.of(scores)
    best: Curve = np.zeros(len(table), np.float32)
    for index in VOICES:
        best = np.maximum(best, table[:, index])
    return best


def voiced_spans(tags: TagTrack) -> tuple[tuple[float, float], ...] | None:
    """The stretches of the file in seconds, in order and apart, in which somebody may speak or sing.

    Between them every voice scores below `NO_VOICE` over two seconds; ten would blur the borders. Unknown steps may
    hold a voice. None where a head with classes of its own says nothing about voices.
    """
    if tags.tuning.labels or tags.classes <= max(VOICES):
        return None
    best = best_voice(tags.when)
    # A decision hears more than a second to either side, so a voice is heard a step early and a step late at the least
    near = np.pad(~(best < NO_VOICE), 1, constant_values=True)
    may = (near[:-2] & near[1:-1] & near[2:]) | np.isnan(best)
    return tuple((round(first * tags.hop, 3), round(stop * tags.hop, 3)) for first, stop in runs(may))


def unvoiced(tags: TagTrack, segments: Sequence[Segment]) -> tuple[int, ...]:
    """Positions in `segments` of text where the tagger is sure that nobody speaks or sings: probable hallucinations.

    Every step that the segment touches must be known and without a voice, and half a second around it, since
    segment times are rough. A head with classes of its own says nothing about voices.
    """
    if tags.tuning.labels:
        return ()
    activity = voice_activity(tags)
    found = []
    for position, segment in enumerate(segments):
        steps = step_slice(segment.start - 0.5, segment.end + 0.5, len(activity), tags.hop)
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
            spoken[step_slice(segment.start, segment.end, steps, hop)] = True
    return spoken


def step_slice(start: float, end: float, steps: int, hop: float) -> slice:
    """The steps, of `steps` in all, that ``[start, end)`` seconds touch."""
    first = int(np.clip(np.floor(start / hop + 1e-6), 0, steps))
    return slice(first, int(np.clip(np.ceil(end / hop - 1e-6), first, steps)))
