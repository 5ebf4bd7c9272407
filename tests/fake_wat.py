"""``wat`` with the fake engine, as a program of its own: for tests that kill it, or run several at once.

``FAKE_WAT_DELAY`` (seconds) slows hearing and each step of writing down, so that a kill has something to hit.
"""

from __future__ import annotations

import os
import sys
import time
import types
from pathlib import Path
from typing import Any

from tests.fakes import FakeEngine
from wat_cli.checkpoints import ResolvedWeights
from wat_cli.options import ModelOptions

DELAY = float(os.environ.get("FAKE_WAT_DELAY", "0"))


class SlowEngine(FakeEngine):
    """Takes its time."""

    def hear(self, *arguments: Any, **rest: Any) -> Any:
        time.sleep(DELAY)
        return super().hear(*arguments, **rest)


def load_slow(weights: ResolvedWeights, options: ModelOptions) -> SlowEngine:
    """What `wat_cli.engine.load_engine` is to the real one."""
    return SlowEngine()


def _slow(function: Any) -> Any:
    def call(*arguments: Any, **rest: Any) -> Any:
        time.sleep(DELAY / 10)
        return function(*arguments, **rest)

    return call


if __name__ == "__main__":
    if "--jobs" in sys.argv:
        from wat_cli import parallel

        parallel.run_parallel.__defaults__ = (load_slow,)  # a worker cannot see this process's modules
    engine = types.ModuleType("wat_cli.engine")
    engine.load_engine = lambda weights, options: SlowEngine()  # type: ignore[attr-defined]
    sys.modules["wat_cli.engine"] = engine
    os.fsync = _slow(os.fsync)
    Path.replace = _slow(Path.replace)  # type: ignore[method-assign]
    from wat_cli.cli import main

    main(sys.argv[1:])
