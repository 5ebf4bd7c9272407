"""What was heard in one file: the values that flow from the engine to the captions.

Times are seconds on the file's own clock unless a name says otherwise. Everything here is frozen; the JSON form
(`wat_cli.sidecar`) is what ``wat`` writes beside its captions, described by ``data/sidecar.schema.json``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

SCHEMA_VERSION = 1
"""Version of the sidecar's layout; raised when a reader of the old one would misread the new."""

TAG_HOP = 0.4
"""Seconds between two steps of the tag grid: 20 encoder frames of 20 ms (Whisper-AT, section 3)."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word with its times; openai-whisper's fields and meanings (``timing.py``, `WordTiming`)."""

    word: str
    """Text with its leading space and punctuation, as openai-whisper gives it."""
    start: float
    end: float
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of speech; openai-whisper's fields and meanings (``transcribe.py``, `new_segment`)."""

    id: int
    seek: int
    """First mel frame (10 ms) of the window that this segment was decoded from."""
    start: float
    end: float
    text: str
    """Text as decoded, with its leading space."""
    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: tuple[Word, ...] | None = None
    """Present when word timestamps were asked for."""
    language: str | None = None
    """Set only where it differs from the file's language."""


@dataclass(frozen=True)
class SoundEvent:
    """One sound with its time, as decided from the tag track."""

    start: float
    end: float
    group: str
    """Group of the caption policy: ``music``, ``dog_barking`` ..."""
    caption: str
    """What a viewer reads, without brackets: ``Music``."""
    label: str
    """The AudioSet class that scored highest within the group."""
    score: float
    """Highest group probability within the event, 0 to 1 (not calibrated)."""
    shown: bool = True
    """Whether the captions show it."""
    reason: str | None = None
    """Why it is not shown."""
    shown_up_to: float | None = None
    """Highest ``--tags-threshold`` under which it is among the sounds to be shown; None where that is not known."""


@dataclass(frozen=True)
class HeadTuning:
    """How one head's scores are to be read; travels with the head (``NAME.json`` beside its checkpoint)."""

    threshold: float = 0.5
    """Probability at which a sound of the first tier starts."""
    lag: float = 0.0
    """Seconds by which this head sees a sound's edges early."""
    labels: tuple[str, ...] = ()
    """Its classes in order, where they are not AudioSet's 527."""


class Scores(Protocol):
    """Scores [steps, classes], 0 to 1 or NaN, that are read like a numpy array: by ``[a:b]`` and ``[:, classes]``.

    An array is one; `wat_cli.tagging.table.ScoreTable` holds hours of them in some megabytes.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    def __getitem__(self, key: Any, /) -> Any: ...


@dataclass(frozen=True)
class TagTrack:
    """Sound-class probabilities over the whole file, on an absolute grid of `TAG_HOP` seconds.

    Step ``i`` covers ``[i * hop, (i + 1) * hop)`` of the file. ``what`` judges up to ten seconds around the step (is
    this class in the scene?), ``when`` about two seconds (does it sound just now?). A step that no encoder window
    covered is NaN in every class: unknown, not silent.
    """

    what: Scores
    """[steps, classes], 0 to 1 or NaN."""
    when: Scores
    """[steps, classes], 0 to 1 or NaN."""
    hop: float = TAG_HOP
    tuning: HeadTuning = HeadTuning()
    exact: TagTrack | None = field(default=None, repr=False, compare=False)
    """The same with every score as the head gave it, on disk, where this one holds them rounded."""

    def __post_init__(self) -> None:
        if self.what.shape != self.when.shape or self.what.ndim != 2:
            raise ValueError(f"tag scores of shapes {self.what.shape} and {self.when.shape} do not belong together")

    @property
    def steps(self) -> int:
        """Number of grid steps."""
        return int(self.when.shape[0])

    @property
    def classes(self) -> int:
        """Number of sound classes."""
        return int(self.when.shape[1])


@dataclass(frozen=True)
class ModelIdentity:
    """Which weights were used: enough to know whether another run would use the same."""

    name: str
    sha256: str
    path: str | None = None


@dataclass(frozen=True)
class Hearing:
    """What the engine heard in one file, before any caption is decided."""

    duration: float
    """Seconds of audio on the file's clock."""
    language: str
    segments: tuple[Segment, ...]
    tags: TagTrack | None
    """None with ``--no-tags``."""
    windows: int
    """30 s windows decoded."""
    encoder_passes: int
    """Passes of the speech model's encoder; equals `windows` by design."""
    tagger_passes: int = 0
    """Passes of a second encoder used for the sounds only (``--tagger``)."""
    language_probability: float | None = None
    joins: tuple[float, ...] = ()
    """Seconds at which the file was cut into shards that were decoded side by side (``--shards``)."""


@dataclass(frozen=True)
class Source:
    """The input file as it was when it was read."""

    path: str
    size: int
    mtime_ns: int
    duration: float
    track: int | None = None
    """Absolute index of the audio stream in the container."""
    track_language: str | None = None


@dataclass(frozen=True)
class BrokenLayoutRule:
    """A soft rule of the layout for which the speech left no room."""

    cue: int
    """Number of the caption, from 1."""
    start: float
    rule: str
    """``reading-speed``, ``min-duration``, ``max-duration`` or ``gap``."""
    detail: str
    """What was found, and what the rule asks."""


@dataclass(frozen=True)
class Transcript:
    """Everything ``wat`` keeps about one captioned file: the JSON sidecar."""

    source: Source
    hearing: Hearing
    events: tuple[SoundEvent, ...]
    models: dict[str, ModelIdentity]
    """``asr`` and, with tags, ``tagger``."""
    settings: dict[str, Any]
    """The options that decide the result, by their names."""
    versions: dict[str, str]
    timings: dict[str, float] = field(default_factory=dict)
    """Wall seconds per stage."""
    outputs: dict[str, str | None] = field(default_factory=dict)
    """File name of each output beside the sidecar, with the sha256 of what was written; None where there was nothing
    to write (an SRT file without cues)."""
    notes: tuple[str, ...] = ()
    """What a reader should know: no speech found, captions not written, text left out."""
    hallucinations: tuple[int, ...] = ()
    """Ids of segments in which the tagger is sure that nobody speaks or sings."""
    broken_rules: tuple[BrokenLayoutRule, ...] = ()
    """Where the captions could not keep a soft rule."""
    incomplete: str = ""
    """Why the audio may not be all there was; empty where it is."""
    labels: tuple[str, ...] = ()
    """Display name of each tag class, in the head's order."""
    fingerprint: str = ""
    """Hash of the settings and the weights: another run with the same would give the same result."""
