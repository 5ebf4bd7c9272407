"""Captions as a soft subtitle track in a copy of their film, marked for the hard of hearing; nothing is encoded again.

MP4 and QuickTime take them as timed text, Matroska as SubRip, WebM as WebVTT; a film in a container that holds no text
(AVI, MPEG-TS ...) gets a Matroska copy. The copy appears whole or not at all.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import langcodes

from wat_cli.errors import MediaError, shown
from wat_cli.languages import LANGUAGES
from wat_cli.media import MediaInfo, find_ffmpeg, probe
from wat_cli.media.process import INPUT_LIMITS, exit_code, media_size, patience, read, reason, running, url
from wat_cli.options import COPY_MARK

_MUXERS = {
    ".mp4": ("mp4", "mov_text"),
    ".m4v": ("mp4", "mov_text"),
    ".mov": ("mov", "mov_text"),
    ".webm": ("webm", "copy"),
    ".mkv": ("matroska", "subrip"),
}
"""ffmpeg's muxer and subtitle codec by the suffix of the film. WebM takes WebVTT as it is: ffmpeg's own encoder for it
escapes nothing, so that words between < and > would be lost."""

_ERRORS_KEPT = 4096
SHORT_SECONDS, SHORT_SHARE = 1.0, 0.01
"""How much shorter a whole copy may seem, in seconds and as a share: containers count frames and tails differently."""


class NoCopy(MediaError):
    """There is no film, or no caption, to make a captioned copy of."""


def copy_name(video: Path) -> str:
    """Name of the captioned copy: ``talk.captioned.mp4`` of ``talk.mp4``, ``old.captioned.mkv`` of ``old.avi``."""
    suffix = video.suffix if video.suffix.lower() in _MUXERS else ".mkv"
    return f"{video.stem}{COPY_MARK}{suffix}"


def caption_format(video: Path) -> str:
    """In which format `embed` takes the captions for this film: ``srt``, or ``vtt``."""
    return "vtt" if video.suffix.lower() == ".webm" else "srt"


def embed(video: Path, captions: bytes, part: Path, language: str) -> None:
    """Write a copy of `video` with `captions` as a track to `part`, which is removed again if that fails.

    Args:
        video: the film; all its streams are copied but data streams (time codes are remade by the container).
        captions: content of a caption file in the film's `caption_format`, on the film's own clock.
        part: where the copy is written; its suffix does not matter, the film's does.
        language: Whisper's code of the captions' language.

    Raises:
        MediaError: the film cannot be read, is damaged, has no picture, or ffmpeg cannot copy or write it.
    """
    info = probe(video)
    if not info.has_video:
        raise NoCopy(f"{shown(video)}: no video to put captions into")
    with tempfile.NamedTemporaryFile(prefix="wat-") as file:
        file.write(captions)
        file.flush()
        try:
            _copy(info, Path(file.name), part, language)
            _check_whole(info, part)
        except BaseException:
            with suppress(FileNotFoundError):
                part.unlink()
            raise


def _copy(info: MediaInfo, captions: Path, part: Path, language: str) -> None:
    video, errors = info.path, bytearray()
    command = command_line(find_ffmpeg().ffmpeg, info, captions, part, language)
    with running(command) as process:
        for _ in read(process, video, patience(media_size(video)), errors, _ERRORS_KEPT):
            pass  # progress, which shows that ffmpeg is alive
        if exit_code(process, video):
            raise MediaError(f"{shown(video)}: captions cannot be embedded: {reason(bytes(errors), video)}")


def _check_whole(info: MediaInfo, part: Path) -> None:
    """Raise `MediaError` where the copy ends before the film does: ffmpeg copies what is left of a damaged file."""
    copied, claimed = probe(part).duration, info.duration
    if claimed is not None and (copied is None or copied < claimed - max(SHORT_SECONDS, SHORT_SHARE * claimed)):
        raise MediaError(
            f"{shown(info.path)}: only {copied or 0:.1f} s of {claimed:.1f} s could be copied: cut off or damaged"
        )


def command_line(program: str, info: MediaInfo, captions: Path, part: Path, language: str) -> list[str]:
    """ffmpeg's arguments. A plain list: ffmpeg-python cannot say "every stream of this input but data"."""
    muxer, codec = _MUXERS.get(info.path.suffix.lower(), _MUXERS[".mkv"])
    track = f"s:{len(info.subtitles)}"
    limits = [argument for name, value in INPUT_LIMITS.items() for argument in (f"-{name}", value)]
    # WebM has no flag for the hard of hearing; its captions kind says the same
    disposition = "captions" if muxer == "webm" else "hearing_impaired"
    demuxer = "webvtt" if caption_format(info.path) == "vtt" else "srt"
    name = LANGUAGES.get(language, language).title()
    return [
        program, "-hide_banner", "-nostdin", "-loglevel", "error", "-progress", "pipe:1", "-y",
        *limits, "-i", url(info.path),
        "-protocol_whitelist", "file", "-f", demuxer, "-i", url(captions),
        "-map", "0", "-map", "-0:d", "-map", "1", "-c", "copy", f"-c:{track}", codec,
        f"-metadata:s:{track}", f"language={_three_letters(language, bibliographic=muxer == 'matroska')}",
        f"-metadata:s:{track}", f"title={name} (SDH)".lstrip(), f"-disposition:{track}", disposition,
        "-f", muxer, url(part),
    ]  # fmt: skip


def _three_letters(language: str, bibliographic: bool) -> str:
    """ISO 639-2 code of a language: MP4 wants the terminological one, Matroska the bibliographic."""
    with suppress(LookupError, ValueError):
        return langcodes.Language.get(language).to_alpha3(variant="B" if bibliographic else "T")
    return "und"
