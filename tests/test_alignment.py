"""Word times from features are openai-whisper's, which runs the encoder again for them; so is what is made of them."""

from __future__ import annotations

import copy
import io
import subprocess
import sys
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from random_whisper import Samples, noises, random_whisper
from reference import assert_same, transcribe
from whisper.model import Whisper
from whisper.timing import add_word_timestamps
from whisper.tokenizer import get_tokenizer
from whisper.utils import WriteSRT

from wat_cli.captions.cues import cues_from
from wat_cli.captions.srt import srt_text
from wat_cli.engine import Engine
from wat_cli.media import choose_track, decode_pcm, probe
from wat_cli.model.alignment import add_words
from wat_cli.model.mel import LogMelMaximum, window_mel
from wat_cli.model.whisper_at import WhisperAT, load_whisper
from wat_cli.options import APPEND_PUNCTUATIONS, PREPEND_PUNCTUATIONS, CaptionOptions, TranscribeOptions
from wat_cli.transcript import Hearing

TESTS = Path(__file__).parent


@pytest.mark.parametrize("frames", [3000, 1234])
def test_words_are_openai_whispers_without_another_pass(frames: int) -> None:
    model = random_whisper(3, multilingual=False)
    tokenizer = get_tokenizer(False)
    audio = noises(frames / 100, seed=1)
    log_max = LogMelMaximum(80)
    log_max.feed(audio)
    mel = window_mel(lambda start, stop: audio[start:stop], 0, frames, log_max.value, 80)
    with torch.no_grad():
        features = model.encoder(mel[None])
    texts = (' So it goes, said the "man".', " And then?", "", " Nothing more happened that day!")
    begin = tokenizer.timestamp_begin
    segments: list[dict[str, Any]] = [
        {"seek": 0, "start": 2.0 * i, "end": 2.0 * i + 1.5, "tokens": [begin, *tokenizer.encode(text), begin + 75]}
        for i, text in enumerate(texts)
    ]
    theirs = copy.deepcopy(segments)
    add_word_timestamps(
        segments=theirs, model=model, tokenizer=tokenizer, mel=mel, num_frames=frames, last_speech_timestamp=0.5
    )
    passes = []
    hook = model.encoder.conv1.register_forward_hook(lambda *_: passes.append(1))
    add_words(
        model,
        tokenizer,
        features[0],
        segments,
        frames=frames,
        last_speech=0.5,
        prepend_punctuations=PREPEND_PUNCTUATIONS,
        append_punctuations=APPEND_PUNCTUATIONS,
    )
    hook.remove()
    assert not passes
    assert [segment["words"] != [] for segment in segments] == [True, True, False, True]
    for segment, expected in zip(segments, theirs, strict=True):
        probabilities = [word.pop("probability") for word in segment["words"]]
        assert probabilities == pytest.approx([word.pop("probability") for word in expected["words"]], rel=1e-4)
        assert segment == expected


TWO_THREADS = """
import threading, torch
from random_whisper import random_whisper
from whisper.tokenizer import get_tokenizer
from wat_cli.model.alignment import add_words

model, tokenizer = random_whisper(0, multilingual=False, layers=1), get_tokenizer(False)
tokens = [tokenizer.timestamp_begin, *tokenizer.encode(" one" * 100)]

def align():
    for _ in range(8):
        segments = [{"seek": 0, "start": 0.0, "end": 30.0, "tokens": tokens}]
        add_words(model, tokenizer, torch.randn(1500, 64), segments, frames=3000, last_speech=0.0,
                  prepend_punctuations="", append_punctuations="")

threads = [threading.Thread(target=align) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("done")
"""


def test_engines_of_several_threads_may_align_at_once() -> None:
    """numba's work queue ends a process that enters it twice at once."""
    done = subprocess.run([sys.executable, "-c", TWO_THREADS], cwd=TESTS, capture_output=True, text=True)
    assert done.stdout == "done\n", done.stderr


# --- with the embedded model ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def audio() -> NDArray[np.float32]:
    info = probe(TESTS.parent / "sample_media" / "market.mp4")
    return np.concatenate(list(decode_pcm(info, choose_track(info)))).astype(np.float32) / 32768


@pytest.fixture(scope="module")
def embedded(mini: Path) -> Whisper:
    return load_whisper(mini)


@pytest.fixture(scope="module")
def heard(embedded: Whisper, audio: NDArray[np.float32]) -> Hearing:
    options = TranscribeOptions(beam_size=None, word_timestamps=True, hallucination_silence_threshold=2.0)
    passes: list[int] = []
    hook = embedded.encoder.conv1.register_forward_hook(lambda *_: passes.append(1))
    heard = Engine(WhisperAT(embedded)).hear(Samples(audio), options)
    hook.remove()
    assert len(passes) == heard.encoder_passes == heard.windows
    assert_same(heard, transcribe(embedded, audio, options))
    assert sum(len(segment.words or ()) for segment in heard.segments) > 50
    return heard


def openai_srt(heard: Hearing, **options: Any) -> list[tuple[str, str]]:
    """Times and text, in one line, of each caption in the SRT file that openai-whisper writes of these words."""
    segments = [
        {"start": s.start, "end": s.end, "text": s.text, "words": [asdict(word) for word in s.words or ()]}
        for s in heard.segments
    ]
    file = io.StringIO()
    WriteSRT(".").write_result({"segments": segments}, file, options=options)
    return captions(file.getvalue())


def wat_srt(heard: Hearing, **options: Any) -> list[tuple[str, str]]:
    layout = cues_from(heard.segments, (), heard.duration, CaptionOptions(style="plain", **options))
    return captions(srt_text(layout.cues) or "")


def captions(srt: str) -> list[tuple[str, str]]:
    blocks = [block.split("\n") for block in srt.strip().split("\n\n")]
    found = [(lines[1], " ".join(lines[2:])) for lines in blocks]
    # wat shows nothing for no time: a millisecond at least, and no highlight
    return [(times, text) for times, text in found if not _is_empty(times)]


def _is_empty(times: str) -> bool:
    start, end = (time.replace(",", ":").split(":") for time in times.split(" --> "))
    milliseconds = [((int(h) * 60 + int(m)) * 60 + int(s)) * 1000 + int(ms) for h, m, s, ms in (start, end)]
    return milliseconds[1] - milliseconds[0] <= 1


def _starts_at(cue: tuple[str, str], moments: set[float]) -> bool:
    hours, minutes, seconds = cue[0].split(" --> ")[0].replace(",", ".").split(":")
    start = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return any(moment - 0.001 <= start <= moment + 0.2 for moment in moments)


@pytest.mark.parametrize(
    "options",
    [
        {"max_words_per_line": 1},
        {"max_words_per_line": 4},
        {"highlight_words": True},
        {"highlight_words": True, "max_words_per_line": 7},
    ],
    ids=str,
)
def test_captions_by_words_are_openai_whispers(heard: Hearing, options: dict[str, Any]) -> None:
    expected = openai_srt(heard, **options)
    assert len(expected) > 10
    written = wat_srt(heard, **options)
    crowded = {word.end for s in heard.segments for word in s.words or () if word.end <= word.start}
    # Where words of no time start together with another, wat shares the time out among their captions.
    assert [cue for cue in written if not _starts_at(cue, crowded)] == [
        cue for cue in expected if not _starts_at(cue, crowded)
    ]
    assert [text for _, text in written] == [text for _, text in expected]


@pytest.mark.parametrize("options", [{"max_line_width": 20, "max_line_count": 2}, {"max_line_width": 30}], ids=str)
def test_lines_by_width_hold_the_words_at_their_times(heard: Hearing, options: dict[str, Any]) -> None:
    """Where a line breaks is wat's own choice; within the width, and each caption from its first word to its last."""
    ours = cues_from(heard.segments, (), heard.duration, CaptionOptions(style="plain", **options)).cues
    words = [word for segment in heard.segments for word in segment.words or ()]
    theirs = " ".join(text for _, text in openai_srt(heard, **options))
    assert " ".join(line.text for cue in ours for line in cue.lines) == " ".join(theirs.split())
    starts = {round(word.start * 1000) for word in words}
    assert all(cue.start_ms in starts for cue in ours)
    assert all(len(line.text) <= options["max_line_width"] for cue in ours for line in cue.lines)
    assert all(len(cue.lines) <= 2 for cue in ours)
    assert all(before.end_ms <= cue.start_ms for before, cue in pairwise(ours))
