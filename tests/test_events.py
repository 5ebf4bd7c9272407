import dataclasses
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tag_scenes import INDEX, even_logit, even_probability, track_of
from wat_cli.options import TagOptions
from wat_cli.tagging.events import events_from_tags
from wat_cli.tagging.grid import WHAT, WHEN, TagAccumulator, place_window
from wat_cli.tagging.policy import load_policy, resolve
from wat_cli.tagging.sparse import sparse_tags, tags_from
from wat_cli.tagging.table import ScoreTable
from wat_cli.transcript import HeadTuning, Segment, SoundEvent, TagTrack

DEFAULT = TagOptions()


def shown(track: TagTrack, options: TagOptions = DEFAULT, **kwargs) -> list[SoundEvent]:
    return [event for event in events_from_tags(track, options, **kwargs) if event.shown]


def captions(track: TagTrack, options: TagOptions = DEFAULT, **kwargs) -> list[str]:
    return [event.caption for event in shown(track, options, **kwargs)]


def said(start: float, end: float, text: str = " some words", logprob: float = -0.3) -> Segment:
    return Segment(0, 0, start, end, text, (), 0.0, logprob, 1.2, 0.01)


# --- time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("response", "lag"), [(even_logit, 0.0), (even_probability, 0.25)])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_onsets_are_where_the_sound_starts(response, lag: float, threshold: float) -> None:
    """A head trained on the share itself sees edges early; the lag that is kept beside it says how much."""
    errors = []
    for onset in np.arange(5.0, 60.0, 3.7):
        for length in (1.0, 2.0, 5.0, 12.0):
            tuning = HeadTuning(lag=lag)
            track = track_of([("Siren", onset, onset + length)], 90.0, response, tuning=tuning)
            found = shown(track, TagOptions(tags_threshold=threshold))
            assert [event.caption for event in found] == ["Siren"]
            errors.append(abs(found[0].start - onset))
            if length >= 2:
                assert abs(found[0].end - (onset + length)) <= 1.0 + lag
    assert np.median(errors) <= 0.3
    assert max(errors) <= 1.0


def test_the_same_sound_behind_silence_is_the_same_event_later() -> None:
    scene = [("Bark", 1.1, 2.3), ("Music", 5.0, 14.0), ("Applause", 14.2, 19.0)]
    first = shown(track_of(scene, 20.0))
    assert [event.caption for event in first] == ["Dog barking", "Music", "Applause"]
    for silence in (0.3, 7.1, 27.4):
        moved = shown(track_of([(n, a + silence, b + silence) for n, a, b in scene], 20.0 + silence))
        assert [event.caption for event in moved] == [event.caption for event in first]
        for before, after in zip(first, moved, strict=True):
            assert abs(after.start - before.start - silence) <= 0.4 + 1e-6
            assert abs(after.end - before.end - silence) <= 0.8 + 1e-6


def test_windows_that_seek_back_find_the_same_event() -> None:
    seeks = [0, 26.82, 53.1, 81.96, 110.0]
    found = shown(track_of([("Crying, sobbing", 70.0, 74.0)], 120.0, seeks=seeks))
    assert [event.caption for event in found] == ["Crying"]
    assert abs(found[0].start - 70.0) <= 0.5


def test_a_sound_over_a_step_that_no_window_holds_whole_is_one_event() -> None:
    track = track_of([("Music", 20.0, 50.0)], 87.2, seeks=[0, 27.4, 57.4])
    assert np.isnan(track.when[143]).all()
    found = shown(track)
    assert [event.caption for event in found] == ["Music"]
    assert abs(found[0].end - 50.0) <= 0.8


def test_what_nobody_listened_to_is_unknown() -> None:
    found = shown(track_of([("Music", 0.0, 90.0)], 90.0, seeks=[0, 60.0]))
    assert [(event.start, event.end) for event in found] == [(0.0, 30.0), (60.0, 90.0)]


def test_events_end_with_the_file() -> None:
    found = shown(track_of([("Siren", 5.0, 9.0)], 9.0), duration=8.9)
    assert found[0].end == 8.9


def test_a_head_that_sees_edges_early_says_so_in_its_tuning() -> None:
    plain = shown(track_of([("Siren", 5.0, 9.0)], 20.0))
    late = shown(track_of([("Siren", 5.0, 9.0)], 20.0, tuning=HeadTuning(lag=0.4)))
    assert late[0].start == pytest.approx(plain[0].start + 0.4)


# --- one sound, many scores -----------------------------------------------------------------------------------------


def test_short_gaps_are_bridged_and_long_ones_are_not() -> None:
    assert len(shown(track_of([("Siren", 5.0, 9.0), ("Siren", 9.8, 14.0)], 30.0))) == 1
    assert len(events_from_tags(track_of([("Siren", 2.0, 6.0), ("Siren", 11, 14.0)], 30.0), DEFAULT)) == 2


def test_a_sound_that_comes_back_soon_gets_no_second_caption() -> None:
    barks = [("Bark", at, at + 1.0) for at in (5.0, 9.0, 13.0, 30.0)]
    events = events_from_tags(track_of(barks, 40.0), DEFAULT)
    assert [event.shown for event in events] == [True, False, False, True]
    assert events[1].reason == "repeats within ten seconds"


def test_short_blips_of_a_sustained_sound_are_left_out() -> None:
    track = track_of([], 20.0)
    track.when[20, INDEX["Music"]] = track.what[15:25, INDEX["Music"]] = 0.99
    assert captions(track) == []


def test_a_local_score_that_the_scene_contradicts_is_left_out() -> None:
    track = track_of([], 20.0)
    track.when[20:26, INDEX["Siren"]] = 0.9
    assert captions(track) == []
    track.what[10:35, INDEX["Siren"]] = 0.5
    assert captions(track) == ["Siren"]


def test_a_running_sound_goes_on_to_half_its_threshold() -> None:
    track = track_of([], 40.0)
    for scores in (track.what, track.when):
        scores[10:30, INDEX["Siren"]] = 0.6
        scores[30:60, INDEX["Siren"]] = 0.3
    (event,) = shown(track)
    assert (event.start, event.end) == pytest.approx((4.0, 24.0))


# --- which caption --------------------------------------------------------------------------------------------------


def test_speech_is_never_captioned() -> None:
    track = track_of([("Speech", 0, 20), ("Narration, monologue", 0, 20), ("Inside, small room", 0, 20)], 20.0)
    assert events_from_tags(track, TagOptions(sounds="all")) == ()


@pytest.mark.parametrize(
    ("labels", "caption"),
    [
        (("Crying, sobbing",), "Crying"),
        (("Crying, sobbing", "Baby cry, infant cry"), "Baby crying"),
        (("Alarm", "Smoke detector, smoke alarm"), "Smoke alarm"),
        (("Alarm", "Smoke detector, smoke alarm", "Fire alarm"), "Alarm"),
        (("Clapping", "Applause"), "Applause"),
        (("Clapping",), "Clapping"),
        (("Telephone", "Telephone bell ringing"), "Phone ringing"),
        (("Animal", "Domestic animals, pets", "Dog", "Bark"), "Dog barking"),
        (("Music", "Musical instrument", "Piano", "Jazz"), "Music"),
        (("Alarm", "Siren", "Emergency vehicle", "Vehicle"), "Siren"),
        (("Alarm", "Telephone", "Telephone bell ringing"), "Phone ringing"),
        (("Explosion", "Gunshot, gunfire", "Machine gun"), "Gunfire"),
        (("Explosion", "Fireworks"), "Fireworks"),
        (("Vehicle", "Motor vehicle (road)", "Car", "Vehicle horn, car horn, honking"), "Horn honking"),
        (("Music", "Singing", "Female singing"), "Music"),
        (("Singing", "Choir"), "Singing"),
        (("Door", "Slam"), "Door slams"),
        (("Thunderstorm", "Thunder", "Rain"), "Thunder"),
    ],
)
def test_one_caption_the_specific_one_where_it_is_right(labels: tuple[str, ...], caption: str) -> None:
    assert captions(track_of([(label, 8.0, 13.0) for label in labels], 30.0)) == [caption]


@pytest.mark.parametrize("level", ["default", "more", "all"])
def test_each_class_heard_with_all_above_it_is_one_caption(level: str) -> None:
    """As a head trained on AudioSet's labels answers: a sound's parents are true as well."""
    policy = resolve(TagOptions(sounds=level))
    rolled_up = {"Choir": "Music", "A capella": "Music", "Chant": "Music", "Mantra": "Music"}
    rolled_up |= {"Buzz": "Insects buzzing", "Burst, pop": "Explosion"}
    for index in sorted(policy.enabled):
        sound, todo, above = policy.classes[index], [index], set()
        while todo:
            above.add(todo[-1])
            todo += [parent for parent in policy.classes[todo.pop()].parents if parent not in above]
        track = track_of([], 24.0)
        track.when[20:32, list(above)] = track.what[10:50, list(above)] = 0.92
        assert captions(track, TagOptions(sounds=level), policy=policy) == [rolled_up.get(sound.name, sound.caption)]


def test_a_specific_sound_that_is_less_likely_gives_way_to_the_general_one() -> None:
    track = track_of([("Crying, sobbing", 5.0, 12.0)], 20.0)
    for scores in (track.when, track.what):
        scores[12:30, INDEX["Baby cry, infant cry"]] = 0.6
    assert captions(track) == ["Crying"]


def test_a_church_bell_is_not_music() -> None:
    bell = [(label, 5.0, 10.0) for label in ("Music", "Musical instrument", "Bell", "Church bell")]
    assert captions(track_of(bell, 20.0)) == []
    assert captions(track_of(bell, 20.0), TagOptions(sounds="more")) == ["Bell ringing"]
    tune = [*bell, ("Guitar", 5.0, 10.0)]
    assert captions(track_of(tune, 20.0)) == ["Music"]


def test_cheering_and_applause_are_both_captioned() -> None:
    assert sorted(captions(track_of([("Cheering", 5, 12), ("Applause", 5, 12)], 20.0))) == ["Applause", "Cheering"]


def test_alarms_beat_beeps_and_shouting_gives_way_to_words() -> None:
    every = TagOptions(sounds="all")
    assert captions(track_of([("Fire alarm", 5, 12), ("Beep, bleep", 5, 12)], 20.0), every) == ["Fire alarm"]
    assert captions(track_of([("Beep, bleep", 5, 12)], 20.0), every) == ["Beeping"]
    shout = track_of([("Shout", 5, 9)], 20.0)
    assert captions(shout) == ["Shouting"]
    assert captions(shout, segments=[said(4.0, 10.0)]) == []
    assert captions(shout, segments=[said(4.0, 10.0, logprob=-1.5)]) == ["Shouting"]
    assert captions(shout, segments=[said(4.0, 10.0, " [shouting]")]) == ["Shouting"]


def test_what_is_not_shown_stays_with_its_reason() -> None:
    events = events_from_tags(track_of([("Rain", 5.0, 12.0)], 20.0), DEFAULT)
    assert [(event.caption, event.shown, event.reason) for event in events] == [
        ("Rain", False, "shown with --sounds more")
    ]
    events = events_from_tags(track_of([("Music", 5, 12)], 20.0), TagOptions(exclude_sounds="music"))
    assert [(event.caption, event.reason) for event in events] == [("Music", "excluded")]
    events = events_from_tags(track_of([("Music", 5, 12)], 20.0), TagOptions(sounds="none"))
    assert [(event.shown, event.reason) for event in events] == [(False, "shown with --sounds default")]


def test_stricter_tiers_keep_their_distance() -> None:
    track = track_of([], 20.0)
    for name in ("Siren", "Rain", "Chewing, mastication"):
        track.when[10:30, INDEX[name]] = track.what[5:40, INDEX[name]] = 0.6
    every = TagOptions(sounds="all")
    assert captions(track, every) == ["Siren"]
    assert sorted(captions(track, dataclasses.replace(every, tags_threshold=0.4))) == ["Rain", "Siren"]
    assert sorted(captions(track, dataclasses.replace(every, tags_threshold=0.3))) == ["Chewing", "Rain", "Siren"]


# --- what a user asks for -------------------------------------------------------------------------------------------


def test_included_and_excluded_by_label_or_group() -> None:
    rain = track_of([("Rain", 5.0, 12.0), ("Siren", 5, 12)], 20.0)
    assert sorted(captions(rain, TagOptions(include_sounds="rain"))) == ["Rain", "Siren"]
    assert captions(rain, TagOptions(include_sounds="Rain", exclude_sounds="siren")) == ["Rain"]
    assert captions(rain, TagOptions(sounds="none", include_sounds="/m/06mb1")) == ["Rain"]
    assert captions(rain, TagOptions(sounds="more", exclude_sounds="Siren, Rain")) == []


def test_an_own_table(tmp_path: Path) -> None:
    path = tmp_path / "sounds.toml"
    path.write_text(
        'include = ["rain"]\nsuppress = ["siren"]\n'
        '[captions]\nmusic = "Musik"\n"Alarm" = "Wecker"\n"Speech" = "Rede"\n[thresholds]\n"Rain" = 0.9\n',
        encoding="utf-8",
    )
    options = TagOptions(sounds_file=path)
    track = track_of([("Music", 5, 12), ("Siren", 5, 12), ("Speech", 5, 12), ("Alarm", 20, 25)], 30.0)
    for scores in (track.when, track.what):
        scores[12:30, INDEX["Rain"]] = 0.8
    assert captions(track, options) == ["Musik", "Rede", "Wecker"]
    track.when[12:30, INDEX["Rain"]] = track.what[12:30, INDEX["Rain"]] = 0.92
    assert "Rain" in captions(track, options)


def test_the_heads_own_threshold_is_the_default() -> None:
    track = track_of([], 20.0)
    track.when[10:30, INDEX["Siren"]] = track.what[5:40, INDEX["Siren"]] = 0.4
    assert captions(track) == []
    track = dataclasses.replace(track, tuning=HeadTuning(threshold=0.35))
    assert captions(track) == ["Siren"]
    assert captions(track, TagOptions(tags_threshold=0.45)) == []


# --- lower never shows less -----------------------------------------------------------------------------------------

NAMES = (
    "Music", "Musical instrument", "Piano", "Singing", "Church bell", "Bell", "Siren", "Alarm", "Fire alarm",
    "Beep, bleep", "Dog", "Bark", "Howl", "Shout", "Cheering", "Applause", "Clapping", "Explosion", "Gunshot, gunfire",
    "Vehicle", "Engine", "Motorcycle", "Rain", "Door", "Slam", "Knock", "Chatter", "Crying, sobbing",
    "Baby cry, infant cry",
)  # fmt: skip


@st.composite
def wild_tracks(draw: st.DrawFn) -> TagTrack:
    """Scores that wander between silence and certainty, related and unrelated classes together, with unknown steps."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=8, unique=True))
    stiffness = [draw(st.sampled_from([1, 3, 6])) for _ in names]
    track = wandering(draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 90)), names, stiffness)
    if draw(st.booleans()):
        track.when[draw(st.integers(0, track.steps - 1))] = np.nan
    return track


def wandering(seed: int, steps: int, names: Sequence[str], stiffness: Sequence[int]) -> TagTrack:
    """Scores of the classes called `names` that wander; those over two seconds the slower the stiffer."""
    rng = np.random.default_rng(seed)
    track = TagTrack(*(np.zeros((steps, 527), np.float32) for _ in range(2)))
    for name, stiff in zip(names, stiffness, strict=True):
        for scores, length in ((track.what, 8), (track.when, stiff)):
            walk = np.convolve(rng.normal(0, 4, steps + length), np.ones(length) / length**0.5, "valid")
            scores[:, INDEX[name]] = 1 / (1 + np.exp(-walk[:steps] - rng.normal(0, 2)))
    return track


@settings(max_examples=150, deadline=None)
@given(
    wild_tracks(),
    st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)).map(sorted),
    st.sampled_from(["default", "more", "all"]),
    st.lists(st.tuples(st.floats(0, 30), st.floats(0.1, 8)), max_size=3),
)
def test_lower_never_shows_less(track: TagTrack, thresholds: list[float], level: str, speech) -> None:
    low, high = thresholds
    segments = [said(start, start + length) for start, length in speech]
    more = shown(track, TagOptions(sounds=level, tags_threshold=low), segments=segments)
    for event in shown(track, TagOptions(sounds=level, tags_threshold=high), segments=segments):
        covering = [e for e in more if e.group == event.group and e.start <= event.start and event.end <= e.end]
        assert covering, f"{event} is not among {more}"


@settings(max_examples=50, deadline=None)
@given(wild_tracks(), st.floats(0.01, 0.99))
def test_events_are_in_order_inside_the_file_and_the_same_from_the_sidecar(track: TagTrack, threshold: float) -> None:
    options = TagOptions(sounds="all", tags_threshold=threshold)
    events = events_from_tags(track, options, duration=track.steps * 0.4 - 0.1)
    assert all(0 <= event.start < event.end <= track.steps * 0.4 - 0.1 for event in events)
    assert [event.start for event in events] == sorted(event.start for event in events)
    assert all(event.shown == (event.reason is None) for event in events)
    for group in {event.group for event in events}:
        own = [event for event in events if event.group == group]
        assert all(a.end <= b.start for a, b in zip(own, own[1:], strict=False))
    again, _ = tags_from(sparse_tags(track))
    assert events_from_tags(again, options, duration=track.steps * 0.4 - 0.1) == events


def test_the_policy_of_a_run_may_be_made_once() -> None:
    track = track_of([("Siren", 5, 12)], 20.0)
    assert events_from_tags(track, DEFAULT, resolve(DEFAULT)) == events_from_tags(track, DEFAULT, load_policy())


# --- long files -----------------------------------------------------------------------------------------------------


def test_two_hours_of_sounds_take_little_memory() -> None:
    """Ten classes at a time, others every minute, as in a film. Held dense they would be 76 MB, and 38 more as logits.

    What does not depend on the length, chunks under way and what is still small enough not to be put on disk, is more
    than half of what is found.
    """
    frames, rng = 2 * 3600 * 100, np.random.default_rng(0)
    tracemalloc.start()
    try:
        accumulator = TagAccumulator(frames)
        for number, seek in enumerate(range(0, frames, 2760)):
            place = place_window(seek, frames)
            present = np.random.default_rng(number // 2).choice(527, 10, replace=False)
            for kind in (WHAT, WHEN):
                decisions = kind.decisions(place.steps)
                logits = np.full((len(decisions), 527), -6.0, np.float32)
                logits[:, present] = rng.normal(-1, 1.5, (len(decisions), 10))
                accumulator.add(kind, place, decisions, logits)
        track = accumulator.track()
        events = events_from_tags(track, DEFAULT)
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert track.steps == 18_000 and len(events) > 200
    assert isinstance(track.when, ScoreTable) and isinstance(track.what, ScoreTable)
    assert track.when.nbytes + track.what.nbytes < 2e6
    assert held < 5e6
    assert most < 30e6
