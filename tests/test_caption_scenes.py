"""What the benchmark of sound captions counts, on cases counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks.caption_scenes import Placement, placement, slot_events, start_errors, timing_row  # noqa: E402
from tests.captionable import segment, sound, spoken  # noqa: E402
from training.scenes import Spoken  # noqa: E402
from wat_cli.captions.rules import Cue, CueLine  # noqa: E402
from wat_cli.options import CaptionOptions  # noqa: E402
from wat_cli.tagging.labels import load_labels  # noqa: E402

LABELS = [label.name for label in load_labels()]


def test_placement() -> None:
    crowded = "This goes on and on without a break and much too fast for anyone who wants to read all of it"
    segments = [segment(1, 4, " And then we danced."), *(spoken(start, crowded, 5.2) for start in (20.0, 24.04, 28.08))]
    events = [sound(1.2, 9), sound(25, 26, "Dog barking"), sound(50, 52, "Applause")]
    assert placement(segments, events, 60, CaptionOptions()) == Placement(2, 1, 7, 0) + Placement(0, 0, 0, 0)


def test_slots_are_whisper_ats() -> None:
    logits = np.full((4, len(LABELS)), -9.0, np.float32)
    logits[1:3, LABELS.index("Music")] = 2.0
    logits[0, LABELS.index("Siren")] = -0.9
    logits[3, LABELS.index("Siren")] = -1.1  # below what whisper-at names
    logits[2, LABELS.index("Speech")] = 5.0  # never captioned
    assert sorted(slot_events(logits, 10.0)) == [(0.0, 10.0, "siren"), (10.0, 30.0, "music")]


def test_only_the_five_best_of_a_slot_count() -> None:
    logits = np.full((1, len(LABELS)), -9.0, np.float32)
    logits[0, :5] = 3.0  # five kinds of speech
    logits[0, LABELS.index("Music")] = 2.0
    assert slot_events(logits, 10.0) == []


def test_start_errors_are_of_captions_that_begin_an_utterance() -> None:
    said = [Spoken(10.0, 12.0, "Who cut the first radio?", "a"), Spoken(20.0, 24.0, "Nobody moved that bell.", "b")]
    cues = [
        Cue(1000, 3000, (CueLine("Thank you."),)),  # nobody said it
        Cue(10500, 11000, (CueLine("[Music]", 7), CueLine("Who cut"))),
        Cue(11000, 12000, (CueLine("the first radio?"),)),  # in the middle
        Cue(18000, 24000, (CueLine("Somebody moved that bell."),)),  # its first word misheard
    ]
    assert start_errors(said, cues) == pytest.approx([0.5, -2.0])
    assert timing_row("wat", [0.6, -2.0, 0.0, 0.0]) == "| wat | 4 | 0.30 | 0.65 | 25.0% | 25.0% |"
