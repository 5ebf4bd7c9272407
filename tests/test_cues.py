"""Cues: what always holds, what holds where speech leaves room, and where sounds go."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.captionable import options as any_options
from tests.captionable import scenes, segment, sound, spoken, voiced
from wat_cli.captions.characters import clean_text
from wat_cli.captions.cues import Layout, cues_from
from wat_cli.captions.rules import Cue, broken_rules, rules_for
from wat_cli.captions.sounds import NO_ROOM
from wat_cli.options import CaptionOptions
from wat_cli.transcript import Segment, SoundEvent

DEFAULT = CaptionOptions()
PLAIN = CaptionOptions(style="plain")


def lay_out(
    segments: list[Segment],
    sounds: list[SoundEvent] | None = None,
    duration: float = 60.0,
    voices: list[tuple[float, float]] | None = None,
    **given: object,
) -> Layout:
    return cues_from(segments, sounds or [], duration, CaptionOptions(**given), voices)  # type: ignore[arg-type]


def shown(layout: Layout) -> list[tuple[int, int, str]]:
    return [(cue.start_ms, cue.end_ms, cue.text) for cue in layout.cues]


def words_of(cue: Cue) -> str:
    """The cue's text without its sounds."""
    return " ".join(line.text[line.sound_length :].strip() for line in cue.lines)


# --- what always holds ----------------------------------------------------------------------------------------------


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scene=scenes(), options=any_options, data=st.data())
def test_hard_rules_hold_and_no_text_is_lost(scene, options, data) -> None:
    segments, sounds, duration = scene
    voices = data.draw(voiced(segments), "voices")
    layout = cues_from(segments, sounds, duration, options, voices)
    duration_ms = max(round(duration * 1000), 1)
    assert [rule for rule in broken_rules(layout.cues, rules_for(options), duration_ms) if rule.hard] == []
    once = cues_from(segments, sounds, duration, replace(options, highlight_words=False), voices).cues
    said = " ".join(clean_text(part.text) for part in segments)
    # Order is another test's: overlapping segments may be cut into each other
    assert Counter("".join("".join(words_of(cue) for cue in once).split())) == Counter("".join(said.split()))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scene=scenes(), options=any_options, data=st.data())
def test_sounds_never_move_speech(scene, options, data) -> None:
    segments, sounds, duration = scene
    options = replace(options, highlight_words=False)
    voices = data.draw(voiced(segments), "voices")
    without, with_sounds = (cues_from(segments, told, duration, options, voices) for told in ([], sounds))
    spoken_at = {cue.start_ms for cue in with_sounds.cues if cue.kind != "sound"}
    quiet = [cue for cue in without.cues if cue.kind != "sound"]
    assert {cue.start_ms for cue in quiet} <= spoken_at
    assert len(with_sounds.events) == len(sounds)
    assert all(event.shown or event.reason == NO_ROOM for event in with_sounds.events)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scene=scenes(), options=any_options, data=st.data())
def test_a_weaker_sound_takes_no_surer_ones_place(scene, options, data) -> None:
    segments, sounds, duration = scene
    voices = data.draw(voiced(segments), "voices")
    scores = data.draw(st.permutations([0.3 + 0.02 * rank for rank in range(len(sounds))]), "scores")
    sounds = [replace(event, score=score) for event, score in zip(sounds, scores, strict=True)]
    duration = duration or max([0.001, *(part.end for part in (*segments, *sounds))])
    surest = sorted(sounds, key=lambda event: -event.score)
    all_told = cues_from(segments, surest, duration, options, voices).events
    for count in range(len(sounds)):
        for event in cues_from(segments, surest[:count], duration, options, voices).events:
            assert event in all_told


def test_of_three_sounds_with_room_for_two_the_surer_are_shown() -> None:
    scores = {"Rain": 0.35, "Siren": 0.9, "Dog barking": 0.6}
    sounds = [replace(sound(1.0 + k / 10, 2.0, name), score=scores[name]) for k, name in enumerate(scores)]
    layout = lay_out([segment(0.0, 4.0, " A few words.")], sounds, duration=4.0)
    assert [event.caption for event in layout.events if event.shown] == ["Siren", "Dog barking"]
    assert [event.caption for event in layout.events] == list(scores)


def test_rules_that_the_speech_leaves_no_room_for_are_named() -> None:
    fast = segment(0.0, 1.0, " This is far too much to be read within a second.")
    layout = lay_out([fast, segment(1.0, 4.0, " And it goes on at once, as if to spite us.")])
    assert [(rule.cue, rule.rule, rule.hard) for rule in layout.broken_rules] == [(1, "reading-speed", False)]


def test_order_of_the_words_is_kept() -> None:
    text = "One two three, four five six. Seven eight nine ten eleven, twelve thirteen fourteen and fifteen sixteen."
    layout = lay_out([spoken(1.0, text), spoken(12.0, "And more.")])
    assert " ".join(words_of(cue) for cue in layout.cues) == text + " And more."


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_order_of_the_words_is_kept_wherever_voices_are(data) -> None:
    lengths = data.draw(st.lists(st.sampled_from([0.0, 1.0, 5.0, 29.0]), max_size=4), "lengths")
    segments, now = [], 0.0
    for place, length in enumerate(lengths):
        count = data.draw(st.integers(1, 12))
        segments.append(segment(now, now + length, " ".join(f"{place}-{word}" for word in range(count))))
        now += length + data.draw(st.sampled_from([0.0, 0.5, 3.0]))
    layout = cues_from(segments, [], now + 1, DEFAULT, data.draw(voiced(segments), "voices"))
    assert [word for cue in layout.cues for word in words_of(cue).split()] == " ".join(
        part.text for part in segments
    ).split()


# --- times ----------------------------------------------------------------------------------------------------------


def test_short_speech_stays_until_it_is_read() -> None:
    assert shown(lay_out([segment(2.0, 2.3, " No.")])) == [(2000, 2834, "No.")]


def test_a_caption_lingers_to_be_read_but_not_for_ever() -> None:
    text = " I never said that it would be as easy as that."
    assert shown(lay_out([segment(1.0, 2.0, text)]))[0][:2] == (1000, 3300)
    netflix = lay_out([segment(1.0, 2.0, text)], style="netflix")
    assert netflix.cues[0].end_ms == 2500 and [rule.rule for rule in netflix.broken_rules] == ["reading-speed"]


def test_small_gaps_close_to_two_frames_and_others_stay() -> None:
    layout = lay_out([segment(0, 2, " One thing."), segment(2.3, 4, " Another thing."), segment(4.6, 6, " A third.")])
    assert [cue.end_ms for cue in layout.cues] == [2216, 4000, 6000]
    assert layout.broken_rules == ()


def test_adjacent_captions_keep_two_frames_apart() -> None:
    layout = lay_out([segment(0, 2, " One thing."), segment(2, 4, " Another thing.")])
    assert [(cue.start_ms, cue.end_ms) for cue in layout.cues] == [(0, 1916), (2000, 4000)]


def test_captions_too_short_to_read_join_their_neighbour() -> None:
    layout = lay_out([segment(0, 0.4, " Yes."), segment(0.4, 2, " Of course.")])
    assert shown(layout) == [(0, 2000, "Yes. Of course.")]


def test_a_short_caption_takes_words_from_a_full_one() -> None:
    full = "Let us go down to the river now, before the others come home, and see whether the boat is there"
    layout = lay_out([spoken(0, "No."), spoken(0.4, full, rate=3.2)])
    assert [cue.text.replace("\n", " ") for cue in layout.cues] == [
        "No. Let us go down to the river now,",
        "before the others come home, and see whether the boat is there",
    ]
    assert layout.broken_rules == ()


def test_few_words_in_a_long_segment_stay_together() -> None:
    layout = lay_out([segment(0, 2, " I heard it on the radio."), segment(2, 14, " Twelve birds.")])
    assert shown(layout) == [(0, 1916, "I heard it on the radio."), (2000, 9000, "Twelve birds.")]


def test_a_little_haste_does_not_tear_sentences() -> None:
    first, second = "I remember the strange music on the stage.", "Twelve birds sat there, and nobody saw them at all."
    layout = lay_out([segment(0, 1.9, first), segment(1.9, 6, second)])
    assert [cue.text.replace("\n", " ") for cue in layout.cues] == [first, second]
    assert [rule.rule for rule in layout.broken_rules] == ["reading-speed"]


def test_a_caption_takes_time_from_the_next_one_of_its_segment() -> None:
    first, second = "If the time was always low, our daughter found the voice,", "our daughter fell from the voice."
    layout = lay_out([segment(4.64, 7.74, f" {first} {second}")])
    assert [cue.text.replace("\n", " ") for cue in layout.cues] == [first, second]
    assert layout.broken_rules == () and layout.cues[1].start_ms < 7740
    apart = lay_out([segment(4.64, 6.58, first), segment(6.58, 7.74, second)])
    assert apart.cues[1].start_ms == 6580, "when a segment starts is known"


def test_captions_apart_stay_apart() -> None:
    layout = lay_out([segment(0, 0.2, " No."), segment(1.2, 3, " Of course not.")])
    assert [cue.text for cue in layout.cues] == ["No.", "Of course not."]


def test_plain_style_keeps_the_times_of_the_segments() -> None:
    segments = [segment(0, 0.4, " Yes."), segment(0.4, 9.7, " Of course."), segment(9.8, 10, " No.")]
    assert shown(lay_out(segments, style="plain")) == [
        (0, 400, "Yes."),
        (400, 9700, "Of course."),
        (9800, 10000, "No."),
    ]


def test_overlapping_speech_shares_the_screen_in_turn() -> None:
    first, second = (
        "Hello there, you, and welcome to this fine old house of ours.",
        "Good evening to everybody who came so far.",
    )
    layout = lay_out([segment(0, 6, second), segment(0, 5, first)])
    assert [" ".join(cue.text.split()) for cue in layout.cues] == [first, second]
    assert all(cue.end_ms - cue.start_ms > 1500 for cue in layout.cues)


def test_a_segment_past_the_end_is_brought_inside() -> None:
    layout = lay_out([segment(9.0, 31.0, " The end.")], duration=10.0)
    assert shown(layout) == [(9000, 10000, "The end.")]


def test_long_speech_is_parted_where_it_pauses() -> None:
    layout = lay_out([spoken(0, "Wait for it and now", rate=2, pause_after={"it": 3.0})])
    assert [(cue.start_ms, cue.text) for cue in layout.cues] == [(0, "Wait for it"), (4500, "and now")]


SLOW = segment(1, 29, " It there was no boat at the airport.")


def test_a_caption_stands_where_the_voice_is() -> None:
    assert shown(lay_out([SLOW], voices=[(26.4, 29)])) == [(26400, 29000, "It there was no boat at the airport.")]
    assert shown(lay_out([SLOW], voices=[(0, 3.4), (40, 50)])) == [(1000, 3400, "It there was no boat at the airport.")]


@pytest.mark.parametrize("voices", [None, [], [(30, 40)], [(0, 60)]])
def test_a_caption_stands_where_its_segment_is_if_no_voice_says_otherwise(voices) -> None:
    assert shown(lay_out([SLOW], voices=voices)) == shown(lay_out([SLOW]))


def test_words_about_a_pause_are_parted_there() -> None:
    pausing = segment(0, 20, " He sat down at the table. Then we all went home again.")
    assert shown(lay_out([pausing], voices=[(0, 2.4), (17.2, 20)])) == [
        (0, 2400, "He sat down at the table."),
        (17200, 20000, "Then we all went home again."),
    ]


def test_voices_move_no_words_with_times_and_nothing_in_plain_style() -> None:
    assert shown(lay_out([spoken(1, "You are here")], voices=[(2, 4)])) == shown(lay_out([spoken(1, "You are here")]))
    assert shown(lay_out([SLOW], voices=[(26.4, 29)], style="plain")) == [(1000, 29000, SLOW.text.strip())]


def test_a_persons_times_stay() -> None:
    as_decoded = replace(SLOW, tokens=(50364 + 50, 400, 50364 + 1450))
    assert shown(lay_out([as_decoded], voices=[(26.4, 29)]))[0][0] == 26400
    assert shown(lay_out([replace(as_decoded, start=20.0)], voices=[(26.4, 29)]))[0][0] == 20000


# --- sounds ---------------------------------------------------------------------------------------------------------


def test_a_sound_in_a_pause_has_a_caption_of_its_own() -> None:
    layout = lay_out([segment(0, 2, " Listen."), segment(10, 12, " Gone.")], [sound(4, 5, "Dog barking")])
    assert shown(layout)[1] == (4000, 5600, "[Dog barking]")


def test_a_long_sound_has_one_caption_at_its_onset() -> None:
    assert shown(lay_out([], [sound(1, 58)])) == [(1000, 5000, "[Music]")]


def test_a_sound_over_speech_joins_its_caption() -> None:
    layout = lay_out([segment(1, 4, " And then we danced.")], [sound(1.2, 9)])
    assert shown(layout) == [(1000, 4000, "[Music]\nAnd then we danced.")]
    assert layout.cues[0].kind == "mixed" and layout.cues[0].lines[0].sound_length == len("[Music]")


def test_a_sound_before_two_full_lines_stands_before_the_words() -> None:
    text = " The orchestra had never played so well, said the old conductor."
    layout = lay_out([segment(1, 7, text)], [sound(1, 7)])
    assert shown(layout) == [(1000, 7000, "[Music] The orchestra had never played\nso well, said the old conductor.")]


def test_a_sound_before_hebrew_words_leaves_them_their_direction() -> None:
    text = " היום נדבר על הגשר הישן שחוצה את הנהר, כי אף אחד לא יודע מתי הוא"
    cue = lay_out([segment(1, 7, text)], [sound(1, 7)]).cues[0]
    assert cue.text.startswith("\u200f[Music] היום") and cue.lines[0].sound_length == len("\u200f[Music]")


def test_a_full_caption_is_parted_for_a_sound_and_nothing_is_said_late() -> None:
    text = "The orchestra had never played as well as that, said the old conductor to us"
    layout = lay_out([spoken(1, text, rate=2.4)], [sound(3.5, 7, "Dog barking")])
    quiet = lay_out([spoken(1, text, rate=2.4)])
    assert len(quiet.cues) == 1 and len(layout.cues) == 2
    assert layout.cues[0].start_ms == quiet.cues[0].start_ms
    assert [event.shown for event in layout.events] == [True]
    assert any(line.text.startswith("[Dog barking]") for cue in layout.cues for line in cue.lines)


def test_a_caption_is_not_parted_at_times_that_are_guessed() -> None:
    music = [sound(3.2, 9)]
    assert shown(lay_out([SLOW], music))[0][2].endswith("It there was no boat at the airport.")
    text = " The orchestra had never played as well as that, said the old conductor to us"
    believable = lay_out([segment(1, 7, text)], [sound(4.5, 9)])
    assert len(believable.cues) == 2 and believable.cues[1].lines[0].sound_length


def test_a_sound_without_room_is_left_out_and_says_so() -> None:
    text = "This goes on and on without a break and much too fast for anyone who wants to read all of it"
    crowded = [spoken(start, text, rate=5.2) for start in (0.0, 4.04, 8.08)]
    layout = lay_out(crowded, [sound(5.0, 6.0, "Dog barking")])
    assert [(event.shown, event.reason) for event in layout.events] == [(False, NO_ROOM)]
    assert all("Dog" not in cue.text for cue in layout.cues)


def test_two_sounds_at_once_share_a_caption() -> None:
    layout = lay_out([], [sound(3, 9), sound(3.4, 5, "Applause")])
    assert shown(layout)[0][2] == "[Music]\n[Applause]"


def test_unshown_events_stay_out_of_the_captions() -> None:
    event = replace(sound(3, 9), shown=False, reason="tier 3")
    layout = lay_out([], [event])
    assert layout.cues == () and layout.events == (event,)


def test_netflix_writes_sounds_in_lower_case() -> None:
    assert shown(lay_out([], [sound(1, 3, "Dog barking")], style="netflix"))[0][2] == "[dog barking]"


# --- openai-whisper's options ---------------------------------------------------------------------------------------


def test_highlighted_words_follow_the_speech() -> None:
    layout = lay_out([spoken(1, "You are here", rate=2, pause_after={"are": 0.5})], highlight_words=True)
    marks = [
        (c.start_ms, c.end_ms, c.lines[0].text[slice(*c.lines[0].underlined)] if c.lines[0].underlined else "")
        for c in layout.cues
    ]
    assert marks == [(1000, 1500, "You"), (1500, 2000, "are"), (2000, 2500, ""), (2500, 3000, "here")]


def test_words_per_caption() -> None:
    layout = lay_out([spoken(0, "one two three four five", rate=1)], max_words_per_line=2, style="plain")
    assert [cue.text for cue in layout.cues] == ["one two", "three four", "five"]


def test_width_and_count_let_captions_run_across_segments() -> None:
    segments = [spoken(0, "This is the first"), spoken(1.6, "half of it.")]
    assert len(lay_out(segments, style="plain").cues) == 2
    assert [c.text for c in lay_out(segments, style="plain", max_line_width=42, max_line_count=2).cues] == [
        "This is the first half of it."
    ]


def test_a_wider_gap_can_be_asked_for() -> None:
    layout = lay_out([segment(0, 3, " One thing."), segment(3, 6, " Another.")], min_gap=1.0, closed_gap=1.0)
    assert [(cue.start_ms, cue.end_ms) for cue in layout.cues] == [(0, 2000), (3000, 6000)]
