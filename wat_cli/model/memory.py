"""Whether an error says that the memory ran out, and how to give back what is not used."""

from __future__ import annotations

import gc

import torch

_SIGNS = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed")
"""How torch, its CPU allocator and CUDA's libraries put it where they have no class for it."""


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is a lack of memory, on the device or beside it, so that less at once may still do."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def give_back() -> None:
    """Let other allocations have what is not used any more."""
    gc.collect()  # tensors that the frames of a failed call held
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
