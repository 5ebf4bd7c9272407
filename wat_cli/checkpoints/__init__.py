"""From a model's name to verified files on disk.

`plan` says which files a request needs and where they lie; `resolve` brings what is missing and checks everything.
Checkpoints are hashed here and never unpickled. Speech checkpoints lie in openai-whisper's own cache folder and heads
beside them, as whisper-at puts them, so that what a person already has is used.
"""

from __future__ import annotations

import difflib
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wat_cli.checkpoints import hashes, registry
from wat_cli.checkpoints.registry import FULL_MODE, MINI, Remote
from wat_cli.checkpoints.transfer import PATIENCE, Patience, Progress, Transfer, silent
from wat_cli.errors import CheckpointError, UsageError, WeightsMissing, printable, shown
from wat_cli.options import ModelOptions

if TYPE_CHECKING:
    from wat_cli.checkpoints.download import WrongHash

__all__ = [
    "MINI", "Patience", "Plan", "Progress", "ResolvedWeights", "Transfer", "Wanted", "WeightFile", "check",
    "default_folder", "files_of", "model_folder", "plan", "pull", "resolve", "silent", "trust_changed",
]  # fmt: skip

DATA_FOLDER = Path(__file__).parent.parent / "data"
"""Where ``mini`` lies in this installation."""


@dataclass(frozen=True)
class WeightFile:
    """A checkpoint on disk whose hash is known."""

    name: str
    """What it is called in sidecars: a model's name, or the file's name for heads and a person's own files."""
    path: Path
    sha256: str
    head_mode: str | None = None
    """whisper-at's name of the head's shape, where it is known before loading."""


@dataclass(frozen=True)
class ResolvedWeights:
    """The files that one run loads."""

    asr: WeightFile
    head: WeightFile | None
    """The head reads `second_encoder`'s layers where there is one, else those of `asr`."""
    second_encoder: WeightFile | None


@dataclass(frozen=True)
class Wanted:
    """One file that a request needs, on disk or not."""

    name: str
    path: Path
    remote: Remote | None = None
    """Where it is published; None for ``mini`` and a person's own files."""
    head_mode: str | None = None
    pull: str = ""
    """What to give ``wat models pull`` to get it."""
    hint: str = ""
    """Another way out where it is missing."""

    @property
    def cached(self) -> bool:
        """Whether a file is there; `check` says whether it is the right one."""
        return self.path.is_file()


@dataclass(frozen=True)
class Plan:
    """The files that a request needs, before any is fetched or checked."""

    asr: Wanted
    head: Wanted | None
    second_encoder: Wanted | None

    @property
    def files(self) -> tuple[Wanted, ...]:
        """All of them, in the order in which they are fetched."""
        return tuple(wanted for wanted in (self.asr, self.second_encoder, self.head) if wanted is not None)

    @property
    def missing(self) -> tuple[Wanted, ...]:
        """Those that are not on disk."""
        return tuple(wanted for wanted in self.files if not wanted.cached)


def default_folder() -> Path:
    """openai-whisper's cache folder: ``~/.cache/whisper``, or under `XDG_CACHE_HOME`."""
    return hashes.cache_root() / "whisper"


def model_folder(options: ModelOptions) -> Path:
    """The folder that holds or receives the weights."""
    return options.model_dir.expanduser() if options.model_dir else default_folder()


def files_of(options: ModelOptions) -> tuple[Wanted, ...]:
    """The checkpoint of a model and every head published for it, whichever is chosen."""
    asr, heads = _model_files(options.model, options)
    return (asr, *heads.values())


def plan(options: ModelOptions, *, tags: bool) -> Plan:
    """Which files these options need; `tags` says whether sounds are tagged.

    Raises `UsageError` for an unknown model or a path that does not exist, `CheckpointError` for a path that is no
    file, `WeightsMissing` for a model without a head to tag with. Nothing is fetched and nothing hashed.
    """
    asr, heads = _model_files(options.model, options)
    if not tags:
        return Plan(asr, None, None)
    second = None
    if options.tagger is not None and options.tagger != asr.name:
        second, heads = _model_files(options.tagger, options)
    if options.tagger_checkpoint is not None:
        path = _own_file(options.tagger_checkpoint, "--tagger-checkpoint")
        return Plan(asr, Wanted(path.name, path), second)
    if not heads:
        raise WeightsMissing(
            f"No head to tag sounds with is published for {asr.name}. Leave the sounds out (--no-tags), give a head "
            "of your own (--tagger-checkpoint FILE), or let a second, smaller encoder hear them "
            "(--tagger tiny|base|small)."
        )
    width = options.tagger_head or next(iter(heads))
    if width not in heads:
        raise UsageError(f"--tagger-head {width}: {(second or asr).name} has only the {' and '.join(heads)} head")
    return Plan(asr, heads[width], second)


def resolve(
    options: ModelOptions, *, tags: bool, progress: Progress = silent, patience: Patience = PATIENCE
) -> ResolvedWeights:
    """The files for these options, fetched if need be, every hash checked.

    Raises what `plan` raises; `WeightsMissing` where a file is neither on disk nor to be had, with the ways out;
    `CheckpointError` where a file on disk is not what its publisher published, or not what it was at first.
    """
    planned = plan(options, tags=tags)
    # what is on disk first: a wrong file is said before another one is fetched for an hour
    files = {wanted: check(wanted, progress) for wanted in planned.files if wanted.cached}
    for wanted in planned.files:
        if wanted not in files:
            files[wanted] = _bring(wanted, options.offline, progress, patience)
    return ResolvedWeights(
        files[planned.asr],
        files[planned.head] if planned.head else None,
        files[planned.second_encoder] if planned.second_encoder else None,
    )


def pull(
    planned: Plan, *, offline: bool = False, progress: Progress = silent, patience: Patience = PATIENCE
) -> tuple[WeightFile, ...]:
    """Bring every file of the plan that is missing or wrong, and check all; a wrong one is replaced by a right one.

    Raises `WeightsMissing` where one is not to be had. A wrong file stays until its successor is whole.
    """
    return tuple(
        check(wanted, progress) if _is_right(wanted, progress) else _bring(wanted, offline, progress, patience)
        for wanted in planned.files
    )


def trust_changed(planned: Plan) -> None:
    """Forget the hashes that the plan's heads had when they were first seen: as they are next, they are trusted."""
    for wanted in planned.files:
        if wanted.remote is not None and wanted.remote.sha256 is None:
            hashes.forget_first_seen(wanted.remote.url)


def check(wanted: Wanted, progress: Progress = silent, *, afresh: bool = False) -> WeightFile:
    """The file on disk with its hash, compared with the published one, or with the one seen first.

    `afresh` reads the whole file again instead of believing what an earlier run found. Raises `CheckpointError` where
    the hash differs, naming the way out.
    """

    def reading(done: int, size: int) -> None:
        progress(Transfer(wanted.path.name, done, size, "checking"))

    try:
        sha256 = hashes.sha256_of(wanted.path, reading, afresh=afresh)
    except OSError as error:
        raise CheckpointError(f"{shown(wanted.path)} cannot be read ({error.strerror or error}).") from error
    remote = wanted.remote
    if remote is not None and remote.sha256 is not None and sha256 != remote.sha256:
        raise CheckpointError(
            f"{shown(wanted.path)} is not the published {wanted.name}: its sha256 is {sha256}, not {remote.sha256}. An "
            f"interrupted download looks like this. To fetch it anew in its place: wat models pull {wanted.pull}"
        )
    if remote is not None and remote.sha256 is None:
        seen = hashes.first_seen(remote.url)
        if seen is None:
            hashes.remember_first_seen(remote.url, sha256)
        elif seen != sha256:
            raise CheckpointError(
                f"{shown(wanted.path)} is not the head that was first seen: its sha256 is {sha256}, not {seen}. To "
                f"fetch that one anew in its place: wat models pull {wanted.pull}. To trust the file as it is: "
                f"wat models pull --trust-changed {wanted.pull}"
            )
    return WeightFile(wanted.name, wanted.path, sha256, wanted.head_mode)


def _is_right(wanted: Wanted, progress: Progress) -> bool:
    if not wanted.cached:
        return False
    try:
        check(wanted, progress)
    except CheckpointError:
        return False
    return True


def _bring(wanted: Wanted, offline: bool, progress: Progress, patience: Patience) -> WeightFile:
    """Fetch a file that is missing or wrong, and check it."""
    here = f"{wanted.path.name} is not in {shown(wanted.path.parent)}"
    remote = wanted.remote
    if remote is None:
        raise WeightsMissing(f"{here}: this installation of wat is incomplete. Install it again.")
    ways_out = f"Ways out: `wat models pull {wanted.pull}` with a network, or `--model {MINI}`, which ships with wat."
    if wanted.hint:
        ways_out += f" {wanted.hint}"
    if offline:
        raise WeightsMissing(f"{here}, and --offline forbids fetching it. {ways_out}")
    # requests, which most runs need not, takes longer to load than everything here
    from wat_cli.checkpoints.download import WrongHash, fetch

    known = remote.sha256 or hashes.first_seen(remote.url)
    try:
        sha256 = fetch(
            remote.url, wanted.path, known, progress,
            still_wanted=lambda: not _is_right(wanted, progress), patience=patience,
        )  # fmt: skip
    except WrongHash as error:
        raise WeightsMissing(_wrong_hash(wanted, remote, error)) from error
    except WeightsMissing as error:
        raise WeightsMissing(f"{here}: {error} {ways_out}") from error
    if sha256 is not None:
        hashes.remember(wanted.path, sha256)
    return check(wanted, progress)


def _wrong_hash(wanted: Wanted, remote: Remote, error: WrongHash) -> str:
    if remote.sha256 is None:
        return (
            f"{wanted.path.name} came with another sha256 ({error.found}) than when it was first seen "
            f"({error.expected}) and was thrown away. If its publisher has a new version that you trust: "
            f"wat models pull --trust-changed {wanted.pull}"
        )
    return (
        f"{wanted.path.name} came with the sha256 {error.found}, not the published {error.expected}, and was thrown "
        "away. Try again; if it stays so, something on the way changes the file."
    )


def _model_files(name: str, options: ModelOptions) -> tuple[Wanted, dict[str, Wanted]]:
    """A model's checkpoint, and its heads by width with the default first."""
    if name == MINI:
        head = Wanted("mini_head", DATA_FOLDER / "mini_head.pt", head_mode=FULL_MODE)
        return Wanted(MINI, DATA_FOLDER / "mini.pt"), {"full": head}
    model = registry.find(name)
    if model is None:
        path = _own_file(Path(name), "--model")
        return Wanted(path.name, path), {}
    folder = model_folder(options)
    pull_arguments = name if options.model_dir is None else f"{name} --model-dir {shlex.quote(str(folder))}"
    asr = Wanted(model.name, folder / model.file.filename, model.file, pull=pull_arguments)
    heads = {}
    for width in sorted(model.heads):  # "512" stands before "full": it is the default where it is published
        head_file = model.heads[width].file
        heads[width] = Wanted(
            Path(head_file.filename).stem,
            folder / head_file.filename,
            head_file,
            model.heads[width].mode,
            pull=pull_arguments + (" --tagger-head full" if width == "full" and len(model.heads) > 1 else ""),
            hint=_head_hint(width, {other: folder / head.file.filename for other, head in model.heads.items()}),
        )
    return asr, heads


def _head_hint(width: str, paths: dict[str, Path]) -> str:
    """What else to do about a missing head: take the other one where that is here, or none."""
    here = next((other for other, path in paths.items() if other != width and path.is_file()), None)
    if here is not None:
        return f"`--tagger-head {here}` takes {paths[here].name}, which is here."
    return "`--no-tags` leaves the sounds out."


def _own_file(path: Path, option: str) -> Path:
    """A person's own checkpoint, by path."""
    path = path.expanduser()
    if not path.exists():
        if option == "--model" and path.name == str(path) and path.suffix not in (".pt", ".pth"):
            raise UsageError(_unknown_model(str(path)))
        raise UsageError(f"{option} {shown(path)}: no such file")
    if not path.is_file():
        raise CheckpointError(f"{option} {shown(path)}: that is no file")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{option} {shown(path)}: the file is empty")
    return path


def _unknown_model(name: str) -> str:
    near = difflib.get_close_matches(name, registry.names(), n=1)
    guess = f" Did you mean {near[0]}?" if near else ""
    problem = f"--model {printable(name)}: there is no model of that name, and no such file."
    return f"{problem}{guess} `wat models list` shows them all."
