"""The sampling rules as operations on tensors alone are the sampling rules."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from whisper.tokenizer import get_tokenizer

from wat_cli.model.rules import RowPast, Rules, apply_bounds, apply_rules, bounds_of, suppressed

BEGIN, VOCABULARY = 60, 90
RULES = Rules(torch.zeros(VOCABULARY), torch.zeros(VOCABULARY), eot=55, timestamp_begin=BEGIN)


@given(
    st.lists(st.lists(st.integers(0, VOCABULARY - 1), max_size=6), min_size=1, max_size=5),
    st.integers(0, 2**16),
    st.floats(-4, 4),
)
def test_bounds_are_the_rules(texts: list[list[int]], seed: int, louder: float) -> None:
    """Of rows with any past, timestamps more or less likely than text."""
    pasts = [RowPast.of(text, RULES, VOCABULARY) for text in texts]
    logits = torch.randn(len(texts), VOCABULARY, generator=torch.Generator().manual_seed(seed))
    logits[:, BEGIN:] += louder
    barred = apply_bounds(logits.clone(), bounds_of(pasts), BEGIN)
    assert torch.equal(barred, apply_rules(logits.clone(), pasts, BEGIN))
    assert barred.isinf().any() or all(past == RowPast(0, BEGIN, VOCABULARY) for past in pasts)


@pytest.mark.parametrize("multilingual", [True, False])
def test_the_list_of_non_speech_tokens_is_openai_whispers(multilingual: bool) -> None:
    tokenizer = get_tokenizer(multilingual, language="en", task="transcribe")
    assert set(suppressed(tokenizer, "-1")) > set(tokenizer.non_speech_tokens)
    without = set(suppressed(tokenizer, "1"))
    assert set(suppressed(tokenizer, "-1,1")) == without | set(tokenizer.non_speech_tokens)
