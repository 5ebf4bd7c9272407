"""What may be sampled next: openai-whisper's logit filters as tensor operations over a batch of rows.

``whisper/decoding.py``: `SuppressBlank`, `SuppressTokens`, `ApplyTimestampRules`. Rows may be at different places of
different texts; what the rules need of a row's past is a `RowPast`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from whisper.tokenizer import Tokenizer

from wat_cli.errors import UsageError

MAX_INITIAL_TIMESTAMP = 50
"""Latest first timestamp, in steps of 0.02 s: openai-whisper's ``max_initial_timestamp`` of 1 s."""


@dataclass(frozen=True)
class Rules:
    """The rules of one vocabulary and one choice of suppressed tokens."""

    bias: Tensor
    """[vocabulary]: -inf for what is never sampled, otherwise 0."""
    first_bias: Tensor
    """[vocabulary]: the same at the first place of a text, where it cannot be blank."""
    eot: int
    timestamp_begin: int

    @classmethod
    def of(cls, tokenizer: Tokenizer, suppress_tokens: str, vocabulary: int, device: torch.device) -> Rules:
        """`suppress_tokens` as openai-whisper reads it: ids by comma, -1 for its list of non-speech tokens.

        Raises UsageError for an id that the `vocabulary` does not have.
        """
        barred = suppressed(tokenizer, suppress_tokens)
        if strangers := [token for token in barred if token >= vocabulary]:
            raise UsageError(f"--suppress-tokens {strangers[0]}: this model has the tokens 0 to {vocabulary - 1}")
        bias = torch.zeros(vocabulary)
        bias[barred] = -torch.inf
        first_bias = bias.clone()
        first_bias[[*tokenizer.encoding.encode_ordinary(" "), tokenizer.eot]] = -torch.inf
        return cls(bias.to(device), first_bias.to(device), tokenizer.eot, tokenizer.timestamp_begin)


def suppressed(tokenizer: Tokenizer, suppress_tokens: str) -> list[int]:
    """Ids that are never sampled (``decoding.py``, `_get_suppress_tokens`, and ``<|notimestamps|>``)."""
    if not suppress_tokens:  # openai-whisper then leaves the filter out, special tokens and all
        return [] if tokenizer.no_timestamps is None else [tokenizer.no_timestamps]
    listed = [int(token) for token in suppress_tokens.split(",")]
    if -1 in listed:
        plain = replace(tokenizer, encoding=_Ordinary(tokenizer.encoding))
        listed = [token for token in listed if token >= 0] + list(plain.non_speech_tokens)
    special = (tokenizer.transcribe, tokenizer.translate, tokenizer.sot, tokenizer.sot_prev, tokenizer.sot_lm)
    optional = [token for token in (tokenizer.no_speech, tokenizer.no_timestamps) if token is not None]
    return sorted({*listed, *special, *optional})


class _Ordinary:
    """A vocabulary that takes no text for a special token.

    tiktoken's own `encode` makes sure that a text holds none, for which it compiles a pattern of all 1,600: a fifth of
    a second at the start of every run, for a list of symbols that are none.
    """

    def __init__(self, encoding: Any) -> None:
        self._encoding = encoding

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._encoding.encode_ordinary(text)
        return ids

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoding, name)


@dataclass(frozen=True)
class RowPast:
    """What the rules need of one row's sampled tokens."""

    text_from: int
    """Tokens below it are barred: 0, ``eot`` inside a pair of timestamps, or ``timestamp_begin`` at the first place."""
    stamps_from: int
    """Timestamps below it are barred."""
    stamps_to: int
    """Timestamps above it are barred."""

    @classmethod
    def of(cls, sampled: Sequence[int], rules: Rules, vocabulary: int) -> RowPast:
        """Read off the tokens sampled so far: timestamps come in pairs, never go back, and start early."""
        begin = rules.timestamp_begin
        if not sampled:
            return cls(begin, begin, begin + MAX_INITIAL_TIMESTAMP)
        last_was = sampled[-1] >= begin
        before_was = len(sampled) < 2 or sampled[-2] >= begin
        if last_was and before_was:  # a pair is complete: text next
            return cls(0, vocabulary, vocabulary)
        last = next((token for token in reversed(sampled) if token >= begin), None)
        if last is None:
            return cls(0, begin, vocabulary)
        # a segment lasts longer than nothing, so a new timestamp is later than the last; its pair may repeat it
        return cls(rules.eot if last_was else 0, last if last_was else last + 1, vocabulary)


def apply_rules(logits: Tensor, pasts: Sequence[RowPast], timestamp_begin: int) -> Tensor:
    """Bar what may not follow, in place: `logits` [rows, vocabulary] in float32, suppressed tokens already barred.

    Where all timestamps together are likelier than any other token, one of them is sampled.
    """
    if logits.device.type != "cpu":
        return apply_bounds(logits, bounds_of(pasts).to(logits.device), timestamp_begin)
    table = logits.numpy()  # NumPy fills parts of rows sooner: with it the rules take 80 us, not 122
    for row, past in zip(table, pasts, strict=True):
        row[: past.text_from] = -np.inf
        row[timestamp_begin : past.stamps_from] = -np.inf
        row[past.stamps_to + 1 :] = -np.inf
    for only in _only_stamps(logits, timestamp_begin).nonzero().flatten().tolist():
        table[only, :timestamp_begin] = -np.inf
    return logits


def bounds_of(pasts: Sequence[RowPast]) -> Tensor:
    """What `apply_bounds` takes: [3, rows, 1], on the CPU."""
    return torch.tensor([[past.text_from, past.stamps_from, past.stamps_to] for past in pasts]).t()[..., None]


def apply_bounds(logits: Tensor, bounds: Tensor, timestamp_begin: int) -> Tensor:
    """`apply_rules` as operations on tensors alone, for a device whose work is recorded once and played again."""
    text_from, stamps_from, stamps_to = bounds
    place = torch.arange(logits.shape[1], device=logits.device)
    outside = (place >= timestamp_begin) & ((place < stamps_from) | (place > stamps_to))
    logits.masked_fill_((place < text_from) | outside, -torch.inf)
    logits[:, :timestamp_begin].masked_fill_(_only_stamps(logits, timestamp_begin)[:, None], -torch.inf)
    return logits


def _only_stamps(logits: Tensor, timestamp_begin: int) -> Tensor:
    """Rows whose timestamps together are likelier than any other token."""
    return logits[:, timestamp_begin:].logsumexp(dim=-1) > logits[:, :timestamp_begin].amax(dim=-1)
