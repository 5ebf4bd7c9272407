"""Streams one audio track as 16 kHz mono PCM, with silence where the container's clock leaves a hole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from wat_cli.errors import UndecodableMedia, shown
from wat_cli.media.process import (
    SAMPLE_RATE,
    FFmpeg,
    command_line,
    exit_code,
    find_ffmpeg,
    media_input,
    media_size,
    patience,
    read,
    reason,
    running,
)
from wat_cli.media.tracks import AudioStream, MediaInfo

CLOCK_TOLERANCE = 0.1
"""Seconds by which the samples may lag behind the container's clock before silence is put in."""

DECODER_DELAY = 0.5
"""Seconds that a decoder may hold back at first (0.13 in WMA at 8 kHz); later still, and the beginning is missing."""

LONGEST = 48 * 3600
"""Seconds of audio that one file may give; a small hostile file can otherwise unpack to years of silence."""
LONGEST_PADDING = 4 * 3600
"""Seconds of silence that a file's timestamps may ask for."""

_STDERR_KEPT = 4096


def decode_pcm(info: MediaInfo, stream: AudioStream, tools: FFmpeg | None = None) -> Iterator[NDArray[np.int16]]:
    """The track as mono PCM at 16 kHz: int16 chunks of a second or so, read forward, on the container's clock.

    Sample ``i`` of all chunks together sounds ``i / 16000`` s after the container's start: silence is put in where
    the track starts 0.1 s or more after it, and wherever the samples so far fall 0.1 s or more behind the timestamps
    (a gap). Nothing else differs from ``whisper.load_audio``, sample for sample, since the same command decodes.

    Raises `UndecodableMedia` after the last good chunk if ffmpeg fails, hangs, or gives nothing. Closing the iterator
    ends ffmpeg.
    """
    command = command_line(_pcm_output(stream), (tools or find_ffmpeg()).ffmpeg, info.path, "error")
    size, clock = media_size(info.path), _Clock(info, stream)
    with running(command) as process:
        errors = bytearray()
        packets = _Packets()
        pending = bytearray()
        for data in read(process, info.path, patience(size), errors, _STDERR_KEPT):
            for milliseconds, samples in packets.feed(data):
                silence = clock.missing(milliseconds)
                clock.advance(silence + len(samples) // 2)
                if silence:
                    yield from _chunks(pending)
                    pending.clear()
                    yield from _silence(silence)
                pending += samples
            if len(pending) >= 2 * SAMPLE_RATE:
                yield from _chunks(pending)
                pending.clear()
        yield from _chunks(pending)
        if exit_code(process, info.path) != 0 or clock.position == 0:
            raise UndecodableMedia(f"{shown(info.path)}: {reason(bytes(errors), info.path, 'it holds no audio data')}")


def _pcm_output(stream: AudioStream) -> Any:
    # SMJPEG is the simplest of ffmpeg's formats that carry PCM with a timestamp for each packet: the samples and the
    # clock come in one pass, and no filter touches either. Only MPEG-like formats may jump in time; ffmpeg takes jumps
    # over the threshold for a splice, and at its default of 10 s a pause of the audio track as well.
    return ffmpeg.output(
        media_input(dts_delta_threshold=60),
        "pipe:",
        map=f"0:{stream.index}",
        map_metadata=-1,
        ac=1,
        ar=SAMPLE_RATE,
        acodec="pcm_s16le",
        avoid_negative_ts="disabled",
        f="smjpeg",
    )


class _Clock:
    """Compares the samples so far with the packets' timestamps."""

    def __init__(self, info: MediaInfo, stream: AudioStream) -> None:
        self.position = 0
        """Samples handed on so far, silence included."""
        self._path = info.path
        self._lead = 0.0 if stream.start is None else max(0.0, stream.start - info.start)
        self._origin: int | None = None
        self._padding = 0

    def missing(self, milliseconds: int) -> int:
        """Samples of silence that belong before the packet of this timestamp; 0 below the tolerance."""
        timestamp = milliseconds * SAMPLE_RATE // 1000
        if self._origin is None:
            # ffmpeg counts from the container's start, but MPEG-TS and its like from the start of the used stream:
            # there only the probe tells how much later that is.
            lead = int(self._lead * SAMPLE_RATE)
            if timestamp - lead >= DECODER_DELAY * SAMPLE_RATE:
                lead = timestamp
            due = lead if lead >= CLOCK_TOLERANCE * SAMPLE_RATE else 0
            self._origin = timestamp - due
        silence = timestamp - self._origin - self.position
        if silence < CLOCK_TOLERANCE * SAMPLE_RATE:
            return 0
        self._padding += silence
        if self._padding > LONGEST_PADDING * SAMPLE_RATE:
            hours = LONGEST_PADDING // 3600
            raise UndecodableMedia(f"{shown(self._path)}: its timestamps leave holes of over {hours} hours")
        return silence

    def advance(self, samples: int) -> None:
        self.position += samples
        if self.position > LONGEST * SAMPLE_RATE:
            raise UndecodableMedia(f"{shown(self._path)}: over {LONGEST // 3600} hours of audio; split it")


class _Packets:
    """Reads ffmpeg's SMJPEG output (libavformat/smjpegenc.c), in pieces of any size."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._in_header = True

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The complete packets, each as (timestamp in ms, little-endian int16 samples)."""
        self._buffer += data
        if self._in_header and not self._skip_header():
            return
        buffer, position = self._buffer, 0
        # "sndD", the timestamp as int32, the size as uint32, both big-endian; "DONE" ends the file.
        while len(buffer) - position >= 12:
            end = position + 12 + int.from_bytes(buffer[position + 8 : position + 12], "big")
            if len(buffer) < end:
                break
            milliseconds = int.from_bytes(buffer[position + 4 : position + 8], "big", signed=True)
            yield milliseconds, bytes(buffer[position + 12 : end])
            position = end
        del buffer[:position]

    def _skip_header(self) -> bool:
        # Magic of 8 bytes, version and duration; then text and stream chunks of a given length up to "HEND".
        position = 16
        while (tag := bytes(self._buffer[position : position + 4])) != b"HEND":
            if len(self._buffer) < position + 8:
                return False
            if tag not in (b"_TXT", b"_SND"):
                raise ValueError(f"not SMJPEG: {tag!r}")
            position += 8 + int.from_bytes(self._buffer[position + 4 : position + 8], "big")
        del self._buffer[: position + 4]
        self._in_header = False
        return True


def _chunks(pending: bytearray) -> Iterator[NDArray[np.int16]]:
    if pending:
        yield np.frombuffer(bytes(pending), dtype="<i2").astype(np.int16, copy=False)


def _silence(samples: int) -> Iterator[NDArray[np.int16]]:
    for done in range(0, samples, 30 * SAMPLE_RATE):
        yield np.zeros(min(30 * SAMPLE_RATE, samples - done), dtype=np.int16)
