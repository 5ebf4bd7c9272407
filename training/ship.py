"""Make the files that ship: ``python -m training.ship ASR_CHECKPOINT [--head HEAD]``.

Writes ``wat_cli/data/mini.pt`` and ``mini_head.pt`` (half precision, the zip deflated: `torch.load` and
`whisper.load_model` read them unchanged, and the repeated embedding rows shrink to nothing), and
``mini_vocabulary.txt``. The numbers that the head is read with (``mini_head.json``) are chosen by hand, on scenes of
`training.judge --split tune`; another folder gets those of the shipped head.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path

import torch

from training.grammar import VOCABULARY

DATA = Path(__file__).parents[1] / "wat_cli" / "data"


def save_deflated(content: object, path: Path) -> None:
    """`torch.save` into a zip whose entries are deflated; the same content gives the same bytes."""
    stored = io.BytesIO()
    torch.save(content, stored)
    with zipfile.ZipFile(stored) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for entry in source.infolist():
            target.writestr(zipfile.ZipInfo(entry.filename), source.read(entry), zipfile.ZIP_DEFLATED, 9)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("asr", type=Path)
    parser.add_argument("--head", type=Path)
    parser.add_argument("--out", type=Path, default=DATA)
    args = parser.parse_args()
    trained = torch.load(args.asr, weights_only=True)
    weights = {name: value.half().clone() for name, value in trained["model_state_dict"].items()}
    save_deflated({"dims": trained["dims"], "model_state_dict": weights}, args.out / "mini.pt")
    (args.out / "mini_vocabulary.txt").write_text("\n".join(VOCABULARY) + "\n")
    if args.head:
        head = torch.load(args.head, weights_only=True)
        save_deflated({name: value.half().clone() for name, value in head.items()}, args.out / "mini_head.pt")
        (args.out / "mini_head.json").write_bytes((DATA / "mini_head.json").read_bytes())


if __name__ == "__main__":
    main()
