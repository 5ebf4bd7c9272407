"""The paper's figures as plots, and the tables behind them as CSV files. Needs matplotlib (``wat-cli[train]``)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wat_cli.errors import MissingDependency
from wat_cli.training.noise import Disturbed
from wat_cli.training.probe import Probed
from wat_cli.training.runs import Row


def new_plot(width: float = 6.0, height: float = 4.0) -> tuple[Any, Any]:
    """A figure and its axes, drawn without a screen."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency("Plots need matplotlib: pip install 'wat-cli[train]'") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """A CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(header)
        table.writerows(rows)
    return path


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=150)
    return path


def layers(probed: Mapping[str, Probed], folder: Path) -> list[Path]:
    """Accuracy of each layer's probe (Figure 1, below), and the best layer of each class (Figure 3)."""
    rows = [
        (model, layer, f"{accuracy:.4f}", *(f"{value:.4f}" for value in f1))
        for model, one in probed.items()
        for layer, (accuracy, f1) in enumerate(zip(one.accuracy, one.f1, strict=True), 1)
    ]
    labels = next(iter(probed.values())).labels
    written = [write_table(folder / "layers.csv", ("model", "layer", "accuracy", *(f"F1 {x}" for x in labels)), rows)]
    figure, axes = new_plot()
    for model, one in probed.items():
        axes.plot(range(1, len(one.accuracy) + 1), 100 * one.accuracy, marker="o", label=model)
    axes.set(xlabel="encoder layer", ylabel="accuracy of a linear probe (%)")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    written.append(_save(figure, folder / "layers.png"))
    figure, axes = new_plot()
    each = 0.8 / len(probed)
    for place, (model, one) in enumerate(probed.items()):
        counts = np.bincount(one.best_layer, minlength=len(one.accuracy) + 1)[1:]
        axes.bar(np.arange(1, len(counts) + 1) - 0.4 + (place + 0.5) * each, counts, each, label=model)
    axes.set(xlabel="layer with the highest F1", ylabel="sound classes")
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True)
    axes.legend()
    written.append(_save(figure, folder / "best_layers.png"))
    return written


def noise(disturbed: Mapping[str, Disturbed], probed: Mapping[str, Probed], folder: Path) -> list[Path]:
    """Word error rate against the ratio (Figure 1, above), and a class's F1 against what it costs (Figure 2)."""
    rows = [
        (model, label, ratio, f"{one.rates[row, column]:.4f}")
        for model, one in disturbed.items()
        for row, label in enumerate(one.labels)
        for column, ratio in enumerate(one.decibels)
    ]
    written = [write_table(folder / "noise.csv", ("model", "class", "dB", "WER"), rows)]
    figure, axes = new_plot()
    for model, one in disturbed.items():
        axes.plot(one.decibels, 100 * one.rates.mean(axis=0), marker="o", label=model)
        axes.axhline(100 * one.clean, linestyle=":", linewidth=1)
    axes.invert_xaxis()
    axes.set(xlabel="speech to sound (dB)", ylabel="word error rate (%)")
    axes.legend()
    written.append(_save(figure, folder / "noise.png"))
    return written + _classes(disturbed, probed, folder) if probed else written


def _classes(disturbed: Mapping[str, Disturbed], probed: Mapping[str, Probed], folder: Path) -> list[Path]:
    rows: list[tuple[str, str, str, str]] = []
    figure, axes = new_plot()
    for model, probe in probed.items():
        one, f1 = disturbed[model], probe.f1[-1]
        rows += [(model, label, f"{x:.4f}", f"{y:.4f}") for label, x, y in zip(one.labels, f1, one.rise, strict=True)]
        axes.scatter(100 * f1, 100 * one.rise, label=f"{model} (r = {correlation(f1, one.rise):.2f})")
        for x, y, label in zip(f1, one.rise, one.labels, strict=True):
            axes.annotate(label, (100 * x, 100 * y), fontsize=7, xytext=(3, 3), textcoords="offset points")
    axes.invert_yaxis()  # as in the paper: robust classes are above
    axes.set(xlabel="F1 of the class at the last layer (%)", ylabel="rise of the WER from 20 to -10 dB (points)")
    axes.legend()
    table = write_table(
        folder / "noise_classes.csv", ("model", "class", "F1 at the last layer", "rise of the WER"), rows
    )
    return [table, _save(figure, folder / "noise_classes.png")]


def correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Pearson's; NaN where one of them does not vary."""
    if len(x) < 2 or not (np.ptp(x) > 0 and np.ptp(y) > 0):
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def models(disturbed: Mapping[str, Disturbed], tagged: Mapping[str, Row], folder: Path) -> list[Path]:
    """How robust each model is against how well it tags (Figure 5)."""
    rows = [
        (model, f"{disturbed[model].clean:.4f}", f"{disturbed[model].rise.mean():.4f}", f"{row.overall.value:.4f}",
         f"{row.overall.low:.4f}", f"{row.overall.high:.4f}")
        for model, row in tagged.items()
    ]  # fmt: skip
    figure, axes = new_plot()
    for model, row in tagged.items():
        value, rise = 100 * row.overall.value, 100 * float(disturbed[model].rise.mean())
        axes.errorbar([rise], [value], [[value - 100 * row.overall.low], [100 * row.overall.high - value]], marker="o")
        axes.annotate(model, (rise, value), fontsize=8, xytext=(4, 4), textcoords="offset points")
    kind = next(iter(tagged.values()))
    axes.set(xlabel="rise of the WER from 20 to -10 dB (points)", ylabel=f"{kind.figure} of {kind.head} (%)")
    header = ("model", "WER without sounds", "rise of the WER", f"{kind.figure} of {kind.head}", "low", "high")
    return [write_table(folder / "models.csv", header, rows), _save(figure, folder / "models.png")]


def widths(rows: Mapping[str, Sequence[Row]], folder: Path) -> list[Path]:
    """Accuracy against parameters and multiply-adds for heads of several widths (Table 2)."""
    table = [
        (model, row.head, row.parameters, row.multiply_adds, f"{row.overall.value:.4f}", f"{row.overall.low:.4f}",
         f"{row.overall.high:.4f}")
        for model, some in rows.items() for row in some
    ]  # fmt: skip
    header = ("model", "head", "parameters", "multiply-adds", "accuracy", "low", "high")
    written = [write_table(folder / "widths.csv", header, table)]
    figure, axes = new_plot()
    for model, some in rows.items():
        values = np.array([row.overall.value for row in some])
        spread = np.abs(np.array([[row.overall.low, row.overall.high] for row in some]).T - values)
        axes.errorbar([row.multiply_adds / 1e6 for row in some], 100 * values, 100 * spread, marker="o", label=model)
        for row in some:
            at = (row.multiply_adds / 1e6, 100 * row.overall.value)
            axes.annotate(row.head, at, fontsize=8, xytext=(4, 4), textcoords="offset points")
    axes.set(xscale="log", xlabel="multiply-adds of a 10 s decision (millions)", ylabel="accuracy (%)")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.tick_params(axis="x", which="both", labelsize=7, rotation=45)
    axes.legend()
    written.append(_save(figure, folder / "widths.png"))
    return written
