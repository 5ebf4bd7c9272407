"""What a user can ask for: frozen dataclasses, checked once when built.

Each field is one option: its name, type and default stand here, its ``--help`` text, panel and allowed values in its
metadata. The command line, config keys, environment names, the fingerprint and the reference are made from these.
Names and defaults of openai-whisper's options are openai-whisper's (20250625).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from wat_cli.errors import UsageError
from wat_cli.languages import language_code

PREPEND_PUNCTUATIONS = "\"'“¿([{-"
APPEND_PUNCTUATIONS = "\"'.。,，!！?？:：”)]}、"

WHISPER_DIFFERENCES = {
    "model": "small, the smallest with a useful head for sounds",
    "device": "auto: chosen when the model is loaded",
    "output_dir": "beside the source, so that a tree of media is captioned in place",
    "output_format": "srt,vtt,json, and a list by comma",
    "verbose": "replaced by -q and -v, which say less and more about the run",
}
"""The options of openai-whisper's command line whose default or meaning differs here. All others are as there."""


MOST_SHARDS = 256
"""Parts that one file can be cut into."""


def option(
    default: Any,
    help: str,
    *,
    panel: str,
    choices: tuple[str, ...] | None = None,
    short: str | None = None,
    fingerprint: bool = True,
) -> Any:
    """A dataclass field that is an option.

    `fingerprint` says whether its value decides the result, so that another value makes the work to be done again.
    """
    metadata = {"help": help, "panel": panel, "choices": choices, "short": short, "fingerprint": fingerprint}
    return field(default=default, metadata=metadata)


def settings_of(options: Iterable[Any]) -> dict[str, Any]:
    """Name and value of every option that decides the result, over several options objects."""
    return {
        item.name: getattr(group, item.name)
        for group in options
        for item in fields(group)
        if item.metadata.get("fingerprint")
    }


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


VOCABULARY = 51866
"""Tokens of the largest of Whisper's vocabularies (large-v3)."""


@dataclass(frozen=True)
class TranscribeOptions:
    """How speech is decoded: openai-whisper's options with its names, defaults and meanings."""

    task: str = option(
        "transcribe", "Transcribe, or translate into English.", panel="Speech", choices=("transcribe", "translate")
    )
    language: str | None = option(
        None, "Language spoken, by code or name; detected from the first window if left out.", panel="Speech"
    )
    temperature: float = option(0.0, "Temperature of the first try.", panel="Decoding")
    temperature_increment_on_fallback: float | None = option(
        0.2,
        "Step by which the temperature rises when a try fails its thresholds; None for one try only.",
        panel="Decoding",
    )
    best_of: int | None = option(5, "Candidates when sampling above temperature 0.", panel="Decoding")
    beam_size: int | None = option(5, "Beams at temperature 0; None for greedy decoding.", panel="Decoding")
    patience: float | None = option(None, "Patience of beam search (1.0 is plain beam search).", panel="Decoding")
    length_penalty: float | None = option(
        None, "Exponent of the length penalty (simple length normalisation if left out).", panel="Decoding"
    )
    suppress_tokens: str = option(
        "-1", "Token ids that are never sampled, by comma; -1 for most special characters.", panel="Decoding"
    )
    initial_prompt: str | None = option(None, "Text given as prompt for the first window.", panel="Speech")
    carry_initial_prompt: bool = option(False, "Give the initial prompt to every window.", panel="Speech")
    condition_on_previous_text: bool = option(True, "Give each window the text before it as a prompt.", panel="Speech")
    compression_ratio_threshold: float | None = option(
        2.4, "A text that gzip shrinks further than this has failed.", panel="Decoding"
    )
    logprob_threshold: float | None = option(
        -1.0, "A text with a lower mean log-probability has failed.", panel="Decoding"
    )
    no_speech_threshold: float | None = option(
        0.6,
        "A window with a higher no-speech probability that failed the log-probability is silence.",
        panel="Decoding",
    )
    word_timestamps: bool = option(False, "Find the times of single words.", panel="Speech")
    prepend_punctuations: str = option(
        PREPEND_PUNCTUATIONS, "Punctuation that is merged with the word after it.", panel="Speech"
    )
    append_punctuations: str = option(
        APPEND_PUNCTUATIONS, "Punctuation that is merged with the word before it.", panel="Speech"
    )
    clip_timestamps: str = option(
        "0", "Clips to transcribe as start,end,start,end,... in seconds; the last end may be left out.", panel="Speech"
    )
    hallucination_silence_threshold: float | None = option(
        None,
        "With word timestamps: skip silences longer than this (seconds) around a probable hallucination.",
        panel="Speech",
    )
    seed: int = option(0, "Seed of the sampling above temperature 0.", panel="Decoding")
    shards: str | None = option(
        None,
        "Cut a long file at its silences into so many parts at most, or auto, that are decoded together: faster, and the text near the cuts may differ.",
        panel="Decoding",
    )

    def __post_init__(self) -> None:
        _check(self.task in ("transcribe", "translate"), f"--task {self.task}: it is transcribe or translate")
        if self.language == "None":  # openai-whisper's help says so
            object.__setattr__(self, "language", None)
        if self.language is not None:
            code = language_code(self.language)
            _check(code is not None, f"--language {self.language}: Whisper does not know it, by code or by name")
            object.__setattr__(self, "language", code)
        self._check_shards()
        _check(self.temperature >= 0.0, f"--temperature {self.temperature}: it cannot be negative")
        self._check_search()
        _check(
            all(point >= 0 for point in self.clips),
            f"--clip-timestamps {self.clip_timestamps}: times cannot be negative",
        )

    def _check_search(self) -> None:
        """What openai-whisper refuses too, some of it only at the first window."""
        beams, patience, penalty = self.beam_size, self.patience, self.length_penalty
        _check(beams is None or beams >= 1, f"--beam-size {beams}: it is 1 or more, or None")
        _check(self.best_of is None or self.best_of >= 1, f"--best-of {self.best_of}: it is 1 or more, or None")
        _check(patience is None or beams is not None, "--patience needs --beam-size")
        enough = patience is None or (0 < patience < 1000 and round((beams or 1) * patience) >= 1)
        _check(enough, f"--patience {patience}: --beam-size times it must be 1 or more")
        _check(penalty is None or 0 <= penalty <= 1, f"--length-penalty {penalty}: it lies between 0 and 1")
        ids = [part.strip() for part in self.suppress_tokens.split(",")] if self.suppress_tokens else []
        known = all(re.fullmatch("-1|[0-9]{1,6}", part) and int(part) < VOCABULARY for part in ids)
        _check(known, f"--suppress-tokens {self.suppress_tokens}: token ids are expected, by comma, or -1")

    def _check_shards(self) -> None:
        if self.shards is None:
            return
        number = int(self.shards) if re.fullmatch("[0-9]{1,4}", self.shards) else 0
        allowed = self.shards == "auto" or 1 <= number <= MOST_SHARDS
        _check(allowed, f"--shards {self.shards}: it is auto, or a number from 1 to {MOST_SHARDS}")
        object.__setattr__(self, "shards", "auto" if not number else str(number) if number > 1 else None)
        uncut = self.shards is None or self.clips in ((), (0.0,))
        _check(uncut, "--shards and --clip-timestamps exclude each other")

    @property
    def clips(self) -> tuple[float, ...]:
        """The numbers of `clip_timestamps`: seconds, starts and ends in turn."""
        try:
            return tuple(float(point) for point in self.clip_timestamps.split(",")) if self.clip_timestamps else ()
        except ValueError:
            raise UsageError(f"--clip-timestamps {self.clip_timestamps}: seconds are expected, by comma") from None

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Temperatures tried in turn, as openai-whisper's command line makes them from its two options."""
        if self.temperature_increment_on_fallback is None:
            return (self.temperature,)
        temperatures: list[float] = []
        value, step = self.temperature, self.temperature_increment_on_fallback
        _check(step > 0, f"--temperature-increment-on-fallback {step}: it must be above 0, or None")
        # numpy.arange(temperature, 1.0 + 1e-6, step), without numpy's import
        while len(temperatures) < 1000 and (value := self.temperature + len(temperatures) * step) < 1.0 + 1e-6:
            temperatures.append(value)
        return tuple(temperatures) or (self.temperature,)


SOUND_LEVELS = ("none", "default", "more", "all")


@dataclass(frozen=True)
class TagOptions:
    """Which sounds are captioned, and when a score becomes an event."""

    tags: bool = option(True, "Tag sounds in the same pass.", panel="Sounds")
    tags_threshold: float | None = option(
        None,
        "Probability (0 to 1) at which a sound of the first tier starts a caption; the head's own if left out. Lower never shows less.",
        panel="Sounds",
    )
    sounds: str = option("default", "How many kinds of sound are captioned.", panel="Sounds", choices=SOUND_LEVELS)
    include_sounds: str | None = option(None, "Also caption these labels or groups, by comma.", panel="Sounds")
    exclude_sounds: str | None = option(None, "Never caption these labels or groups, by comma.", panel="Sounds")
    sounds_file: Path | None = option(
        None, "TOML file with own captions and thresholds by label or group.", panel="Sounds"
    )
    save_scores: bool = option(False, "Also write every class's score as NAME.npz.", panel="Sounds", fingerprint=False)

    def __post_init__(self) -> None:
        threshold = self.tags_threshold
        _check(threshold is None or 0.0 < threshold < 1.0, f"--tags-threshold {threshold}: it lies between 0 and 1")
        _check(self.sounds in SOUND_LEVELS, f"--sounds {self.sounds}: it is one of {', '.join(SOUND_LEVELS)}")


COMPUTE_TYPES = ("float32", "float16", "bfloat16", "int8")


@dataclass(frozen=True)
class ModelOptions:
    """Which weights are used, and where they run.

    The names of weights are not part of the fingerprint: the hashes of the files that they stand for are.
    """

    model: str = option(
        "small",
        "Name of an openai-whisper model, 'mini' (ships with wat, for trying it), or a checkpoint's path.",
        panel="Model",
        fingerprint=False,
    )
    model_dir: Path | None = option(
        None, "Folder that holds or receives the weights.", panel="Model", fingerprint=False
    )
    tagger_checkpoint: Path | None = option(
        None, "Whisper-AT head to use instead of the model's own.", panel="Model", fingerprint=False
    )
    tagger: str | None = option(
        None,
        "A second, smaller encoder for the sounds only: tiny, base or small.",
        panel="Model",
        fingerprint=False,
        choices=("tiny", "base", "small"),
    )
    tagger_head: str | None = option(
        None,
        "Width of the published head: 512 or full; 512 where it is published, if left out.",
        panel="Model",
        fingerprint=False,
        choices=("512", "full"),
    )
    device: str = option(
        "auto",
        "auto, cpu, cuda or cuda:N; several by comma, or all GPUs with all: a worker process for each.",
        panel="Model",
        fingerprint=False,
    )
    fp16: bool = option(True, "Use float16 on a GPU, unless --compute-type says otherwise.", panel="Model")
    compute_type: str | None = option(
        None,
        "Number format of the computation. Left out: openai-whisper's own, float32 on a CPU and float16 on a GPU. bfloat16 and int8 (CPU) are faster, and their text may differ.",
        panel="Model",
        choices=COMPUTE_TYPES,
    )
    threads: int = option(
        0,
        "CPU threads to compute with; 0: torch's choice, but no more than the CPUs that this process may keep busy.",
        panel="Model",
        fingerprint=False,
    )
    offline: bool = option(False, "Never fetch anything.", panel="Model", fingerprint=False)

    def __post_init__(self) -> None:
        _check(self.threads >= 0, f"--threads {self.threads}: it is 0 or more")
        alone = len(self.devices) == 1 or not {"all", "auto"} & set(self.devices)
        _check(bool(self.devices) and alone, f"--device {self.device}: all and auto stand alone; others by comma")
        kinds = ", ".join(COMPUTE_TYPES)
        known = self.compute_type is None or self.compute_type in COMPUTE_TYPES
        _check(known, f"--compute-type {self.compute_type}: it is one of {kinds}")
        _check(self.tagger in (None, "tiny", "base", "small"), f"--tagger {self.tagger}: it is tiny, base or small")
        _check(self.tagger_head in (None, "512", "full"), f"--tagger-head {self.tagger_head}: it is 512 or full")

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices that are asked for; ``all`` is every GPU."""
        return tuple(name.strip() for name in self.device.split(",") if name.strip())


FORMATS = ("srt", "vtt", "txt", "tsv", "json")
"""What ``--output-format`` can name, besides ``all``."""

COPY_MARK = ".captioned"
"""Stands before the suffix of a film's captioned copy: ``talk.captioned.mp4``."""

STDOUT = Path("-")
"""``--output-dir -``: the one output goes to standard output."""


@dataclass(frozen=True)
class OutputOptions:
    """Which files are written, and where."""

    output_dir: Path | None = option(
        None,
        "Folder for the outputs, laid out as the inputs are; - for standard output (one file, one format). Beside each input if left out.",
        panel="Output",
        short="-o",
        fingerprint=False,
    )
    output_format: str = option(
        "srt,vtt,json",
        "Formats by comma: srt, vtt, txt, tsv, json, or all. The JSON sidecar is always written.",
        panel="Output",
        short="-f",
        fingerprint=False,
    )
    names: str = option(
        "stem",
        "Name outputs after the input's stem (talk.srt) or its full name (talk.mp4.srt).",
        panel="Output",
        choices=("stem", "full"),
        fingerprint=False,
    )
    player_names: bool = option(
        False, "Name captions as players look for them: talk.en.sdh.srt.", panel="Output", fingerprint=False
    )
    embed: bool = option(
        False,
        "Also copy each film with its captions as a soft track in it, marked for the hard of hearing: talk.captioned.mp4.",
        panel="Output",
        fingerprint=False,
    )
    skip_existing: bool = option(
        False,
        "Leave inputs alone that have any of the wanted outputs, whatever settings made them.",
        panel="Output",
        fingerprint=False,
    )
    overwrite: bool = option(
        False,
        "Do everything again, and replace also files that wat did not write or that were changed since.",
        panel="Output",
        fingerprint=False,
    )

    def __post_init__(self) -> None:
        unknown = [name for name in self.requested if name not in (*FORMATS, "all")]
        _check(
            not unknown,
            f"--output-format {self.output_format}: {', '.join(unknown)} is none of {', '.join(FORMATS)}, all",
        )
        _check(bool(self.requested), "--output-format: it names no format")
        _check(not (self.overwrite and self.skip_existing), "--overwrite and --skip-existing exclude each other")
        _check(
            not (self.player_names and self.to_stdout), "--player-names names files, and standard output has no name"
        )
        _check(not (self.embed and self.to_stdout), "--embed writes a film, which does not go to standard output")
        _check(
            not self.to_stdout or len(self.formats) == 1, "--output-dir - takes one format: add, for example, -f srt"
        )

    @property
    def requested(self) -> tuple[str, ...]:
        """Format names as they were written, lower case."""
        return tuple(name.strip().lower() for name in self.output_format.split(",") if name.strip())

    @property
    def formats(self) -> tuple[str, ...]:
        """Formats to write, in the order of `FORMATS`, each once."""
        return FORMATS if "all" in self.requested else tuple(name for name in FORMATS if name in self.requested)

    @property
    def captions(self) -> tuple[str, ...]:
        """Formats of the caption files: all but the sidecar's."""
        return tuple(name for name in self.formats if name != "json")

    @property
    def to_stdout(self) -> bool:
        """Whether the one output goes to standard output."""
        return self.output_dir == STDOUT


@dataclass(frozen=True)
class BatchOptions:
    """Which part of each input is read, and how the run reports."""

    audio_track: str | None = option(
        None, "Audio track by number (0 is the first) or language; the default-flagged one if left out.", panel="Input"
    )
    null: bool = option(
        False,
        "Read the paths from standard input, separated by NUL (find -print0).",
        panel="Input",
        short="-0",
        fingerprint=False,
    )
    retry_failed: bool = option(
        False, "Do only the inputs that failed when they were last tried.", panel="Input", fingerprint=False
    )
    skip_subtitled: bool = option(
        False,
        "Leave out films that have subtitles in the captions' language: a track, or a file that wat did not write.",
        panel="Input",
        fingerprint=False,
    )
    min_age: float = option(
        0.0,
        "Leave files for the next run that were changed less than so many seconds ago.",
        panel="Input",
        fingerprint=False,
    )
    jobs: int = option(
        1, "Worker processes, each with a model of its own; they share the CPU's cores.", panel="Run", fingerprint=False
    )
    batch_size: int = option(
        10,
        "Files in work together, the largest first: one model hears up to 8 at a time (64 on a GPU), the others are read ahead. 1 takes one after the other, in their order.",
        panel="Run",
        fingerprint=False,
    )
    scheduler: str | None = option(
        None,
        "Address of a Dask scheduler (tcp://HOST:8786), whose workers caption instead of this machine.",
        panel="Run",
        fingerprint=False,
    )
    dry_run: bool = option(
        False, "Print what would be done and why, and write nothing.", panel="Run", fingerprint=False
    )
    log_json: Path | None = option(
        None, "Write a JSON line for each event of the run; - for standard output.", panel="Run", fingerprint=False
    )
    summary: Path | None = option(
        None, "Write what the run came to, as JSON; - for standard output.", panel="Run", fingerprint=False
    )
    on_file: str | None = option(
        None,
        "Command to run after each file that was written or failed; {} in it is the file's path. No shell.",
        panel="Run",
        fingerprint=False,
    )
    quiet: bool = option(
        False,
        "Say nothing, not even which files failed: the exit code, --log-json and --summary tell. What ends the whole run is still said.",
        panel="Run",
        short="-q",
        fingerprint=False,
    )
    verbose: bool = option(
        False, "Say more: tracks, models, timings, tracebacks.", panel="Run", short="-v", fingerprint=False
    )

    def __post_init__(self) -> None:
        _check(self.jobs >= 1, f"--jobs {self.jobs}: it is 1 or more")
        _check(1 <= self.batch_size <= 256, f"--batch-size {self.batch_size}: it is 1 to 256")
        alone = self.scheduler is None or self.jobs == 1
        _check(alone, "--scheduler and --jobs exclude each other: the cluster has workers of its own")
        _check(self.min_age >= 0, f"--min-age {self.min_age}: it cannot be negative")


STYLES = ("default", "netflix", "plain")


@dataclass(frozen=True)
class CaptionOptions:
    """How captions are laid out: a style, and each of its numbers where the user wants another.

    None leaves a number to the style (`wat_cli.captions.rules.STYLE_RULES`); durations are seconds. Of
    openai-whisper's four options `max_words_per_line` and `highlight_words` need word timestamps, as there;
    `max_line_width` and `max_line_count` hold without them too.
    """

    style: str = option(
        "default",
        "Layout rules: default and netflix read well, plain keeps the times of the segments.",
        panel="Captions",
        choices=STYLES,
    )
    max_line_width: int | None = option(
        None, "Columns in a line; a Chinese, Japanese or Korean character takes two (42).", panel="Captions"
    )
    max_line_count: int | None = option(
        None,
        "Lines in a caption (2). With --max-line-width and word timestamps, captions run across segments.",
        panel="Captions",
    )
    max_words_per_line: int | None = option(None, "Words in a caption (needs --word-timestamps).", panel="Captions")
    highlight_words: bool = option(
        False, "Underline each word as it is spoken (needs --word-timestamps).", panel="Captions"
    )
    min_duration: float | None = option(
        None, "Seconds that a caption stays at least, where speech leaves room (0.834).", panel="Captions"
    )
    max_duration: float | None = option(None, "Seconds that a caption stays at most (7).", panel="Captions")
    max_cps: float | None = option(
        None, "Reading speed: columns a second at most, where speech leaves room (20).", panel="Captions"
    )
    min_gap: float | None = option(None, "Seconds between two captions at least: two frames (0.084).", panel="Captions")
    closed_gap: float | None = option(
        None, "Gaps shorter than this are closed to the least gap (0.5).", panel="Captions"
    )
    linger: float | None = option(
        None, "Seconds that a caption may outlast its words to be read (1.5; netflix 0.5).", panel="Captions"
    )
    drop_hallucinations: bool = option(
        False, "Leave out text where the tagger is sure that nobody speaks or sings, and say so.", panel="Captions"
    )
    vtt_classes: bool = option(False, "Mark sounds in VTT files as <c.sound>.", panel="Captions")

    def __post_init__(self) -> None:
        _check(self.style in STYLES, f"--style {self.style}: it is one of {', '.join(STYLES)}")
        for name, least in (("max_line_width", 8), ("max_line_count", 1), ("max_words_per_line", 1)):
            value = getattr(self, name)
            _check(value is None or value >= least, f"--{name.replace('_', '-')} {value}: it is at least {least}")
        for name in ("min_duration", "max_duration", "max_cps", "min_gap", "closed_gap", "linger"):
            value = getattr(self, name)
            _check(value is None or 0 <= value < 1e6, f"--{name.replace('_', '-')} {value}: it is 0 or more")
        _check(self.max_cps is None or self.max_cps >= 1, f"--max-cps {self.max_cps}: it is at least 1")
        _check(
            self.max_duration is None or self.max_duration >= 1, f"--max-duration {self.max_duration}: it is at least 1"
        )


@dataclass(frozen=True)
class RunOptions:
    """Everything that one run was asked for."""

    transcribe: TranscribeOptions = field(default_factory=TranscribeOptions)
    tags: TagOptions = field(default_factory=TagOptions)
    captions: CaptionOptions = field(default_factory=CaptionOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    batch: BatchOptions = field(default_factory=BatchOptions)

    def __post_init__(self) -> None:
        captions, words = self.captions, self.transcribe.word_timestamps
        for name in ("max_words_per_line", "highlight_words"):
            _check(words or not getattr(captions, name), f"--{name.replace('_', '-')} needs --word-timestamps")
        one = self.batch.scheduler is None or (len(self.model.devices) == 1 and self.model.device != "all")
        _check(one, "--scheduler takes one --device: start a worker of the cluster for each")
        streams = (self.output.output_dir, self.batch.log_json, self.batch.summary).count(STDOUT)
        _check(streams < 2, "standard output is for one of --output-dir -, --log-json - and --summary -")
        silence = self.transcribe.hallucination_silence_threshold
        _check(words or silence is None, "--hallucination-silence-threshold needs --word-timestamps")

    @property
    def settings(self) -> dict[str, Any]:
        """Name and value of every option that decides the result."""
        return settings_of(getattr(self, group.name) for group in fields(self))
