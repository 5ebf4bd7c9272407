"""Broken and hostile media among good ones: a good output for each good one, a clear word about each of the others."""

from __future__ import annotations

import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copy2
from typing import Any

from stress.broken_media import make_mutants
from stress.media import short_films
from stress.results import Result
from stress.runs import Program, Run, comparable, hold, outcomes

NO_NETWORK = ("unshare", "--net", "--map-root-user")
"""In front of a command, so that it has no network, not even a loopback."""
REFUSED = ("playlist", "empty", "text")
"""Kinds of mutants that hold nothing to hear, whatever chance does."""
SECRET = "secret.wav"
PATIENCE = 3600.0
"""Seconds after which a run counts as hanging."""


@dataclass(frozen=True)
class Media:
    """Files on disk: `everything` in the order in which it is given to a run."""

    everything: tuple[Path, ...]
    good: tuple[Path, ...]
    secret: Path


def make_media(folder: Path, mutants: int, port: int, good: int = 10, originals: Sequence[Path] = ()) -> Media:
    """`mutants` broken files, `good` ones among them, and beside them a secret that playlists lead to."""
    originals = originals or short_films(folder / "originals", 10)
    place = folder / "inbox"
    place.mkdir(parents=True)
    secret = Path(copy2(originals[0], folder / SECRET))
    beside = Path(copy2(originals[0], place / "secret.part"))  # a name that relative entries of a playlist may hold
    targets = (beside.name, str(secret), f"http://127.0.0.1:{port}/x.ts", f"tcp://127.0.0.1:{port}")
    broken = make_mutants(place, originals, targets, mutants)
    kept = []
    for number in range(good):
        original = originals[number % len(originals)]
        name = f"mutant-{number * mutants // good:03d}-good{number}{original.suffix}"
        kept.append(Path(copy2(original, place / name)))
    return Media(tuple(sorted([*broken, *kept])), tuple(kept), secret)


@contextmanager
def listener() -> Iterator[socket.socket]:
    """Waits for connections on the loopback; nobody answers them."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        server.setblocking(False)
        yield server


def can_unshare() -> bool:
    """Whether this machine lets a program be run without a network."""
    try:
        return subprocess.run([*NO_NETWORK, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def prove(folder: Path, mutants: int, program: Program | None = None, originals: Sequence[Path] = ()) -> Result:
    """Caption broken files among good ones, with and without a network; raises `Broken`."""
    program = program or Program()
    with listener() as server:
        media = make_media(folder, mutants, server.getsockname()[1], originals=originals)
        alone = _caption(program, folder, "alone", media.good, code=0)
        open_run = _caption(program, folder, "open", media.everything, code=1)
        _hold_connected_to_nobody(server)
    _hold_good(media, folder / "alone", folder / "open", alone)
    _hold_clear(media, folder / "open", open_run)
    runs = {"with a network": open_run}
    if can_unshare():
        runs["without one (`unshare --net`)"] = shut = _caption(
            program, folder, "shut", media.everything, code=1, before=NO_NETWORK
        )
        _hold_good(media, folder / "alone", folder / "shut", alone)
        differing = [name for name, entry in open_run.items() if _told(entry) != _told(shut[name])]
        hold(not differing, f"another outcome without a network: {differing[:5]}")
    return _result(media, mutants, runs)


def _caption(
    program: Program, folder: Path, name: str, paths: Sequence[Path], code: int, before: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """The one outcome of each path, by its name."""
    run = Run(
        program,
        ["--output-dir", folder / name, "--names", "full"],
        folder / f"{name}.trace",
        before=before,
        paths=paths,
    )
    run.finish(code, timeout=PATIENCE)
    ended = outcomes(run.log)
    hold(
        sorted(entry["source"] for entry in ended) == sorted(str(path) for path in paths),
        f"{len(ended)} outcomes of {len(paths)} files",
    )
    return {Path(entry["source"]).name: entry for entry in ended}


def _hold_connected_to_nobody(server: socket.socket) -> None:
    time.sleep(0.1)
    try:
        _, address = server.accept()
    except BlockingIOError:
        return
    hold(False, f"somebody connected from {address}")


def _hold_good(media: Media, alone: Path, among: Path, entries: Mapping[str, dict[str, Any]]) -> None:
    """The good files' outputs are those of a run without any mutants."""
    for path in media.good:
        hold(entries[path.name]["status"] == "written", f"{path.name}: {entries[path.name]}")
        for output in entries[path.name]["outputs"]:
            name = Path(output).name
            same = comparable(name, (alone / name).read_bytes()) == comparable(name, (among / name).read_bytes())
            hold(same, f"{name} is another among mutants")


def _hold_clear(media: Media, folder: Path, entries: Mapping[str, dict[str, Any]]) -> None:
    good = {path.name for path in media.good}
    for name, entry in entries.items():
        if name in good:
            continue
        status, reason = entry["status"], entry["reason"]
        hold(status == "written" or bool(reason), f"{name}: {status} for no reason")
        hold("internal error" not in reason and "Traceback" not in reason, f"{name}: {reason}")
        hold(reason.isprintable() and len(reason) < 1000, f"{name}: unreadable reason {reason!r}")
        if any(kind in name for kind in REFUSED):
            hold(status == "failed", f"{name}: {status}")
        if status in ("failed", "skipped"):
            hold(not any(folder.glob(f"{name}.*")), f"{name} failed and has outputs")


def _told(entry: dict[str, Any]) -> tuple[str, str]:
    return entry["status"], entry["reason"]


def _result(media: Media, mutants: int, runs: Mapping[str, Mapping[str, dict[str, Any]]]) -> Result:
    good = {path.name for path in media.good}
    kinds: dict[str, Counter[str]] = {}
    first = next(iter(runs.values()))
    for name, entry in first.items():
        kind = "good" if name in good else Path(name).stem.split("-")[2]
        kinds.setdefault(kind, Counter())[entry["status"]] += 1
    slowest = max(entry["wall_seconds"] for entries in runs.values() for entry in entries.values())
    said = (
        f"{mutants} mutants and {len(good)} good files, {' and '.join(runs)}: the good ones' outputs are those of a "
        f"run without mutants; every mutant has one outcome with a reason, the same in each run; exit code 1, no "
        f"traceback, no connection at the listener that half of the {kinds['playlist'].total()} playlists lead to, "
        f"none of them read; slowest file {slowest:.1f} s. Mutants that are written still hold sound."
    )
    statuses = ("written", "partly", "skipped", "failed")
    rows = [(kind, *(str(kinds[kind][status]) for status in statuses)) for kind in sorted(kinds)]
    return Result(f"{mutants} mutants", said, (("kind", *statuses), *rows))
