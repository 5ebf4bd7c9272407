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


def keep_heap_small() -> None:
    """Have glibc give tensors pages of their own, which go back as soon as they are freed; elsewhere nothing happens.

    Left alone, it soon puts blocks of up to 32 MiB between small ones, in a heap for each thread, and what is freed in
    the middle stays: a run over thousands of short files grew by half a megabyte a file. Where the environment tells
    glibc what to do, that holds.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    with contextlib.suppress(AttributeError, OSError):  # no glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 1 << 20)
        mallopt(_TRIM_THRESHOLD, 64 << 20)
        mallopt(_ARENA_MAX, 1)
