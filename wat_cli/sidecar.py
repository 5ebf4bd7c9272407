"""The JSON sidecar: a `Transcript` as a document, and back.

The sidecar is what ``wat`` knows about a file it captioned, and the proof that it did: it carries a fingerprint of
everything that decided the result, the hash of every output beside it, and a checksum of itself, so that a person's
edit is told from ``wat``'s own work. Its keys are a superset of openai-whisper's JSON (``text``, ``segments``,
``language``); ``data/sidecar.schema.json`` describes them. A sidecar comes from anywhere: reading one trusts nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from wat_cli.errors import OutputError, shown
from wat_cli.tagging.sparse import sparse_tags, tags_from
from wat_cli.transcript import (
    SCHEMA_VERSION,
    BrokenLayoutRule,
    HeadTuning,
    Hearing,
    ModelIdentity,
    Segment,
    SoundEvent,
    Source,
    Transcript,
    Word,
)

Value = TypeVar("Value")

UNTUNED = HeadTuning()
"""How a head's scores are read that came without numbers of its own."""

MAX_BYTES = 256 * 2**20
"""A larger file is not read as a sidecar: ten hours of captions and tags take a tenth of it."""


_PIECE = 1000
"""Items of a long list that are turned into text at once."""


class NotASidecar(OutputError):
    """The file is no sidecar that this version wrote or can read."""


def schema() -> dict[str, Any]:
    """The JSON Schema of the sidecar, version `SCHEMA_VERSION`."""
    text = resources.files("wat_cli").joinpath("data/sidecar.schema.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


# --- fingerprints ---------------------------------------------------------------------------------------------------


def sha256(data: bytes) -> str:
    """Lower-case hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(settings: Mapping[str, Any], models: Mapping[str, ModelIdentity], tuning: HeadTuning = UNTUNED) -> str:
    """Hash of everything besides the input that decides a result: options, the files they name, weights and tuning.

    Two runs with one fingerprint give the same captions for the same input on the same kind of device.

    Args:
        settings: the options that decide a result (`RunOptions.settings`); of a file its content counts.
        models: the weights by role; their hashes count, not their names or places.
        tuning: how the head's scores are read.
    """
    values = {name: sha256_of_file(value) if isinstance(value, Path) else value for name, value in settings.items()}
    weights = {role: identity.sha256 for role, identity in models.items()}
    decided = {"settings": values, "weights": weights, "tuning": dataclasses.asdict(tuning), "schema": SCHEMA_VERSION}
    return sha256(_canonical(decided))


def _canonical(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def checksum(document: Mapping[str, Any]) -> str:
    """Hash of a sidecar's content without its own ``checksum``; spacing and the order of keys do not count."""
    found = hashlib.sha256()
    for piece in _canonical_pieces({key: value for key, value in document.items() if key != "checksum"}):
        found.update(piece)
    return found.hexdigest()


def _canonical_pieces(value: Any) -> Iterator[bytes]:
    """`_canonical` in pieces: that of a long file is as large as the file, and nobody keeps it."""
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        for position, key in enumerate(sorted(value)):
            yield b"{" if position == 0 else b","
            yield _canonical(key) + b":"
            yield from _canonical_pieces(value[key])
        yield b"}" if value else b"{}"
    elif isinstance(value, list) and len(value) > _PIECE:
        for first in range(0, len(value), _PIECE):
            yield b"[" if first == 0 else b","
            yield _canonical(value[first : first + _PIECE])[1:-1]
        yield b"]"
    else:
        yield _canonical(value)


# --- out ------------------------------------------------------------------------------------------------------------


def to_document(transcript: Transcript) -> dict[str, Any]:
    """The sidecar's document: plain JSON values, with its checksum."""
    hearing = transcript.hearing
    document: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "encoder_passes": hearing.encoder_passes,
        "windows": hearing.windows,
        "tagger_passes": hearing.tagger_passes,
        "joins": list(hearing.joins),
        "source": dataclasses.asdict(transcript.source),
        "duration": hearing.duration,
        "language": hearing.language,
        "language_probability": hearing.language_probability,
        "text": "".join(segment.text for segment in hearing.segments),
        "segments": [_finite(_segment_out(segment)) for segment in hearing.segments],
        "events": [dataclasses.asdict(event) for event in transcript.events],
        "tags": None if hearing.tags is None else sparse_tags(hearing.tags, transcript.labels),
        "models": {role: dataclasses.asdict(identity) for role, identity in transcript.models.items()},
        "settings": {name: str(v) if isinstance(v, Path) else v for name, v in transcript.settings.items()},
        "fingerprint": transcript.fingerprint,
        "versions": dict(transcript.versions),
        "timings": {stage: round(seconds, 3) for stage, seconds in transcript.timings.items()},
        "outputs": dict(transcript.outputs),
        "notes": list(transcript.notes),
        "incomplete": transcript.incomplete,
        "hallucinations": list(transcript.hallucinations),
        "broken_rules": [dataclasses.asdict(broken) for broken in transcript.broken_rules],
    }
    document = {key: value if key in _FINITE else _finite(value) for key, value in document.items()}
    document["checksum"] = checksum(document)
    return document


_FINITE = ("segments", "tags")
"""Parts of the document, the large ones, that are made without what JSON cannot say."""


def to_json(transcript: Transcript) -> bytes:
    """The sidecar as it is written: UTF-8, a line for each segment and each event."""
    return _data(to_document(transcript))


def with_outputs(data: bytes, outputs: Mapping[str, str | None]) -> bytes:
    """The sidecar in `data` with these outputs besides those it lists; raises `NotASidecar`.

    A person's edits stay, and stay a person's: a checksum that did not hold still does not.
    """
    unchanged = from_json(data, tags=False).unchanged
    document = json.loads(data)
    document["outputs"] = {**document["outputs"], **outputs}
    if unchanged:
        document["checksum"] = checksum(document)
    return _data(document)


def _data(document: Mapping[str, Any]) -> bytes:
    try:
        return b"".join(piece.encode("utf-8") for piece in _text(document, escape=False))
    except UnicodeEncodeError:  # a file name that is not UTF-8: its bytes stay readable as escapes
        return b"".join(piece.encode("ascii") for piece in _text(document, escape=True))


def _text(document: Mapping[str, Any], escape: bool) -> Iterator[str]:
    dump = json.JSONEncoder(ensure_ascii=escape, allow_nan=False).encode
    for position, (key, value) in enumerate(document.items()):
        yield "{\n" if position == 0 else ",\n"
        yield f"{dump(key)}: "
        yield from _block(value, dump)
    yield "\n}\n"


def _block(value: Any, dump: Callable[[Any], str]) -> Iterator[str]:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        for position, item in enumerate(value):
            yield "[\n  " if position == 0 else ",\n  "
            yield dump(item)
        yield "\n]"
    else:
        yield dump(value)


def _segment_out(segment: Segment) -> dict[str, Any]:
    """openai-whisper's keys; ``words`` and ``language`` only where there is something to say."""
    document = {key: value for key, value in dataclasses.asdict(segment).items() if value is not None}
    document["tokens"] = list(segment.tokens)
    return document


def _finite(value: Any) -> Any:
    """The same value with null for what JSON cannot say: NaN and the infinities."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


# --- in -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """A sidecar as found on disk: what resuming and rendering need to know of it."""

    transcript: Transcript
    unchanged: bool
    """Whether its checksum still holds: nobody edited it."""


def read(path: Path, tags: bool = True) -> Record:
    """The sidecar at `path`; without `tags` its tag track is left aside, which takes most of the memory.

    Raises:
        NotASidecar: it is something else, damaged, or of another schema version.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    try:
        return from_json(data, tags)
    except NotASidecar as error:
        raise NotASidecar(f"{shown(path)}: {error}") from None


def from_json(data: bytes, tags: bool = True) -> Record:
    """The sidecar in `data`, with or without its tag track; raises `NotASidecar`."""
    if len(data) > MAX_BYTES:
        raise NotASidecar(f"more than {MAX_BYTES >> 20} MiB are no sidecar of wat")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise NotASidecar("not a JSON document") from None
    if not isinstance(document, dict) or "schema" not in document or "checksum" not in document:
        raise NotASidecar("not a sidecar of wat")
    if document["schema"] != SCHEMA_VERSION:
        raise NotASidecar(f"a sidecar of schema {document['schema']!r}; this wat reads schema {SCHEMA_VERSION}")
    try:
        unchanged = document["checksum"] == checksum(document)
        return Record(_transcript(document, tags), unchanged)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise NotASidecar(f"a damaged sidecar ({type(error).__name__}: {error})") from None


def _transcript(document: dict[str, Any], with_tags: bool) -> Transcript:
    labels: tuple[str, ...] = ()
    tags = None
    if with_tags and document["tags"] is not None:
        tags, labels = tags_from(document.pop("tags"))
    hearing = Hearing(
        duration=_checked(float, document["duration"]),
        language=_checked(str, document["language"]),
        segments=tuple(_segment(item) for item in _checked(list, document["segments"])),
        tags=tags,
        windows=_checked(int, document["windows"]),
        encoder_passes=_checked(int, document["encoder_passes"]),
        tagger_passes=_checked(int, document["tagger_passes"]),
        language_probability=_checked(float | None, document["language_probability"]),
        joins=tuple(_checked(float, join) for join in _checked(list, document.get("joins", []))),
    )
    return Transcript(
        source=_instance(Source, document["source"]),
        hearing=hearing,
        events=tuple(_instance(SoundEvent, item) for item in _checked(list, document["events"])),
        models={role: _instance(ModelIdentity, item) for role, item in document["models"].items()},
        settings=_checked(dict, document["settings"]),
        versions=_checked(dict, document["versions"]),
        timings=_checked(dict, document["timings"]),
        outputs={_checked(str, name): _checked(str | None, digest) for name, digest in document["outputs"].items()},
        notes=tuple(_checked(str, note) for note in _checked(list, document["notes"])),
        hallucinations=tuple(_checked(int, place) for place in _checked(list, document.get("hallucinations", []))),
        broken_rules=tuple(
            _instance(BrokenLayoutRule, item) for item in _checked(list, document.get("broken_rules", []))
        ),
        incomplete=_checked(str, document.get("incomplete", "")),
        labels=labels,
        fingerprint=_checked(str, document["fingerprint"]),
    )


def _segment(item: dict[str, Any]) -> Segment:
    words = item.get("words")
    values = {
        **item,
        "tokens": tuple(_checked(int, token) for token in _checked(list, item["tokens"])),
        "words": None if words is None else tuple(_instance(Word, word) for word in _checked(list, words)),
    }
    return _instance(Segment, values)


def _instance(kind: type[Value], values: dict[str, Any]) -> Value:
    """A frozen value of `kind`, each field checked against its annotation; unknown keys are an error."""
    hints = get_type_hints(kind)
    return kind(**{name: _checked(hints[name], value) for name, value in values.items()})


def _checked(annotation: Any, value: Any) -> Any:
    if get_origin(annotation) is tuple:
        kinds: tuple[type, ...] = (tuple,)
    elif isinstance(annotation, UnionType):
        kinds = tuple(get_origin(kind) or kind for kind in get_args(annotation))
    else:
        kinds = (annotation,)
    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if float in kinds and value is None and NoneType not in kinds:
        return math.nan
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise TypeError(f"{value!r:.60} where {annotation} belongs")
    return value
