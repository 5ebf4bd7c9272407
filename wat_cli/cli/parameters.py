"""Typer parameters made from the option dataclasses: an option is declared once, in `wat_cli.options`.

A dataclass field becomes one parameter: its hyphenated name, default, help and panel, and an environment variable
(``beam_size``: ``--beam-size``, ``WAT_BEAM_SIZE``). `FamiliarCommand` also reads what openai-whisper's command line
reads: underscores in option names (``--beam_size``) and values after switches (``--word_timestamps True``).
"""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from wat_cli.errors import UsageError

Options = TypeVar("Options")

TRUTH = {"True": True, "False": False}
"""Values that openai-whisper's switches take (``whisper.utils.str2bool``)."""


def option_name(field: str) -> str:
    """Hyphenated name on the command line: ``beam_size`` gives ``--beam-size``."""
    return "--" + field.replace("_", "-")


def environment_name(field: str) -> str:
    """Environment variable that sets the option's default: ``beam_size`` gives ``WAT_BEAM_SIZE``."""
    return "WAT_" + field.upper()


def option_type(annotation: Any) -> tuple[type, bool]:
    """A field's plain type, and whether it may be None."""
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
        if len(kinds) != 1:
            raise TypeError(f"an option has one type, not {annotation}")
        return kinds[0], True
    return annotation, False


def signature(
    groups: Iterable[type], leading: Sequence[inspect.Parameter] = (), skip: Collection[str] = ()
) -> inspect.Signature:
    """Signature for a Typer command: `leading` parameters, then one keyword for each option of `groups`."""
    parameters = list(leading)
    for group in groups:
        hints = get_type_hints(group)
        for field in dataclasses.fields(group):
            if field.metadata and field.name not in skip:
                parameters.append(_parameter(field, hints[field.name]))
    return inspect.Signature(parameters)


def build(group: type[Options], values: Mapping[str, Any]) -> Options:
    """An options object of `group` from the command's values; what `values` lacks keeps its default."""
    names = {field.name for field in dataclasses.fields(group)}  # type: ignore[arg-type]
    return group(**{name: value for name, value in values.items() if name in names})


def option_of(group: type, name: str, help: str | None = None, panel: str | None = None) -> Any:
    """The declared option `name` of `group`, for a command that shares it; `help` where it means something narrower."""
    (field,) = (field for field in dataclasses.fields(group) if field.name == name)
    return _option(field, get_type_hints(group)[name], help or field.metadata["help"], panel)


def _parameter(field: dataclasses.Field[Any], annotation: Any) -> inspect.Parameter:
    info = _option(field, annotation, field.metadata["help"], field.metadata["panel"])
    shown = bool if option_type(annotation)[0] is bool else Any
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=Annotated[shown, info]
    )


def _option(field: dataclasses.Field[Any], annotation: Any, help: str, panel: str | None) -> Any:
    kind, optional = option_type(annotation)
    metadata = field.metadata
    name = option_name(field.name)
    names = [f"{name}/--no-{name[2:]}" if kind is bool else name]
    if metadata.get("short"):
        names.append(metadata["short"])
    extra: dict[str, Any] = {}
    if kind is not bool:
        choices = metadata.get("choices")
        extra = {"parser": reader(field.name, kind, optional, choices), "metavar": _metavar(kind, choices)}
        if choices:
            extra["autocompletion"] = _completions(choices)
    return typer.Option(
        *names,
        help=help,
        rich_help_panel=panel,
        envvar=environment_name(field.name),
        show_envvar=False,
        **extra,
    )


def _completions(choices: tuple[str, ...]) -> Callable[[str], list[str]]:
    """What a shell may offer for a word that was begun."""

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete


def _metavar(kind: type, choices: tuple[str, ...] | None) -> str:
    if choices and len(choices) <= 8:
        return "[" + "|".join(choices) + "]"
    return {int: "INTEGER", float: "NUMBER", Path: "PATH"}.get(kind, "TEXT")


def reader(name: str, kind: type, optional: bool, choices: tuple[str, ...] | None) -> Callable[[Any], Any]:
    """What makes an option's value of a text; it raises `typer.BadParameter`."""

    def parse(text: Any) -> Any:
        if not isinstance(text, str):  # a default on its way through
            return text
        # openai-whisper's numbers read None (`optional_int`, `optional_float`); its texts do not, but for choices
        if optional and text == "None" and (kind is not str or choices):
            return None
        if choices and text not in choices:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(choices)}")
        try:
            return kind(text)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise typer.BadParameter(f"{text!r} is not {wanted}{', nor None' if optional else ''}") from None

    parse.__name__ = kind.__name__
    return parse


def familiar(arguments: Sequence[str], switches: Mapping[str, str], valued: Collection[str]) -> list[str]:
    """The same arguments in the spelling that the parser knows.

    Underscores in a known option's name become hyphens, and a switch followed by ``True`` or ``False`` (or ``=True``)
    becomes its positive or negative form. Values, paths and everything after ``--`` stay as they are.

    Args:
        arguments: what stands after the command's name.
        switches: positive name of each switch, with its negative one.
        valued: names of the options that take a value, long and short.
    """
    result: list[str] = []
    rest = iter(enumerate(arguments))
    for position, argument in rest:
        if argument == "--":
            return [*result, *arguments[position:]]
        name, equals, value = argument.partition("=")
        hyphenated = name.replace("_", "-") if name.startswith("--") else name
        following = arguments[position + 1] if position + 1 < len(arguments) else None
        if hyphenated in switches:
            if not equals and following in TRUTH:
                value = next(rest)[1]
            elif not equals:
                result.append(hyphenated)
                continue
            if value not in TRUTH:
                raise UsageError(f"{name}={value}: it takes True or False, or stands alone")
            result.append(hyphenated if TRUTH[value] else switches[hyphenated])
        elif hyphenated in valued:
            result.append(hyphenated + equals + value)
            if not equals and following is not None:
                result.append(next(rest)[1])
        elif hyphenated in switches.values():
            result.append(hyphenated + equals + value)
        else:
            result.append(argument)
    return result


class FamiliarCommand(TyperCommand):
    """A command that also reads openai-whisper's spellings of its options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Bring the arguments into this command's spelling, then parse them as usual."""
        switches: dict[str, str] = {}
        valued: set[str] = set()
        for parameter in self.params:
            if parameter.param_type_name != "option":
                continue
            if parameter.secondary_opts:
                negative = parameter.secondary_opts[0]
                switches.update({name: negative for name in parameter.opts if name.startswith("--")})
            elif not getattr(parameter, "is_flag", False):
                valued.update(parameter.opts)
        try:
            read = familiar([os.fsdecode(argument) for argument in args], switches, valued)
        except UsageError as error:
            raise typer.BadParameter(str(error), ctx=ctx) from None
        try:
            return super().parse_args(ctx, read)
        except typer.BadParameter as error:
            name = error.param.name if error.param is not None else None
            source = ctx.get_parameter_source(name) if name else None
            if name and source is not None and source.name == "ENVIRONMENT":
                error.message += f" ({environment_name(name)})"
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what is wrong with its options is told with the place that they come from."""
        from wat_cli.cli.config import told_with_origins

        try:
            return super().invoke(ctx)
        except UsageError as error:
            raise told_with_origins(error, ctx) from None
