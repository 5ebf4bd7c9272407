"""What a training leaves behind: the head, what travels with it, and its card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from wat_cli.model.heads import Head
from wat_cli.model.tltr import PREFIX
from wat_cli.training.datasets import Dataset

HEAD_FILE = "head.pt"


def save_head(head: Head, path: Path) -> None:
    """Write the head as whisper-at keeps it: a state dict under ``at_model.``, half precision."""
    part = path.with_name(path.name + ".part")
    torch.save({PREFIX + name: value.detach().half().cpu() for name, value in head.state_dict().items()}, part)
    part.replace(path)


def write_tuning(path: Path, dataset: Dataset, threshold: float | None, notes: dict[str, Any]) -> None:
    """Write what travels with a head: `wat caption` reads ``threshold`` and ``labels``, the rest are notes."""
    values: dict[str, Any] = {"threshold": 0.5 if threshold is None else round(min(max(threshold, 0.01), 0.99), 4)}
    if not dataset.is_audioset:
        values["labels"] = list(dataset.labels)
    path.with_suffix(".json").write_text(json.dumps(values | notes, indent=1, ensure_ascii=False), encoding="utf-8")


def card(dataset: Dataset, threshold: float | None, notes: dict[str, Any]) -> str:
    """The head's card: what it is, what it was trained on, how good it is."""
    encoder, recipe = notes["encoder"], notes["recipe"]
    labels = "AudioSet's 527" if dataset.is_audioset else ", ".join(dataset.labels)
    rows = "\n".join(f"| {name} | {value:.4f} |" for name, value in notes["figures"].items())
    table = f"| figure | on {notes['held_out']} held-out clips |\n|---|---|\n{rows}"
    cut = "0.5, not fitted" if threshold is None else f"{threshold:.3f}, fitted to the held-out clips (best F1)"
    lines = (
        f"# A tagging head for {encoder['name']}",
        f"{notes['mode']}, {notes['parameters'] / 1e6:.2f} M parameters, made with wat {notes['wat']}.",
        f"- Encoder (frozen): {encoder['name']}, {encoder['layers']} layers x {encoder['width']}, "
        f"sha256 {encoder['sha256']}\n"
        f"- Labels ({len(dataset.labels)}): {labels}\n"
        f"- Trained on {notes['clips']} clips: recipe {recipe['name']}, {recipe['epochs']} epochs, "
        f"batch {recipe['batch']}, learning rate {recipe['rate']:g}, seed {notes['seed']}; "
        f"last loss {notes['loss']:.4f}\n"
        f"- Threshold: {cut}",
        table if rows else "No clips were held out: nothing is known of how good it is.",
        f"Use it: `wat caption FILES --model {encoder['name']} --tagger-checkpoint {HEAD_FILE}`",
    )
    return "\n\n".join(lines) + "\n"
