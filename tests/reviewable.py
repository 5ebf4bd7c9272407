"""Files to review: sidecars with known doubts beside small media files, some of them with hostile names and texts."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.fakes import write_wav
from wat_cli import sidecar
from wat_cli.media import find_ffmpeg
from wat_cli.options import RunOptions
from wat_cli.tagging.labels import load_labels
from wat_cli.transcript import Hearing, ModelIdentity, Segment, SoundEvent, Source, TagTrack, Transcript, Word

SPEECH, MUSIC, DOG = (
    next(label.index for label in load_labels() if label.name == n) for n in ("Speech", "Music", "Dog")
)

SECONDS = 20.0
TEXTS = ("Hello there, this is the first line.", "A needle of a line.", "Thanks for watching.", "And this is the last.")
INVENTED, UNSURE = TEXTS[2], TEXTS[1]
HOSTILE_NAME = "\"><img src=x onerror=hit=1> 'quoted' & \u202egnp.wav"
HOSTILE_TEXT = (
    "</script><script>hit = 1</script> <img src=x onerror=hit=1> \"q\" 'q' &amp; \u202eback\u2028\u200f --> end"
)


def segment(place: int, start: float, end: float, text: str, logprob: float = -0.2, ratio: float = 1.0) -> Segment:
    """A segment that nothing speaks against unless `logprob` or `ratio` do."""
    return Segment(place, 0, start, end, f" {text}", (50364, 1, 2), 0.0, logprob, ratio, 0.01)


def sound(start: float, end: float, caption: str, group: str, reason: str | None = None) -> SoundEvent:
    """A sound, not shown for `reason` if there is one."""
    return SoundEvent(start, end, group, caption, caption, 0.8, reason is None, reason)


def tags(seconds: float = SECONDS) -> TagTrack:
    """Speech in the first 8 s and from 16 s on, music from 10 to 15 s, a dog at 8.4 s, the last second unknown."""
    scores = np.full((round(seconds / 0.4), len(load_labels())), 0.01, np.float32)
    scores[:20, SPEECH] = scores[40:, SPEECH] = 0.9
    scores[25:37, MUSIC] = 0.85
    scores[21:23, DOG] = 0.6
    scores[-2:] = np.nan
    return TagTrack(what=scores, when=scores.copy())


def talk_segments() -> tuple[Segment, ...]:
    """Four lines: a sure one, an unsure one, one where no voice is heard, a sure one."""
    return (
        replace(segment(0, 0.5, 3.0, TEXTS[0]), words=talk_words()),
        segment(1, 3.5, 6.5, TEXTS[1], logprob=-0.9),
        segment(2, 11.5, 13.0, TEXTS[2]),
        segment(3, 16.5, 18.5, TEXTS[3]),
    )


def talk_words() -> tuple[Word, ...]:
    """The words of the first line, evenly spread; the model is unsure of the second."""
    found = TEXTS[0].split()
    step = 2.5 / len(found)
    return tuple(
        Word(f" {word}", 0.5 + step * k, 0.5 + step * (k + 1), 0.3 if k == 1 else 0.9) for k, word in enumerate(found)
    )


def talk_events() -> tuple[SoundEvent, ...]:
    """Music that is shown and a dog that is not."""
    return (
        sound(8.4, 9.2, "Dog barking", "dog", "repeats within ten seconds"),
        sound(10.0, 14.8, "Music", "music"),
    )


def transcript(
    media: Path,
    segments: tuple[Segment, ...] = (),
    events: tuple[SoundEvent, ...] = (),
    track: TagTrack | None = None,
    seconds: float = SECONDS,
    language: str = "en",
) -> Transcript:
    """A transcript of `media`, which need not exist."""
    size, mtime = (media.stat().st_size, media.stat().st_mtime_ns) if media.exists() else (1, 1_700_000_000_123_456_789)
    hearing = Hearing(seconds, language, segments, track, 1, 1, 0, 0.95)
    return Transcript(
        source=Source(media.name, size, mtime, seconds),
        hearing=hearing,
        events=events,
        models={"asr": ModelIdentity("mini", "a" * 64)},
        settings=RunOptions().settings,
        versions={"wat": "0"},
        labels=tuple(label.name for label in load_labels()) if track else (),
        fingerprint="b" * 64,
    )


def write_sidecar(media: Path, value: Transcript) -> Path:
    """The sidecar of `media` beside it."""
    path = media.with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sidecar.to_json(value))
    return path


def write_film(path: Path) -> Path:
    """Twenty seconds of a test picture and a tone, as WebM."""
    command = [find_ffmpeg().ffmpeg, "-nostdin", "-v", "error", "-y"]
    command += ["-f", "lavfi", "-i", f"testsrc=size=64x48:rate=5:duration={SECONDS}"]
    command += ["-f", "lavfi", "-i", f"sine=frequency=440:duration={SECONDS}"]
    command += ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-g", "5", "-c:a", "libopus", str(path)]
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(command, check=True)
    return path


def write_site(folder: Path) -> None:
    """A talk, a hostile file, a silent one, one whose media are gone, a broken one, a failed one, one not captioned."""
    film = write_film(folder / "talks" / "talk.webm")
    write_sidecar(film, transcript(film, (*talk_segments(), segment(4, 19.0, 20.0, "")), talk_events(), tags()))
    hostile = write_wav(folder / HOSTILE_NAME, seconds=3)
    lines = (segment(0, 0.2, 1.0, HOSTILE_TEXT), segment(1, 1.2, 2.0, "Another needle, nédlé line."))
    write_sidecar(hostile, transcript(hostile, lines, (), None, 3.0, "de"))
    silent = write_wav(folder / "silent.wav", level=0.0)
    write_sidecar(silent, transcript(silent, (), (), None, 1.0, ""))
    gone = folder / "gone.mp4"
    write_sidecar(gone, transcript(gone, talk_segments(), talk_events(), tags()))
    (folder / "broken.json").write_text('{"schema": 1, "encoder_passes": 2, "text": "cut o')
    write_wav(folder / "new.wav")
    (folder / "cut.mp3").write_bytes(b"ID3 and no more")


def write_many(folder: Path, files: int) -> None:
    """So many sidecars of a few lines each; their media do not exist."""
    for number in range(files):
        lines = tuple(
            segment(k, 2.0 * k, 2.0 * k + 1.5, f"Line {k}, number {number:04d} of many.") for k in range(1, 2)
        )
        media = folder / f"{number % 10}" / f"file {number:04d}.mp3"
        write_sidecar(media, transcript(media, lines))
