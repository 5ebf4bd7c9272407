"""What a file holds, and which of its audio tracks is meant. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import langcodes
from langcodes.tag_parser import LanguageTagError

from wat_cli.errors import MediaError, NoAudioTrack, UsageError, shown


@dataclass(frozen=True)
class AudioStream:
    """One audio track as the container describes it."""

    index: int
    """Index among all streams of the container."""
    codec: str
    language: str | None
    """As tagged (``eng``, ``de``); None if untagged or tagged ``und``."""
    title: str | None
    default: bool
    start: float | None
    """Seconds on the container's clock at which it starts; None if the probe could not tell."""
    duration: float | None
    """Seconds, where the container tells it per stream."""
    channels: int
    sample_rate: int


@dataclass(frozen=True)
class SubtitleStream:
    """One subtitle track as the container describes it."""

    language: str | None
    """As tagged; None if untagged or tagged ``und``."""
    forced: bool = False
    """It covers only what is said in another language than the film's."""


@dataclass(frozen=True)
class MediaInfo:
    """What a probe found in one file."""

    path: Path
    duration: float | None
    """Seconds from the container's start to its end, as claimed; None if not told, or absurd (over `LONGEST`)."""
    start: float
    """Seconds on the container's clock at which the file starts: the zero of everything `wat` writes."""
    format_name: str
    audio: tuple[AudioStream, ...]
    has_video: bool
    """Cover art is no video."""
    subtitles: tuple[SubtitleStream, ...]
    certain: bool = True
    """False where ffmpeg took the format for its best guess only, with a score of 25 or less out of 100."""


def choose_track(info: MediaInfo, wanted: str | None = None) -> AudioStream:
    """The audio track to caption: the first one flagged as default, else the first.

    `wanted` names another: a number counts the audio tracks from 0 as ffmpeg's ``0:a:N`` does, anything else is a
    language, as a code of two or three letters (``de``, ``deu`` and ``ger`` are one language); of several tracks in
    that language again the default-flagged one, else the first. Raises `NoAudioTrack` if there is none at all,
    `MediaError` naming the tracks there are if none is the wanted one, `UsageError` if `wanted` is no number or code.
    """
    if not info.audio:
        raise NoAudioTrack(f"{shown(info.path)}: no audio track")
    tracks: tuple[AudioStream, ...] = info.audio
    if wanted is not None and wanted.isdecimal():
        tracks = tracks[int(wanted) : int(wanted) + 1]
    elif wanted is not None:
        language = primary_language(wanted)
        if language is None:
            raise UsageError(f"--audio-track {wanted}: it is a number, counted from 0, or a language code (en, eng)")
        tracks = tuple(track for track in tracks if track.language and primary_language(track.language) == language)
    if not tracks:
        there = "; ".join(f"{number}: {describe(track)}" for number, track in enumerate(info.audio))
        raise MediaError(f"{shown(info.path)}: no audio track '{wanted}'; there are {there}")
    return next((track for track in tracks if track.default), tracks[0])


def describe(track: AudioStream) -> str:
    """A track in a few words: ``deu 'Kommentar' (aac, default)``."""
    words = [track.language or "no language"]
    if track.title:
        words.append(repr(track.title[:60]))
    return f"{' '.join(words)} ({track.codec}{', default' if track.default else ''})"


def primary_language(tag: str) -> str | None:
    """One code for a language, however it is tagged: ``de`` for de, deu, ger and de-CH; None for what is no tag."""
    try:
        return langcodes.Language.get(tag).language
    except LanguageTagError:
        return None
