"""Whether an error says that the memory ran out, and how to give back what is not used."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os

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


_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Numbers of glibc's ``mallopt`` (``malloc.h``)."""


def keep_heap_whole() -> None:
    """Have glibc keep the pages that freed tensors had, for the next ones; elsewhere nothing happens.

    Left alone, it keeps a heap for each thread, and what is freed between small blocks stays: a run over thousands of
    short files grew. Made to give every tensor pages of its own, it asks for the same ones anew at each window, which
    took a quarter of the time. So there is one heap, and `trim_heap` gives back what is not used after all. Where the
    environment tells glibc what to do, that holds.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    with contextlib.suppress(AttributeError, OSError):  # no glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 32 << 20)
        mallopt(_TRIM_THRESHOLD, 64 << 20)
        mallopt(_ARENA_MAX, 1)


def trim_heap() -> None:
    """Give back the freed pages that lie between used ones; without it short files came to hold a third more."""
    with contextlib.suppress(AttributeError, OSError):  # no glibc
        ctypes.CDLL(None).malloc_trim(0)
