"""Writes ``commands.md``, the reference of every command and option, from the command line itself.

``python -m docs.reference`` (``make docs``) writes it anew; ``tests/test_guide.py`` fails where it is out of date.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from wat_cli.cli import app

PAGE = Path(__file__).with_name("commands.md")

PREFACE = """# Commands

<!-- Made from the command line itself by `make docs`. Edit the help texts in wat_cli, not this page. -->

Every command and every option, as `wat COMMAND --help` tells them. Options have hyphens; openai-whisper's spellings are
read too (`--beam_size 5`, `--word_timestamps True`), and `--no-...` switches an option off where both forms stand. An
option with a name in the environment may be set there or in a [file](configuration.md), which the command line
overrules; exit codes are explained in [troubleshooting](troubleshooting.md).
"""


def commands(group: Any = None, prefix: str = "wat") -> Iterator[tuple[str, Any]]:
    """Every command by its full name, those of groups after the group's own."""
    group = typer.main.get_command(app) if group is None else group
    for name, command in group.commands.items():
        yield f"{prefix} {name}", command
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix} {name}")


def page() -> str:
    """The whole reference, as Markdown."""
    found = dict(commands())
    contents = "\n".join(
        f"- [`{name}`](#{name.replace(' ', '-')}): {_first_sentence(command)}" for name, command in found.items()
    )
    return "\n".join([PREFACE, contents, "", *(_section(name, command) for name, command in found.items())])


def _section(name: str, command: Any) -> str:
    parts = [f"## {name}", "", inspect.cleandoc(command.help), ""]
    if hasattr(command, "commands"):
        return "\n".join(parts)
    parts += ["```", _usage(name, command), "```", ""]
    panels: dict[str, list[Any]] = {}
    for parameter in command.params:
        if parameter.param_type_name == "option" and not parameter.hidden:
            panels.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(parameter)
    for panel, options in panels.items():
        parts += [f"### {panel}", ""] if len(panels) > 1 else []
        parts += ["| option | what it does | default | environment |", "|---|---|---|---|"]
        parts += [_row(option) for option in options] + [""]
    return "\n".join(parts)


def _usage(name: str, command: Any) -> str:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    return " ".join([name, "[OPTIONS]", *(_metavar(argument) for argument in arguments)])


def _metavar(parameter: Any) -> str:
    metavar = parameter.metavar or parameter.name.upper()
    return metavar if parameter.required else f"[{metavar}]"


def _row(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    taken = "" if option.is_flag else f" {_value(option)}"
    shown = "" if option.is_flag and not option.default else _shown(option.default)
    variable = f"`{option.envvar}`" if option.envvar else ""
    return f"| {names}{_escaped(taken)} | {_escaped(option.help or '')} | {shown} | {variable} |"


def _value(option: Any) -> str:
    """What the option takes: its own word for it, or the name of its type."""
    if option.metavar:
        return str(option.metavar).strip("[]")
    kind: str = option.display_type(None).strip("<>").removesuffix(" range")
    return {"str": "TEXT", "int": "INTEGER", "float": "NUMBER"}.get(kind, kind.upper())


def _shown(default: Any) -> str:
    if default is None:
        return ""
    if isinstance(default, bool):
        return "on" if default else ""
    return f"`` {default} ``" if "`" in str(default) else f"`{_escaped(str(default))}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _first_sentence(command: Any) -> str:
    return inspect.cleandoc(command.help).partition("\n\n")[0].replace("\n", " ")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
