"""``python -m stress NAME [--in FOLDER]``: run a proof, or all of them, and keep what it showed in ``RESULTS.md``."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from stress import cluster, concurrent, kills, mutants, results, soak, ten_hours
from stress.results import Result

PROOFS: dict[str, Callable[[Path], list[Result]]] = {
    "kills": lambda folder: [kills.prove(kills.make_batch(folder / "films"), 100)],
    "mutants": lambda folder: [mutants.prove(folder, 300)],
    "concurrent": lambda folder: [concurrent.prove(concurrent.make_tree(folder / "films", 100))],
    "ten-hours": lambda folder: [ten_hours.prove(*ten_hours.make_media(folder))],
    "dask": lambda folder: [cluster.prove(concurrent.make_tree(folder / "films", 100))],
    "soak": lambda folder: [soak.prove(soak.make_media(folder / "films"))],
}


def main() -> None:
    """Run what is asked for; the first promise that is not kept ends it."""
    parser = argparse.ArgumentParser(prog="python -m stress", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which of {', '.join(PROOFS)}; all if left out")
    parser.add_argument("--in", dest="folder", type=Path, help="where media and captions go while it runs")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(PROOFS):
        parser.error(f"no proof of this name: {', '.join(sorted(unknown))}")
    for name in asked.names or PROOFS:
        with tempfile.TemporaryDirectory(prefix="wat-stress-", dir=asked.folder) as folder:
            print(f"{name}: working in {folder}", flush=True)
            found = PROOFS[name](Path(folder))
        results.keep(f"make stress-{name}", found)
        print("\n\n".join(map(str, found)), flush=True)


if __name__ == "__main__":
    main()
