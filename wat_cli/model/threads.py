"""Which of the program's threads computes with torch's threads.

OpenMP keeps a team of threads for every thread that once computed with one, as long as that lives. Once all teams
together have more threads than there are cores, their members no longer wait a moment for the next product but go to
sleep at once (libgomp's throttled spinning): a decoder step of small products took a quarter longer. So there is one
team at a time: that of the engine's own thread. Others compute alone, or in a thread that ends. Where other programs
want the cores, `wat_cli.engine.spinning` wants just that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

_T = TypeVar("_T")


def compute_with(threads: int) -> None:
    """Let the calling thread, and only it, compute with a team of `threads`."""
    torch.get_num_threads()  # a thread's first look takes the number that was set last, by whichever thread
    torch.set_num_threads(threads)


@contextmanager
def alone() -> Iterator[None]:
    """Let the calling thread compute without a team meanwhile."""
    threads = torch.get_num_threads()
    compute_with(1)
    try:
        yield
    finally:
        compute_with(threads)


def apart(call: Callable[[], _T]) -> _T:
    """Give what `call` gives, computed in a thread that ends, and its team with it; raises what it raises."""
    threads = torch.get_num_threads()
    given: list[Any] = []
    raised: list[BaseException] = []

    def run() -> None:
        compute_with(threads)
        try:
            given.append(call())
        except BaseException as error:  # handed to the caller
            raised.append(error)

    thread = threading.Thread(target=run, name="wat-apart", daemon=True)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    result: _T = given[0]
    return result
