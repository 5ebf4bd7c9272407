"""How one window's text is chosen: greedy, sampled candidates, or beams, as openai-whisper chooses (``decoding.py``).

A `Search` holds the rows of one try at one window. Each step it is given what may follow its rows, and says which
token each row takes and which row it goes on from; at the end it picks its best row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Categorical


@dataclass(frozen=True)
class Ranked:
    """What may follow each row, with the likeliest of it: found for all rows of a batch at once."""

    logits: Tensor
    """[rows, vocabulary] in float32, with the rules applied."""
    likeliest: list[int]
    """Each row's token."""
    greatest: list[float]
    """Those tokens' log-probabilities."""
    tokens: list[list[int]]
    """Each row's likeliest tokens, for beams; as many as were asked for."""
    values: list[list[float]]
    """Their log-probabilities."""

    @classmethod
    def of(cls, logits: Tensor, most: int = 0) -> Ranked:
        """Rank `logits` [rows, vocabulary], and find the `most` likeliest of each row."""
        logprobs = logits.log_softmax(dim=-1)  # in one go; a sum of exponentials takes torch twice as long
        # on a CPU NumPy finds the largest of a row several times faster than torch
        places = logits.argmax(dim=-1) if logits.device.type != "cpu" else torch.from_numpy(logits.numpy().argmax(-1))
        greatest = logprobs.gather(1, places[:, None])[:, 0]
        values, tokens = logprobs.topk(most, dim=-1) if most else (logprobs[:, :0], places[:, None][:, :0])
        return cls(logits, places.tolist(), greatest.tolist(), tokens.tolist(), values.tolist())

    def rows(self, first: int, stop: int) -> Ranked:
        """The same for some of the rows."""
        part = slice(first, stop)
        lists = self.likeliest[part], self.greatest[part], self.tokens[part], self.values[part]
        return Ranked(self.logits[part], *lists)

    def repeated(self, rows: int) -> Ranked:
        """The only row as many times."""
        lists = self.likeliest * rows, self.greatest * rows, self.tokens * rows, self.values * rows
        return Ranked(self.logits.expand(rows, -1), *lists)


@dataclass(frozen=True)
class Chosen:
    """The best row of a search."""

    tokens: tuple[int, ...]
    """Sampled tokens before the first ``<|endoftext|>``."""
    sum_logprob: float

    @property
    def avg_logprob(self) -> float:
        """Mean log-probability, the end token counted."""
        return self.sum_logprob / (len(self.tokens) + 1)


class Search:
    """Candidates for one window's text. `rows` of them go on, `room` tokens at most."""

    most = 0
    """How many of a row's likeliest tokens it chooses from, where that is more than one."""

    def __init__(self, rows: int, room: int, eot: int, length_penalty: float | None) -> None:
        self.rows, self.room, self.eot, self.length_penalty = rows, room, eot, length_penalty
        self.sampled: list[list[int]] = [[] for _ in range(rows)]
        self.sum_logprobs = [0.0] * rows
        self.sources = list(range(rows))
        """Which row each row goes on from, after `update`."""
        self.done = False

    def update(self, ranked: Ranked) -> None:
        """Take what may follow each row, and append a token to it."""
        self._choose(ranked)
        if len(self.sampled[0]) >= self.room:
            self.done = True

    def _choose(self, ranked: Ranked) -> None:
        raise NotImplementedError

    def candidates(self) -> list[Chosen]:
        """The texts to choose from."""
        return [self._cut(row, total) for row, total in zip(self.sampled, self.sum_logprobs, strict=True)]

    def best(self) -> Chosen:
        """The likeliest candidate for its length (``decoding.py``, `MaximumLikelihoodRanker`)."""
        candidates = self.candidates()
        return candidates[int(np.argmax([c.sum_logprob / self._penalty(len(c.tokens)) for c in candidates]))]

    def _penalty(self, length: int) -> float:
        if self.length_penalty is None:
            return max(length, 1)
        return float(((5 + length) / 6) ** self.length_penalty)

    def _cut(self, row: Sequence[int], total: float) -> Chosen:
        return Chosen(tuple(row[: row.index(self.eot)] if self.eot in row else row), total)


class SampleSearch(Search):
    """Each row on its own: the likeliest token at temperature 0, drawn above it (`GreedyDecoder`).

    Rows that have ended are drawn for all the same, as openai-whisper does, so that the draws are the same.
    """

    def __init__(
        self,
        rows: int,
        room: int,
        eot: int,
        length_penalty: float | None,
        temperature: float,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__(rows, room, eot, length_penalty)
        self.temperature, self.generator = temperature, generator

    def _choose(self, ranked: Ranked) -> None:
        chosen, logprobs = (ranked.likeliest, ranked.greatest) if self.temperature == 0 else self._drawn(ranked)
        for index, row in enumerate(self.sampled):
            if row and row[-1] == self.eot:
                row.append(self.eot)
            else:
                row.append(chosen[index])
                self.sum_logprobs[index] += logprobs[index]
        self.done = all(row[-1] == self.eot for row in self.sampled)

    def _drawn(self, ranked: Ranked) -> tuple[list[int], list[float]]:
        probabilities = Categorical(logits=ranked.logits / self.temperature).probs
        drawn = torch.multinomial(probabilities, 1, True, generator=self.generator)
        logprobs = ranked.logits.log_softmax(dim=-1).gather(1, drawn)
        return drawn.squeeze(1).tolist(), logprobs.squeeze(1).tolist()


class BeamSearch(Search):
    """Beam search with patience (`BeamSearchDecoder`)."""

    def __init__(
        self, beams: int, room: int, eot: int, length_penalty: float | None, patience: float | None = None
    ) -> None:
        super().__init__(beams, room, eot, length_penalty)
        self.max_candidates = round(beams * (patience or 1.0))
        self.most = beams + 1
        self.finished: dict[tuple[int, ...], float] = {}

    def _choose(self, ranked: Ranked) -> None:
        # in float32, as openai-whisper adds them
        totals = (torch.tensor(self.sum_logprobs)[:, None] + torch.tensor(ranked.values)[:, : self.most]).tolist()
        scores: dict[tuple[int, ...], float] = {}
        sources: dict[tuple[int, ...], int] = {}
        for row, (row_totals, row_tokens) in enumerate(zip(totals, ranked.tokens, strict=True)):
            prefix = tuple(self.sampled[row])
            for total, token in zip(row_totals, row_tokens[: self.most], strict=True):
                scores[(*prefix, token)] = total
                sources[(*prefix, token)] = row
        going: list[tuple[int, ...]] = []
        ended: dict[tuple[int, ...], float] = {}
        for sequence in sorted(scores, key=lambda sequence: scores[sequence], reverse=True):
            if sequence[-1] == self.eot:
                ended[sequence] = scores[sequence]
            else:
                going.append(sequence)
                if len(going) == self.rows:
                    break
        self.sources = [sources[sequence] for sequence in going]
        self.sum_logprobs = [scores[sequence] for sequence in going]
        self.sampled = [list(sequence) for sequence in going]
        for sequence in sorted(ended, key=lambda sequence: ended[sequence], reverse=True):
            if len(self.finished) >= self.max_candidates:
                break
            self.finished[sequence] = ended[sequence]
        self.done = len(self.finished) >= self.max_candidates

    def candidates(self) -> list[Chosen]:
        """Finished beams, and the likeliest unfinished ones where they are too few."""
        finished = dict(self.finished)
        if len(finished) < self.rows:
            for row in list(np.argsort(self.sum_logprobs))[::-1]:
                finished[(*self.sampled[row], self.eot)] = self.sum_logprobs[row]
                if len(finished) >= self.rows:
                    break
        return [self._cut(sequence, total) for sequence, total in finished.items()]
