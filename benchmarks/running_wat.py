"""`wat` in a benchmark: its command line, in this process, with the model kept from one call to the next.

The peers' models are loaded before the clock starts; so is wat's. Everything else that `wat caption` does is timed:
finding the files, ffmpeg, hearing, laying out, writing captions and sidecars.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wat_cli.engine
from benchmarks.engines import Heard, Setup, Windows, Work, head_of, windows_of
from wat_cli.cli import app
from wat_cli.cli.parameters import option_name
from wat_cli.options import BatchOptions, ModelOptions, TranscribeOptions


def offers(option: str) -> bool:
    """Whether this version of `wat` has an option of this name."""
    groups = (BatchOptions, ModelOptions, TranscribeOptions)
    return any(one.name == option for group in groups for one in dataclasses.fields(group))


def arguments(setup: Setup, work: Work) -> list[str]:
    """What follows ``wat caption`` on the command line, but for the files and the folder."""
    if not work.timestamps:
        raise ValueError("wat always decodes with timestamps")
    given: dict[str, Any] = {
        "model": setup.checkpoint,
        "device": setup.device,
        "threads": setup.threads,
        "batch_size": setup.batch,
        "language": work.language,
        "beam_size": work.beam,
    }
    if setup.compute_type != "float32":
        given["compute_type"] = setup.compute_type
    if setup.shards is not None:
        given["shards"] = setup.shards
    if setup.tags:
        given["tagger_checkpoint"] = head_of(setup)
    if not work.real:
        given |= dict.fromkeys(
            ("temperature_increment_on_fallback", "compression_ratio_threshold", "logprob_threshold")
            + ("no_speech_threshold",)
        )
    flags = ["--quiet", "--overwrite"]
    flags += [] if setup.tags else ["--no-tags"]
    flags += [] if work.real else ["--no-condition-on-previous-text"]
    return [*flags, *(part for name, value in given.items() for part in (option_name(name), str(value)))]


class Timed:
    """Adds up how long one of an object's methods takes."""

    def __init__(self, owner: Any, name: str) -> None:
        self._method = getattr(owner, name)
        self.seconds = 0.0
        setattr(owner, name, self)

    def __call__(self, *given: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return self._method(*given, **named)
        finally:
            self.seconds += time.perf_counter() - started


class Kept:
    """Loads an engine once, counts what its slots do, and times its parts."""

    def __init__(self, load: Callable[..., Any]) -> None:
        self._load = load
        self.engine: Any = None
        self._files = 0
        self._before = self._until_last = (0, 0)
        self._parts: dict[str, Timed] = {}

    def __call__(self, *weights_and_options: Any) -> Any:
        """Stands for `wat_cli.engine.load_engine`."""
        if self.engine is None:
            self.engine = self._load(*weights_and_options)
            self._hear, self.engine.hear = self.engine.hear, self._counted
            decoder = self.engine.decoder
            self._parts = {
                "encoding": Timed(self.engine.models.model, "encode"),
                "stepping": Timed(decoder, "step"),
                "filling": Timed(decoder, "load"),
                "starting": Timed(decoder, "start"),
            }
        return self.engine

    def expect(self, files: int) -> None:
        """So many files are about to be heard."""
        self._files = files
        for part in self._parts.values():
            part.seconds = 0.0
        if self.engine is not None:
            self._before = self._until_last = self._counts()

    def _counts(self) -> tuple[int, int]:
        return self.engine.decoder.steps, self.engine.decoder.rows_stepped

    def _counted(self, *given: Any, **named: Any) -> Any:
        self._files -= 1
        if self._files == 0:
            self._until_last = self._counts()
        return self._hear(*given, **named)

    @property
    def told(self) -> dict[str, float]:
        """Slots that took part in a decoder step, on average: in all, and while files still waited for a slot.

        And the steps, and the seconds that the engine's thread spent in each part of the work.
        """
        found = {f"seconds_{name}": part.seconds for name, part in self._parts.items()}
        found["steps"] = self._counts()[0] - self._before[0]
        for name, (steps, rows) in {"mean_slots": self._counts(), "mean_slots_until_last": self._until_last}.items():
            if steps > self._before[0]:
                found[name] = (rows - self._before[1]) / (steps - self._before[0])
        return found


def load(setup: Setup) -> Callable[[Work], Heard]:
    """`wat caption` with its engine loaded by a first call on nothing but the model's files."""
    kept = Kept(wat_cli.engine.load_engine)
    wat_cli.engine.load_engine = kept

    def run(work: Work) -> Heard:
        kept.expect(len(work.files))
        with tempfile.TemporaryDirectory() as folder:
            code = app(["caption", *work.files, "-o", folder, *arguments(setup, work)], standalone_mode=False)
            if code:
                raise RuntimeError(f"wat caption ended with exit code {code}")
            sidecars = [Path(folder, Path(path).stem + ".json") for path in work.files]
            documents = [json.loads(sidecar.read_text(encoding="utf-8")) for sidecar in sidecars]
        return Heard([_decoded(one) for one in documents], [one["text"] for one in documents], kept.told)

    return run


def _decoded(document: dict[str, Any]) -> Windows:
    return windows_of((segment["seek"], segment["tokens"]) for segment in document["segments"])
