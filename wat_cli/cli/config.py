"""Where options come from: TOML files, the environment and the command line, in that order; the later wins.

One rule for every option of `wat_cli.options`: ``beam_size`` is the key of a file, ``WAT_BEAM_SIZE`` the environment's
name, ``--beam-size`` the command line's. A file's values become click's `default_map`, so that click itself settles
which one holds and knows its origin.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from wat_cli.cli.parameters import environment_name, option_name, option_type, reader
from wat_cli.errors import UsageError, shown
from wat_cli.options import STDOUT, RunOptions

FILE = "wat.toml"
"""Read from the working folder."""

NONE = "none"
"""``--config none``: no file is read."""

PANEL = "Configuration"

_ORIGINS = "wat.origins"
FOUND_MAY = frozenset((
    "model", "model_dir", "tagger_checkpoint", "tagger", "tagger_head", "device", "threads", "offline",
    "output_dir", "output_format", "names", "player_names", "embed", "skip_existing", "save_scores",
    "retry_failed", "skip_subtitled", "min_age", "jobs", "batch_size", "log_json", "summary", "quiet", "verbose",
))  # fmt: skip
"""What a file that was found, not named, may set besides the options that decide a result. It may have come with
somebody's archive, so nothing that replaces files, runs commands or reaches other machines is here."""


@dataclass(frozen=True)
class Declared:
    """One option as a file may set it."""

    kind: type
    optional: bool
    choices: tuple[str, ...] | None
    decides: bool
    """Whether it decides the result."""


@functools.cache
def declared() -> Mapping[str, Declared]:
    """Every option of `RunOptions` by its name."""
    found = {}
    for group in get_type_hints(RunOptions).values():
        hints = get_type_hints(group)
        for field in fields(group):
            kind, optional = option_type(hints[field.name])
            metadata = field.metadata
            found[field.name] = Declared(kind, optional, metadata.get("choices"), bool(metadata.get("fingerprint")))
    return found


# --- files ------------------------------------------------------------------------------------------------------------


def user_file() -> Path:
    """The user's own file, in the folder that the system has for such."""
    import platformdirs

    return platformdirs.user_config_path("wat", appauthor=False) / "config.toml"


def files(named: str | None) -> tuple[Path, ...]:
    """The files to read, the weaker first: the one that is `named`, or the user's and the working folder's."""
    if named is None:
        return user_file(), Path.cwd() / FILE
    return () if named == NONE else (Path(named),)


def read(path: Path, trusted: bool = True) -> dict[str, Any]:
    """The options that a TOML file sets, by name, in the form in which the command line takes them.

    Paths are relative to the file's folder; ``~`` is the user's home. `trusted` is a file that the user named or keeps
    among the settings; one that lies in the working folder may be part of somebody's archive, so it can neither
    reach out of it nor set what is not in `FOUND_MAY`. Raises `UsageError`, which names the file and the key.
    """
    import tomllib

    try:
        table = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise UsageError(f"{shown(path)}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown(path)}: {error}") from None
    found: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in declared():
            raise UsageError(f"{shown(path)}: {_unknown(key, value)}")
        if name in found:
            raise UsageError(f"{shown(path)}: {key} is set twice")
        found[name] = _value(path, key, declared()[name], value)
        if not trusted:
            _keep_in(path, key, name, found[name])
    return found


def _unknown(key: str, value: Any) -> str:
    near = difflib.get_close_matches(key.replace("-", "_"), declared(), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    if isinstance(value, dict):
        hint += " Options stand at the top, not in [tables]."
    return f"no option is called {key}{hint}"


def _value(path: Path, key: str, option: Declared, value: Any) -> Any:
    """`value` as its option takes it; ``"None"`` stays, as on the command line."""
    kind = option.kind
    fits = isinstance(value, bool) if kind is bool else isinstance(value, str) or kind in (int, float)
    if isinstance(value, bool) != (kind is bool) or not fits or not isinstance(value, (bool, str, int, float)):
        raise UsageError(f"{shown(path)}: {key} is {_described(value)}; {_wanted(option)} is expected")
    if isinstance(value, str):
        try:
            reader(key, kind, option.optional, option.choices)(value)
        except typer.BadParameter as error:
            raise UsageError(f"{shown(path)}: {key}: {error.message}") from None
        if kind is Path and Path(value) != STDOUT:
            return Path(os.path.normpath(path.absolute().parent / Path(value).expanduser()))
        return value
    if kind is int and isinstance(value, float):
        raise UsageError(f"{shown(path)}: {key} is {value}; a whole number is expected")
    return float(value) if kind is float else value


def _described(value: Any) -> str:
    kinds = {bool: "true or false", str: "a text", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return kinds.get(type(value), "a date or time")


def _wanted(option: Declared) -> str:
    kinds = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path, in quotes"}
    return kinds.get(option.kind, "a text (lists are written with commas)") + (
        ', or "None",' if option.optional and option.kind in (int, float) else ""
    )


def _keep_in(path: Path, key: str, name: str, value: Any) -> None:
    way_out = f"say --config {FILE} to have it"
    if value is not False and not (declared()[name].decides or name in FOUND_MAY):
        raise UsageError(f"{shown(path)}: {key} is not for a {FILE} that was found, not named: {way_out}")
    if isinstance(value, Path) and value != STDOUT and not value.resolve().is_relative_to(path.resolve().parent):
        raise UsageError(
            f"{shown(path)}: {key} leads out of this folder. A {FILE} that was found, not named, may not do that: "
            f"{way_out}"
        )


# --- commands ---------------------------------------------------------------------------------------------------------


def _load(ctx: typer.Context, named: str | None) -> str | None:
    """Read the files and let click know; called before any other option is looked at."""
    if ctx.resilient_parsing:  # only completing a word
        return named
    values: dict[str, Any] = {}
    origins: dict[str, Path] = {}
    for path in files(named):
        if named is None and not path.is_file():
            continue
        found = read(path, trusted=named is not None or path.name != FILE)
        values |= found
        origins |= dict.fromkeys(found, path)
    # only what the environment sets too: another command's option of the same name is another thing
    own = {p.name for p in ctx.command.params if p.name and getattr(p, "envvar", None) == environment_name(p.name)}
    ctx.default_map = {name: value for name, value in values.items() if name in own}
    ctx.meta[_ORIGINS] = origins
    return named


ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        envvar="WAT_CONFIG",
        callback=_load,
        is_eager=True,
        help=f"TOML file with options, instead of the user's own and {FILE} in the working folder; none for no file.",
        rich_help_panel=PANEL,
    ),
]


def configurable(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same command, whose options may also come from a file."""
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    option = inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ConfigFile)

    @functools.wraps(command)
    def call(*arguments: Any, config: str | None = None, **values: Any) -> Any:
        return command(*arguments, **values)

    call.__signature__ = inspect.Signature([*parameters, option])  # type: ignore[attr-defined]
    return call


def origin(ctx: Any, name: str) -> str:
    """Where an option's value comes from: ``default``, a file's path, the environment's name or the flag."""
    source = ctx.get_parameter_source(name)
    kind = source.name if source is not None else "DEFAULT"
    if kind == "DEFAULT_MAP":
        return shown(ctx.meta[_ORIGINS][name])
    return {"COMMANDLINE": option_name(name), "ENVIRONMENT": environment_name(name)}.get(kind, "default")


def is_given(ctx: Any, name: str) -> bool:
    """Whether an option was set: on the command line, in the environment or in a file."""
    return origin(ctx, name) != "default"


def told_with_origins(error: UsageError, ctx: Any) -> UsageError:
    """The same error; where it is about options that the command line does not set, it says what does."""
    found = []
    for option in dict.fromkeys(re.findall(r"--([a-z][a-z0-9-]*)", str(error))):
        name = option.replace("-", "_")
        if name in ctx.params and origin(ctx, name) not in ("default", option_name(name)):
            found.append(f"--{option} comes from {origin(ctx, name)}")
    return UsageError(f"{error} ({'; '.join(found)})") if found else error


# --- what holds -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """One option, its value, and where that comes from."""

    name: str
    value: Any
    origin: str
    panel: str


def chosen(ctx: Any) -> Iterator[Chosen]:
    """Every option of the command whose context this is, in the order of its help."""
    for parameter in ctx.command.params:
        if parameter.name in declared():
            panel = parameter.rich_help_panel or ""
            yield Chosen(parameter.name, ctx.params[parameter.name], origin(ctx, parameter.name), panel)


def as_toml(options: list[Chosen]) -> Iterator[str]:
    """The lines of a file that sets these options, each with its origin; one without a value is a comment."""
    settings = {option.name: f"# {option.name} =" if option.value is None else _toml(option) for option in options}
    width = min(max(map(len, settings.values()), default=0), 50)
    for panel in dict.fromkeys(option.panel for option in options):
        yield f"# {panel}"
        yield from (f"{settings[o.name]:{width}}  # {o.origin}" for o in options if o.panel == panel)
        yield ""


def _toml(option: Chosen) -> str:
    import json

    value = option.value
    if isinstance(value, (str, Path)):  # a JSON text is TOML's too, but for one character
        return f"{option.name} = " + json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"{option.name} = {json.dumps(value)}"


def strangers(environment: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with variables that look like options and are none."""
    known = {environment_name(name) for name in declared()} | {"WAT_CONFIG"}
    for name in sorted(environment):
        if name.startswith("WAT_") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            yield f"{name} is in the environment and no option" + (f"; did you mean {near[0]}?" if near else "")


def config(
    changed: Annotated[bool, typer.Option("--changed", help="Only what is not the default.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: ConfigFile = None,
) -> None:
    """Print every option of wat caption with its value and where that comes from, as a file that sets them.

    Weakest first: defaults, the user's file, wat.toml in the working folder, the environment (WAT_BEAM_SIZE), the
    command line. A file that is named by --config is read instead of the two.
    """
    import json
    import sys

    from wat_cli.cli import app
    from wat_cli.cli.caption import run_options

    caption: Any = typer.main.get_command(app).commands["caption"]  # type: ignore[attr-defined]
    context = caption.make_context("wat caption", [] if config is None else ["--config", config])
    try:
        run_options(context.params)
    except UsageError as error:
        raise told_with_origins(error, context) from None
    found = [option for option in chosen(context) if not changed or option.origin != "default"]
    if as_json:
        told = [{"name": o.name, "value": _plain(o.value), "origin": o.origin} for o in found]
        looked = [{"path": str(path), "read": path.is_file()} for path in files(config)]
        print(json.dumps({"files": looked, "options": told}, indent=1))
    else:
        for path in files(config):
            print(f"# {shown(path)}{'' if path.is_file() else ' (not there)'}")
        print("\n".join(["", *as_toml(found)]).rstrip("\n"))
    for line in strangers(os.environ):
        print(f"wat: {line}", file=sys.stderr)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
