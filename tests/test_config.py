"""Options from files, the environment and the command line: which one holds, and what is said of the others."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs import reference
from wat_cli.cli import main
from wat_cli.cli.config import FOUND_MAY, Chosen, as_toml, declared, read
from wat_cli.errors import UsageError
from wat_cli.options import CaptionOptions, RunOptions


@dataclass(frozen=True)
class Result:
    """How one command ended."""

    code: int
    out: str
    err: str


Wat = Callable[..., Result]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and a working folder in it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "settings/wat").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.fixture
def wat(capsys: pytest.CaptureFixture[str]) -> Wat:
    def run(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        out, err = capsys.readouterr()
        return Result(int(end.value.code or 0), out, err)

    return run


def user_file(home: Path, text: str) -> Path:
    path = home / "settings/wat/config.toml"
    path.write_text(text)
    return path


def origins(wat: Wat, *arguments: str) -> dict[str, tuple[Any, str]]:
    result = wat("config", "--json", "--changed", *arguments)
    assert result.code == 0, result.err
    return {option["name"]: (option["value"], option["origin"]) for option in json.loads(result.out)["options"]}


# --- which one holds --------------------------------------------------------------------------------------------------


def test_each_place_overrules_the_one_before(wat: Wat, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = user_file(home, "beam_size = 1\nbest_of = 1\nseed = 1\nthreads = 1\n")
    folder = home / "work/wat.toml"
    folder.write_text("best_of = 2\nseed = 2\nthreads = 2\n")
    monkeypatch.setenv("WAT_SEED", "3")
    monkeypatch.setenv("WAT_THREADS", "3")
    assert origins(wat) == {
        "beam_size": (1, str(user)),
        "best_of": (2, str(folder)),
        "seed": (3, "WAT_SEED"),
        "threads": (3, "WAT_THREADS"),
    }
    told = tomllib.loads(wat("caption", "--print-config", "--threads", "4").out)
    assert [told[name] for name in ("beam_size", "best_of", "seed", "threads")] == [1, 2, 3, 4]
    assert wat("caption", "--print-config", "--threads", "4").out.count("  # --threads\n") == 1


def test_a_named_file_stands_for_the_others(wat: Wat, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user_file(home, "beam_size = 1\n")
    (home / "work/wat.toml").write_text("best_of = 2\n")
    (home / "own.toml").write_text("seed = 3\n")
    assert origins(wat, "--config", "../own.toml") == {"seed": (3, "../own.toml")}
    assert origins(wat, "--config", "none") == {}
    monkeypatch.setenv("WAT_CONFIG", str(home / "own.toml"))
    assert origins(wat) == {"seed": (3, str(home / "own.toml"))}
    assert "beam_size = 1" in wat("config", "--config", str(home / "settings/wat/config.toml")).out


def test_every_option_can_be_set_in_each_place(wat: Wat, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One rule for all: name, environment and flag of each declared option, whatever it is."""
    defaults = {field.name: field.default for kind in get_type_hints(RunOptions).values() for field in fields(kind)}
    assert set(declared()) == set(defaults)
    for name, option in declared().items():
        text = (option.choices or ("2",))[-1]
        value: Any = {bool: not defaults[name], int: 9, float: 1.0, Path: "x"}.get(option.kind, text)
        value = {"language": "de", "output_format": "vtt", "tags_threshold": 0.5}.get(name, value)
        file = home / "own.toml"
        file.write_text(f"{name} = {json.dumps(value)}\n")
        found = read(file)[name]
        assert (found, type(found)) == ((home / value, type(home)) if option.kind is Path else (value, type(value)))
        monkeypatch.setenv(f"WAT_{name.upper()}", str(value))
        monkeypatch.setenv("WAT_WORD_TIMESTAMPS", "True")
        assert origins(wat)[name] == (value, f"WAT_{name.upper()}")
        monkeypatch.delenv(f"WAT_{name.upper()}")
        monkeypatch.delenv("WAT_WORD_TIMESTAMPS", raising=False)


def test_every_command_that_reads_the_environment_reads_files_too() -> None:
    """An option is declared once: wherever it stands, it has the name, the variable and the key of its declaration."""
    for name, command in reference.commands():
        variables = {parameter.name: getattr(parameter, "envvar", None) for parameter in command.params}
        options = {option: variable for option, variable in variables.items() if variable}
        assert not options or options.pop("config", None) == "WAT_CONFIG", name
        assert options == {option: f"WAT_{option.upper()}" for option in options}, name
        assert set(options) <= set(declared()), name


def test_hyphens_and_none_are_read_as_on_the_command_line(wat: Wat, home: Path) -> None:
    user_file(home, 'beam-size = "None"\ntemperature = 1\n')
    assert origins(wat)["beam_size"][0] is None
    assert origins(wat)["temperature"][0] == 1.0


def test_paths_are_relative_to_their_file(wat: Wat, home: Path) -> None:
    user_file(home, 'sounds_file = "sounds.toml"\nmodel_dir = "~/weights"\noutput_dir = "-"\noutput_format = "srt"\n')
    found = origins(wat)
    assert found["sounds_file"][0] == str(home / "settings/wat/sounds.toml")
    assert found["model_dir"][0] == str(home / "weights")
    assert found["output_dir"][0] == "-"


def test_other_commands_read_the_same_files(wat: Wat, home: Path, tmp_path: Path) -> None:
    path = user_file(home, 'model_dir = "here"\nstyle = "netflix"\nseed = 5\n')
    assert f"Folder: {path.parent / 'here'}" in wat("models", "list").out
    assert "Folder: " in wat("models", "list", "--config", "none").out
    assert str(path.parent / "here") not in wat("models", "list", "--config", "none").out
    assert "here" in wat("doctor", "--model", "mini").out


def test_the_guides_example_is_read(home: Path) -> None:
    guide = (Path(__file__).parents[1] / "docs/configuration.md").read_text()
    path = user_file(home, guide.partition("```toml\n")[2].partition("```")[0])
    assert set(read(path)) == {"model", "output_dir", "output_format", "word_timestamps", "tags_threshold"}


# --- what is said -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("beem_size = 3", "no option is called beem_size; did you mean beam_size?"),
        ("[caption]\nbeam_size = 3", "no option is called caption. Options stand at the top"),
        ("beam_size = 3.5", "beam_size is 3.5; a whole number is expected"),
        ('beam_size = "many"', "beam_size: 'many' is not a whole number, nor None"),
        ("beam_size = [3]", 'beam_size is a list; a whole number, or "None", is expected'),
        ("tags_threshold = true", 'tags_threshold is true or false; a number, or "None", is expected'),
        ('tags = "yes"', "tags is a text; true or false is expected"),
        ("tags = 1", "tags is a number; true or false is expected"),
        ('output_format = ["srt", "vtt"]', "output_format is a list; a text (lists are written with commas)"),
        ("model = 3", "model is a number; a text"),
        ("output_dir = 3", "output_dir is a number; a path, in quotes is expected"),
        ('style = "baroque"', "style: 'baroque' is not one of default, netflix, plain"),
        ("seed = 2026-01-01", "seed is a date or time; a whole number is expected"),
        ("beam_size = 3\nbeam-size = 4", "beam-size is set twice"),
        ("beam_size 3", "(at line 1"),
        ("tags_threshold = 7", "--tags-threshold 7.0: it lies between 0 and 1 (--tags-threshold comes from "),
        ("max_words_per_line = 3", "--max-words-per-line needs --word-timestamps (--max-words-per-line comes from "),
        ('initial_prompt = "\\u0000"', ""),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(wat: Wat, home: Path, text: str, message: str) -> None:
    path = user_file(home, text)
    result = wat("caption", "a.mp4")
    assert (result.code, result.out) == (2, "")
    if message:
        assert message.replace(". Options", " Options") in result.err.replace(". Options", " Options")
        assert str(path) in result.err
        assert wat("config").code == 2
        assert str(path) in wat("config").err


def test_bytes_that_are_no_text(wat: Wat, home: Path) -> None:
    path = home / "settings/wat/config.toml"
    path.write_bytes(b'model = "\xff"')
    result = wat("caption", "a.mp4")
    assert (result.code, str(path) in result.err) == (2, True)


def test_a_named_file_that_is_not_there(wat: Wat) -> None:
    result = wat("caption", "a.mp4", "--config", "gone.toml")
    assert result.code == 2
    assert "gone.toml: cannot be read (No such file or directory)" in result.err


def test_the_environment_is_named_too(wat: Wat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAT_TAGS_THRESHOLD", "7")
    assert "(--tags-threshold comes from WAT_TAGS_THRESHOLD)" in wat("caption", "a.mp4").err
    assert "comes from" not in wat("caption", "a.mp4", "--tags-threshold", "8").err
    monkeypatch.setenv("WAT_TAGS_THRESHOLD", "many")
    assert "WAT_TAGS_THRESHOLD" in wat("caption", "a.mp4").err


def test_a_misspelt_variable_is_told(wat: Wat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAT_BEAM_SIZES", "7")
    result = wat("config")
    assert result.code == 0
    assert "WAT_BEAM_SIZES is in the environment and no option; did you mean WAT_BEAM_SIZE?" in result.err


@pytest.mark.parametrize(
    "text",
    [
        "overwrite = true",
        'on_file = "sh evil.sh {}"',
        'scheduler = "tcp://evil.example:8786"',
        'summary = "/home/x/.bashrc"',
        'log_json = "../log"',
        'output_dir = "~/out"',
        'summary = "link"',
        'sounds_file = "/etc/passwd"',
    ],
)
def test_a_file_found_in_a_folder_cannot_reach_out_of_it(wat: Wat, home: Path, text: str) -> None:
    (home / "work/link").symlink_to(home / ".bashrc")
    (home / "work/wat.toml").write_text(text)
    result = wat("caption", "a.mp4")
    assert result.code == 2
    assert "wat.toml" in result.err and "say --config wat.toml" in result.err
    assert origins(wat, "--config", "wat.toml")


def test_a_file_found_in_a_folder_writes_within_it(wat: Wat, home: Path) -> None:
    (home / "work/wat.toml").write_text('output_dir = "captions"\noverwrite = false\nbeam_size = 3\nmodel = "mini"\n')
    assert origins(wat)["output_dir"][0] == str(home / "work/captions")


def test_what_a_found_file_may_not_set_is_known() -> None:
    """Whoever adds an option decides whether a stranger may set it: by default not."""
    refused = {name for name, option in declared().items() if not option.decides and name not in FOUND_MAY}
    assert refused == {"overwrite", "on_file", "scheduler", "null", "dry_run"}
    assert set(declared()) >= FOUND_MAY


# --- the printed file -------------------------------------------------------------------------------------------------


def test_what_is_printed_can_be_read_again(wat: Wat, home: Path) -> None:
    given = ["--initial-prompt", 'say "hé" \\ \x7f\t', "--max-cps", "12.5", "--no-tags", "--beam-size", "None"]
    printed = wat("caption", "--print-config", *given).out
    (home / "again.toml").write_text(printed)
    again = wat("caption", "--print-config", "--config", str(home / "again.toml"), "--beam-size", "None").out
    assert tomllib.loads(again) == tomllib.loads(printed)
    assert tomllib.loads(printed)["initial_prompt"] == given[1]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_survives(text: str) -> None:
    lines = as_toml([Chosen("initial_prompt", text, "default", "Speech")])
    assert tomllib.loads("\n".join(lines)) == {"initial_prompt": text}


@given(st.dictionaries(st.sampled_from(sorted(declared())), st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text("aNone0,", max_size=4),
    lambda inner: st.lists(inner, max_size=2),
), max_size=3))  # fmt: skip
def test_any_file_is_read_or_refused_in_words(tmp_path_factory: pytest.TempPathFactory, table: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("any") / "any.toml"
    path.write_text("".join(f"{key} = {json.dumps(v)}\n" for key, v in table.items() if v is not None))
    try:
        found = read(path)
    except UsageError as error:
        assert str(path) in str(error)
    else:
        assert set(found) <= set(declared())


def test_sections_follow_the_help(wat: Wat) -> None:
    out = wat("config").out
    panels = [line[2:] for line in out.splitlines() if line.startswith("# ") and " = " not in line and "/" not in line]
    panels = [panel for panel in panels if not panel.endswith("=") and "=" not in panel]
    assert panels[:4] == ["Output", "Model", "Sounds", "Captions"]
    assert len(panels) == len(set(panels))
    assert CaptionOptions.__dataclass_fields__["style"].metadata["panel"] in panels
