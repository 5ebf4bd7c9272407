"""What is installed and chosen on this machine, what is wrong with it, and what mends it.

Each check gives `Finding`s of one line. Nothing is fetched or changed here, and torch is asked in a process of its own:
a broken or crashing installation of it is one finding, not the end of the examination.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any

from wat_cli.errors import CheckpointError, FFmpegMissing, WatError, shown
from wat_cli.options import ModelOptions

HOUR_OF_AUDIO = 16_000 * 2 * 3600
"""Bytes of an hour of decoded audio: 16 kHz, 16 bits, one channel."""

_TORCH_TIMEOUT = 120.0
_TORCH_QUESTION = """
import json, torch
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
sizes = [torch.cuda.get_device_properties(i).total_memory for i in range(len(names))]
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "names": names, "sizes": sizes}))
"""


class State(StrEnum):
    """How a finding is meant."""

    OK = "ok"
    NOTE = "note"
    """Works, or will once asked for; something could be better."""
    PROBLEM = "problem"
    """A run would end, or end badly."""


@dataclass(frozen=True)
class Finding:
    """One line of the examination."""

    subject: str
    state: State
    text: str
    mend: str | None = None
    """What to do about it, as a command where there is one."""


def examine(options: ModelOptions) -> Iterator[Finding]:
    """Everything that a run with these options would stand on, in the order in which it would need it."""
    yield python()
    yield from packages()
    yield from torch(options.device)
    yield from processors(options.threads)
    yield ffmpeg()
    yield from weights(options)
    yield from cache(options)
    yield from disk(options)


def python() -> Finding:
    text = f"{platform.python_version()} ({sys.executable}), {platform.system()} {platform.machine()}"
    return Finding("Python", State.OK, text)


def packages() -> Iterator[Finding]:
    """The program itself, and the packages that it says it needs."""
    try:
        requirements = metadata.requires("wat-cli") or []
    except metadata.PackageNotFoundError:
        yield Finding("packages", State.NOTE, "wat runs from its sources and is not installed", "pip install .")
        return
    names = [re.split(r"[^\w.-]", text)[0] for text in requirements if "extra ==" not in text]
    present, absent = [f"wat-cli {metadata.version('wat-cli')}"], []
    for name in sorted(names):
        try:
            present.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            absent.append(name)
    if absent:
        yield Finding("packages", State.PROBLEM, f"missing: {', '.join(absent)}", f"pip install {' '.join(absent)}")
    else:
        yield Finding("packages", State.OK, ", ".join(present))


def torch(device: str = "auto") -> Iterator[Finding]:
    """torch, and what it would compute on."""
    answer = ask_torch()
    if isinstance(answer, str):
        yield Finding("torch", State.PROBLEM, answer, "pip install --force-reinstall torch")
        return
    yield Finding("torch", State.OK, answer["version"])
    yield _device(answer, device)


def ask_torch() -> dict[str, Any] | str:
    """torch's own answers, or why there are none."""
    environment = os.environ | {"PYTHONSAFEPATH": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TORCH_QUESTION],
            capture_output=True, text=True, timeout=_TORCH_TIMEOUT, env=environment, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"does not answer within {_TORCH_TIMEOUT:.0f} s"
    if done.returncode < 0:
        return f"crashes when imported (signal {-done.returncode})"
    if done.returncode:
        return f"cannot be imported: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _device(answer: dict[str, Any], wanted: str) -> Finding:
    """What computes: a GPU, or why none."""
    names = [
        f"cuda:{i} {name} ({size / 2**30:.0f} GiB)"
        for i, (name, size) in enumerate(zip(answer["names"], answer["sizes"], strict=True))
    ]
    asked = [name.strip() for name in wanted.split(",")]
    if names:
        known = [f"cuda:{i}" for i in range(len(names))]
        if wanted == "all":
            asked = known
        elif wanted in ("auto", "cuda"):
            asked = known[:1]
        if not set(asked) <= {"cpu", *known}:
            there = ", ".join(names)
            return Finding(
                "device", State.PROBLEM, f"--device {wanted}, but there is only {there}", "use --device auto"
            )
        return Finding("device", State.OK, f"{', '.join(asked)} chosen; {', '.join(names)}")
    if wanted == "all" or any(name.startswith("cuda") for name in asked):
        return Finding("device", State.PROBLEM, f"--device {wanted}, but torch finds no GPU", "use --device auto")
    if not nvidia_driver():
        return Finding("device", State.OK, "cpu chosen; no NVIDIA GPU here")
    if answer["cuda"] is None:
        mend = "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu128"
        return Finding("device", State.NOTE, "cpu chosen: a GPU is here, but this torch was built without CUDA", mend)
    text = f"cpu chosen: a GPU is here, but torch (CUDA {answer['cuda']}) cannot use it"
    return Finding("device", State.NOTE, text, "update the NVIDIA driver, or install a torch for an older CUDA")


def processors(threads: int) -> Iterator[Finding]:
    """The CPUs that a run may use, and what makes it slow on them."""
    from wat_cli import cpus

    hints = cpus.hints(threads)
    for hint in hints:
        yield Finding("CPU", State.NOTE, hint.text, hint.mend)
    if not hints:
        yield Finding("CPU", State.OK, f"{cpus.allowed_cpus()} to compute with")


def nvidia_driver() -> bool:
    """Whether a driver for an NVIDIA GPU is loaded or its tool installed."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def ffmpeg() -> Finding:
    from wat_cli.media import find_ffmpeg

    try:
        found = find_ffmpeg()
        first = subprocess.run(
            [found.ffmpeg, "-version"], capture_output=True, text=True, errors="replace", timeout=30, check=True,
            stdin=subprocess.DEVNULL,
        ).stdout.partition("\n")[0]  # fmt: skip
    except FFmpegMissing:
        return Finding("ffmpeg", State.PROBLEM, "not found", "apt install ffmpeg, or pip install imageio-ffmpeg")
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("ffmpeg", State.PROBLEM, f"{found.ffmpeg} does not run: {error}", "install ffmpeg again")
    version = " ".join(first.split()[:3])
    where = found.ffmpeg if found.ffprobe else f"{found.ffmpeg}, without ffprobe, which is fine"
    return Finding("ffmpeg", State.OK, f"{version} ({where})")


def weights(options: ModelOptions) -> Iterator[Finding]:
    """The chosen model: whether its files are here."""
    from wat_cli.checkpoints import plan

    try:
        planned = plan(options, tags=True)
    except WatError as error:
        yield Finding("model", State.PROBLEM, str(error), None)
        return
    missing = planned.missing
    if not missing:
        yield Finding(
            "model", State.OK, f"{options.model}: " + ", ".join(shown(wanted.path) for wanted in planned.files)
        )
    elif missing[0].remote is None:
        yield Finding("model", State.PROBLEM, f"{shown(missing[0].path)} is not there", "install wat again")
    else:
        names = ", ".join(wanted.path.name for wanted in missing)
        text = f"{options.model}: {names} not on this machine yet; the first run fetches them"
        yield Finding("model", State.NOTE, text, f"wat models pull {missing[0].pull}, or --model mini")


def cache(options: ModelOptions) -> Iterator[Finding]:
    """The folder of weights, and whether what lies in it is what it should be."""
    from wat_cli.checkpoints import hashes, model_folder

    folder = model_folder(options)
    if not _writable(folder):
        text = f"{shown(folder)} cannot be written"
        yield Finding("cache", State.PROBLEM, text, "name another folder with --model-dir or WAT_MODEL_DIR")
    try:
        hashes.first_seen("")
    except CheckpointError:
        record = shown(hashes.state_folder() / "first_seen.json")
        text = f"{record}: the hashes that heads had at first cannot be read"
        yield Finding(
            "cache", State.PROBLEM, text, f"rm {record} (the heads in the cache are then trusted as they are)"
        )
        return
    yield from _cached_files(options, folder)


def _cached_files(options: ModelOptions, folder: Path) -> Iterator[Finding]:
    from wat_cli.checkpoints import check, files_of, registry

    named = [replace(options, model=name) for name in registry.MODELS]
    cached = [wanted for model in named for wanted in files_of(model) if wanted.cached]
    wrong = 0
    for wanted in cached:
        try:
            check(wanted)
        except CheckpointError:
            wrong += 1
            text = f"{shown(wanted.path)} is not what it should be (its sha256 differs)"
            yield Finding("cache", State.PROBLEM, text, f"wat models pull {wanted.pull}")
    for part in sorted(folder.glob("*.part")) if folder.is_dir() else ():
        text = f"{shown(part)}: {part.stat().st_size / 1e6:.0f} MB of an unfinished download"
        yield Finding("cache", State.NOTE, text, "wat models pull the same model to go on, or remove it")
    if not wrong:
        held = f"{len(cached)} checked file{'' if len(cached) == 1 else 's'}" if cached else "empty"
        yield Finding("cache", State.OK, f"{shown(folder)}: {held}")


def _writable(folder: Path) -> bool:
    """Whether files can be made in this folder, or the folder itself."""
    there = next(path for path in _with_parents(folder) if path.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def disk(options: ModelOptions) -> Iterator[Finding]:
    """Room in the three places where a run writes."""
    from wat_cli.checkpoints import model_folder, plan, registry

    try:
        scratch: Path | None = Path(tempfile.gettempdir())
    except OSError:  # it tries to write there
        scratch = None
        yield Finding("disk", State.PROBLEM, "no temporary folder can be written", "free some room, or set TMPDIR")
    model = registry.find(options.model)
    fetched = model is not None and not plan(options, tags=False).asr.cached
    weights_size = model.megabytes * 1_000_000 if model and fetched else 0
    places = [
        _Place("weights", model_folder(options), weights_size, weights_size, "--model-dir FOLDER"),
        _Place("captions", Path.cwd(), 20_000_000, 20_000_000, "--output-dir FOLDER"),
    ]
    if scratch is not None:
        places.insert(1, _Place("decoded audio", scratch, HOUR_OF_AUDIO, 10 * HOUR_OF_AUDIO, "TMPDIR=FOLDER"))
    good = []
    for place in places:
        room = shutil.disk_usage(next(path for path in _with_parents(place.folder) if path.is_dir())).free
        if room >= place.wish:
            good.append(f"{room / 1e9:.1f} GB for {place.purpose} ({shown(place.folder)})")
            continue
        state = State.PROBLEM if room < place.need else State.NOTE
        text = f"{room / 1e6:.0f} MB for {place.purpose} in {shown(place.folder)}; {place.wish / 1e6:.0f} MB are wanted"
        yield Finding("disk", state, text, f"free some room, or name another place: {place.mend}")
    if good:
        yield Finding("disk", State.OK, ", ".join(good))


@dataclass(frozen=True)
class _Place:
    """A folder that a run writes to: bytes without which it fails, bytes that are enough for long files."""

    purpose: str
    folder: Path
    need: int
    wish: int
    mend: str


def _with_parents(folder: Path) -> tuple[Path, ...]:
    return (folder, *folder.absolute().parents)
