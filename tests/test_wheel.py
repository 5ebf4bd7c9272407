"""The package as it is installed: a wheel that holds what it needs and works where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

import wat_cli

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def run(*command: str | Path, **rest: object) -> str:
    """Standard output of a command that must succeed, with nothing of this checkout in its environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "WAT_"))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, **rest)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from this checkout, without a network: the build backend is here."""
    pytest.importorskip("hatchling", reason="needs hatchling, the build backend: it is among the test extras")
    folder = tmp_path_factory.mktemp("wheel")
    run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, ROOT)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of an environment into which the wheel was installed; what it needs is borrowed from this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    variables = {"base": str(folder), "platbase": str(folder)}
    site_packages = Path(sysconfig.get_path("purelib", "venv", variables))
    run(*PIP, f"--python={folder / 'bin/python'}", "install", "--no-deps", "--no-index", wheel)
    # a .pth file within a borrowed folder is not read, so the checkout itself (an editable install) is not borrowed
    (site_packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_it_holds_the_package_and_nothing_else(wheel: Path) -> None:
    tracked = run("git", "-C", ROOT, "ls-files", "-z", "wat_cli").split("\0") if (ROOT / ".git").exists() else []
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert names >= {"wat_cli/py.typed", "wat_cli/data/mini.pt", "wat_cli/data/labels.csv", "wat_cli/api.py"}
    assert names >= {name for name in tracked if name and (ROOT / name).exists()}
    assert {name.partition("/")[0] for name in names} == {"wat_cli", f"wat_cli-{wat_cli.__version__}.dist-info"}


def test_it_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        told = f"wat_cli-{wat_cli.__version__}.dist-info"
        metadata = message_from_string(archive.read(f"{told}/METADATA").decode())
        assert archive.read(f"{told}/entry_points.txt").decode() == "[console_scripts]\nwat = wat_cli.cli:main\n"
        licences = {name.rpartition("/")[2] for name in archive.namelist() if "/licenses/" in name}
    assert (metadata["Name"], metadata["Version"]) == ("wat-cli", wat_cli.__version__)
    assert licences == {"LICENSE", "NOTICE.md"}
    assert metadata["License-Expression"] == "GPL-3.0-or-later"


def test_the_installed_package_captions_a_film(environment: Path, mini: Path, tmp_path: Path) -> None:
    (tmp_path / "talk.mkv").symlink_to(ROOT / "sample_media/island.mkv")
    where = run(environment / "python", "-c", "import wat_cli; print(wat_cli.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(environment.parent)
    assert run(environment / "wat", "--version", cwd=tmp_path) == f"wat {wat_cli.__version__}\n"
    run(environment / "wat", "caption", "talk.mkv", "--model", "mini", "--offline", "--output-dir", "out", cwd=tmp_path)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"talk.srt", "talk.vtt", "talk.json"}
    assert "-->" in (tmp_path / "out/talk.srt").read_text()
