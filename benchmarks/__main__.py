"""`wat` beside its peers on the same work: ``make bench``, or ``python -m benchmarks`` once the peers are installed.

Without arguments every section runs: first the comparison with the peers, three interleaved runs of each row, of which
none but a first begins that would not end within 45 minutes, then in some twenty what is measured of `wat` besides.
``--quick`` takes five minutes in all. Results go into ``benchmarks/RESULTS.md``, where what other sections found before
stays, and what the same ones found with other CPUs or threads.

``python -m benchmarks speed-tiny speed-base --rows openai,fw-batch,wat --runs 1`` runs a part.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from dataclasses import replace

from benchmarks.machine import threads
from benchmarks.measuring import say
from benchmarks.plan import FILES, KINDS, TOKENS, WINDOWS, Plan
from benchmarks.processes import PEERS
from benchmarks.results import Part, keep
from benchmarks.sections import SECTIONS
from benchmarks.weights import SIZES

GPU_FILES = 64
COMPARISON = ("settings", "speed-tiny", "speed-base", "beams", "no-timestamps", "speed-small")
"""`wat` and its peers on the same work; small, which takes longest, comes last."""
BESIDES = tuple(key for key in SECTIONS if key not in (*COMPARISON, "gpu"))


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all if left out")
    parser.add_argument("--quick", action="store_true", help="tiny only, few windows, one run each: five minutes")
    parser.add_argument("--sizes", help="sizes by comma (tiny,base,small; large-v2 on a GPU)")
    parser.add_argument("--device", default="cpu", help="cuda: the section gpu, with 64 files (%(default)s)")
    parser.add_argument("--rows", default=",".join(KINDS), help="rows by comma (%(default)s)")
    parser.add_argument("--runs", type=int, help="interleaved runs of each row (3; 1 with --quick)")
    parser.add_argument("--files", type=int, help=f"files of {WINDOWS} windows ({FILES}; 4 of 2 with --quick)")
    parser.add_argument("--threads", type=int, default=threads(), help="CPU threads of every program (%(default)s)")
    parser.add_argument("--minutes", type=float, help="of the comparison, after which no run of it begins (45; 5)")
    args = parser.parse_args()
    on_gpu = args.device != "cpu" or args.sections == ["gpu"]
    args.sizes = args.sizes or ("large-v2" if on_gpu else "tiny,base,small")
    args.sections = args.sections or (["gpu"] if on_gpu else [])
    args.files = args.files or (GPU_FILES if on_gpu else None)
    for names, known in ((args.sections, SECTIONS), (args.sizes.split(","), SIZES), (args.rows.split(","), KINDS)):
        if unknown := [name for name in names if name not in known]:
            parser.error(f"{', '.join(unknown)}: choose from {', '.join(known)}")
    return args


def plan_of(args: argparse.Namespace) -> Plan:
    """The plan that the arguments ask for."""
    minutes = args.minutes or (5 if args.quick else 45)
    return Plan(
        sizes=("tiny",) if args.quick else tuple(args.sizes.split(",")),
        kinds=tuple(args.rows.split(",")),
        rounds=args.runs or (1 if args.quick else 3),
        threads=args.threads,
        files=args.files or (4 if args.quick else FILES),
        windows=2 if args.quick else WINDOWS,
        tokens=32 if args.quick else TOKENS,
        quick=args.quick,
        device=args.device,
        deadline=time.monotonic() + 60 * minutes,
    )


def chosen(args: argparse.Namespace, plan: Plan) -> list[str]:
    """Keys of the sections to run: those named, or all that the sizes leave."""
    if args.sections:
        return list(args.sections)
    if args.quick:
        return ["speed-tiny", *BESIDES]
    left_out = [f"speed-{size}" for size in SIZES if size not in plan.sizes]
    return [key for key in (*COMPARISON, *BESIDES) if key not in left_out]


def main() -> None:
    """Run the sections and write the results."""
    args = arguments()
    if not PEERS.exists():
        sys.exit(f"the peers are not installed: {PEERS} is missing; `make build/bench/ready` installs them")
    plan, command = plan_of(args), shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    load, begun = f"{os.getloadavg()[0]:.1f}", time.monotonic()
    for key in chosen(args, plan):
        mine = replace(plan, deadline=None) if key in BESIDES and not args.quick else plan
        if mine.deadline is not None and time.monotonic() > mine.deadline:
            say(f"{key}: left out, the time is up")
            continue
        say(f"{key} ({time.monotonic() - begun:.0f} s)")
        started = time.monotonic()
        text = SECTIONS[key].run(mine)
        keep(Part.now(SECTIONS[key].title, text, command, load, plan.threads, time.monotonic() - started))
        print(f"\n## {SECTIONS[key].title}\n\n{text}\n", flush=True)


if __name__ == "__main__":
    main()
