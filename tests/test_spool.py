import errno
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wat_cli.errors import OutputError
from wat_cli.tagging import spool as module
from wat_cli.tagging.spool import ScoreSpool

STEPS, CLASSES = 50, 3
additions = st.lists(st.tuples(st.integers(0, STEPS - 1), st.integers(1, 9), st.integers(0, 99)), max_size=8)


@given(additions, st.sampled_from([0, 100, 2**20]), st.integers(1, 60))
def test_sums_in_any_order_read_as_averages(added: list[tuple[int, int, int]], in_memory: int, chunk: int) -> None:
    """Windows may go back: whisper's seek does, and clips come in the order in which they were asked for."""
    sums, counts = np.zeros((STEPS, CLASSES), np.float32), np.zeros(STEPS, np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "IN_MEMORY", in_memory)
        patch.setattr(module, "_CHUNK", chunk)
        spool = ScoreSpool(STEPS, CLASSES)
        for first, length, seed in added:
            length = min(length, STEPS - first)
            values = np.random.default_rng(seed).random((length, CLASSES), np.float32)
            answers = np.full(length, 2, np.float32)
            spool.add(first, values, answers)
            sums[first : first + length] += values
            counts[first : first + length] += answers
        with np.errstate(invalid="ignore"):
            expected = sums / counts[:, None]
        np.testing.assert_array_equal(np.asarray(spool), expected)
        np.testing.assert_array_equal(spool[7:30], expected[7:30])
        np.testing.assert_array_equal(spool[7:30, [2, 0]], expected[7:30][:, [2, 0]])


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    spool = ScoreSpool(STEPS, CLASSES)
    with full.open("r+b", buffering=0) as file:
        monkeypatch.setattr(spool, "_file", file)
        with pytest.raises(OutputError, match="TMPDIR") as raised:
            spool.add(0, np.ones((2, CLASSES), np.float32), np.ones(2, np.float32))
    assert isinstance(raised.value.__cause__, OSError) and raised.value.__cause__.errno == errno.ENOSPC
