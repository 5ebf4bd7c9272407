"""A Dask cluster of this machine, one of whose workers is killed: every file is done, as one process would do it.

And what several processes make of small files: ``--jobs`` against one process, and the cluster.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shutil import copytree

from stress.results import Result
from stress.runs import Program, Run, hold, hold_same, outcomes, visible

WORKERS = 3


def prove(films: Path, jobs: Sequence[int] = (1, 2, 4), program: Program | None = None) -> Result:
    """Caption copies of `films` in one process, in several, and on a cluster; raises `Broken`."""
    import distributed

    program, work = program or Program(), films.parent
    # each worker has its share of the cores, and the last digits of a probability depend on how many those are
    program = replace(program, arguments=(*program.arguments, "--threads", "1"))
    files = sum(1 for path in films.rglob("*") if path.is_file())
    rows: list[tuple[str, ...]] = []
    calm = copytree(films, work / "jobs-1")
    seconds = {"1": Run(program, [calm], work / "jobs-1.trace").finish()}
    expected = visible(calm)
    for count in jobs:
        if count > 1:
            tree = copytree(films, work / f"jobs-{count}")
            seconds[str(count)] = Run(program, [tree, "--jobs", str(count)], work / f"jobs-{count}.trace").finish()
            hold_same(expected, tree)
    rows += [(f"`--jobs {count}`", f"{spent:.0f} s", f"{seconds['1'] / spent:.2f}") for count, spent in seconds.items()]
    tree = copytree(films, work / "cluster")
    with distributed.LocalCluster(
        n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=logging.CRITICAL
    ) as local:
        run = Run(program, [tree, "--scheduler", local.scheduler_address], work / "cluster.trace")
        while not run.ended and len(_ended(run.log)) < files // 3:
            time.sleep(0.02)
        with distributed.Client(local, set_as_default=False) as client:
            victim, *_ = client.run(os.getpid).values()
        done = len(_ended(run.log))
        os.kill(victim, signal.SIGKILL)
        spent = run.finish()
    hold_same(expected, tree)
    ended = outcomes(run.log)
    hold(sorted(e["source"] for e in ended) == sorted(map(str, _sources(films, tree))), "not one outcome for each file")
    hold(all(e["status"] == "written" or e["up_to_date"] for e in ended), "a file was neither written nor up to date")
    hold(done < files, "all was done before a worker was killed")
    rows.append((f"`--scheduler`, {WORKERS} workers, one killed", f"{spent:.0f} s", f"{seconds['1'] / spent:.2f}"))
    said = (
        f"{files} short files on a Dask cluster of {WORKERS} worker processes with a thread each on one machine; one "
        f"of them was killed with `kill -9` after {done} files: one outcome for each file, all outputs those of one "
        f"process but for the sidecars' timings, nothing left behind. Times are whole runs, with loading; a worker "
        f"started again loads the model anew. With fewer cores than processes, the table says what dividing costs, not "
        f"what it gains."
    )
    return Result("A cluster that loses a worker, and several processes", said, (("run", "time", "speed"), *rows))


def _sources(films: Path, tree: Path) -> list[Path]:
    return [tree / path.relative_to(films) for path in films.rglob("*") if path.is_file()]


def _ended(log: Path) -> list[object]:
    return list(outcomes(log)) if log.exists() else []
