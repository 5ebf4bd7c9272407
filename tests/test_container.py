"""The container's recipe names what is there: files, options, the program. It is not built here."""

from __future__ import annotations

import re
import shlex
import tomllib
from fnmatch import fnmatch
from pathlib import Path

from wat_cli.cli.parameters import environment_name
from wat_cli.options import ModelOptions

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
STEPS = [line.split(maxsplit=1) for line in TEXT.splitlines() if line and not line.startswith("#")]


def arguments(kind: str) -> list[list[str]]:
    """The words of every step of a kind."""
    return [shlex.split(words) for name, words in STEPS if name == kind]


def test_what_is_copied_is_there_and_let_through() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[0] == "*"
    for *sources, _ in arguments("COPY"):
        for source in sources:
            assert (ROOT / source).exists(), source
            assert f"!{source}" in ignored, source


def test_all_that_the_wheel_is_made_of_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = [project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml"]
    needed += project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = {source for *sources, _ in arguments("COPY") for source in sources}
    assert set(needed) <= copied
    assert not any(fnmatch(name, "*.pt") for name in copied), "mini comes with the package"


def test_torch_comes_from_an_index_that_can_be_named() -> None:
    names = [words[0].partition("=")[0] for words in arguments("ARG")]
    for name in names:
        assert re.search(rf'"\${name}"', TEXT), name


def test_the_environment_is_one_that_wat_reads() -> None:
    settings = dict(word.split("=", 1) for words in arguments("ENV") for word in words)
    assert settings.pop(environment_name("model_dir")) in TEXT.partition("VOLUME")[2]
    assert hasattr(ModelOptions(), "model_dir")
    assert set(settings) == {"PATH", "HOME", "XDG_CACHE_HOME"}
    assert 'ENTRYPOINT ["wat"]' in TEXT
