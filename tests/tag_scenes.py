"""Tag tracks of scenes with known sounds, as an ideal head would score them: no model, no audio."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from wat_cli.tagging.grid import WHAT, WHEN, TagAccumulator, place_window
from wat_cli.tagging.labels import load_labels
from wat_cli.transcript import HeadTuning, TagTrack

INDEX = {label.name: label.index for label in load_labels()}

Sound = tuple[str, float, float]
"""Display name, onset, offset in seconds."""


def even_logit(share: float, peak: float = 3.0, floor: float = -5.0) -> float:
    """A head whose logit grows evenly with the share of the decision that sounds."""
    return floor + (peak - floor) * share


def even_probability(share: float) -> float:
    """A head trained on the share itself."""
    p = 0.02 + 0.95 * share
    return float(np.log(p / (1 - p)))


def track_of(
    sounds: Sequence[Sound],
    duration: float,
    response: Callable[[float], float] = even_logit,
    seeks: Sequence[float] | None = None,
    noise: float = 0.0,
    tuning: HeadTuning | None = None,
) -> TagTrack:
    """What a head that answers `response` (share heard of what could be heard) makes of `sounds`.

    `seeks`: starts of the encoder windows in seconds; every 30 s if left out.
    """
    frames = round(duration * 100)
    rng = np.random.default_rng(0)
    accumulator = TagAccumulator(frames, 527, tuning)
    for seek in seeks if seeks is not None else np.arange(0, duration, 30.0):
        place = place_window(round(seek * 100), frames)
        for kind in (WHAT, WHEN):
            decisions = kind.decisions(place.steps)
            logits = np.full((len(decisions), 527), response(0.0))
            logits += noise * rng.standard_normal(logits.shape)
            for row, decision in enumerate(decisions):
                start, stop = (0.4 * (place.first + edge) for edge in (decision.start, decision.stop))
                for name, onset, offset in sounds:
                    heard = max(0.0, min(stop, offset) - max(start, onset))
                    share = min(1.0, heard / min(stop - start, offset - onset, 2.0))
                    logits[row, INDEX[name]] = max(logits[row, INDEX[name]], response(share))
            accumulator.add(kind, place, decisions, logits)
    return unrounded(accumulator.track())


def unrounded(track: TagTrack) -> TagTrack:
    """The track with every score as the head gave it, in arrays that can be written to."""
    assert track.exact is not None
    return TagTrack(np.array(track.exact.what), np.array(track.exact.when), track.hop, track.tuning)
