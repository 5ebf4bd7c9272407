"""Loading, and the one encoder pass that feeds decoder and head."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import whisper
from random_whisper import random_whisper, save_checkpoint
from torch import Tensor
from whisper.model import Whisper

from wat_cli.errors import CheckpointError
from wat_cli.model.whisper_at import WhisperAT, load_whisper


@pytest.fixture(scope="module")
def model() -> Whisper:
    return random_whisper(0)


@pytest.fixture(scope="module")
def mel() -> Tensor:
    return torch.randn(2, 80, 3000, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)


def whisper_at_encoder(model: Whisper, mel: Tensor) -> tuple[Tensor, Tensor]:
    """``whisper_at/model.py``, `AudioEncoder.forward`, on openai-whisper's modules: features, [layers, 75, width]."""
    encoder = model.encoder
    x = F.gelu(encoder.conv1(mel))
    x = F.gelu(encoder.conv2(x))
    x = x.permute(0, 2, 1)
    x = (x + encoder.positional_embedding).to(x.dtype)
    layers = []
    for block in encoder.blocks:
        x = block(x)
        layers.append(F.avg_pool2d(x, kernel_size=(20, 1), stride=(20, 1))[0])
    return encoder.ln_post(x), torch.stack(layers)


def test_features_and_layers_are_whisper_ats(model: Whisper, mel: Tensor) -> None:
    encoded = WhisperAT(model).encode(mel, [slice(0, 1500), slice(13, 1493)])
    features, _ = whisper_at_encoder(model, mel)
    torch.testing.assert_close(encoded.audio_features, features)
    assert encoded.layer_features is not None
    for row, window in enumerate(mel):
        _, layers = whisper_at_encoder(model, window[None])
        if row == 0:
            torch.testing.assert_close(encoded.layer_features[0], layers, atol=1e-5, rtol=1e-5)
    assert encoded.layer_features[1].shape == (2, 74, 64)


def test_pooling_starts_where_the_files_grid_does(model: Whisper, mel: Tensor) -> None:
    blocks: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda _m, _i, out: blocks.append(out)) for block in model.encoder.blocks]
    model.encoder(mel[:1])
    for hook in hooks:
        hook.remove()
    encoded = WhisperAT(model).encode(mel[:1], [slice(7, 7 + 60)])
    assert encoded.layer_features is not None
    starts = (7, 27, 47)
    expected = torch.stack([torch.stack([out[0, start : start + 20].mean(0) for start in starts]) for out in blocks])
    torch.testing.assert_close(encoded.layer_features[0], expected)


def test_without_a_head_no_layer_is_kept(model: Whisper, mel: Tensor) -> None:
    wat = WhisperAT(model)
    assert wat.encode(mel).layer_features is None
    assert wat.passes == 2


def test_a_checkpoint_loads_as_whisper_loads_it(model: Whisper, mel: Tensor, tmp_path: Path) -> None:
    path = save_checkpoint(model, tmp_path / "model.pt")
    loaded, theirs = load_whisper(path), whisper.load_model(str(path), device="cpu")
    assert loaded.dims == theirs.dims
    assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in loaded.state_dict().items())
    assert torch.equal(loaded.alignment_heads.to_dense(), theirs.alignment_heads.to_dense())


def test_official_names_bring_their_alignment_heads(tmp_path: Path) -> None:
    model = random_whisper(1, layers=4, width=96)
    dims = model.dims
    dims.n_text_head = dims.n_audio_head = 6  # tiny's shape, sixteen wide a head
    path = save_checkpoint(Whisper(dims), tmp_path / "model.pt")
    heads = load_whisper(path, "tiny").alignment_heads.to_dense()
    assert heads.shape == (4, 6)
    assert not torch.equal(heads, load_whisper(path).alignment_heads.to_dense())


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"at_model.x": torch.zeros(2)}, "is not a Whisper checkpoint in OpenAI's format"),
        ({"dims": {"n_mels": 80}, "model_state_dict": {}}, "is not a Whisper checkpoint in OpenAI's format"),
        ([1, 2], "is not a checkpoint: it holds a list"),
    ],
)
def test_what_is_no_checkpoint_is_refused(content: object, complaint: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=rf"other\.pt.*{complaint}"):
        load_whisper(tmp_path / "other.pt")


def test_a_damaged_checkpoint_is_refused(model: Whisper, tmp_path: Path) -> None:
    path = save_checkpoint(model, tmp_path / "model.pt")
    path.write_bytes(path.read_bytes()[:100000])
    with pytest.raises(CheckpointError, match=r"model\.pt cannot be read as a checkpoint"):
        load_whisper(path)


@pytest.mark.parametrize(("field", "value"), [("n_audio_state", 32), ("n_mels", 96), ("n_text_layer", 10**9)])
def test_dimensions_that_the_weights_do_not_have_are_refused(
    model: Whisper, tmp_path: Path, field: str, value: int
) -> None:
    dims = {**vars(model.dims), field: value}
    torch.save({"dims": dims, "model_state_dict": model.state_dict()}, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match=r"odd\.pt"):
        load_whisper(tmp_path / "odd.pt")
