"""Every kind of head, built and loaded; what it costs is what the paper says and what other counters count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from typer.testing import CliRunner

from wat_cli.cli import app
from wat_cli.errors import CheckpointError, UsageError
from wat_cli.model.deciding import Decider
from wat_cli.model.heads import KINDS, Head, build_head, head_mode, load_any_head
from wat_cli.model.tltr import PREFIX, TLTR
from wat_cli.training.cost import ENCODERS, costs, count_multiply_adds

FVCORE = {
    "tl-tr-128": 0.306285,
    "tl-tr-256": 0.934606,
    "tl-tr-512": 3.172714,
    "tl-tr-768": 6.719446,
    "tl-tr": 16.422938,
}
"""Giga multiply-adds of whisper-at's `ATModel` on large, as its ``compute_flops.py`` counts them: with fvcore 0.1.5, on
torch.rand(32, 25, 1280). The paper prints the third as 3.17."""


def random_head(name: str, layers: int = 4, width: int = 32, classes: int = 7) -> Head:
    torch.manual_seed(3)
    head = build_head(name, layers, width, classes).eval().requires_grad_(False)
    for parameter in head.parameters():
        parameter.add_(0.2 * torch.rand_like(parameter))
    return head


def save(head: Head, path: Path) -> Path:
    torch.save({PREFIX + name: value for name, value in head.state_dict().items()}, path)
    return path


@pytest.mark.parametrize(("name", "giga"), FVCORE.items())
def test_multiply_adds_are_the_papers(name: str, giga: float) -> None:
    [cost] = costs(*ENCODERS["large"], names=(name,))
    assert cost.multiply_adds / 1e9 == pytest.approx(giga, rel=0.04)
    if name == "tl-tr-512":
        assert cost.multiply_adds / 1e9 == pytest.approx(3.17, rel=0.01)


@pytest.mark.parametrize(
    ("encoder", "name", "millions"),
    [
        ("large", "tl-tr", 40.0), ("large", "tl-tr-512", 7.2), ("medium", "tl-tr", 25.8), ("medium", "tl-tr-512", 7.1),
        ("small", "tl-tr", 14.6), ("base", "tl-tr", 6.6), ("tiny", "tl-tr", 3.8),
    ],
)  # fmt: skip
def test_parameters_are_as_published(encoder: str, name: str, millions: float) -> None:
    [cost] = costs(*ENCODERS[encoder], names=(name,))
    assert cost.parameters / 1e6 == pytest.approx(millions, abs=0.07)  # 25.73, printed as 25.8 for medium


def test_multiply_adds_grow_with_the_decision() -> None:
    head = random_head("tl-tr")
    assert count_multiply_adds(random_head("tl-tr"), 50) > 2 * count_multiply_adds(head, 25)


def test_inner_widths_not_below_the_encoders_are_left_out() -> None:
    assert [cost.name for cost in costs(4, 384)] == ["last-mlp", "wa-mlp", "wa-tr", "tl-tr-128", "tl-tr-256", "tl-tr"]


# --- the baselines, against whisper-at's training code written out in plain terms ------------------------------------


def block(head: Head, x: Tensor) -> Tensor:
    """A pre-norm Transformer block with one attention head, by torch's own attention."""
    tr = head.time_tr
    normed = tr.attn_ln(x)
    q, k, v = tr.attn.query(normed), tr.attn.key(normed), tr.attn.value(normed)
    weights = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, dim=-1)
    x = x + tr.attn.out(weights @ v)
    return x + tr.mlp(tr.mlp_ln(x))


def mlp(head: Head, x: Tensor) -> Tensor:
    norm, linear = head.mlp_layer
    return F.linear(F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias), linear.weight, linear.bias)


def test_baselines_are_whisper_ats() -> None:
    features = torch.randn(3, 4, 9, 32)
    last, average, temporal = (random_head(name) for name in ("last-mlp", "wa-mlp", "wa-tr"))

    def weighted(head: Head, x: Tensor) -> Tensor:  # models.py: (audio_rep @ layer_weight) / layer_weight.sum()
        return (x @ head.layer_weight) / head.layer_weight.sum()

    torch.testing.assert_close(last(features), mlp(last, features[:, -1].mean(dim=1)))
    pooled = weighted(average, features.mean(dim=2).permute(0, 2, 1))
    torch.testing.assert_close(average(features), mlp(average, pooled))
    mixed = weighted(temporal, features.permute(0, 2, 3, 1))
    torch.testing.assert_close(temporal(features), mlp(temporal, block(temporal, mixed).mean(dim=1)))


def test_a_new_weighted_average_is_the_mean() -> None:
    head = build_head("wa-mlp", 4, 32, 7)
    features = torch.randn(2, 4, 5, 32)
    torch.testing.assert_close(head(features), mlp(head, features.mean(dim=(1, 2))))


@pytest.mark.parametrize("name", [*KINDS, "tl-tr-16"])
def test_a_head_of_every_kind_is_loaded_as_it_was_saved(name: str, tmp_path: Path) -> None:
    head = random_head(name)
    loaded = load_any_head(save(head, tmp_path / "head.pt"), layers=4, width=32)
    features = torch.randn(4, 20, 32)
    assert loaded.mode == head.mode == head_mode(name)
    assert torch.equal(loaded(features[None, :, 3:8]), head(features[None, :, 3:8]))
    spans = [(0, 5), (3, 8)]
    alone = torch.cat([head(features[None, :, first:stop]) for first, stop in spans])
    torch.testing.assert_close(Decider(loaded).decide(features, spans), alone, atol=1e-5, rtol=1e-5)


def test_heads_that_do_not_fit_the_encoder_are_refused(tmp_path: Path) -> None:
    path = save(random_head("wa-mlp"), tmp_path / "head.pt")
    with pytest.raises(CheckpointError, match="32 wide; this encoder is 64"):
        load_any_head(path, layers=4, width=64)
    with pytest.raises(CheckpointError, match="4 encoder layers; this encoder has 6"):
        load_any_head(path, layers=6, width=32)
    state = torch.load(path, weights_only=True) | {"at_model.other": torch.zeros(1)}
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"head\.pt is not a head"):
        load_any_head(path, layers=4, width=32)


@pytest.mark.parametrize("name", ["mlp", "tl-tr-0", "tl-tr-12", "tl_down_tr_512_2_8", "tl-tr--8"])
def test_unknown_heads_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="--head"):
        build_head(name, 4, 32)


@pytest.mark.parametrize(
    ("encoder", "mode"),
    [
        ("tiny", "tl_tr_1_8"), ("small", "tl_tr_1_8"), ("large", "tl_tr_1_8"),
        ("tiny", "tl_down_tr_512_1_8"), ("small", "tl_down_tr_512_1_8"), ("large", "tl_down_tr_512_1_8"),
    ],
)  # fmt: skip
def test_logits_are_whisper_ats_at_full_size(encoder: str, mode: str) -> None:
    upstream = pytest.importorskip("whisper_at.model", reason="whisper-at is not installed (pip install --no-deps)")
    layers, width = ENCODERS[encoder]
    torch.manual_seed(0)
    head = build_head(mode, layers, width).eval().requires_grad_(False)
    assert isinstance(head, TLTR)
    theirs = upstream.ATModel(label_dim=527, n_layer=layers, rep_dim=width, mode=mode).eval()
    theirs.load_state_dict(head.state_dict(), strict=True)
    features = torch.randn(1, layers, 25, width)
    with torch.no_grad():
        expected = theirs(features[0], time_resolution=10)
    torch.testing.assert_close(head(features), expected, atol=1e-4, rtol=0)


def test_the_command_prints_the_table() -> None:
    result = CliRunner().invoke(app, ["heads", "--model", "tiny", "--json"])
    assert result.exit_code == 0
    rows = {row["head"]: row for row in json.loads(result.stdout)}
    assert rows["tl-tr"]["parameters"] == 3_751_823
    result = CliRunner().invoke(app, ["heads"])
    assert "tl_down_tr_512_1_8" in result.stdout and "3.1633 G" in result.stdout
