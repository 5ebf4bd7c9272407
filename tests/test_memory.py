"""What torch says when the memory runs out is understood, and nothing else is taken for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from wat_cli.engine import load_engine, loading
from wat_cli.errors import WatError
from wat_cli.model.memory import give_back, ran_out_of_memory
from wat_cli.options import ModelOptions


def test_torchs_own_words_on_a_cpu() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**48)
    assert ran_out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("shape '[1, 2]' is invalid for input of size 3"), False),
        (ValueError("out of memory"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_what_is_a_lack_of_memory(error: BaseException, memory: bool) -> None:
    assert ran_out_of_memory(error) is memory


def test_giving_back_is_harmless() -> None:
    give_back()


def test_a_model_that_does_not_fit_ends_the_run_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(loading, "_load_model", full)
    asr = SimpleNamespace(name="large-v2", path=Path("large-v2.pt"))
    with pytest.raises(WatError, match="--model large-v2: .* smaller --model"):
        load_engine(SimpleNamespace(asr=asr, head=None, second_encoder=None), ModelOptions(device="cpu"))


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")
def test_what_tensors_held_goes_back_though_small_blocks_lie_between() -> None:
    program = (
        "import torch, sys\n"
        "from pathlib import Path\n"
        "from wat_cli.model.memory import keep_heap_whole, trim_heap\n"
        "keep_heap_whole()\n"
        "def resident(): return int(Path('/proc/self/statm').read_text().split()[1]) * 4096\n"
        "torch.ones(2**20)\n"
        "before, small = resident(), []\n"
        "for _ in range(3):\n"
        "    large = []\n"
        "    for _ in range(100): large.append(torch.ones(2**19)); small.append(torch.ones(2**8))\n"
        "    del large\n"
        "    trim_heap()\n"
        "print((resident() - before) >> 20)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert int(done.stdout) < 50
