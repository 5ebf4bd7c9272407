"""``wat review``: an HTML page to look through what was heard."""

from __future__ import annotations

import webbrowser
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wat_cli.errors import UsageError, printable, shown

if TYPE_CHECKING:
    from wat_cli.review import Summary

EPILOG = """Examples:  wat review ./videos  ·  wat review talk.json -o talk.html --open

Corrections are saved in the page as a sidecar: put it in the old one's place, then wat render it."""


def review(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATHS...", help="Folders that were captioned, sidecars, or media files.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The page to write; review.html in the folder given.")
    ] = None,
    loudness: Annotated[
        bool, typer.Option("--loudness/--no-loudness", help="Decode each file once for the loudness on its timeline.")
    ] = True,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    log: Annotated[
        Path | None, typer.Option("--log", help="Log of the run (wat caption --log-json): tells why files failed.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but why no page was written.")] = False,
) -> None:
    """Write a page that opens from disk: every file with its outcome and doubtful places, its player and its captions.

    The page needs no network and no server. Media files are not copied: the page finds them by their place relative to
    its own. Where there is much to show, a folder beside the page holds it.
    """
    from wat_cli.failures import failed_before
    from wat_cli.review import find, place, read_failures, write_page

    found = find(paths)
    if not found:
        raise UsageError(f"nothing to review in {', '.join(shown(path) for path in paths)}: wat caption comes first")
    page = output or (paths[0] / "review.html" if len(paths) == 1 and paths[0].is_dir() else Path("review.html"))
    if page.is_dir() or page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--output {shown(page)}: name an HTML file, such as {shown(page / 'review.html')}")
    reasons = read_failures(log) if log is not None else {}

    def failure(path: Path) -> str | None:
        return reasons.get(place(path)) or ("failed when it was last tried" if failed_before(path) else None)

    with _progress(len(found), quiet) as progress:
        summary = write_page(found, page, loudness, progress, failure)
    if not quiet:
        typer.echo(_line(summary), err=True)
    if open_page:
        webbrowser.open(page.absolute().as_uri())


@contextmanager
def _progress(files: int, quiet: bool) -> Iterator[Callable[[Path], None]]:
    """A bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("review", total=files)

        def advance(path: Path) -> None:
            bar.update(task, advance=1, description=printable(path.name)[:40].replace("[", "\\["))

        yield advance


def _line(summary: Summary) -> str:
    counts = Counter(row.status for row in summary.rows)
    parts = [f"{count} {status}" for status, count in sorted(counts.items())]
    doubtful = sum(bool(row.doubts) for row in summary.rows)
    beside = f" and {shown(summary.folder)}/" if summary.folder else ""
    return f"{shown(summary.page)}{beside}: {', '.join(parts)}; {doubtful} with doubtful places"
