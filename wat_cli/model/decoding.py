"""Tries at windows, many at once: each slot's window is decoded by its own rules, search and temperature.

`BatchDecoder.start` begins a try in a slot whose window is loaded, `BatchDecoder.step` takes every running try one
token further and hands out those that ended. What a try gives depends on its window and its `Try` only, whatever
shares the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from whisper.model import Whisper
from whisper.tokenizer import Tokenizer
from whisper.utils import compression_ratio

from wat_cli.model.decoder import SlotDecoder
from wat_cli.model.memory import ran_out_of_memory
from wat_cli.model.recorded import Asked, CudaGraphs, RecordedSteps
from wat_cli.model.rules import RowPast, Rules, apply_rules
from wat_cli.model.search import BeamSearch, Ranked, SampleSearch, Search


@dataclass(frozen=True)
class Try:
    """How a window is to be decoded once; openai-whisper's `DecodingOptions` and their meanings."""

    tokenizer: Tokenizer
    prompt: tuple[int, ...]
    """Text before the window, at most half the context less one."""
    temperature: float
    seed: int
    """Of the generator that is drawn from above temperature 0."""
    best_of: int | None
    beam_size: int | None
    patience: float | None
    length_penalty: float | None
    suppress_tokens: str

    @property
    def rows(self) -> int:
        """Rows of the batch that it takes."""
        return (self.best_of if self.temperature > 0 else self.beam_size) or 1


@dataclass(frozen=True)
class Text:
    """What a try gave: the fields of openai-whisper's `DecodingResult`."""

    tokens: tuple[int, ...]
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float


@dataclass
class _Running:
    """A try under way in a slot."""

    search: Search
    rules: Rules
    tokenizer: Tokenizer
    prompt_length: int
    no_speech_prob: float

    @property
    def length(self) -> int:
        """Tokens in the caches; the last sampled one is not yet."""
        return self.prompt_length + len(self.search.sampled[0]) - 1


class BatchDecoder:
    """Running tries over the slots of one `SlotDecoder`."""

    def __init__(self, model: Whisper, dtype: torch.dtype, sole: bool = False) -> None:
        """Caches are made for as many slots, of as many beams or candidates, as are used.

        `sole` says that nobody else uses `model`.
        """
        self.model = model
        self.decoder = SlotDecoder(model, dtype, sole=sole)
        self.recorded = RecordedSteps(self.decoder, CudaGraphs()) if model.device.type == "cuda" else None
        """Takes the steps in place of the decoder."""
        self.running: dict[int, _Running] = {}
        self.steps = self.rows_stepped = 0
        """Decoder steps so far, and the slots that took part in them, summed: their ratio is the mean batch."""
        self._rules: dict[tuple[str | None, str], Rules] = {}

    def load(self, slot: int, audio_features: Tensor) -> None:
        """Put a window's `audio_features` [1500, width] into a slot, for every try at it."""
        self.decoder.reserve(slot + 1, 1)
        self.decoder.load(slot, audio_features)

    def drop(self, slot: int) -> None:
        """Give up what a slot is decoding."""
        self.running.pop(slot, None)

    def clear(self) -> None:
        """Give up everything that is decoded, with the memory that it takes."""
        self.running.clear()
        self.decoder.clear()
        if self.recorded is not None:
            self.recorded.clear()

    @torch.inference_mode()
    def start(self, slot: int, attempt: Try) -> Text | None:
        """Begin a try in a slot; gives its text if one token ended it."""
        tokenizer, dims = attempt.tokenizer, self.model.dims
        prompt = [*tokenizer.sot_sequence]
        if attempt.prompt:
            prompt = [tokenizer.sot_prev, *attempt.prompt[-(dims.n_text_ctx // 2 - 1) :], *prompt]
        sot = prompt.index(tokenizer.sot)
        self.decoder.reserve(slot + 1, attempt.rows)
        prefilled = self.decoder.prefill(slot, prompt, sot, attempt.rows)
        no_speech = prefilled.at_sot[0].softmax(dim=-1)[tokenizer.no_speech] if tokenizer.no_speech else torch.nan
        rules = self._rules_of(attempt)
        search = self._search(attempt, min(dims.n_text_ctx // 2, dims.n_text_ctx + 1 - len(prompt)))
        running = _Running(search, rules, tokenizer, len(prompt), float(no_speech))
        logits = prefilled.last + rules.first_bias
        apply_rules(logits, [RowPast.of((), rules, dims.n_vocab)], rules.timestamp_begin)
        search.update(Ranked.of(logits, search.most).repeated(attempt.rows))
        if search.done:
            return _text(running)
        # every row still holds the same prompt, so beams need no reordering here
        self.running[slot] = running
        return None

    @torch.inference_mode()
    def step(self) -> list[tuple[int, Text | Exception]]:
        """Take every running try one token further; gives the slots whose try ended, with their texts.

        What goes wrong with one try comes out in place of its text, and leaves the others alone. Raises only where the
        memory ran out; every try is then as it was, or gone and its slot with it.
        """
        slots = sorted(self.running)
        if not slots:
            return []
        self.steps += 1
        self.rows_stepped += len(slots)
        return self._step(slots)

    def _step(self, slots: list[int]) -> list[tuple[int, Text | Exception]]:
        tries = [self.running[slot] for slot in slots]
        try:
            ranked = self._ranked(slots, tries)
        except Exception as error:
            if ran_out_of_memory(error):
                raise
            if len(slots) > 1:  # one of them breaks it for all: each on its own
                return [ended for slot in slots for ended in self._step([slot])]
            del self.running[slots[0]]
            return [(slots[0], error)]
        ended: list[tuple[int, Text | Exception]] = []
        for slot, running, rows in zip(slots, tries, ranked, strict=True):
            try:
                text = self._sample(slot, running, rows)
            except Exception as error:
                del self.running[slot]
                ended.append((slot, error))
                continue
            if text is not None:
                del self.running[slot]
                ended.append((slot, text))
        return ended

    def _ranked(self, slots: list[int], tries: list[_Running]) -> list[Ranked]:
        """What each try's rows may be followed by: one pass of the decoder for all of them."""
        most = max(running.search.most for running in tries)
        asked = {slot: self._asked(running) for slot, running in zip(slots, tries, strict=True)}
        if self.recorded is not None:
            return list(self.recorded.ranked(asked, most).values())
        logits = self.decoder.step(
            {slot: one.tokens for slot, one in asked.items()}, {slot: one.place for slot, one in asked.items()}
        )
        first = tries[0].rules
        if all(one.rules is first for one in asked.values()):
            logits += first.bias
        else:
            logits += torch.stack([one.rules.bias for one in asked.values() for _ in one.tokens])
        apply_rules(logits, [past for one in asked.values() for past in one.pasts], first.timestamp_begin)
        ranked, row = Ranked.of(logits, most), 0
        parts = []
        for one in asked.values():
            parts.append(ranked.rows(row, row + len(one.tokens)))
            row += len(one.tokens)
        return parts

    def _asked(self, running: _Running) -> Asked:
        search, rules = running.search, running.rules
        pasts = [RowPast.of(row, rules, self.model.dims.n_vocab) for row in search.sampled]
        return Asked([row[-1] for row in search.sampled], running.length, search.sources, pasts, rules)

    def _sample(self, slot: int, running: _Running, ranked: Ranked) -> Text | None:
        """Choose one try's next tokens; gives its text if they ended it."""
        search = running.search
        search.update(ranked)
        if search.done:
            return _text(running)
        if self.recorded is None:
            self.decoder.reorder(slot, search.sources, running.prompt_length, running.length)
        return None

    def _rules_of(self, attempt: Try) -> Rules:
        key = (attempt.tokenizer.language, attempt.suppress_tokens)
        if key not in self._rules:
            vocabulary = self.model.dims.n_vocab
            self._rules[key] = Rules.of(attempt.tokenizer, attempt.suppress_tokens, vocabulary, self.model.device)
        return self._rules[key]

    def _search(self, attempt: Try, room: int) -> Search:
        eot = attempt.tokenizer.eot
        if attempt.temperature == 0 and attempt.beam_size is not None:
            return BeamSearch(attempt.beam_size, room, eot, attempt.length_penalty, attempt.patience)
        generator = None
        if attempt.temperature > 0:
            generator = torch.Generator(self.model.device).manual_seed(attempt.seed)
        return SampleSearch(attempt.rows, room, eot, attempt.length_penalty, attempt.temperature, generator)


def _text(running: _Running) -> Text:
    chosen = running.search.best()
    text = running.tokenizer.decode(list(chosen.tokens)).strip()
    return Text(chosen.tokens, chosen.avg_logprob, running.no_speech_prob, compression_ratio(text))
