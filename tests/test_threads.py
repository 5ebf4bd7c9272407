"""Which thread computes with torch's threads."""

from __future__ import annotations

import threading

import pytest
import torch

from wat_cli.model.threads import alone, apart, compute_with


def in_a_thread(call: object) -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(call()))  # type: ignore[operator]
    thread.start()
    thread.join()
    return found[0]


def test_alone_means_one_thread_and_then_as_before() -> None:
    before = torch.get_num_threads()
    with alone():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_a_new_thread_computes_with_what_it_was_told_though_another_is_alone() -> None:
    def team() -> int:
        compute_with(2)
        return torch.get_num_threads()

    with alone():
        assert in_a_thread(team) == 2


def test_apart_gives_and_raises_what_the_call_does() -> None:
    here = threading.get_ident()
    assert apart(threading.get_ident) != here
    assert apart(torch.get_num_threads) == torch.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        apart(lambda: 1 // 0)
