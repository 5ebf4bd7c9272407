"""Lower never shows less: from scores to the caption files.

A sound that is captioned under a threshold is captioned under a lower one, as part of the sound that covers it there,
by a caption that stands while that sounds. Where lines are too few for all, it may give way to sounds that are shown
up to a higher threshold and have grown towards it; the sidecar says so. That is rare: the second test counts.
"""

from __future__ import annotations

import numpy as np
import pysrt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.captionable import segment, spoken
from tests.test_events import NAMES, wandering, wild_tracks
from wat_cli.captions import formats
from wat_cli.captions.cues import Layout, cues_from
from wat_cli.captions.sounds import NO_ROOM, rank
from wat_cli.options import CaptionOptions, TagOptions
from wat_cli.tagging.events import events_from_tags
from wat_cli.transcript import Segment, SoundEvent, TagTrack

WORDS = [
    "the", "orchestra", "had", "never", "played", "so", "well", "said", "old", "conductor", "to", "us", "and", "then",
    "we", "went", "home", "before", "dark",
]  # fmt: skip
LATE_MS = 1000
"""A caption of a very short sound may start this long after the sound's onset."""


def speech(seed: int, duration: float) -> list[Segment]:
    """Talk with pauses, some of it too fast to be read."""
    rng = np.random.default_rng(seed)
    segments: list[Segment] = []
    now = rng.uniform(0, 3)
    while now < duration - 1:
        text, rate = " ".join(rng.choice(WORDS, rng.integers(1, 25))), float(rng.choice([2, 2.5, 3.5, 5]))
        timed = rng.random() < 0.6
        segments.append(spoken(now, text, rate) if timed else segment(now, now + len(text.split()) / rate, f" {text}"))
        now = segments[-1].end + float(rng.choice([0, 0, 0, 0.3, 1, 3, 6]))
    return segments


def layouts(
    track: TagTrack, thresholds: list[float], level: str, options: CaptionOptions, seed: int
) -> tuple[Layout, Layout, list[Segment], float]:
    """The captions under the lower and the higher of two thresholds, the speech in them and the file's duration."""
    duration = track.steps * track.hop
    segments = speech(seed, duration)
    low, high = (
        cues_from(
            segments,
            events_from_tags(
                track, TagOptions(sounds=level, tags_threshold=threshold), segments=segments, duration=duration
            ),
            duration,
            options,
        )
        for threshold in thresholds
    )
    return low, high, segments, duration


def covering(event: SoundEvent, layout: Layout) -> SoundEvent:
    """The sound of `layout` that `event` is part of."""
    (found,) = (e for e in layout.events if e.group == event.group and e.start <= event.start and event.end <= e.end)
    return found


def crowded(seed: int) -> TagTrack:
    """A minute in which eight classes wander."""
    rng = np.random.default_rng(seed)
    return wandering(seed, 150, rng.choice(NAMES, 8, replace=False).tolist(), rng.choice([1, 3, 6], 8).tolist())


thresholds = st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)).map(sorted)
levels = st.sampled_from(["default", "more", "all"])
styles = st.sampled_from(["default", "netflix", "plain"]).map(lambda style: CaptionOptions(style=style))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(wild_tracks(), thresholds, levels, styles, st.integers(0, 2**32 - 1))
def test_what_is_captioned_is_captioned_under_a_lower_threshold(track, thresholds, level, options, seed) -> None:
    low, high, segments, duration = layouts(track, thresholds, level, options, seed)
    text = formats.render("srt", low, segments, options, "")
    cues = pysrt.from_string(text or "")
    for event in (e for e in high.events if e.shown):
        now = covering(event, low)
        if now.shown:
            assert any(tells_of(cue, now) for cue in cues), f"{now} is in none of {[(c.start, c.text) for c in cues]}"
            continue
        assert now.reason == NO_ROOM
        surer = [e for e in low.events if wanted(e) and rank(e) <= rank(now)]
        assert not covering(event, cues_from(segments, surer, duration, options)).shown


def wanted(event: SoundEvent) -> bool:
    """Whether the captions would show it, had they room."""
    return event.shown or event.reason == NO_ROOM


def tells_of(cue: pysrt.SubRipItem, event: SoundEvent) -> bool:
    """Whether the cue names the sound while that can be heard, or just after it."""
    latest = max(1000 * event.end, 1000 * event.start + LATE_MS)
    named = f"[{event.caption}]".casefold() in cue.text.replace("\n", " ").casefold()
    return named and cue.start.ordinal <= latest and cue.end.ordinal > 1000 * event.start


def test_few_sounds_give_way_where_many_crowd() -> None:
    """Up to eight sounds at random at a time over dense speech: far more than in any film."""
    options, shown, lost = CaptionOptions(), 0, 0
    for seed in range(60):
        low, high, *_ = layouts(crowded(seed), [0.2, 0.6], "all", options, seed)
        for event in (e for e in high.events if e.shown):
            shown, lost = shown + 1, lost + (not covering(event, low).shown)
    assert shown > 500 and lost <= shown // 50
