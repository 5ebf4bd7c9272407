"""The head gives whisper-at's own logits, over any number of steps, and refuses what is not a head."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from wat_cli.errors import CheckpointError
from wat_cli.model.heads import load_any_head
from wat_cli.model.tltr import PREFIX, TLTR, head_from_state_dict

SHAPES = [
    pytest.param(4, 64, 527, None, "tl_tr_1_8", id="as wide as the encoder"),
    pytest.param(6, 96, 527, 64, "tl_down_tr_64_1_8", id="projected"),
    pytest.param(2, 768, 50, 512, "tl_down_tr_512_1_8", id="whisper-at's small"),
]


def random_head(layers: int, width: int, classes: int, inner: int | None, seed: int = 0) -> TLTR:
    torch.manual_seed(seed)
    head = TLTR(layers, width, classes, inner).eval().requires_grad_(False)
    for parameter in head.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return head


def state_dict(head: TLTR) -> dict[str, Tensor]:
    return {PREFIX + key: value for key, value in head.state_dict().items()}


@pytest.mark.parametrize(("layers", "width", "classes", "inner", "mode"), SHAPES)
@pytest.mark.parametrize("steps", [3, 5, 24, 25])
def test_logits_are_whisper_ats(
    layers: int, width: int, classes: int, inner: int | None, mode: str, steps: int
) -> None:
    upstream = pytest.importorskip("whisper_at.model", reason="whisper-at is not installed (pip install --no-deps)")
    head = random_head(layers, width, classes, inner)
    theirs = upstream.ATModel(label_dim=classes, n_layer=layers, rep_dim=width, mode=mode).eval()
    theirs.load_state_dict({key.removeprefix(PREFIX): value for key, value in state_dict(head).items()}, strict=True)
    assert head.mode == mode
    features = torch.randn(3, layers, steps, width)
    with torch.no_grad():
        # one decision of `steps` steps: its time resolution is steps * 0.4 s, its window int(time * 2.5)
        expected = torch.cat([theirs(window, time_resolution=(steps + 0.25) * 0.4) for window in features])
    assert expected.shape == (3, classes)
    torch.testing.assert_close(head(features), expected, atol=1e-4, rtol=0)


def test_mode_and_sizes_follow_from_the_weights(tmp_path: Path) -> None:
    head = random_head(6, 96, 31, 64)
    torch.save(state_dict(head), tmp_path / "head.pt")
    loaded = load_any_head(tmp_path / "head.pt", layers=6, width=96)
    assert (loaded.mode, loaded.width, loaded.classes) == ("tl_down_tr_64_1_8", 96, 31)
    features = torch.randn(1, 6, 10, 96)
    assert torch.equal(loaded(features), head(features))


def test_half_precision_weights_are_computed_in_float32(tmp_path: Path) -> None:
    head = random_head(4, 64, 9, None)
    torch.save({key: value.half() for key, value in state_dict(head).items()}, tmp_path / "head.pt")
    logits = load_any_head(tmp_path / "head.pt", layers=4, width=64)(torch.randn(1, 4, 5, 64).half())
    assert logits.dtype == torch.float32


def test_a_head_for_another_encoder_is_refused(tmp_path: Path) -> None:
    torch.save(state_dict(random_head(4, 64, 9, None)), tmp_path / "tiny.pt")
    with pytest.raises(CheckpointError, match=r"tiny\.pt is a head for an encoder 64 wide; this encoder is 96 wide"):
        load_any_head(tmp_path / "tiny.pt", layers=4, width=96)


def test_what_is_no_head_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.pt").write_text("<html>not found</html>")
    with pytest.raises(CheckpointError, match=r"page\.pt cannot be read as a checkpoint"):
        load_any_head(tmp_path / "page.pt", layers=4, width=64)
    torch.save({"dims": {}}, tmp_path / "whisper.pt")
    with pytest.raises(CheckpointError, match=r"whisper\.pt is not a state dict"):
        load_any_head(tmp_path / "whisper.pt", layers=4, width=64)
    with pytest.raises(CheckpointError, match=r"x is not a TL-Tr head of whisper-at: it has no at_model\.time_tr"):
        head_from_state_dict({"at_model.last_mlp.weight": torch.zeros(2, 2)}, "x")
    broken = state_dict(random_head(4, 64, 9, None))
    del broken["at_model.layer_tr.mlp.0.bias"]
    with pytest.raises(CheckpointError, match=r"layer_tr\.mlp\.0\.bias"):
        head_from_state_dict(broken, "x")


def test_a_pickle_that_runs_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    torch.save({"at_model.x": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError):
        load_any_head(tmp_path / "evil.pt", layers=4, width=64)
    assert not (tmp_path / "ran").exists()
