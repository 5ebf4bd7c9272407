"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    # read when torch is imported, here and in the programs under test: more threads than cores wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


@pytest.fixture(scope="session", autouse=True)
def _interrupts_are_heard() -> None:
    """What a shell starts in the background ignores interrupts, and hands that down to the programs under test."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # under nohup
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _ffmpeg_on_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """openai-whisper, the reference, calls ``ffmpeg`` by name: where none is installed, imageio-ffmpeg's stands in."""
    if shutil.which("ffmpeg"):
        yield
        return
    import imageio_ffmpeg

    folder = tmp_path_factory.mktemp("bin")
    (folder / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
    yield
    os.environ["PATH"] = before


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A developer's own ``wat/config.toml`` decides nothing here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data that lies beside the checkout where the project is developed, and nowhere else."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared, which is not part of the repository")
    return folder


@pytest.fixture(scope="session")
def mini() -> Path:
    """The embedded model's checkpoint; its head lies beside it."""
    checkpoint = ROOT / "wat_cli/data/mini.pt"
    if not checkpoint.exists():
        pytest.skip("needs the embedded model, wat_cli/data/mini.pt")
    return checkpoint


@pytest.fixture(scope="session")
def captioned(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which ``wat caption sample_media --model mini`` wrote, once for all tests."""
    out = tmp_path_factory.mktemp("captioned")
    films = ROOT / "sample_media"
    command = [sys.executable, "-m", "wat_cli", "caption", str(films), "--model", "mini", "--output-dir", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=out)
    assert done.returncode == 0, done.stderr
    return out
