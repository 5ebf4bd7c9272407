"""Write some of a pool's utterances as files: ``python -m training.spoken build/speech/dev-grammar FOLDER``.

``FOLDER/speech.csv`` names each file and what is said in it, as ``wat figures noise --speech`` reads it.
"""

from __future__ import annotations

import argparse
import csv
import wave
from pathlib import Path

from training.voices import SAMPLE_RATE, read_pool


def write_utterances(pool: Path, folder: Path, count: int) -> Path:
    """`count` utterances from all over `pool`, hence of all its voices; returns the table."""
    utterances, samples = read_pool(pool)
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "speech.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "text"))
        for number in range(count):
            one = utterances[number * len(utterances) // count]
            with wave.open(str(folder / f"{number}.wav"), "wb") as audio:
                audio.setparams((1, 2, SAMPLE_RATE, one.length, "NONE", ""))
                audio.writeframes(samples[one.offset : one.offset + one.length].astype("<i2").tobytes())
            rows.writerow((f"{number}.wav", one.text))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=21)
    args = parser.parse_args()
    print(write_utterances(args.pool, args.folder, args.count))


if __name__ == "__main__":
    main()
