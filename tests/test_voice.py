from dataclasses import replace

import numpy as np
import pytest

from tests.tag_scenes import INDEX, track_of
from wat_cli.options import TagOptions
from wat_cli.tagging.events import OWN_TEXT, events_from_tags
from wat_cli.tagging.policy import load_policy
from wat_cli.tagging.text import named_group, sound_text, split_sound_text
from wat_cli.tagging.voice import unvoiced, voice_activity, voiced_spans
from wat_cli.transcript import HeadTuning, Segment, SoundEvent, TagTrack


def said(start: float, end: float, text: str) -> Segment:
    return Segment(0, 0, start, end, text, (), 0.0, -0.3, 1.2, 0.01)


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        (" [Music]", "Music"),
        ("(applause)", "applause"),
        ("*laughs*", "laughs"),
        (" ♪♪", "Music"),
        ("♪ ♫ ♪.", "Music"),
        ("[MUSIC] [APPLAUSE]", "MUSIC, APPLAUSE"),
        ("♪ [singing] ♪", "singing"),
        ("[BLANK_AUDIO]", "BLANK AUDIO"),
        ("【音楽】", "音楽"),
        (" Hello.", None),
        ("♪ Happy birthday to you ♪", None),
        ("He said (quietly) no.", None),
        ("[laughs] That is good.", None),
        ("(", None),
        ("", None),
        (" ...", None),
        ("#1", None),
    ],
)
def test_text_that_names_a_sound(text: str, sound: str | None) -> None:
    assert sound_text(text) == sound


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("Music", "music"),
        ("MUSIC PLAYING", "music"),
        ("upbeat music", "music"),
        ("applause", "applause"),
        ("audience laughing", "laughter"),
        ("dog barking", "dog"),
        ("phone ringing", "phone"),
        ("Gunshot, gunfire", "gunfire"),
        ("speaks Klingon", None),
        ("Speech", None),
    ],
)
def test_the_group_that_a_text_means(text: str, group: str | None) -> None:
    assert named_group(text, load_policy()) == group


def test_sound_text_is_no_speech() -> None:
    speech, sounds = split_sound_text([said(0, 2, " Hi."), said(2, 4, " [Music]"), said(4, 6, "[BLANK_AUDIO]")])
    assert [segment.text for segment in speech] == [" Hi."]
    assert [(sound.start, sound.end, sound.text) for sound in sounds] == [(2, 4, "Music"), (4, 6, "")]


def events(track: TagTrack, *segments: Segment, sounds: str = "default") -> list[SoundEvent]:
    return list(events_from_tags(track, TagOptions(sounds=sounds), segments=segments))


def test_a_written_sound_is_believed_where_the_tagger_half_hears_it() -> None:
    track = track_of([], 30.0)
    track.when[20:40, INDEX["Music"]] = track.what[15:45, INDEX["Music"]] = 0.2
    assert events(track) == []
    (event,) = events(track, said(8.0, 16.0, "[Music]"))
    assert (event.caption, event.shown) == ("Music", True)
    assert (event.start, event.end) == pytest.approx((8.0, 16.0))


def test_a_written_sound_that_the_tagger_does_not_hear_is_kept_with_the_reason() -> None:
    (event,) = events(track_of([], 30.0), said(8.0, 16.0, " [Music]"))
    assert (event.shown, event.reason) == (False, "only the speech recogniser's text names it")
    (event,) = events(track_of([("Music", 8, 16)], 30.0), said(8.0, 16.0, " [Music]"))
    assert event.shown


def test_a_written_sound_outside_the_policy_is_shown_as_written() -> None:
    track = track_of([], 30.0)
    (event,) = events(track, said(8.0, 16.0, "(speaks Klingon)"))
    assert (event.group, event.caption, event.shown) == (OWN_TEXT, "Speaks klingon", True)
    assert not events(track, said(8.0, 16.0, "(speaks Klingon)"), sounds="none")[0].shown
    assert events(track, said(8.0, 16.0, "[BLANK_AUDIO]")) == []


def test_voices_are_heard_over_two_seconds_or_ten() -> None:
    activity = voice_activity(track_of([("Speech", 5, 9), ("Choir", 20, 25), ("Dog", 40, 42)], 60.0))
    assert activity[15:20].min() > 0.9
    assert activity[52:60].min() > 0.9
    assert activity[100:104].max() < 0.1


def test_text_where_nobody_speaks_is_a_probable_hallucination() -> None:
    track = track_of([("Speech", 2, 8), ("Music", 30, 50)], 60.0)
    segments = [said(2, 8, " Hello."), said(35, 40, " Thank you for watching."), said(41, 42, "  ")]
    assert unvoiced(track, segments) == (1,)
    track.when[90] = np.nan
    assert unvoiced(track, segments) == ()
    assert unvoiced(track_of([], 10.0), [said(50, 60, " late")]) == ()


def test_where_somebody_may_speak() -> None:
    track = track_of([("Speech", 10, 14), ("Music", 20, 40), ("Singing", 44, 50)], 60.0)
    first, second = voiced_spans(track)
    assert first == pytest.approx((10, 14), abs=0.8) and first[0] <= 10 and first[1] >= 14
    assert second == pytest.approx((44, 50), abs=0.8) and second[0] <= 44 and second[1] >= 50


def test_a_voice_at_the_files_edges_reaches_them() -> None:
    assert voiced_spans(track_of([("Speech", 0, 30)], 30.0)) == ((0.0, 30.0),)
    assert voiced_spans(track_of([], 30.0)) == ()


def test_unknown_steps_may_hold_a_voice() -> None:
    track = track_of([], 30.0)
    track.when[20], track.when[50:55] = np.nan, np.nan
    assert voiced_spans(track) == ((8.0, 8.4), (20.0, 22.0))


def test_a_scene_of_ten_seconds_tells_nothing_of_when() -> None:
    track = track_of([], 30.0)
    track.what[:, INDEX["Speech"]] = 0.9
    assert voiced_spans(track) == ()


def test_other_classes_than_audiosets_say_nothing_of_voices() -> None:
    track = track_of([], 30.0)
    own = replace(track, tuning=HeadTuning(labels=tuple(map(str, range(527)))))
    few = TagTrack(track.what[:, :10], track.when[:, :10])
    assert voiced_spans(own) is None and voiced_spans(few) is None
