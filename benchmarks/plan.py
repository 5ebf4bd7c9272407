"""What a benchmark has to work on: sizes, files, rows of the comparison, and the peers' best settings."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.audio import joined, sound_files
from benchmarks.engines import Setup, Work
from benchmarks.measuring import Row, say
from benchmarks.processes import BUILD, PEERS, ROOT

FILES, WINDOWS, TOKENS, BATCH = 8, 4, 128, 8
AUDIO, MODELS, SETTINGS = BUILD / "audio", BUILD / "models", BUILD / "settings.json"
MINI = ROOT / "wat_cli" / "data" / "mini.pt"


@dataclass(frozen=True)
class Kind:
    """A row of the comparison, but for the size and the files."""

    name: str
    program: str
    compute_type: str = "float32"
    batch: int = 1
    tags: bool = False
    shards: str | None = None


KINDS = {
    "openai": Kind("openai-whisper", "openai-whisper"),
    "whisper-at": Kind("whisper-at", "whisper-at", tags=True),
    "fw": Kind("faster-whisper float32, sequential", "faster-whisper"),
    "fw-int8": Kind("faster-whisper int8, sequential", "faster-whisper", "int8"),
    "fw-batch": Kind("faster-whisper float32, batched 8", "faster-whisper batched", batch=BATCH),
    "fw-batch-int8": Kind("faster-whisper int8, batched 8", "faster-whisper batched", "int8", BATCH),
    "wat": Kind("wat exact", "wat", batch=BATCH),
    "wat-tags": Kind("wat exact, tags on", "wat", batch=BATCH, tags=True),
    "wat-bfloat16": Kind("wat bfloat16", "wat", "bfloat16", BATCH),
    "wat-int8": Kind("wat int8", "wat", "int8", BATCH),
}
"""The rows of the comparison, by the keys of ``--rows``."""
GPU_KINDS = {
    "openai": KINDS["openai"],
    **{
        f"transformers-{batch}": Kind(f"transformers, batched {batch}", "transformers", batch=batch)
        for batch in (16, 32, 64)
    },
    "wat": Kind("wat exact", "wat", batch=64),
    "wat-tags": Kind("wat exact, tags on", "wat", batch=64, tags=True),
}
"""The rows of the comparison on a GPU, each in float16."""


@dataclass(frozen=True)
class Plan:
    """What this run of the benchmark is to do."""

    sizes: tuple[str, ...]
    kinds: tuple[str, ...]
    rounds: int
    threads: int
    files: int = FILES
    windows: int = WINDOWS
    tokens: int = TOKENS
    quick: bool = False
    device: str = "cpu"
    deadline: float | None = None
    """`time.monotonic` after which no section and no round begins."""

    @property
    def extra_size(self) -> str:
        """The size for what is measured with one size only: base where it is among them."""
        return "base" if "base" in self.sizes else self.sizes[0]

    def sounds(self) -> list[Path]:
        """The files that everyone hears."""
        return sound_files(AUDIO, [self.windows] * self.files)


def checkpoint(size: str, tokens: int, timestamps: bool = True) -> Path:
    """Weights of a size whose windows have `tokens` tokens, in every format that the programs read."""
    from benchmarks.weights import PROMPT_WITH_TIMESTAMPS, PROMPT_WITHOUT, SIZES, prepare

    prompt = PROMPT_WITH_TIMESTAMPS if timestamps else PROMPT_WITHOUT
    return converted(prepare(MODELS, SIZES[size], tokens, prompt))


def mini() -> Path:
    """The embedded model and its head, beside its conversion."""
    path = MODELS / "mini.pt"
    for source, target in ((MINI, path), (MINI.with_name("mini_head.pt"), path.with_name("mini_head.pt"))):
        MODELS.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    return converted(path)


def converted(path: Path) -> Path:
    """Convert a checkpoint for CTranslate2 where that was not done."""
    folder = path.with_suffix("")
    if PEERS.exists() and not (folder / "tokenizer.json").is_file():
        say(f"  converting {path.name}")
        subprocess.run([str(PEERS), "-m", "benchmarks.ct2", str(path), str(folder)], cwd=ROOT, check=True)
    return path


def row(
    key: str,
    model: Path,
    files: Sequence[Path],
    windows: int,
    tokens: int | None,
    plan: Plan,
    kinds: Mapping[str, Kind] = KINDS,
    **work: Any,
) -> Row:
    """A row of the comparison (of `kinds`) on `files`, at the program's best settings as far as they are known.

    faster-whisper cannot batch across files: its batched rows get the same windows as one file.
    """
    kind = kinds[key]
    heard = [joined(AUDIO, files)] if kind.program == "faster-whisper batched" and len(files) > 1 else files
    setup = Setup(
        kind.program,
        str(model),
        plan.threads,
        kind.compute_type,
        kind.batch,
        tags=kind.tags,
        shards=kind.shards,
        device=plan.device,
    )
    best = best_settings().get(settings_key(setup), {})
    setup = replace(setup, **best)
    name = kind.name + described(setup)
    return Row(key, name, setup, Work(tuple(str(path) for path in heard), **work), windows, tokens)


def settings_key(setup: Setup) -> str:
    """What a program's best settings are kept under."""
    size = Path(setup.checkpoint).stem.split("-")[0]
    return f"{size} {setup.threads} threads, {setup.program} {setup.compute_type}"


def best_settings() -> dict[str, dict[str, Any]]:
    """The settings that the section ``settings`` found best on this machine."""
    return json.loads(SETTINGS.read_text(encoding="utf-8")) if SETTINGS.is_file() else {}


def described(setup: Setup) -> str:
    """What of a setup is not the program's default, in words."""
    parts = [f"{setup.workers} x {setup.threads // setup.workers} threads"] if setup.workers > 1 else []
    parts += [f"{name}={value}" for name, value in setup.environment.items()]
    return f" ({', '.join(parts)})" if parts else ""
