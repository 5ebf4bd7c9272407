"""Captions made again from a sidecar, without a model: other styles, other formats, other sounds.

A sidecar may have been edited by a person: its segments and events are taken as they stand. Sounds are decided again
from the tag track only where a sound option is given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from wat_cli import captioning, outputs, sidecar
from wat_cli.embed import NoCopy, caption_format, copy_name, embed
from wat_cli.errors import ForeignOutput, MediaError, OutputError, UsageError, shown
from wat_cli.options import CaptionOptions, RunOptions, TagOptions, TranscribeOptions
from wat_cli.transcript import Transcript

Options = TypeVar("Options", TagOptions, CaptionOptions)


@dataclass(frozen=True)
class Rendered:
    """What a sidecar's captions look like under some options."""

    transcript: Transcript
    """With its events as shown, the rules broken, and the notes of this layout."""
    contents: Mapping[str, bytes | None]
    """Content by format; None where there is nothing to write."""


def render(path: Path, formats: Sequence[str], captions: Mapping[str, Any], sounds: Mapping[str, Any]) -> Rendered:
    """The captions of the sidecar at `path` in `formats`.

    Args:
        captions: fields of `CaptionOptions` that are asked for; the others are as the sidecar's settings say.
        sounds: the same of `TagOptions`; with any of them, events are decided again.

    Raises:
        OutputError: no sidecar, a damaged one, or one without the tag track that is needed.
        UsageError: options that do not go together, or words without times.
    """
    try:
        transcript = sidecar.read(path).transcript
    except OSError as error:
        raise OutputError(f"{shown(path)}: {(error.strerror or 'cannot be read').lower()}") from error
    worded = any(segment.words for segment in transcript.hearing.segments)
    options = RunOptions(
        transcribe=TranscribeOptions(word_timestamps=worded),
        tags=_options(TagOptions, transcript.settings, sounds),
        captions=_options(CaptionOptions, transcript.settings, captions),
    )
    if sounds:
        if transcript.hearing.tags is None:
            raise OutputError(f"{shown(path)}: it was made with --no-tags, so there are no sounds to decide")
        transcript = dataclasses.replace(transcript, events=captioning.decide_events(transcript.hearing, options))
    return Rendered(*captioning.render(transcript, formats, options))


def _options(group: type[Options], settings: Mapping[str, Any], given: Mapping[str, Any]) -> Options:
    """Options of `group` as in a sidecar's settings, but for those given; settings of a wrong type do not count."""
    hints = get_type_hints(group)
    kept = {
        field.name: _value(settings[field.name], hints[field.name])
        for field in dataclasses.fields(group)
        if field.name in settings and field.name not in given
    }
    try:
        return group(**{**{name: value for name, value in kept.items() if value is not ...}, **given})
    except UsageError:
        return group(**given)  # a setting that was edited into nonsense; what is given may be nonsense too, and raises


def _value(value: Any, hint: Any) -> Any:
    """A setting as the field of type `hint` takes it; ``...`` where it does not."""
    kinds = get_args(hint) or (hint,)
    if Path in kinds and isinstance(value, str):
        return Path(value)
    if float in kinds and type(value) is int:
        return float(value)
    return value if type(value) in kinds else ...


def language(transcript: Transcript) -> str:
    """Whisper's code of the captions' language: what was spoken, or English where it was translated."""
    return "en" if transcript.settings.get("task") == "translate" else transcript.hearing.language


def flags(transcript: Transcript) -> str:
    """What players look for in a caption file's name: ``.en.sdh``, or ``.en`` for captions without sounds."""
    code = language(transcript)
    named = f".{code}" if code.isascii() and code.isalnum() else ""
    return named + (".sdh" if any(event.shown for event in transcript.events) else "")


def write(path: Path, rendered: Rendered, overwrite: bool = False, player_names: bool = False) -> tuple[Path, ...]:
    """Write rendered captions beside their sidecar, which learns that they are ``wat``'s; returns what was written.

    `player_names` puts `flags` into the files' names: ``talk.en.sdh.srt``.

    Raises:
        ForeignOutput: a file stands there that ``wat`` did not write, or that was changed since.
        OutputError: the folder or a file cannot be written.
    """
    places = _places(path, rendered.transcript, rendered.contents, player_names)
    with outputs.locked(path):
        if not overwrite:
            for place in places.values():
                _check_own(place, rendered.transcript.outputs)
        digests = {
            places[name].name: None if data is None else sidecar.sha256(data)
            for name, data in rendered.contents.items()
        }
        record = sidecar.with_outputs(path.read_bytes(), digests)
        outputs.commit(path, record, {places[name]: data for name, data in rendered.contents.items()})
    return tuple(place for name, place in places.items() if rendered.contents[name] is not None)


def _places(path: Path, transcript: Transcript, formats: Iterable[str], player_names: bool) -> dict[str, Path]:
    """Where the captions of each format go."""
    flagged = flags(transcript) if player_names else ""
    return {name: path.with_suffix(f"{flagged}.{name}") for name in formats}


def has_player_names(path: Path, formats: Iterable[str]) -> bool:
    """Whether the captions of the sidecar at `path` are there under the names that players know, or need not be."""
    transcript = sidecar.read(path, tags=False).transcript
    known = transcript.outputs
    return all(
        place.name in known and (known[place.name] is None or place.exists())
        for place in _places(path, transcript, formats, True).values()
    )


def copy_path(path: Path, film: Path) -> Path:
    """Where the captioned copy of `film` goes: beside the sidecar at `path`, under its name."""
    return path.with_name(copy_name(path.with_suffix(film.suffix)))


def write_copy(path: Path, overwrite: bool = False, **given: Mapping[str, Any]) -> Path:
    """Write a copy of the film with its captions as a soft subtitle track, beside the sidecar at `path`.

    Call it with the sidecar's lock (`outputs.locked`). `given` are `captions` and `sounds` as `render` takes them.

    Raises:
        NoCopy: there is no video, or nothing to caption.
        MediaError: the film is gone, was changed since it was captioned, or takes no captions.
        ForeignOutput: a file stands there that ``wat`` did not write, or that was changed since.
        OutputError: the copy cannot be written.
    """
    rendered = render(path, ["srt", "vtt"], given.get("captions", {}), given.get("sounds", {}))
    source = rendered.transcript.source
    if rendered.contents["srt"] is None:
        raise NoCopy(f"{shown(path)}: there is nothing to caption, so no copy is made")
    film = path.parent / source.path
    content = rendered.contents[caption_format(film)]
    assert content is not None, "captions are there in every format or in none"
    if not film.is_file() or film.stat().st_size != source.size:
        raise MediaError(f"{shown(film)}: the film is gone, or not the one that was captioned")
    target = copy_path(path, film)
    if not overwrite:
        _check_own(target, rendered.transcript.outputs)
    part = outputs.part_path(target)
    part.unlink(missing_ok=True)
    embed(film, content, part, language(rendered.transcript))
    try:
        # listed before it has its name: a run that is cut off here leaves nothing that looks like a person's
        record = sidecar.with_outputs(path.read_bytes(), {target.name: sidecar.sha256_of_file(part)})
        outputs.commit(path, record, {})
        part.replace(target)
    except OSError as error:
        raise OutputError(f"{shown(target)}: cannot be written ({error.strerror or error})") from error
    finally:
        part.unlink(missing_ok=True)
    return target


def _check_own(place: Path, known: Mapping[str, str | None]) -> None:
    if not place.exists() and not place.is_symlink():
        return
    digest = known.get(place.name)
    if digest is None:
        raise ForeignOutput(f"{shown(place)} was not written by wat; --overwrite replaces it")
    if not outputs.holds(place, digest):
        raise ForeignOutput(f"{shown(place)} was changed since wat wrote it; --overwrite replaces it")
