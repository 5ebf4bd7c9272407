"""Whether a film has subtitles already (``--skip-subtitled``): a track in it, or a file beside it, but ``wat``'s own.

Files are named as players look for them: ``talk.srt``, ``talk.en.srt``, ``talk.mp4.eng.sdh.vtt``. A track or file that
does not tell its language counts for any; forced ones, which cover foreign passages only, count for none.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import langcodes

from wat_cli import outputs
from wat_cli.discovery import Job
from wat_cli.languages import language_code
from wat_cli.media import AudioStream, MediaInfo, primary_language
from wat_cli.options import RunOptions

_SUFFIXES = frozenset(("srt", "vtt", "ass", "ssa", "sub", "idx", "sup", "ttml", "dfxp", "smi", "sbv", "stl", "usf"))
_KINDS = frozenset(("sdh", "cc", "hi", "full", "default", "und"))
"""Words of a file's name that say of what kind the subtitles are, and nothing of their language."""
_FORCED = frozenset(("forced", "foreign"))
_SECONDS_KEPT = 60


def wanted_language(options: RunOptions, track: AudioStream) -> str | None:
    """Code of the language in which captions would be written; None where only the model could tell."""
    if options.transcribe.task == "translate" or options.model.model.endswith(".en"):
        return "en"
    told = options.transcribe.language or track.language
    return None if told is None else _code(told)


def found_subtitles(job: Job, info: MediaInfo, track: AudioStream, options: RunOptions) -> str | None:
    """What subtitles a film has in the language of its captions, in words; None where it has none.

    Where that language is not known, those in any language count.
    """
    wanted = wanted_language(options, track)
    for number, stream in enumerate(info.subtitles):
        if not stream.forced and _fits(stream.language, wanted):
            return f"subtitle track {number} ({stream.language or 'no language'})"
    own = {
        name
        for sidecar in (job.outputs.sidecar, outputs.part_path(job.outputs.sidecar))
        for name in outputs.own_outputs(sidecar)
    }
    stems = {job.source.stem, job.source.name, job.outputs.name}
    for folder in dict.fromkeys((job.source.parent, job.outputs.folder)):
        by_stem = _subtitle_files(folder, int(time.monotonic() / _SECONDS_KEPT))
        for name in sorted(name for stem in stems for name in by_stem.get(stem, ())):
            if name not in own and any(_is_in(name.removeprefix(f"{stem}."), wanted) for stem in stems):
                return name
    return None


@lru_cache(maxsize=4)
def _subtitle_files(folder: Path, minute: int) -> Mapping[str, list[str]]:
    """Names of the subtitle files in a folder, by everything before one of their dots.

    Kept for a minute: a folder may hold a hundred thousand films, and is not to be read for each of them.
    """
    found: dict[str, list[str]] = {}
    try:
        names = [entry.name for entry in folder.iterdir() if entry.suffix[1:].lower() in _SUFFIXES]
    except OSError:  # the outputs' folder may not be there yet
        return found
    for name in names:
        words = name.split(".")
        for end in range(1, len(words)):
            found.setdefault(".".join(words[:end]), []).append(name)
    return found


def _is_in(rest: str, wanted: str | None) -> bool:
    """Whether what follows a film's name in a subtitle file's makes it the film's own, and in the wanted language."""
    *words, suffix = rest.lower().split(".")
    if suffix not in _SUFFIXES or any(word in _FORCED for word in words):
        return False
    # hi is Hindi where it stands alone, and "hearing impaired" after a language
    told = [word for word in words if word not in _KINDS or words == ["hi"]]
    if any(_code(word) is None for word in told):  # talk.part2.srt is of another film
        return False
    return not told or any(_fits(word, wanted) for word in told)


def _fits(language: str | None, wanted: str | None) -> bool:
    return language is None or wanted is None or _code(language) in (None, wanted)


def _code(language: str) -> str | None:
    """One code for a language given by tag or English name; None for what is none."""
    tag = language_code(language) or language
    return primary_language(tag) if langcodes.tag_is_valid(tag) else None
