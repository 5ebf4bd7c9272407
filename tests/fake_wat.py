"""``wat`` with the fake engine, as a program of its own that traces: for tests that kill it, or run several at once.

``FAKE_WAT_DELAY`` (seconds) slows hearing, ``STRESS_SLOW`` each step of writing down, so that a kill has something to
hit (`stress.traced_wat`).
"""

from __future__ import annotations

import functools
import os
import sys
import time
import types
from typing import Any

from stress.traced_wat import tell_and_slow_down, trace
from tests.fakes import FakeEngine
from wat_cli.checkpoints import ResolvedWeights
from wat_cli.media import SAMPLE_RATE
from wat_cli.options import ModelOptions

DELAY = float(os.environ.get("FAKE_WAT_DELAY", "0"))


class SlowEngine(FakeEngine):
    """Takes its time, and tells of its windows."""

    def hear(self, *arguments: Any, **rest: Any) -> Any:
        time.sleep(DELAY)
        return super().hear(*arguments, **rest)

    def _level(self, window: Any, start: int, notebook: Any) -> int:
        before = self.windows
        level = super()._level(window, start, notebook)
        if self.windows > before:
            trace("window", second=start / SAMPLE_RATE)
        return level


def load_slow(weights: ResolvedWeights, options: ModelOptions) -> SlowEngine:
    """What `wat_cli.engine.load_engine` is to the real one."""
    return SlowEngine()


if __name__ == "__main__":
    if "--jobs" in sys.argv:
        from wat_cli import parallel

        # a worker cannot see this process's modules
        parallel.run_parallel = functools.partial(parallel.run_parallel, load=load_slow)  # type: ignore[assignment]
    if "--scheduler" in sys.argv:
        from wat_cli import cluster

        cluster.run_on_cluster = functools.partial(cluster.run_on_cluster, load=load_slow)  # type: ignore[assignment]
    engine = types.ModuleType("wat_cli.engine")
    engine.load_engine = lambda weights, options: SlowEngine()  # type: ignore[attr-defined]
    sys.modules["wat_cli.engine"] = engine
    tell_and_slow_down()
    from wat_cli.cli import main

    main(sys.argv[1:])
