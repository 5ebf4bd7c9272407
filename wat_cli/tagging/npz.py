"""Every class's score as numpy's ``.npz``, written piece by piece: those of ten hours take 190 MB."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Sequence
from typing import IO

import numpy as np
from numpy.typing import NDArray

from wat_cli.transcript import Scores, TagTrack

IN_MEMORY = 8 * 2**20
"""Bytes of the finished file up to which nothing is put on disk."""

_CHUNK = 1024
"""Steps that are written at once."""


def score_file(track: TagTrack, labels: Sequence[str]) -> IO[bytes]:
    """An open file that holds ``what`` and ``when`` [steps, classes], ``hop`` (s) and ``labels``, from its beginning.

    Scores are as the head gave them, where the track still knows them, in float16. The file has no name and goes when
    it is closed. The same track gives the same bytes. Raises OSError where the disk is full.
    """
    exact = track.exact or track
    file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 (the caller's to close)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        _write_scores(archive, "what", exact.what)
        _write_scores(archive, "when", exact.when)
        _write_array(archive, "hop", np.array(track.hop, np.float64))
        _write_array(archive, "labels", np.array(labels, np.str_))
    file.seek(0)
    return file


def _write_scores(archive: zipfile.ZipFile, name: str, scores: Scores) -> None:
    steps, classes = scores.shape
    header = {"descr": "<f2", "fortran_order": False, "shape": (steps, classes)}
    with archive.open(_entry(name), "w", force_zip64=True) as out:
        np.lib.format.write_array_header_1_0(out, header)
        for first in range(0, steps, _CHUNK):
            out.write(np.asarray(scores[first : first + _CHUNK]).astype("<f2").tobytes())


def _write_array(archive: zipfile.ZipFile, name: str, array: NDArray[np.generic]) -> None:
    data = io.BytesIO()
    np.lib.format.write_array(data, array, allow_pickle=False)
    archive.writestr(_entry(name), data.getvalue())


def _entry(name: str) -> zipfile.ZipInfo:
    """Without the time of day, and compressed."""
    entry = zipfile.ZipInfo(f"{name}.npy")
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry
