"""The engine: owns the models, hears many files at once, and counts encoder passes.

One pass of the encoder per 30 s window: language, every temperature of the fallback, word times and sound tags all
read the same `Encoded`.
"""

from wat_cli.engine.file import Pcm
from wat_cli.engine.loading import all_devices, choose_compute, load_engine, use_fast_float32
from wat_cli.engine.scheduler import Engine
from wat_cli.seek import sampling_seed

__all__ = ["Engine", "Pcm", "all_devices", "choose_compute", "load_engine", "sampling_seed", "use_fast_float32"]
