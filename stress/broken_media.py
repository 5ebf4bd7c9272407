"""Broken and hostile media made from good files: truncated, flipped, mislabelled, absurd claims, playlists.

For tests of any size: the same seed gives the same files, and the kinds take turns, so every thirty hold each kind.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

Mutation = Callable[[bytes, np.random.Generator], bytes]


def _truncated(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


def _beheaded(data: bytes, rng: np.random.Generator) -> bytes:
    return data[int(rng.integers(1, len(data))) :]


def _flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """A bit in every few thousand, anywhere."""
    mutant = bytearray(data)
    for at in rng.integers(0, len(data), max(1, len(data) // int(rng.integers(200, 5000)))):
        mutant[at] ^= 1 << int(rng.integers(8))
    return bytes(mutant)


def _flipped_header(data: bytes, rng: np.random.Generator) -> bytes:
    mutant = bytearray(data)
    for at in rng.integers(0, min(len(data), 600), 12):
        mutant[at] = int(rng.integers(256))
    return bytes(mutant)


def _holed(data: bytes, rng: np.random.Generator) -> bytes:
    """A stretch of zeros, as a crashed disk leaves it."""
    start = int(rng.integers(0, len(data)))
    stop = min(len(data), start + int(rng.integers(1, 20_000)))
    return data[:start] + bytes(stop - start) + data[stop:]


def _doubled(data: bytes, rng: np.random.Generator) -> bytes:
    """Begins anew in the middle."""
    return data[: int(rng.integers(1, len(data)))] + data


def _absurd(data: bytes, rng: np.random.Generator) -> bytes:
    """Claims another duration, where the container has a field for it: Matroska, MP4, WAV; else like `_flipped`."""
    mutant = bytearray(data)
    matroska, movie, wave = data.find(b"\x44\x89\x88"), data.find(b"mvhd"), data.find(b"WAVEfmt ")
    if matroska >= 0:
        mutant[matroska + 3 : matroska + 11] = struct.pack(">d", float(rng.choice([1e18, -5.0, float("nan"), 1e300])))
    elif movie >= 0:
        mutant[movie + 16 : movie + 24] = struct.pack(">II", int(rng.integers(0, 3)), int(rng.integers(2**31, 2**32)))
    elif wave >= 0:
        mutant[wave + 10 : wave + 20] = struct.pack("<HII", int(rng.integers(0, 65536)), int(rng.integers(0, 2**32)), 0)
    else:
        return _flipped(data, rng)
    return bytes(mutant)


def _noise(data: bytes, rng: np.random.Generator) -> bytes:
    return rng.bytes(len(data))


def _headed_noise(data: bytes, rng: np.random.Generator) -> bytes:
    """A true beginning, then anything."""
    return data[: int(rng.integers(8, 400))] + rng.bytes(len(data))


def _text(data: bytes, rng: np.random.Generator) -> bytes:
    return b"This is no film.\n" * int(rng.integers(1, 5000))


def _empty(data: bytes, rng: np.random.Generator) -> bytes:
    return b""


def _zeros(data: bytes, rng: np.random.Generator) -> bytes:
    return bytes(len(data))


MUTATIONS: tuple[Mutation, ...] = (
    _truncated, _flipped, _flipped_header, _absurd, _beheaded, _holed, _doubled, _noise, _headed_noise, _text, _empty,
    _zeros,
)  # fmt: skip

PLAYLISTS = (
    "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{target}\n#EXT-X-ENDLIST\n",
    "ffconcat version 1.0\nfile {target}\n",
    '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT3S"><Period><AdaptationSet mimeType="video/mp2t"><Representation id="0" '
    'bandwidth="9"><BaseURL>{target}</BaseURL><SegmentBase/></Representation></AdaptationSet></Period></MPD>\n',
    "[playlist]\nNumberOfEntries=1\nFile1={target}\n",
    '<asx version="3.0"><entry><ref href="{target}"/></entry></asx>\n',
)


def make_mutants(
    folder: Path, originals: Sequence[Path], targets: Sequence[str], count: int, seed: int = 0
) -> list[Path]:
    """Write `count` broken or hostile files into `folder`, named ``mutant-000-what.mp4`` and so on.

    Every fourth is a playlist, in turn of each kind, that leads to one of `targets`: a local file, an address. The
    others are one of `originals` after one of `MUTATIONS`, under the original's suffix, or a wrong one.
    """
    rng = np.random.default_rng(seed)
    return [
        _write(folder, number, what, content)
        for number, (what, content) in enumerate(islice(_contents(originals, targets, rng), count))
    ]


def _contents(
    originals: Sequence[Path], targets: Sequence[str], rng: np.random.Generator
) -> Iterator[tuple[str, bytes]]:
    playlists = [kind.format(target=target) for target in targets for kind in PLAYLISTS]
    number = 0
    while True:
        if number % 4 == 3:
            suffix = (".mp4", ".m3u8", ".mkv")[number // 4 % 3]
            yield f"playlist{suffix}", playlists[number // 4 % len(playlists)].encode()
        else:
            mutate = MUTATIONS[(number - number // 4) % len(MUTATIONS)]
            original = originals[int(rng.integers(len(originals)))]
            suffix = ".mp4" if number % 5 == 4 else original.suffix
            yield f"{mutate.__name__[1:]}{suffix}", mutate(original.read_bytes(), rng)
        number += 1


def _write(folder: Path, number: int, what: str, content: bytes) -> Path:
    path = folder / f"mutant-{number:03d}-{what}"
    path.write_bytes(content)
    return path
