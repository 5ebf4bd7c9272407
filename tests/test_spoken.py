"""A pool's utterances become files and a table that `wat figures noise` reads."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np

from training.spoken import write_utterances
from wat_cli.training.noise import read_speech


def test_utterances_of_all_voices_are_written(tmp_path: Path) -> None:
    lengths, pool = [100, 200, 300, 400], tmp_path / "pool"
    samples = np.arange(sum(lengths), dtype=np.int16)
    offsets = np.cumsum([0, *lengths[:-1]])
    rows = [
        {"text": f"Say, {i}.", "voice": f"v{i}", "offset": int(offset), "length": length}
        for i, (offset, length) in enumerate(zip(offsets, lengths, strict=True))
    ]
    pool.with_suffix(".json").write_text(json.dumps(rows))
    np.save(pool.with_suffix(".npy"), samples)
    spoken = read_speech(write_utterances(pool, tmp_path / "out", 2))
    assert [one.text for one in spoken] == ["Say, 0.", "Say, 2."]
    with wave.open(str(spoken[1].path)) as file:
        assert file.getframerate() == 16000 and file.getnchannels() == 1
        np.testing.assert_array_equal(np.frombuffer(file.readframes(999), "<i2"), samples[300:600])
