"""Decoder steps that are recorded once and played again, as CUDA graphs: for devices that outrun the program.

A step is some hundreds of operations of a few microseconds each. A GPU ends them sooner than Python can ask for them,
so a recorded step takes all rows of all slots at once, those that nothing runs in too, reads what the program says of
them from one tensor, applies the sampling rules, and leaves what may follow in another: two copies and one wait a step.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from wat_cli.model.decoder import SlotDecoder
from wat_cli.model.memory import ran_out_of_memory
from wat_cli.model.past import Run
from wat_cli.model.rules import RowPast, Rules, apply_bounds, bounds_of
from wat_cli.model.search import Ranked

_T = TypeVar("_T")

_STRIDE = 64
"""Recordings are made for texts of a multiple of so many tokens: seven at most for Whisper's 448."""


@dataclass(frozen=True)
class Asked:
    """What a step is to do in one slot; a token, a past and a source for each of its rows."""

    tokens: Sequence[int]
    """Each row's next token."""
    place: int
    """Where in their texts it stands."""
    sources: Sequence[int]
    """Which row of the slot each row goes on from."""
    pasts: Sequence[RowPast]
    rules: Rules


class Record(Protocol):
    """Does work on tensors once, and gives a faster way to do it again with what the same tensors hold then."""

    def __call__(self, work: Callable[[], _T]) -> Callable[[], _T]: ...


class CudaGraphs:
    """Records as CUDA graphs, which share one pool of memory: no two are played at a time."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[], _T]) -> Callable[[], _T]:
        """Record `work`, whose results are the same tensors each time."""
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            work()  # libraries make room for themselves at their first call, which no graph can hold
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # other threads may go on using the device meanwhile
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            given = work()

        def play() -> _T:
            graph.replay()
            return given

        return play


class RecordedSteps:
    """The steps of one `SlotDecoder`, recorded for each number of slots and rows, and length of text."""

    def __init__(self, decoder: SlotDecoder, record: Record) -> None:
        self.decoder, self.record = decoder, record
        self.clear()

    def clear(self) -> None:
        """Forget all recordings, with the memory that they take: they hold the caches that they were made with."""
        self._steps: dict[tuple[int, int], Callable[[], Tensor]] = {}
        self._shape = 0, 0
        self._rules: dict[int, Rules] = {}

    @torch.inference_mode()
    def ranked(self, asked: Mapping[int, Asked], most: int) -> dict[int, Ranked]:
        """Take one token more in every slot of `asked`; gives what may follow its rows, slot by slot.

        Their `most` likeliest tokens are found too, for beams. What is given holds until the next call.
        """
        if (self.decoder.slots, self.decoder.group) != self._shape:
            self._begin()
        for slot, one in asked.items():
            if self._rules.get(slot) is not one.rules:
                self._rules[slot] = one.rules
                self._bias[slot] = one.rules.bias
        length = -(-(max(one.place for one in asked.values()) + 1) // _STRIDE) * _STRIDE
        length = min(length, self.decoder.context)
        if (length, most) not in self._steps:
            (begin,) = {one.rules.timestamp_begin for one in asked.values()}
            self._steps[length, most] = self._recorded(lambda: self._work(length, most, begin))
        self._say(asked)
        found = self._steps[length, most]().cpu()  # the one wait
        return {slot: self._of(found, slot, len(one.tokens)) for slot, one in asked.items()}

    def _recorded(self, work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Record a step, without harm to what the caches hold."""
        self._heard.copy_(self._blank())
        try:
            return self.record(work)
        except RuntimeError as error:
            if ran_out_of_memory(error):
                raise
            said = str(error).splitlines()[0]
            warnings.warn(f"decoder steps cannot be recorded here, and take longer ({said})", RuntimeWarning, 2)
            self.record = _asked_anew
            return work

    def _begin(self) -> None:
        self.clear()
        decoder = self.decoder
        self._shape = decoder.slots, decoder.group
        device = decoder.model.device
        rows = decoder.slots * decoder.group
        self._rows = torch.arange(rows, device=device)
        self._bias = torch.zeros(decoder.slots, decoder.model.dims.n_vocab, device=device)
        self._said = torch.zeros(6, rows, dtype=torch.int64, pin_memory=device.type == "cuda")
        self._heard = torch.zeros(6, rows, dtype=torch.int64, device=device)
        """Token, place, and where each row of the caches goes on from; what `apply_bounds` takes."""
        self._logits = torch.zeros(rows, decoder.model.dims.n_vocab, device=device)
        """What the last step gave, with the rules applied: one place for all recordings, not one for each."""

    def _say(self, asked: Mapping[int, Asked]) -> None:
        """Tell the device of each row, and leave those alone that are not asked for."""
        group = self.decoder.group
        said = self._blank()
        for slot, one in asked.items():
            first, rows = slot * group, len(one.tokens)
            told = [one.tokens, [one.place] * rows, [first + source for source in one.sources]]
            said[:3, first : first + rows] = torch.tensor(told)
            said[3:, first : first + rows] = bounds_of(one.pasts)[..., 0]
        self._heard.copy_(said, non_blocking=True)

    def _blank(self) -> Tensor:
        """Say of all rows that any token stands at their last place, where no text in work has one yet."""
        said = self._said.zero_()
        said[1], said[2] = self.decoder.context - 1, torch.arange(said.shape[1])
        return said

    def _work(self, length: int, most: int, timestamp_begin: int) -> Tensor:
        """One step of all rows: operations on tensors alone, none of which the host waits for.

        Gives [rows, 2 + 2 most] in float64: each row's likeliest token and its log-probability, then the `most`
        likeliest tokens and theirs.
        """
        decoder, heard = self.decoder, self._heard
        if decoder.group > 1:
            for past in decoder.past:
                past.reorder_all(heard[2], length)
        every = Run(slice(0, decoder.slots), slice(0, heard.shape[1]), decoder.group)
        rows = decoder.past[0].rows(self._rows, heard[1], [every], length)
        logits = self._logits.copy_(decoder.advance(heard[0], rows))
        logits.view(decoder.slots, decoder.group, -1).add_(self._bias[:, None])
        apply_bounds(logits, heard[3:, :, None], timestamp_begin)
        logprobs = logits.log_softmax(dim=-1)
        likeliest = logits.argmax(dim=-1, keepdim=True)
        values, tokens = logprobs.topk(most, dim=-1) if most else (logprobs[:, :0], likeliest[:, :0])
        found = [likeliest.double(), logprobs.gather(1, likeliest).double(), tokens.double(), values.double()]
        return torch.cat(found, dim=-1)

    def _of(self, found: Tensor, slot: int, rows: int) -> Ranked:
        part = slice(slot * self.decoder.group, slot * self.decoder.group + rows)
        mine = found[part]
        tokens, values = mine[:, 2:].chunk(2, dim=-1)
        return Ranked(
            self._logits[part],
            likeliest=mine[:, 0].long().tolist(),
            greatest=mine[:, 1].tolist(),
            tokens=tokens.long().tolist(),
            values=values.tolist(),
        )


def _asked_anew(work: Callable[[], _T]) -> Callable[[], _T]:
    """Stands for recording where nothing can be recorded."""
    return work
