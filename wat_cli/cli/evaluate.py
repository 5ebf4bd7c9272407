"""``wat evaluate``: how good a tagging head is on labelled clips."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wat_cli.cli.heard import (
    Audio,
    Cache,
    DataPath,
    Device,
    Fold,
    Model,
    ModelDir,
    Offline,
    Threads,
    heard,
    loaded_encoder,
    say,
)
from wat_cli.errors import UsageError, shown

if TYPE_CHECKING:
    from wat_cli.training.judging import Report


def evaluate(
    head: Annotated[Path, typer.Argument(metavar="HEAD", help="The head's file.")],
    data: DataPath,
    model: Model = "small",
    fold: Fold = None,
    audio: Audio = None,
    cache: Cache = None,
    collar: Annotated[float, typer.Option("--collar", min=0.0, help="Seconds by which an onset may be off.")] = 1.0,
    resamples: Annotated[int, typer.Option("--resamples", min=0, help="Of the bootstrap; 0 for no intervals.")] = 1000,
    per_class: Annotated[bool, typer.Option("--per-class", help="Print each class's average precision too.")] = False,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Write the best threshold beside the head, for wat caption.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    model_dir: ModelDir = None,
    device: Device = "auto",
    threads: Threads = 0,
    offline: Offline = False,
) -> None:
    """Judge a head on clips that it was not trained on: mAP, AUC, d', accuracy, and events where labels say when.

    Intervals hold 95 % and come from a bootstrap over the clips.
    """
    from wat_cli.training.datasets import read_dataset
    from wat_cli.training.judging import evaluate as judged
    from wat_cli.training.judging import labels_of

    if not head.is_file():
        raise UsageError(f"{shown(head)}: no such file")
    dataset = read_dataset(data, audio=audio, labels=labels_of(head))
    if fold is not None:
        dataset = dataset.fold(fold)
    with loaded_encoder(model, model_dir, device, threads, offline) as encoder, heard(encoder, cache, dataset) as clips:
        report = judged(head, clips[0], encoder, resamples=resamples, collar=collar)
    if calibrate:
        _write_threshold(head, report.threshold)
    if as_json:
        typer.echo(json.dumps(_finite(asdict(report)), indent=1))
    else:
        _print(report, per_class)


def _print(report: Report, per_class: bool) -> None:
    judgement = report.judgement
    typer.echo(f"{judgement.clips} clips; means over {judgement.classes} of {len(judgement.by_class)} classes")
    for name, interval in judgement.figures.items():
        typer.echo(f"{name:10} {interval}")
    typer.echo(f"{'threshold':10} {report.threshold:.4f} (best F1 over all classes)")
    if report.events is not None:
        events = report.events
        typer.echo(
            f"{'events':10} F1 {events.f1:.3f}, precision {events.precision:.3f}, recall {events.recall:.3f}, "
            f"median onset error {events.onset_error:.2f} s (collar {events.collar:g} s)"
        )
    if per_class:
        for label, values in judgement.by_class.items():
            typer.echo(f"{values['AP']:.4f}  {values['clips']:6.0f} clips  {label}")


def _write_threshold(head: Path, threshold: float) -> None:
    from wat_cli.tagging.tuning import head_tuning

    tuning = head_tuning(head)
    path = head.with_suffix(".json")
    values: dict[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
    values["threshold"] = round(min(max(threshold, 0.01), 0.99), 4)
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False), encoding="utf-8")
    say(f"{shown(path)}: threshold {tuning.threshold:g} is now {values['threshold']:g}")


def _finite(value: Any) -> Any:
    """The same with null for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
