"""The engine: owns the models, hears many files at once, and counts encoder passes.

One pass of the encoder per 30 s window: language, every temperature of the fallback, word times and sound tags all
read the same `Encoded`.
"""

import os

if "OMP_WAIT_POLICY" not in os.environ:
    # Read once, when torch brings GNU's OpenMP: for how long a thread that waits for its team keeps its core busy. With
    # the default, 300000, two runs on the same cores were measured to take three to seven times as long as one after
    # the other, for each waits where the other has to compute; with this up to twice as long. It costs a run that is
    # alone up to a twentieth. (1000 shares the cores fairly, but costs more with four threads.)
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

# ruff: noqa: E402 (torch comes after that)
from wat_cli.engine.file import Pcm
from wat_cli.engine.loading import all_devices, choose_compute, load_engine, use_fast_float32
from wat_cli.engine.scheduler import Engine
from wat_cli.seek import sampling_seed

__all__ = ["Engine", "Pcm", "all_devices", "choose_compute", "load_engine", "sampling_seed", "use_fast_float32"]
