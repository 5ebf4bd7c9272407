"""Deciding about all stretches of a window at once says what the head says of each alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from whisper.model import LayerNorm

from wat_cli.model.deciding import Decider, Span
from wat_cli.model.heads import KINDS, Head, build_head
from wat_cli.model.tltr import TLTR
from wat_cli.tagging.grid import WHAT, WHEN

WINDOW = [(asked.start, asked.stop) for kind in (WHAT, WHEN) for asked in kind.decisions(75)]
"""All that is asked of a head about one encoder window."""


def random_head(name: str, layers: int = 3, width: int = 32, classes: int = 9) -> Head:
    torch.manual_seed(1)
    head = build_head(name, layers, width, classes).eval().requires_grad_(False)
    for parameter in head.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return head


def alone(head: Head, features: Tensor, spans: list[Span]) -> Tensor:
    return torch.cat([head(features[None, :, first:stop]) for first, stop in spans])


@pytest.mark.parametrize("name", [*KINDS, "tl-tr-16"])
def test_a_windows_decisions_are_those_of_each_alone(name: str) -> None:
    head = random_head(name)
    features = torch.randn(3, 75, 32)
    answers = Decider(head).decide(features, WINDOW)
    assert answers.shape == (44, 9)
    torch.testing.assert_close(answers, alone(head, features, WINDOW), atol=2e-5, rtol=0)


@pytest.mark.parametrize(("layers", "width", "inner"), [(4, 384, None), (12, 768, 512)], ids=["tiny", "small"])
def test_it_is_as_exact_as_float32_at_the_published_sizes(
    layers: int, width: int, inner: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On features as uneven as an encoder's, with a few huge dimensions; judged by the head in float64."""
    torch.manual_seed(2)
    head = TLTR(layers, width, 527, inner).eval().requires_grad_(False)
    features = torch.randn(layers, 75, width) + 2.0
    features[..., :5] *= 50
    spans = WINDOW[::9]
    decided = Decider(head).decide(features, spans)
    plain = alone(head, features, spans)
    head.double()
    monkeypatch.setattr(LayerNorm, "forward", torch.nn.LayerNorm.forward)  # openai-whisper's computes in float32
    with torch.no_grad():
        x = head.down_layer(features.double()) if inner else features.double()
        exact = torch.cat(
            [
                head.mlp_layer(head.layer_tr(head.time_tr(x[:, first:stop]).mean(dim=1)[None]).mean(dim=1))
                for first, stop in spans
            ]
        )
    plain_error = (plain - exact).abs().max()
    assert 0 < plain_error < 1e-3
    assert (decided - exact).abs().max() < max(4 * plain_error, 1e-5)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 199), st.integers(1, 60)), min_size=1, max_size=20).map(
        lambda pairs: [(start, min(200, start + length)) for start, length in pairs]
    )
)
def test_any_stretches_in_any_order_of_a_feature_of_any_length(spans: list[Span]) -> None:
    head = random_head("tl-tr-16")
    features = torch.randn(3, 200, 32)
    torch.testing.assert_close(Decider(head).decide(features, spans), alone(head, features, spans), atol=2e-5, rtol=0)


def test_half_precision_features_are_computed_in_float32() -> None:
    head = random_head("tl-tr")
    features = torch.randn(3, 75, 32).half()
    answers = Decider(head).decide(features, WINDOW[:3])
    assert answers.dtype == torch.float32
    torch.testing.assert_close(answers, alone(head, features.float(), WINDOW[:3]), atol=2e-5, rtol=0)
