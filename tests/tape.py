"""Records a step's operations and plays them again into the same tensors: what a CUDA graph does, on any device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from wat_cli.model.decoding import BatchDecoder
from wat_cli.model.recorded import RecordedSteps

_T = TypeVar("_T")

HOST = ("_local_scalar_dense", "nonzero", "masked_select", "lift_fresh", "unique", "is_nonzero", "equal")
"""Operations that read a device's numbers on the host, or bring the host's there: no graph can hold them."""


class Tape(TorchDispatchMode):
    """Everything that torch computes while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().split("::")[1].split(".")[0]
        assert name not in HOST, f"{name} makes the host wait"
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out

    def play(self) -> None:
        """Compute everything again, with what the tensors hold now."""
        for func, args, kwargs, out in self.calls:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():  # else it shows the same memory
                    old.copy_(new)


class Recorder:
    """Stands for `CudaGraphs`; counts."""

    def __init__(self) -> None:
        self.recorded = self.played = 0

    def __call__(self, work: Callable[[], _T]) -> Callable[[], _T]:
        self.recorded += 1
        with Tape() as tape:
            given = work()

        def play() -> _T:
            self.played += 1
            tape.play()
            return given

        return play


def as_on_a_gpu(decoder: BatchDecoder) -> Recorder:
    """Let `decoder` record its steps, and attend by a GPU's operations."""
    recorder, slots = Recorder(), decoder.decoder
    decoder.recorded = RecordedSteps(slots, recorder)
    begin = slots._begin_caches

    def begun() -> None:
        begin()
        for cache in (*slots.cross, *slots.past):
            cache.by_sums = False  # type: ignore[attr-defined]

    slots._begin_caches = begun  # type: ignore[method-assign]
    return recorder
