"""The ffmpeg boundary: probe a file, choose its audio track, stream it as 16 kHz PCM on the container's own clock.

This is the only room that runs ffmpeg, and it knows nothing of windows, models or captions. Files are untrusted: every
command gets its input as a ``file:`` URL, may open no other protocol and only formats that read nothing but the file
itself, reads no standard input, and never passes a shell.

``process`` finds and runs the programs, ``probing`` asks what a file holds, ``tracks`` says which track is meant,
``decoding`` streams it, ``spool`` keeps the samples for reading anywhere.
"""

from wat_cli.media.decoding import decode_pcm
from wat_cli.media.probing import holds_audio, probe
from wat_cli.media.process import SAMPLE_RATE, FFmpeg, ffmpeg_version, find_ffmpeg
from wat_cli.media.spool import PcmSpool
from wat_cli.media.tracks import (
    AudioStream,
    MediaInfo,
    SubtitleStream,
    choose_track,
    describe,
    primary_language,
)

__all__ = [
    "SAMPLE_RATE",
    "AudioStream",
    "FFmpeg",
    "MediaInfo",
    "PcmSpool",
    "SubtitleStream",
    "choose_track",
    "decode_pcm",
    "describe",
    "ffmpeg_version",
    "find_ffmpeg",
    "holds_audio",
    "primary_language",
    "probe",
]
