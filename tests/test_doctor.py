"""``wat doctor`` on machines with one thing wrong each."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections import namedtuple
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from wat_cli import checkpoints, cpus, doctor
from wat_cli.checkpoints import hashes, registry
from wat_cli.cli import main
from wat_cli.doctor import Finding, State, examine
from wat_cli.options import ModelOptions

TORCH = """
__version__ = "9.9"
class version: cuda = {cuda!r}
class _Properties: total_memory = 80 << 30
class cuda:
    is_available = staticmethod(lambda: {gpus} > 0)
    device_count = staticmethod(lambda: {gpus})
    get_device_name = staticmethod(lambda i: "NVIDIA H100")
    get_device_properties = staticmethod(lambda i: _Properties)
"""

MakeTorch = Callable[[str], None]


@pytest.fixture
def make_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeTorch:
    """Puts a module in torch's place for the processes that are asked: nothing heavy, and any machine."""

    def make(source: str) -> None:
        folder = tmp_path / "site"
        folder.mkdir(exist_ok=True)
        (folder / "torch.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(folder))

    return make


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_torch: MakeTorch) -> Path:
    """A sound machine without a GPU, with ``mini`` installed and an empty cache; its cache folder."""
    make_torch(TORCH.format(cuda=None, gpus=0))
    monkeypatch.setattr(doctor, "nvidia_driver", lambda: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("WAT_MODEL", raising=False)
    for variable in cpus.VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(cpus, "_load", lambda: 0.0)
    data = tmp_path / "data"
    data.mkdir()
    for name in ("mini.pt", "mini_head.pt"):
        (data / name).write_bytes(b"PK\x03\x04")
    monkeypatch.setattr(checkpoints, "DATA_FOLDER", data)
    return tmp_path / "cache"


def findings(subject: str, **options: object) -> list[Finding]:
    """What is found of one subject."""
    return [found for found in examine(ModelOptions(**options)) if found.subject == subject]  # type: ignore[arg-type]


def only(subject: str, **options: object) -> Finding:
    (found,) = findings(subject, **options)
    return found


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    try:
        main(["doctor", *arguments])
        code = 0
    except SystemExit as exit:
        code = int(exit.code or 0)
    return code, capsys.readouterr().out


def test_a_sound_machine_has_no_problem(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, "--model", "mini")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["ok", subject]
        for subject in ("Python", "packages", "torch", "device", "CPU", "ffmpeg", "model", "cache", "disk")
    ]


def test_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, "--json", "--device", "cuda")
    found = {entry["subject"]: entry for entry in json.loads(out)}
    assert code == 3
    assert found["device"]["state"] == "problem"
    assert found["device"]["mend"] == "use --device auto"
    assert found["model"]["state"] == "note"
    assert found["Python"] == {
        "subject": "Python", "state": "ok", "text": found["Python"]["text"], "mend": None,
    }  # fmt: skip
    assert sys.executable in found["Python"]["text"]


def test_every_line_that_is_not_well_carries_its_mend(capsys: pytest.CaptureFixture[str], machine: Path) -> None:
    (machine / "whisper").mkdir(parents=True)
    (machine / "whisper" / "small.pt").write_bytes(b"half of it")
    code, out = run(capsys, "--device", "cuda:7")
    assert code == 3
    unwell = [line for line in out.splitlines() if not line.startswith("ok")]
    assert len(unwell) == 3
    assert all("Mend: " in line for line in unwell)


def test_a_machine_on_which_everything_is_wrong_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, machine: Path
) -> None:
    """No ffmpeg, no weights, a broken cache and a full disk: a line each, and each with its mend."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    (machine / "whisper").mkdir(parents=True)
    (machine / "whisper/tiny.pt").write_bytes(b"half of it")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12 - 10**6, 10**6))
    code, out = run(capsys, "--model", "small")
    lines = {line.split()[1]: line for line in out.splitlines() if not line.startswith("ok")}
    assert code == 3
    assert list(lines) == ["ffmpeg", "model", "cache", "disk"]
    assert all("  Mend: " in line for line in lines.values())
    assert "apt install ffmpeg" in lines["ffmpeg"]
    assert "wat models pull small, or --model mini" in lines["model"]
    assert "tiny.pt is not what it should be" in lines["cache"] and "wat models pull tiny" in lines["cache"]
    assert lines["disk"].startswith("problem") and "free some room" in lines["disk"]


class TestPackages:
    def test_each_declared_one_is_named_with_its_version(self) -> None:
        found = only("packages")
        assert found.state is State.OK
        for name in ("openai-whisper", "typer", "torch"):
            assert f"{name} {metadata.version(name)}" in found.text
        assert "pytest" not in found.text

    def test_a_missing_one_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(metadata, "requires", lambda name: ["numpy>=1", "no-such>=2", "other; extra == 'test'"])
        found = only("packages")
        assert (found.state, found.text, found.mend) == (State.PROBLEM, "missing: no-such", "pip install no-such")

    def test_a_checkout_that_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(name: str) -> None:
            raise metadata.PackageNotFoundError(name)

        monkeypatch.setattr(metadata, "requires", fail)
        assert only("packages").mend == "pip install ."


class TestTorch:
    def test_the_installed_one_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("PYTHONPATH")
        answer = doctor.ask_torch()
        assert isinstance(answer, dict)
        assert answer["version"].split("+")[0] == metadata.version("torch").split("+")[0]

    def test_one_that_cannot_be_imported(self, make_torch: MakeTorch) -> None:
        make_torch("raise ImportError('libcudart.so.12: cannot open shared object file')")
        found = only("torch")
        assert found.state is State.PROBLEM
        assert "libcudart.so.12" in found.text
        assert found.mend is not None
        assert findings("device") == []

    def test_one_that_crashes(self, make_torch: MakeTorch) -> None:
        make_torch("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
        assert only("torch").text == "crashes when imported (signal 11)"

    def test_one_that_hangs(self, make_torch: MakeTorch, monkeypatch: pytest.MonkeyPatch) -> None:
        make_torch("import time; time.sleep(60)")
        monkeypatch.setattr(doctor, "_TORCH_TIMEOUT", 0.5)
        assert only("torch").state is State.PROBLEM

    def test_a_file_named_torch_in_the_current_folder_is_not_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "torch.py").write_text("raise ImportError('the wrong one')")
        monkeypatch.chdir(tmp_path)
        assert only("torch").state is State.OK


class TestCPU:
    def test_a_quota_is_what_there_is_to_compute_with(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cpus, "allowed_cpus", lambda: 2)
        assert only("CPU") == Finding("CPU", State.OK, "2 to compute with")

    def test_more_threads_than_that_are_named_with_the_number_that_fits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cpus, "allowed_cpus", lambda: 2)
        monkeypatch.setenv("OMP_NUM_THREADS", "8")
        found = only("CPU")
        assert (found.state, found.mend) == (State.NOTE, "OMP_NUM_THREADS=2")
        assert found.text.startswith("OMP_NUM_THREADS=8, but 2 CPUs to use")

    def test_others_at_work_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cpus, "_load", lambda: 99.0)
        monkeypatch.setattr(cpus.os, "cpu_count", lambda: 4)
        assert only("CPU").text.startswith("others are at work: a load of 99.0 on 4 CPUs")


class TestDevice:
    def test_a_gpu_is_chosen(self, make_torch: MakeTorch) -> None:
        make_torch(TORCH.format(cuda="12.8", gpus=2))
        assert only("device").text.startswith("cuda:0 chosen; cuda:0 NVIDIA H100 (80 GiB), cuda:1")
        assert only("device", device="cuda").text.startswith("cuda:0 chosen")
        assert only("device", device="cuda:1").text.startswith("cuda:1 chosen")
        assert only("device", device="cpu").text.startswith("cpu chosen")

    def test_several_gpus_are_chosen(self, make_torch: MakeTorch) -> None:
        make_torch(TORCH.format(cuda="12.8", gpus=3))
        assert only("device", device="cuda:0,cuda:2").text.startswith("cuda:0, cuda:2 chosen")
        assert only("device", device="all").text.startswith("cuda:0, cuda:1, cuda:2 chosen")
        missing = only("device", device="cuda:1,cuda:3")
        assert (missing.state, missing.mend) == (State.PROBLEM, "use --device auto")

    def test_all_gpus_of_a_machine_without_any(self) -> None:
        assert only("device", device="all").state is State.PROBLEM

    @pytest.mark.parametrize("device", ["cuda:2", "cuda:x"])
    def test_a_gpu_that_is_not_there(self, make_torch: MakeTorch, device: str) -> None:
        make_torch(TORCH.format(cuda="12.8", gpus=2))
        assert only("device", device=device).state is State.PROBLEM

    def test_a_gpu_with_a_torch_for_cpus(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor, "nvidia_driver", lambda: True)
        found = only("device")
        assert found.state is State.NOTE
        assert "built without CUDA" in found.text

    def test_a_gpu_that_torch_cannot_use(self, make_torch: MakeTorch, monkeypatch: pytest.MonkeyPatch) -> None:
        make_torch(TORCH.format(cuda="12.8", gpus=0))
        monkeypatch.setattr(doctor, "nvidia_driver", lambda: True)
        found = only("device")
        assert found.state is State.NOTE
        assert found.mend is not None
        assert "driver" in found.mend


class TestFFmpeg:
    def test_none_at_all(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
        found = only("ffmpeg")
        assert (found.state, found.text) == (State.PROBLEM, "not found")
        assert found.mend == "apt install ffmpeg, or pip install imageio-ffmpeg"

    def test_the_wheels_alone_is_enough(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        found = only("ffmpeg")
        assert found.state is State.OK
        assert "without ffprobe" in found.text

    def test_one_that_does_not_run(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        broken = tmp_path / "bin" / "ffmpeg"
        broken.parent.mkdir()
        broken.write_text("#!/bin/sh\nexit 127\n")
        broken.chmod(0o755)
        monkeypatch.setenv("PATH", str(broken.parent), prepend=":")
        found = only("ffmpeg")
        assert found.state is State.PROBLEM
        assert str(broken) in found.text


class TestWeights:
    def test_weights_that_are_not_here_yet(self) -> None:
        found = only("model")
        assert found.state is State.NOTE
        assert "small.pt, small_low.pth" in found.text
        assert found.mend == "wat models pull small, or --model mini"

    def test_mini_is_always_here_unless_the_installation_is_broken(self, tmp_path: Path) -> None:
        assert only("model", model="mini").state is State.OK
        (tmp_path / "data" / "mini.pt").unlink()
        assert only("model", model="mini").mend == "install wat again"

    @pytest.mark.parametrize("name", ["smol", "turbo"])
    def test_a_model_that_cannot_be_used_as_asked(self, name: str) -> None:
        found = only("model", model=name)
        assert found.state is State.PROBLEM
        assert name in found.text


class TestCache:
    def test_an_interrupted_download_of_another_program(self, machine: Path) -> None:
        """openai-whisper writes in place: what it leaves behind has the right name and the wrong content."""
        (machine / "whisper").mkdir(parents=True)
        (machine / "whisper" / "base.pt").write_bytes(b"half of it")
        found = only("cache")
        assert found.state is State.PROBLEM
        assert str(machine / "whisper" / "base.pt") in found.text
        assert found.mend == "wat models pull base"

    def test_a_changed_head(self, machine: Path) -> None:
        head = machine / "whisper" / "tiny_ori.pth"
        head.parent.mkdir(parents=True)
        head.write_bytes(b"PK\x03\x04")
        assert only("cache").text.endswith("1 checked file")
        head.write_bytes(b"PK\x03\x04 changed")
        assert only("cache").mend == "wat models pull tiny"

    def test_our_own_unfinished_download(self, machine: Path) -> None:
        (machine / "whisper").mkdir(parents=True)
        (machine / "whisper" / "small.pt.part").write_bytes(bytes(3_000_000))
        part, folder = findings("cache")
        assert part.state is State.NOTE
        assert "3 MB of an unfinished download" in part.text
        assert folder.state is State.OK

    def test_a_record_that_cannot_be_read(self, machine: Path) -> None:
        hashes.remember_first_seen(registry.MODELS["tiny"].heads["full"].file.url, "0" * 64)
        (machine / "wat" / "first_seen.json").write_text("{")
        found = only("cache")
        assert found.state is State.PROBLEM
        assert found.mend is not None
        assert found.mend.startswith(f"rm {machine}/wat/first_seen.json")

    def test_a_file_in_place_of_the_folder(self, machine: Path) -> None:
        machine.mkdir()
        (machine / "whisper").write_text("")
        assert findings("cache")[0].text == f"{machine}/whisper cannot be written"


class TestDisk:
    def full(self, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12 - free, free))

    def test_a_full_disk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full(monkeypatch, 1_000_000)
        found = findings("disk")
        assert [line.state for line in found] == [State.PROBLEM] * 3
        assert [line.text.split(" in ")[0] for line in found] == [
            "1 MB for weights", "1 MB for decoded audio", "1 MB for captions",
        ]  # fmt: skip
        assert all(line.mend and "free some room" in line.mend for line in found)

    def test_room_for_an_hour_but_not_for_ten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full(monkeypatch, 5 * doctor.HOUR_OF_AUDIO)
        audio, rest = findings("disk", model="mini")
        assert (audio.state, rest.state) == (State.NOTE, State.OK)

    def test_nowhere_to_put_temporary_files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail() -> str:
            raise FileNotFoundError("No usable temporary directory found")

        monkeypatch.setattr(tempfile, "gettempdir", fail)
        found = findings("disk", model="mini")[0]
        assert found.state is State.PROBLEM
        assert found.mend is not None
        assert "TMPDIR" in found.mend


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch, machine: Path) -> None:
    import requests

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("the doctor went to the network")

    monkeypatch.setattr(requests, "get", refuse)
    list(examine(ModelOptions()))
    assert not (machine / "whisper").exists()
