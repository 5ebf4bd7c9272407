"""The guide in ``docs/`` keeps to the program: links, commands, messages, fields and examples are those of the code."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import typer.main
from typer.testing import CliRunner

from docs import reference
from tests.fakes import write_wav
from wat_cli import journal, sidecar
from wat_cli.captioning import LONG_SECONDS
from wat_cli.captions.rules import LayoutRules
from wat_cli.captions.sounds import NO_ROOM
from wat_cli.checkpoints.registry import MODELS
from wat_cli.cli import app
from wat_cli.cli.parameters import build
from wat_cli.doctor import HOUR_OF_AUDIO
from wat_cli.errors import ExitCode
from wat_cli.media.decoding import LONGEST
from wat_cli.options import RunOptions, TagOptions
from wat_cli.tagging.events import UNSHOWN
from wat_cli.tagging.policy import load_policy, resolve
from wat_cli.transcript import TAG_HOP

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
EVERYTHING = {ROOT / "docs" / name: text for name, text in PAGES.items()} | {
    ROOT / name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CHANGELOG.md")
}


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


# --- the reference ----------------------------------------------------------------------------------------------------


def test_the_reference_is_what_the_command_line_says() -> None:
    assert reference.page() == PAGES["commands.md"], "run `make docs`"


@pytest.mark.parametrize("name", [name for name, command in reference.commands() if not hasattr(command, "commands")])
def test_help_and_reference_name_the_same_options(name: str) -> None:
    shown = CliRunner().invoke(app, [*name.split()[1:], "--help"], env={"COLUMNS": "300", "TERM": "dumb"}).output
    section = PAGES["commands.md"].partition(f"## {name}\n")[2].partition("\n## ")[0]
    # both lists may name an option within another's words
    helped = set(re.findall(r"^\W*(?:\*\W*)?(--[a-z][\w-]+)", shown, re.MULTILINE)) - {"--help"}
    assert helped == set(re.findall(r"^\| `(--[a-z][\w-]+)", section, re.MULTILINE))
    for row in re.findall(r"^\| `--[^|]* \| (.*?) \| [^|]* \| [^|]* \|$", section, re.MULTILINE):
        words = row.replace("&lt;", "<").replace("\\|", "|").split()
        assert " ".join(words) in " ".join(shown.split()), row


# --- links ------------------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors that a forge gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", EVERYTHING, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", EVERYTHING[page]):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there.read_text(encoding="utf-8")), target


def test_the_index_names_every_page() -> None:
    assert set(re.findall(r"^\| \[.*?\]\((.*?)\)", PAGES["README.md"], re.MULTILINE)) == set(PAGES) - {"README.md"}


# --- commands ---------------------------------------------------------------------------------------------------------


def simple_commands(line: str) -> Iterator[list[str]]:
    """The words of each command of a line of shell, without assignments and redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("|&;()"):
            while words and (words[0] in ("do", "then") or re.fullmatch(r"[A-Z_]+=.*", words[0])):
                words.pop(0)
            redirected = next((place for place, word in enumerate(words) if set(word) <= set("<>")), len(words))
            yield words[:redirected]
            words = []
        else:
            words.append(word)


def told_commands(text: str) -> Iterator[list[str]]:
    """Every ``wat`` command that a page tells, in shell, in a unit file or a crontab, or within a sentence."""
    lines = [line for block in blocks(text, "sh") for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    lines += re.findall(r"^[\d*]+ [\d*]+ \* \* \*  (.*)$", text, re.MULTILINE)
    lines += re.findall(r"`(wat [^`]+)`", text)
    for line in lines:
        yield from (words for words in simple_commands(line) if words and Path(words[0]).name == "wat")


def parse(words: list[str]) -> None:
    """Parse a command as the program would, options checked together, without running it."""
    command: Any = typer.main.get_command(app)
    arguments = [word for word in words[1:] if word not in ("--help", "-h")]
    while hasattr(command, "commands") and arguments and not arguments[0].startswith("-"):
        command = command.commands[arguments.pop(0)]
    if hasattr(command, "commands") or len(arguments) < len(words) - 1 and not arguments:
        assert set(arguments) <= {"--version", "--install-completion", "--show-completion"}, arguments
        return
    parameters = command.make_context("wat", arguments).params
    if command.name == "caption":
        kinds = get_type_hints(RunOptions)
        RunOptions(**{item.name: build(kinds[item.name], parameters) for item in fields(RunOptions)})


@pytest.mark.parametrize("page", EVERYTHING, ids=lambda page: page.name)
def test_commands_are_understood(page: Path) -> None:
    for words in told_commands(EVERYTHING[page]):
        if "COMMAND" in words or words[1:] == []:
            continue
        try:
            parse(words)
        except Exception as error:
            pytest.fail(f"{shlex.join(words)}: {getattr(error, 'message', None) or error!r}")


@pytest.mark.parametrize("page", EVERYTHING, ids=lambda page: page.name)
def test_options_in_sentences_exist(page: Path) -> None:
    parameters = [parameter for _, command in reference.commands() for parameter in command.params]
    known = {name for parameter in parameters for name in (*parameter.opts, *parameter.secondary_opts)}
    told = {name.replace("_", "-") for name in re.findall(r"`(--[a-z][\w-]+)[^`]*`", EVERYTHING[page])}
    assert told <= known | {"--help", "--version", "--no-"}


def test_commands_are_found_in_the_pages() -> None:
    assert sum(len(list(told_commands(text))) for text in PAGES.values()) > 40
    with pytest.raises(Exception, match="nonsense"):
        parse(["wat", "caption", "--nonsense", "a"])
    with pytest.raises(Exception, match="exclude each other"):
        parse(["wat", "caption", "--overwrite", "--skip-existing", "a"])


def test_pipelines_run(tmp_path: Path) -> None:
    """The blocks with find, jq and loops, as they stand, on a small archive and with the fake engine."""
    if shutil.which("jq") is None:
        pytest.skip("needs jq")
    for name in ("talk.mp4", "media/show.mkv", "media/deep/film.wav"):
        write_wav(tmp_path / name, 2.0, level=0.4)
    (tmp_path / "model.pt").write_bytes(b"weights")
    (tmp_path / "logs").mkdir()
    wanted = re.compile(r"\bjq\b|\bfind\b|^for ", re.MULTILINE)
    told = [block for text in PAGES.values() for block in blocks(text, "sh") if wanted.search(block)]
    assert len(told) >= 6
    script = "\n".join(
        ["set -euo pipefail", f'wat() {{ {sys.executable} -m tests.fake_wat "$@"; }}',
         "wat caption talk.mp4 --log-json run.jsonl", *told]
    ).replace("/srv/media", "media").replace("/var/log/wat", "logs")  # fmt: skip
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "WAT_MODEL": str(tmp_path / "model.pt"),
        "WAT_TAGGER_CHECKPOINT": str(tmp_path / "model.pt"),
    }
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower(), done.stderr
    assert "Music" in done.stdout, "the sounds of talk.json"
    assert {path.name for path in (tmp_path / "logs").iterdir()} == {"deep.jsonl"}
    assert "Good evening." in (tmp_path / "talk.srt").read_text(encoding="utf-8"), "the corrected sidecar"


def test_sounds_files_are_read(tmp_path: Path) -> None:
    examples = blocks(PAGES["captioning.md"], "toml")
    assert examples
    for example in examples:
        path = tmp_path / "sounds.toml"
        path.write_text(example, encoding="utf-8")
        policy = resolve(TagOptions(sounds_file=path))
        assert policy.thresholds
        assert policy.enabled != load_policy().enabled


# --- what the pages say of the program --------------------------------------------------------------------------------


def table(page: str, heading: str) -> dict[str, str]:
    """First and second column of the table under a heading."""
    section = PAGES[page].partition(f"# {heading}\n")[2].partition("\n#")[0]
    rows = re.findall(r"^\| (.*?) \| (.*?) \|(?:.*\|)?$", section, re.MULTILINE)
    return dict(rows[1:])


def named(cells: dict[str, str]) -> set[str]:
    """Everything in code in the first column."""
    return {name for cell in cells for name in re.findall(r"`(.*?)`", cell)}


@pytest.mark.parametrize("page", ["unattended.md", "troubleshooting.md"])
def test_exit_codes(page: str) -> None:
    assert {int(code) for code in table(page, "Exit codes")} == {int(code) for code in ExitCode}


def test_fields_of_the_sidecar() -> None:
    schema = sidecar.schema()
    assert named(table("sidecar.md", "Fields")) == set(schema["properties"])
    assert named(table("sidecar.md", "A segment")) == set(schema["$defs"]["segment"]["properties"])
    assert named(table("sidecar.md", "An event")) >= set(schema["$defs"]["event"]["properties"])
    source = table("sidecar.md", "Fields")["`source`"]
    assert set(re.findall(r"`(.*?)`", source)) == set(schema["properties"]["source"]["properties"])


def test_reasons_of_sounds_that_are_not_shown() -> None:
    section = PAGES["sidecar.md"].partition("The reasons:\n")[2].partition("\n#")[0]
    told = set(re.findall(r"^\| `(.*?)` \|", section, re.MULTILINE)) - {"reason"}
    policy = resolve(TagOptions(exclude_sounds="music"))
    hidden = {re.sub("default$|all$", "more", reason) for reason in policy.hidden.values()}
    assert told == {*UNSHOWN.values(), NO_ROOM, *hidden}


def test_fields_of_the_log() -> None:
    told = {name.strip("`"): set(re.findall(r"`(.*?)`", text)) for name, text in table("sidecar.md", "The log").items()}
    lines = journal.schema()["oneOf"]
    assert set(told) == {line["properties"]["event"]["const"] for line in lines}
    for line in lines:
        assert told[line["properties"]["event"]["const"]] == set(line["required"])


def test_numbers() -> None:
    classes = load_policy().classes
    told = {
        "captioning.md": [
            f"{len({sound.caption for sound in classes if sound.tier == 1})} different captions",
            f"two lines of {LayoutRules().width} columns",
            f"to {LayoutRules().max_ms // 1000} s, {LayoutRules().cps:.0f} columns a second",
        ],
        "how-it-works.md": [f"{sum(sound.group == 'music' for sound in classes)} of them are music"],
        "archives.md": [
            f"{HOUR_OF_AUDIO / 1e6:.0f} MB an hour",
            f"{2 * 4 * len(classes) * 3600 / TAG_HOP / 1e6:.0f} MB, in `TMPDIR`",
            f"{LONGEST // 3600} hours",
        ],
        "limits.md": ["{} to {} percent".format(*published_precisions())],
    }
    for page, numbers in told.items():
        for number in numbers:
            assert number in PAGES[page], number
    assert LONG_SECONDS == 600 and "ten minutes or more" in PAGES["archives.md"]


def published_precisions() -> tuple[float, float]:
    """The least and the greatest mean average precision of the published heads."""
    precisions = [head.mean_average_precision for model in MODELS.values() for head in model.heads.values()]
    return min(precisions), max(precisions)


def source_texts() -> Iterator[str]:
    """Every text in the program's sources, with … for what is put in when it runs."""
    for path in (ROOT / "wat_cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_messages_are_those_of_the_program() -> None:
    texts = list(source_texts())
    told = re.findall(r"^\| `(.*?)` \|", PAGES["troubleshooting.md"], re.MULTILINE)
    assert len(told) >= 40
    # the system's own words
    foreign = {"no such file or directory"}
    for message in set(told) - foreign - {"wat doctor"}:
        pattern = ".*".join(re.escape(part) for part in message.split("…"))
        assert any(re.search(pattern, text) for text in texts), message
