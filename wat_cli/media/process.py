"""Finds ffmpeg and runs it on untrusted files: what it may open, how long it may hang, why it failed."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import ffmpeg

from wat_cli.errors import FFmpegMissing, UndecodableMedia, printable, shown

SAMPLE_RATE = 16_000


_FORMAT_NAMES = """
3dostr 3g2 3gp 4xm aa aac aax ac3 ac4 ace acm act adp ads adx aea afc aiff aix alaw alp amr amrnb amrwb apac apc ape apm
aptx aptx_hd argo_asf argo_brp argo_cvg asf asf_o ast au avi avr avs bethsoftvid bfi bfstm bink binka bit bmv boa bonk
brstm c93 caf cdxl codec2 codec2raw daud dcstr derf dfpwm dhav dsf dsicin dss dts dtshd dv dxa ea ea_cdata eac3 epaf
f32be f32le f64be f64le film_cpk flac flv fsb fwse g722 g723_1 g726 g726le g728 g729 gdv genh gsm gxf hca hcom hnm hxvs
iamf idcin iff ifv ilbc ipmovie ircam iss ivr jv kux kvag laf lc3 libgme libmodplug libopenmpt live_flv lmlm4 loas
luodat lvf lxf m4a matroska mca mj2 mlp mm mmf mods moflex mov mp3 mp4 mpc mpc8 mpeg mpegts msf mtaf mtv mulaw musx mv
mvi mxf mxg nistsphere nsp nsv nut nuv ogg oma osq paf pmp pp_bnk psxstr pva pvf qcp qoa r3d redspark rka rl2 rm roq
rpl rsd rso s16be s16le s24be s24le s32be s32le s337m s8 sbc sdns sds sdx shn siff simbiosis_imx sln smjpeg smk smush
sol sox spdif svag svs swf tak thp tiertexseq tmv truehd tta ty u16be u16le u24be u24le u32be u32le u8 usm vag vidc
vividas vivo vmd voc vpk vqf w64 wady wav wavarc wc3movie webm wsaud wsd wsvqa wtv wv wve xa xmd xmv xvag xwma yop
anm apng av1 avs2 avs3 cavsvideo dirac dnxhd evc flic gif h261 h263 h264 hevc ivf m4v mjpeg mpegvideo obu vc1 vc1test
vvc yuv4mpegpipe
"""
FORMATS = tuple(_FORMAT_NAMES.split())
"""Demuxers of ffmpeg 5 to 9 that read only the file they are given; the last two lines hold pictures without sound.

Left out are those that open other files or addresses (hls, dash, concat, imf, sdp, rtsp, image2, vobsub, mlv,
webm_dash_manifest), run scripts (avisynth, vapoursynth, sbg, lavfi), read devices, or read text. A list of what is
allowed, not of what is refused: a demuxer that ffmpeg adds tomorrow stays out until somebody has looked at it.
"""


INPUT_LIMITS = {"protocol_whitelist": "file", "format_whitelist": ",".join(FORMATS)}
"""Options in front of every input."""

_PLACE_OF_INPUT = "file:input"
_PROBE_LIMIT = 16 << 20


@dataclass(frozen=True)
class FFmpeg:
    """The programs that are run; `ffprobe` is None where only imageio-ffmpeg's binary was found."""

    ffmpeg: str
    ffprobe: str | None


def find_ffmpeg() -> FFmpeg:
    """ffmpeg and ffprobe from the path, else the ffmpeg in imageio-ffmpeg's wheel, which brings no ffprobe.

    Raises `FFmpegMissing` when there is neither.
    """
    if found := shutil.which("ffmpeg"):
        return FFmpeg(found, shutil.which("ffprobe"))
    try:
        import imageio_ffmpeg

        return FFmpeg(imageio_ffmpeg.get_ffmpeg_exe(), None)
    except (ImportError, RuntimeError) as error:
        raise FFmpegMissing(
            "ffmpeg was not found: install it (apt install ffmpeg, brew install ffmpeg), "
            "or take a binary from the package index: pip install imageio-ffmpeg"
        ) from error


@lru_cache(maxsize=4)
def ffmpeg_version(program: str) -> str | None:
    """What a ``program`` found by `find_ffmpeg` calls its version (``5.1.6-0+deb12u1``); None if it does not tell."""
    try:
        told = subprocess.run([program, "-version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(rb"ffmpeg version (\S+)", told)
    return printable(found[1].decode(errors="replace")) if found else None


def media_size(path: Path) -> int:
    """Bytes of the file; `UndecodableMedia` if it is gone, empty, not to be read, or no regular file."""
    try:
        status = path.stat()
    except OSError as error:
        raise UndecodableMedia(f"{shown(path)}: {(error.strerror or 'cannot be read').lower()}") from error
    if not stat.S_ISREG(status.st_mode):
        raise UndecodableMedia(f"{shown(path)}: not a regular file; copy the stream to one first")
    if status.st_size == 0:
        raise UndecodableMedia(f"{shown(path)}: empty (0 bytes)")
    return status.st_size


def url(path: Path) -> str:
    """`path` as ffmpeg's input: with the protocol named, no name is an option (``-i.mp4``) or a protocol (``a:b``)."""
    return f"file:{path}"


def media_input(**options: object) -> Any:
    """ffmpeg-python's node for an untrusted input; `command_line` puts the file in."""
    # ffmpeg-python hashes its nodes as UTF-8, which not every file name is.
    return ffmpeg.input(_PLACE_OF_INPUT, **INPUT_LIMITS, **options)


def command_line(output: Any, program: str, path: Path, loglevel: str) -> list[str]:
    """The arguments for one of ffmpeg-python's output nodes, reading `path`."""
    command = output.global_args("-hide_banner", "-nostdin", "-loglevel", loglevel).compile(cmd=program)
    return [url(path) if argument == _PLACE_OF_INPUT else argument for argument in command]


def patience(size: int) -> float:
    """Seconds without any output after which ffmpeg hangs: a minute, and what reading `size` bytes takes at 10 MB/s."""
    return 60 + size / 10e6


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """ffmpeg as a child of its own session (Ctrl-C is for `wat` to handle), ended when the block is left."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        yield process
    finally:
        process.kill()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait()


def read(
    process: subprocess.Popen[bytes], path: Path, patience: float, errors: bytearray, kept: int
) -> Iterator[bytes]:
    """Standard output as it comes; the last `kept` bytes of standard error stay in `errors`.

    Only the time spent waiting for ffmpeg counts against `patience`: whoever consumes may take as long as it likes.
    """
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            selector.register(pipe, selectors.EVENT_READ)
        left = patience
        while selector.get_map():
            began = time.monotonic()
            ready = selector.select(left)
            left -= time.monotonic() - began
            if left <= 0:
                raise UndecodableMedia(f"{shown(path)}: ffmpeg gave nothing for {patience:.0f} s and was ended")
            for key, _ in ready:
                data = os.read(key.fd, 1 << 16)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stderr:
                    errors += data
                    del errors[:-kept]
                else:
                    left = patience
                    yield data


def exit_code(process: subprocess.Popen[bytes], path: Path) -> int:
    """The exit code, once both pipes are closed."""
    try:
        return process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        raise UndecodableMedia(f"{shown(path)}: ffmpeg did not end and was ended") from None


def output_of(command: list[str], path: Path, size: int, kept: int) -> tuple[int, bytes, bytes]:
    """Exit code, whole standard output, and the end of standard error."""
    with running(command) as process:
        errors, output = bytearray(), bytearray()
        for data in read(process, path, patience(size), errors, kept):
            output += data
            if len(output) > _PROBE_LIMIT:
                raise UndecodableMedia(f"{shown(path)}: its description alone is over {_PROBE_LIMIT >> 20} MB long")
        return exit_code(process, path), bytes(output), bytes(errors)


def reason(errors: bytes, path: Path, otherwise: str = "ffmpeg cannot read it") -> str:
    """Why ffmpeg failed, for a person: the end of what it said, without addresses and control characters."""
    if b"not on whitelist" in errors:
        return "a playlist, script or other text that leads elsewhere, not media"
    text = errors.replace(os.fsencode(url(path)) + b": ", b"").decode(errors="replace")
    text = text.replace("Invalid data found when processing input", "not media, or broken from the start")
    text = re.sub(r" @ 0x[0-9a-f]+\]", "]", text)
    text = re.sub(r"^(?:Error opening input files?\b.*|\[in#0\] Error opening input: )", "", text, flags=re.MULTILINE)
    lines = [printable(line.strip()) for line in text.splitlines()]
    last = list(dict.fromkeys(line for line in lines if line))[-3:]
    return " | ".join(last)[-400:] or otherwise
