"""Memory does not grow with a file: what is kept of hours lies on disk, or is small."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = '''
import gc, sys, tempfile
from pathlib import Path

import numpy as np

from wat_cli import shards, sidecar
from wat_cli.captioning import render
from wat_cli.media import SAMPLE_RATE, PcmSpool
from wat_cli.model.mel import LogMelMaximum, content_frames, window_mel
from wat_cli.options import RunOptions
from wat_cli.resume import ResumeLog, WindowRecord
from wat_cli.tagging import policy
from wat_cli.tagging.events import events_from_tags
from wat_cli.tagging.grid import WHAT, WHEN, TagAccumulator, place_window
from wat_cli.transcript import Hearing, ModelIdentity, Segment, Source, Transcript


def peak():
    """The most memory that this process ever had, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def decisions(place, heard, random):
    """A head's answers about a window in which a few of the 527 classes sound."""
    for kind in (WHAT, WHEN):
        asked = kind.decisions(place.steps)
        logits = random.normal(-6.5, 0.8, (len(asked), 527)).astype(np.float32)
        logits[:, heard] += 8
        yield kind, asked, logits


def hear(minutes):
    """All that is done for a file besides its models' work."""
    random = np.random.default_rng(0)
    with PcmSpool() as spool, tempfile.TemporaryDirectory() as folder, ResumeLog(Path(folder, "log"), "key") as log:
        minute = random.integers(-9000, 9000, 60 * SAMPLE_RATE, np.int16)
        minute[-2 * SAMPLE_RATE :] = 0
        for _ in range(minutes):
            spool.append(minute)
        loudest = LogMelMaximum(80)
        for start in range(0, spool.samples, 60 * SAMPLE_RATE):
            loudest.feed(spool.read(start, start + 60 * SAMPLE_RATE))
        shards.joins(spool, "auto")
        frames = content_frames(spool.samples)
        tags, segments = TagAccumulator(frames), []
        for seek in range(0, frames, 2760):
            size = min(3000, frames - seek)
            window_mel(spool.read, seek, size, loudest.value, 80)
            place = place_window(seek, seek + size)
            heard = random.choice(527, 6, replace=False)
            answers = list(decisions(place, heard, random))
            for kind, asked, logits in answers:
                tags.add(kind, place, asked, logits)
            log.keep(WindowRecord(seek, size, (list(range(100)),), tuple(logits for _, _, logits in answers)))
            for start in range(seek, seek + 2760, 400):
                text, tokens = " A sentence of some ten words, as people speak.", tuple(range(12))
                at = start / 100
                segments.append(Segment(len(segments), seek, at, at + 3, text, tokens, 0.0, -0.3, 1.2, 0.1))
        track, options = tags.track(), RunOptions()
        events = events_from_tags(track, options.tags, policy.resolve(options.tags), segments, 60.0 * minutes)
        hearing = Hearing(60.0 * minutes, "en", tuple(segments), track, 1, 1)
        labels = tuple(map(str, range(527)))
        source, models = Source("a", 1, 1, 60.0 * minutes), {"asr": ModelIdentity("a", "b")}
        transcript = Transcript(source, hearing, events, models, {}, {}, labels=labels)
        transcript, captions = render(transcript, ["srt", "vtt"], options)
        assert events and captions["srt"] and len(sidecar.to_json(transcript)) > 1000 * minutes
    gc.collect()


hear(10)
hear(10)  # what the allocator keeps of the first is no growth
before = peak()
hear(int(sys.argv[1]))
print(peak() - before)
'''

ALLOWED_MB = 30
"""Less than any of a longer hour's samples, mel or scores take; ten hours take some 45 MB more than ten minutes."""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_hardly_grows_with_the_length_of_a_file() -> None:
    """An hour against ten minutes."""
    command = [sys.executable, "-c", PROGRAM, "60"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < ALLOWED_MB
