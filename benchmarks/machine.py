"""Where and with what a benchmark ran."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from benchmarks.processes import PEERS, python_of

PACKAGES = ("openai-whisper", "faster-whisper", "ctranslate2", "transformers", "whisper-at", "torch", "numpy")


def processor() -> str:
    """Name of the CPU, and what of it this process may use."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    names = dict(tuple(part.strip() for part in line.split(":", 1)) for line in reversed(lines) if ":" in line)
    name = names.get("model name", platform.processor() or platform.machine())
    family = f", family {names['cpu family']} model {names['model']}" if "cpu family" in names else ""
    return f"{name}{family}, {threads()} of {os.cpu_count()} cores"


def threads() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load() -> str:
    """How busy the machine was: the mean length of the run queue over the last five minutes."""
    return f"{os.getloadavg()[1]:.1f}"


def versions(program: str) -> str:
    """Versions of the packages in the environment of a program."""
    code = (
        "import importlib.metadata as m\n"
        f"for name in {PACKAGES!r}:\n"
        "    try: print(name, m.version(name))\n"
        "    except m.PackageNotFoundError: pass\n"
    )
    python = python_of(program)
    if python == PEERS and not PEERS.exists():
        return "no peers are installed"
    found = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout
    return ", ".join(found.splitlines())
