"""``wat render``: captions again from a sidecar, in another style or format, without a model."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from wat_cli.cli.config import configurable, is_given
from wat_cli.cli.parameters import signature
from wat_cli.errors import ExitCode, UsageError, WatError, printable, shown
from wat_cli.options import FORMATS, CaptionOptions, TagOptions

LEFT_OUT = ("tags", "save_scores")
"""Sound options that only a model can answer."""

_KIND = inspect.Parameter.KEYWORD_ONLY
_LEADING = [
    inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
    inspect.Parameter(
        "sidecars",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        annotation=Annotated[list[Path], typer.Argument(metavar="SIDECAR...", help="JSON files that wat wrote.")],
    ),
    inspect.Parameter(
        "output_format",
        _KIND,
        default="srt,vtt",
        annotation=Annotated[str, typer.Option("--output-format", "-f", help="Formats by comma: srt, vtt, txt, tsv.")],
    ),
    inspect.Parameter(
        "output_dir",
        _KIND,
        default=None,
        annotation=Annotated[
            str | None,
            typer.Option("--output-dir", "-o", metavar="-", help="- for standard output (one sidecar, one format)."),
        ],
    ),
    inspect.Parameter(
        "overwrite",
        _KIND,
        default=False,
        annotation=Annotated[
            bool, typer.Option("--overwrite", help="Replace files that wat did not write or that were changed since.")
        ],
    ),
    inspect.Parameter(
        "player_names",
        _KIND,
        default=False,
        annotation=Annotated[
            bool, typer.Option("--player-names", help="Name files as players look for them: talk.en.sdh.srt.")
        ],
    ),
    inspect.Parameter(
        "embed",
        _KIND,
        default=False,
        annotation=Annotated[
            bool,
            typer.Option("--embed", help="Also copy the film with the captions as a track in it: talk.captioned.mp4."),
        ],
    ),
]


def render(
    ctx: typer.Context,
    sidecars: list[Path],
    output_format: str = "srt,vtt",
    output_dir: str | None = None,
    overwrite: bool = False,
    player_names: bool = False,
    embed: bool = False,
    **values: Any,
) -> None:
    """Make captions again from what wat heard: SIDECAR... are its JSON files, edited or not.

    No model is needed. Layout options that are not given are as they were when the file was captioned. With a sound
    option (--sounds, --tags-threshold ...) the sounds are decided again; otherwise they are taken as they stand.
    """
    names = _formats(output_format)
    if output_dir not in (None, "-"):
        raise UsageError("--output-dir takes - here; captions go beside their sidecar otherwise")
    if output_dir == "-" and (len(names) != 1 or len(sidecars) != 1):
        raise UsageError("--output-dir - takes one sidecar and one format: add, for example, -f srt")
    missing = [path for path in sidecars if not path.is_file()]
    if missing:
        raise UsageError(f"no such file: {', '.join(map(shown, missing))}")
    given = {name: value for name, value in values.items() if is_given(ctx, name)}
    captions = {name: value for name, value in given.items() if name in CaptionOptions.__dataclass_fields__}
    sounds = {name: value for name, value in given.items() if name in TagOptions.__dataclass_fields__}
    work = _Work(names, captions, sounds, overwrite, player_names, embed)
    raise typer.Exit(int(work.to_stdout(sidecars[0]) if output_dir == "-" else work.on_all(sidecars)))


render.__signature__ = signature([CaptionOptions, TagOptions], _LEADING, skip=LEFT_OUT)  # type: ignore[attr-defined]
render = configurable(render)


def _formats(text: str) -> list[str]:
    wanted = [name.strip().lower() for name in text.split(",") if name.strip()]
    known = [name for name in FORMATS if name != "json"]
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise UsageError(f"--output-format {text}: it names one or more of {', '.join(known)}")
    return [name for name in known if name in wanted]


@dataclass(frozen=True)
class _Work:
    """What is to be done with each sidecar."""

    formats: list[str]
    captions: dict[str, Any]
    sounds: dict[str, Any]
    overwrite: bool
    player_names: bool
    embed: bool

    def to_stdout(self, path: Path) -> ExitCode:
        """The one format on standard output."""
        from wat_cli import rendering

        rendered = rendering.render(path, self.formats, self.captions, self.sounds)
        sys.stdout.buffer.write(rendered.contents[self.formats[0]] or b"")
        sys.stdout.buffer.flush()
        return ExitCode.OK

    def on_all(self, paths: list[Path]) -> ExitCode:
        """Files beside every sidecar; one that fails does not stop the others."""
        code = ExitCode.OK
        for path in paths:
            try:
                typer.echo(f"{shown(path)}: {self._on(path)}", err=True)
            except UsageError:
                raise
            except WatError as error:
                typer.echo(f"wat: {error}", err=True)
                code = ExitCode.SOME_FAILED
        return code

    def _on(self, path: Path) -> str:
        """Render one sidecar; what was written, and what its reader should know."""
        from wat_cli import outputs, rendering

        rendered = rendering.render(path, self.formats, self.captions, self.sounds)
        written = list(rendering.write(path, rendered, self.overwrite, self.player_names))
        if self.embed:
            with outputs.locked(path):
                copy = rendering.write_copy(path, self.overwrite, captions=self.captions, sounds=self.sounds)
            written.append(copy)
        names = ", ".join(printable(place.name) for place in written) or "nothing"
        return "; ".join([names, *map(printable, rendered.transcript.notes)])
