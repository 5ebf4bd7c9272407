"""Asks what a media file holds: of ffprobe, or of ffmpeg's own stream report where there is no ffprobe."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ffmpeg

from wat_cli.errors import UndecodableMedia, shown
from wat_cli.media.process import (
    INPUT_LIMITS,
    FFmpeg,
    command_line,
    find_ffmpeg,
    media_input,
    media_size,
    output_of,
    reason,
    url,
)
from wat_cli.media.tracks import AudioStream, MediaInfo, SubtitleStream

LONGEST_CLAIM = 48 * 3600
"""Seconds above which a duration is taken for nonsense, as if none were told."""

_STDERR_KEPT = 4096
_REPORT_KEPT = 1 << 20


def probe(path: Path, tools: FFmpeg | None = None) -> MediaInfo:
    """What `path` holds, without decoding it.

    Raises `UndecodableMedia`, with the reason that ffmpeg gives, for a file that is gone, empty, broken, no regular
    file, or no media; `FFmpegMissing` when there is nothing to probe with.
    """
    tools = tools or find_ffmpeg()
    size = media_size(path)
    if tools.ffprobe:
        return _probe_by_ffprobe(path, size, tools.ffprobe)
    return _probe_by_report(path, size, tools.ffmpeg)


def holds_audio(path: Path, tools: FFmpeg | None = None) -> bool:
    """Whether ffmpeg is sure to find an audio track in `path`; False for whatever cannot be read."""
    try:
        info = probe(path, tools)
    except UndecodableMedia:
        return False
    return info.certain and bool(info.audio)


def _probe_by_ffprobe(path: Path, size: int, ffprobe: str) -> MediaInfo:
    entries = (
        "format=format_name,start_time,duration,probe_score:stream=index,codec_type,codec_name,start_time,duration,"
        "channels,sample_rate:stream_disposition=default,forced,attached_pic:stream_tags=language,title"
    )
    # fmt: off
    command = [
        ffprobe,
        "-v", "error",
        "-protocol_whitelist", INPUT_LIMITS["protocol_whitelist"],
        "-format_whitelist", INPUT_LIMITS["format_whitelist"],
        "-of", "json",
        "-show_entries", entries,
        "-i", url(path),
    ]
    # fmt: on
    code, output, errors = output_of(command, path, size, _STDERR_KEPT)
    try:
        found = json.loads(output.decode(errors="replace"))
    except ValueError:
        found = {}
    container, streams = found.get("format"), found.get("streams", [])
    if code != 0 or not container:
        raise UndecodableMedia(f"{shown(path)}: {reason(errors, path)}")
    return MediaInfo(
        path=path,
        duration=_duration(container),
        start=_number(container.get("start_time")) or 0.0,
        format_name=str(container.get("format_name", "")),
        audio=tuple(_audio_stream(stream) for stream in streams if stream.get("codec_type") == "audio"),
        has_video=any(_is_film(stream) for stream in streams),
        subtitles=tuple(_subtitle_stream(stream) for stream in streams if stream.get("codec_type") == "subtitle"),
        certain=int(container.get("probe_score", 100)) > 25,
    )


def _audio_stream(stream: Mapping[str, Any]) -> AudioStream:
    language, title = _tags(stream)
    return AudioStream(
        index=int(stream["index"]),
        codec=str(stream.get("codec_name", "unknown")),
        language=language,
        title=title,
        default=bool(stream.get("disposition", {}).get("default")),
        start=_number(stream.get("start_time")),
        duration=_duration(stream),
        channels=int(stream.get("channels", 0)),
        sample_rate=int(stream.get("sample_rate", 0)),
    )


def _subtitle_stream(stream: Mapping[str, Any]) -> SubtitleStream:
    return SubtitleStream(_tags(stream)[0], bool(stream.get("disposition", {}).get("forced")))


def _is_film(stream: Mapping[str, Any]) -> bool:
    return stream.get("codec_type") == "video" and not stream.get("disposition", {}).get("attached_pic")


def _tags(stream: Mapping[str, Any]) -> tuple[str | None, str | None]:
    tags = {key.lower(): str(value) for key, value in stream.get("tags", {}).items()}
    return _language(tags.get("language")), tags.get("title") or None


def _language(tag: str | None) -> str | None:
    return None if tag is None or tag.strip().lower() in ("", "und", "unk") else tag.strip()


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None


def _duration(entry: Mapping[str, Any]) -> float | None:
    seconds = _number(entry.get("duration"))
    return seconds if seconds is not None and 0 < seconds <= LONGEST_CLAIM else None


_STREAM_LINE = re.compile(
    r"^\s+Stream #0:(?P<index>\d+)(?:\[\w+\])?(?:\((?P<language>[^)]*)\))?: "
    r"(?P<kind>Audio|Video|Subtitle): (?P<rest>.*)$"
)
_TITLE_LINE = re.compile(r"^\s+title\s+: (?P<title>.*)$", re.IGNORECASE)
_DURATION_LINE = re.compile(r"^\s+Duration: (?P<h>\d+):(?P<m>\d+):(?P<s>[\d.]+)", re.MULTILINE)
_START_LINE = re.compile(r"^\s+Duration: .*\bstart: (?P<start>-?[\d.]+)", re.MULTILINE)
_FORMAT_LINE = re.compile(r"^Input #0, (?P<format>.+?), from ''", re.MULTILINE)


def _probe_by_report(path: Path, size: int, program: str) -> MediaInfo:
    """The same from ffmpeg's own stream report, and the streams' starts from the first frame that each one gives."""
    # One sample of each track; -frames:a would end all tracks with the first one that has given a frame.
    source = media_input(copyts=None)
    first_samples = ffmpeg.output(source, "pipe:", map="0:a", af="atrim=end_sample=1", f="framecrc")
    command = command_line(first_samples, program, path, "info")
    _, frames, errors = output_of(command, path, size, _REPORT_KEPT)
    # A file name may hold line breaks and pass itself off as a part of the report.
    report = errors.replace(os.fsencode(url(path)), b"").decode(errors="replace").split("\nOutput #0")[0]
    container = _FORMAT_LINE.search(report)
    if container is None:
        raise UndecodableMedia(f"{shown(path)}: {reason(errors, path)}")
    streams = _reported_streams(report)
    starts = _first_times(frames.decode(errors="replace"))
    audio = [stream for stream in streams if stream["codec_type"] == "audio"]
    for position, stream in enumerate(audio):
        stream["start_time"] = stream["start_time"] or starts.get(position)
    duration, start = _DURATION_LINE.search(report), _START_LINE.search(report)
    seconds = float(duration["s"]) + 60 * int(duration["m"]) + 3600 * int(duration["h"]) if duration else None
    return MediaInfo(
        path=path,
        duration=_duration({"duration": seconds}),
        start=float(start["start"]) if start else 0.0,
        format_name=container["format"],
        audio=tuple(_audio_stream(stream) for stream in audio),
        has_video=any(_is_film(stream) for stream in streams),
        subtitles=tuple(_subtitle_stream(stream) for stream in streams if stream["codec_type"] == "subtitle"),
        certain="misdetection possible" not in report,
    )


def _reported_streams(report: str) -> list[dict[str, Any]]:
    """The streams of ffmpeg's report, in the words of ffprobe's JSON."""
    streams: list[dict[str, Any]] = []
    for line in report.splitlines():
        if found := _STREAM_LINE.match(line):
            rest = found["rest"]
            rate = re.search(r"(\d+) Hz(?:, ([^,]+))?", rest)
            streams.append(
                {
                    "index": int(found["index"]),
                    "codec_type": found["kind"].lower(),
                    "codec_name": re.split(r"[ ,]", rest, maxsplit=1)[0],
                    "channels": _channel_count(rate[2] if rate else None),
                    "sample_rate": int(rate[1]) if rate else 0,
                    "disposition": {
                        "default": "(default)" in rest,
                        "forced": "(forced)" in rest,
                        "attached_pic": "(attached pic)" in rest,
                    },
                    "start_time": printed[1] if (printed := re.search(r", start (-?[\d.]+)", rest)) else None,
                    "tags": {"language": found["language"] or ""},
                }
            )
        elif streams and (titled := _TITLE_LINE.match(line)):
            streams[-1]["tags"]["title"] = titled["title"]
    return streams


def _channel_count(layout: str | None) -> int:
    """Number of channels in one of ffmpeg's layout names: ``mono``, ``stereo``, ``5.1(side)``, ``3 channels``."""
    words = {"mono": 1, "stereo": 2, "downmix": 2, "binaural": 2, "quad": 4, "hexagonal": 6, "octagonal": 8, "cube": 8}
    name = (layout or "").split("(")[0].strip()
    if counted := re.match(r"(\d+) channels", name):
        return int(counted[1])
    return words.get(name) or sum(int(part) for part in name.split(".") if part.isdigit())


def _first_times(framecrc: str) -> dict[int, float]:
    """Seconds of the first frame of each output stream in ffmpeg's ``framecrc`` text."""
    bases = {int(s): int(n) / int(d) for s, n, d in re.findall(r"^#tb (\d+): (\d+)/(\d+)", framecrc, re.MULTILINE)}
    times: dict[int, float] = {}
    for stream, pts in re.findall(r"^(\d+),\s*-?\d+,\s*(-?\d+),", framecrc, re.MULTILINE):
        times.setdefault(int(stream), int(pts) * bases.get(int(stream), 0.0))
    return times
