"""What this machine can do at most: products and reading, measured as `wat` asks for them.

``python -m benchmarks.limits`` prints both as JSON, for as many threads as ``OMP_NUM_THREADS`` says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from benchmarks.processes import ROOT
from benchmarks.weights import Size

FRAMES = 1500
"""Of an encoded window."""
_MELS, _VOCABULARY, _REPEATS = 80, 51865, 9


@dataclass(frozen=True)
class Limits:
    """Of the machine, with some number of threads."""

    products: float
    """Float32 operations of a large matrix product, in 10^9 per second."""
    reading: float
    """Bytes read from memory one after the other, in 10^9 per second."""


def encoder_operations(size: Size) -> float:
    """Operations of one window's pass through the encoder, a multiplication and an addition counted as two."""
    width = size.width
    convolutions = 2 * 3 * width * (_MELS * 2 * FRAMES + width * FRAMES)
    layer = 2 * FRAMES * 12 * width**2 + 4 * FRAMES**2 * width
    return convolutions + size.layers * layer


def step_bytes(size: Size, windows: float, weight_bytes: int) -> float:
    """Bytes that a decoder step must read: weights once, and of each of the `windows` keys and values in float32."""
    weights = (14 * size.layers * size.width + _VOCABULARY) * size.width * weight_bytes
    return weights + windows * size.layers * 2 * FRAMES * size.width * 4


def measured_limits(threads: int) -> Limits:
    """The machine's limits, measured now in a process of their own."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "benchmarks.limits"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return Limits(**json.loads(done.stdout))


def _rate(work: float, call: Callable[[], object]) -> float:
    """10^9 of `work` per second, at the fastest of some calls."""
    seconds = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return work / min(seconds) / 1e9


def main() -> None:
    """Measure and print."""
    import torch

    from wat_cli.engine.loading import use_fast_float32

    use_fast_float32()
    left, right, long = torch.randn(FRAMES, 2048), torch.randn(2048, 2048), torch.randn(100_000_000)
    products = _rate(2 * left.numel() * 2048, lambda: left @ right)
    print(json.dumps(asdict(Limits(products, _rate(4 * long.numel(), long.sum)))))


if __name__ == "__main__":
    main()
