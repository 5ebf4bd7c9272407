from pathlib import Path

import pytest

from wat_cli.errors import CheckpointError
from wat_cli.tagging.tuning import head_tuning
from wat_cli.transcript import HeadTuning


@pytest.mark.parametrize(
    ("text", "tuning"),
    [
        ('{"threshold": 0.42, "lag": 0.2, "note": "mini"}', HeadTuning(0.42, 0.2)),
        ('{"threshold": 0.42}', HeadTuning(0.42, 0.0)),
        ('{"epochs": 3}', HeadTuning()),
        ("[1, 2]", HeadTuning()),
        ("loss 0.3", HeadTuning()),
    ],
)
def test_a_heads_numbers_lie_beside_it(tmp_path: Path, text: str, tuning: HeadTuning) -> None:
    (tmp_path / "head.json").write_text(text, encoding="utf-8")
    assert head_tuning(tmp_path / "head.pt") == tuning


def test_without_numbers_the_defaults_hold(tmp_path: Path) -> None:
    assert head_tuning(tmp_path / "head.pt") == HeadTuning(0.5, 0.0)


@pytest.mark.parametrize("text", ['{"threshold": 1.5}', '{"threshold": "high"}', '{"threshold": 0.5, "lag": NaN}'])
def test_numbers_out_of_range_are_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "head.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match="head.json"):
        head_tuning(tmp_path / "head.pt")
