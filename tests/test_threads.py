"""Which thread computes with torch's threads."""

from __future__ import annotations

import os
import subprocess
import sys
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


@pytest.mark.skipif(sys.platform != "linux", reason="torch brings another OpenMP")
@pytest.mark.parametrize(
    ("given", "spins"), [({}, "3000"), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "0")]
)
def test_threads_that_wait_soon_leave_their_core_to_others(given: dict[str, str], spins: str) -> None:
    """As GNU's OpenMP itself says when torch brings it; what the caller set stays."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", "import wat_cli.engine"],
        env={**environment, **given, "OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr
