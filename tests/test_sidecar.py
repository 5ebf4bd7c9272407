"""The sidecar: out and back, its schema, its checksum, and everything that only looks like one."""

from __future__ import annotations

import dataclasses
import json
import math
import tracemalloc
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wat_cli import sidecar
from wat_cli.options import ModelOptions, RunOptions, TagOptions, TranscribeOptions
from wat_cli.sidecar import NotASidecar
from wat_cli.transcript import (
    Hearing,
    ModelIdentity,
    Segment,
    SoundEvent,
    Source,
    TagTrack,
    Transcript,
    Word,
)

times = st.floats(0, 36_000)
scores = st.floats(0, 1, width=32)
words = st.builds(Word, word=st.text(), start=times, end=times, probability=scores)
segments = st.builds(
    Segment,
    id=st.integers(0, 1000),
    seek=st.integers(0, 10**7),
    start=times,
    end=times,
    text=st.text(),
    tokens=st.lists(st.integers(0, 51864)).map(tuple),
    temperature=st.floats(0, 1),
    avg_logprob=st.floats(-10, 0),
    compression_ratio=st.floats(0, 50),
    no_speech_prob=scores,
    words=st.none() | st.lists(words, max_size=3).map(tuple),
    language=st.none() | st.just("de"),
)
events = st.builds(
    SoundEvent,
    start=times,
    end=times,
    group=st.text(),
    caption=st.text(),
    label=st.text(),
    score=scores,
    shown=st.booleans(),
    reason=st.none() | st.text(),
)


def transcript(**changes: Any) -> Transcript:
    hearing = Hearing(
        duration=61.5, language="en", segments=(), tags=None, windows=3, encoder_passes=3, language_probability=0.75
    )
    made = Transcript(
        source=Source("talk.mp4", 1234, 1_700_000_000_000_000_001, 61.5, 1, "eng"),
        hearing=hearing,
        events=(),
        models={"asr": ModelIdentity("mini", "a" * 64)},
        settings=RunOptions().settings,
        versions={"wat": "1.2.3"},
        timings={"hear": 1.5},
        outputs={"talk.vtt": "b" * 64, "talk.srt": None},
        notes=("no srt file",),
        fingerprint="c" * 64,
    )
    return dataclasses.replace(made, **changes)


def hearing_with(**changes: Any) -> Transcript:
    made = transcript()
    return dataclasses.replace(made, hearing=dataclasses.replace(made.hearing, **changes))


def document(made: Transcript) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(sidecar.to_json(made))
    return read


@cache
def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(sidecar.schema())
    return jsonschema.Draft202012Validator(sidecar.schema())


def valid(read: dict[str, Any]) -> None:
    validator().validate(read)


@settings(deadline=None, max_examples=50)
@given(heard=st.lists(segments, max_size=3), sounds=st.lists(events, max_size=3))
def test_what_is_written_comes_back(heard: list[Segment], sounds: list[SoundEvent]) -> None:
    made = dataclasses.replace(hearing_with(segments=tuple(heard)), events=tuple(sounds))
    data = sidecar.to_json(made)
    record = sidecar.from_json(data)
    assert record.transcript == made
    assert record.unchanged
    valid(json.loads(data))


def test_tags_come_back_as_they_were_kept() -> None:
    scores = np.zeros((5, 527), np.float32)
    scores[1:3, 137] = 0.873
    scores[4] = np.nan
    made = dataclasses.replace(
        hearing_with(tags=TagTrack(scores, scores)), labels=tuple(f"class {n}" for n in range(527))
    )
    valid(document(made))
    back = sidecar.from_json(sidecar.to_json(made)).transcript
    assert back.hearing.tags is not None
    np.testing.assert_allclose(back.hearing.tags.when, scores, atol=0.005)
    assert back.labels[137] == "class 137"
    without = sidecar.from_json(sidecar.to_json(made), tags=False).transcript
    assert without.hearing.tags is None


def test_an_hour_of_dense_tags_stays_under_three_megabytes() -> None:
    random = np.random.default_rng(0)
    steps = 9000
    when = np.zeros((steps, 527), np.float32)
    for step in range(steps):  # three or four classes in every step, all changing: busier than any film
        when[step, random.choice(527, 4)] = random.uniform(0.06, 1.0, 4)
    what = np.repeat(when[::25], 25, axis=0)
    assert len(sidecar.to_json(hearing_with(tags=TagTrack(what, when)))) < 3_000_000


def test_keys_are_a_superset_of_whispers() -> None:
    found = find_spec("whisper")
    assert found is not None and found.origin is not None
    segment = Segment(0, 0, 0.0, 1.0, " Hi.", (1, 2), 0.0, -0.1, 0.5, 0.0)
    read = document(hearing_with(segments=(segment,)))
    assert {"text", "segments", "language"} <= set(read)
    source = Path(found.origin).with_name("transcribe.py").read_text()
    keys = [
        key
        for key in ("id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob")
        if f'"{key}"' in source
    ]
    assert len(keys) >= 7
    assert set(keys) <= set(read["segments"][0])
    assert read["text"] == " Hi."


def test_counts_are_integers_at_the_top() -> None:
    read = document(transcript())
    assert (read["schema"], read["encoder_passes"], read["windows"]) == (1, 3, 3)


def test_numbers_that_json_cannot_say_become_null() -> None:
    segment = Segment(0, 0, 0.0, 1.0, "", (), 0.0, math.nan, math.inf, 0.0)
    data = sidecar.to_json(hearing_with(segments=(segment,)))
    valid(json.loads(data, parse_constant=pytest.fail))
    assert math.isnan(sidecar.from_json(data).transcript.hearing.segments[0].avg_logprob)


def test_a_name_that_is_no_text_survives() -> None:
    source = Source("caf\udce9-\U0001f600.mp4", 1, 1, 1.0)
    data = sidecar.to_json(transcript(source=source))
    data.decode("ascii")
    assert sidecar.from_json(data).transcript.source.path == source.path


def test_a_reformatted_sidecar_is_unchanged_and_an_edited_one_is_not() -> None:
    read = document(transcript())
    assert sidecar.from_json(json.dumps(read, indent=4, sort_keys=True).encode()).unchanged
    read["notes"].append("corrected by hand")
    assert not sidecar.from_json(json.dumps(read).encode()).unchanged


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b"null",
        b'{"schema": 1}',
        b"[" * 100_000,
        b'{"schema": 1, "checksum": ""}',
        b'{"text": "whisper wrote this", "segments": [], "language": "en"}',
    ],
)
def test_what_is_no_sidecar_is_refused(data: bytes) -> None:
    with pytest.raises(NotASidecar):
        sidecar.from_json(data)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", 2),
        ("segments", {}),
        ("segments", [{"id": 0}]),
        ("segments", [7]),
        ("duration", "long"),
        ("windows", True),
        ("windows", 1.5),
        ("source", None),
        ("events", [{"start": 0, "surprise": 1}]),
        ("outputs", {"talk.srt": 5}),
        ("models", {"asr": "mini"}),
        ("tags", {"steps": 10**12, "hop": 0.4}),
        ("tags", []),
    ],
)
def test_a_damaged_sidecar_is_refused(key: str, value: Any) -> None:
    read = document(transcript())
    read[key] = value
    with pytest.raises(NotASidecar):
        sidecar.from_json(json.dumps(read).encode())


@settings(deadline=None, max_examples=25)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_nothing_in_a_sidecar_breaks_its_reader(value: Any) -> None:
    for key in document(transcript()):
        read = document(transcript()) | {key: value}
        try:
            sidecar.from_json(json.dumps(read).encode())
        except NotASidecar:
            continue


def test_a_file_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecar, "MAX_BYTES", 100)
    path = tmp_path / "talk.json"
    path.write_bytes(sidecar.to_json(transcript()))
    with pytest.raises(NotASidecar, match="talk.json"):
        sidecar.read(path)


# --- fingerprint -----------------------------------------------------------------------------------------------------

MODELS = {"asr": ModelIdentity("mini", "a" * 64)}


def test_the_fingerprint_follows_settings_and_weights() -> None:
    plain = sidecar.fingerprint(RunOptions().settings, MODELS)
    assert plain == sidecar.fingerprint(RunOptions(model=ModelOptions(threads=3)).settings, MODELS)
    assert plain == sidecar.fingerprint(RunOptions().settings, {"asr": ModelIdentity("other name", "a" * 64, "/x")})
    others = [
        sidecar.fingerprint(RunOptions(transcribe=TranscribeOptions(beam_size=1)).settings, MODELS),
        sidecar.fingerprint(RunOptions(tags=TagOptions(tags_threshold=0.3)).settings, MODELS),
        sidecar.fingerprint(RunOptions().settings, {"asr": ModelIdentity("mini", "d" * 64)}),
    ]
    assert len({plain, *others}) == 4


def test_the_fingerprint_follows_the_content_of_a_file_of_settings(tmp_path: Path) -> None:
    prints = set()
    for text in ("a = 1\n", "a = 2\n"):
        path = tmp_path / "sounds.toml"
        path.write_text(text)
        prints.add(sidecar.fingerprint(RunOptions(tags=TagOptions(sounds_file=path)).settings, MODELS))
    moved = tmp_path / "moved.toml"
    moved.write_text("a = 2\n")
    prints.add(sidecar.fingerprint(RunOptions(tags=TagOptions(sounds_file=moved)).settings, MODELS))
    assert len(prints) == 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=3), inner, max_size=5),
    max_leaves=30,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(), json_values, max_size=5), st.integers(1, 4))
def test_a_checksum_in_pieces_is_that_of_the_whole(document: dict[str, Any], piece: int) -> None:
    document.pop("checksum", None)
    whole = json.dumps(document, sort_keys=True, separators=(",", ":"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sidecar, "_PIECE", piece)
        assert sidecar.checksum({**document, "checksum": "any"}) == sidecar.sha256(whole.encode())


def test_two_hours_of_words_are_written_in_little_memory() -> None:
    """The values, the text and its pieces; no copy of the values, and no second text for the checksum."""
    words = tuple(Word(f" word{n}", n / 3, n / 3 + 0.25, 0.9123456789) for n in range(9))
    heard = tuple(
        Segment(n, 0, n * 3.6, n * 3.6 + 3, " words" * 9, tuple(range(1000, 1014)), 0.0, -0.3, 1.4, 0.01, words)
        for n in range(2000)
    )
    made = hearing_with(segments=heard)
    tracemalloc.start()
    try:
        size = len(sidecar.to_json(made))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 1.6e6
    assert most < 6 * size
