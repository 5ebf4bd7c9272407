"""The scheduler: keeps the slots full with windows of many files; owns the models.

`Engine.hear` may be called from several threads at once, a file each. A thread of the engine's own, there as long as
files are, drives the models for all of them: it answers what their seeks ask for, starts tries in their slots, and
takes every running try a token further. A file whose try ended has its next window started
before the next token of the others, so slots stay full. What a file hears depends on itself and its options only.
"""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

import torch

from wat_cli.engine.file import File, Models, Pcm, Recording, encode_together
from wat_cli.engine.notes import Notebook, Notes
from wat_cli.engine.shards import Shards
from wat_cli.engine.spinning import Spinning
from wat_cli.errors import MediaError
from wat_cli.model.alignment import add_words
from wat_cli.model.decoding import BatchDecoder, Text, Try
from wat_cli.model.heads import Head
from wat_cli.model.memory import give_back, ran_out_of_memory, trim_heap
from wat_cli.model.threads import alone, compute_with
from wat_cli.model.whisper_at import WhisperAT
from wat_cli.options import TranscribeOptions
from wat_cli.seek import Decoded, DecodeRequest, LanguageRequest, Request, WordsRequest, sampling_seed
from wat_cli.transcript import HeadTuning, Hearing, Segment

SLOTS = 8
"""Files whose windows are decoded together at most; caches are made for as many as are really there at once."""

_TRIMMED_AFTER = 16
"""Windows after which freed memory is given back: a hundredth of a second's work."""

_PATIENCE = 5.0
"""Seconds that the program's end waits for a turn: what is computed then ends with the process, in the middle."""

_TOO_SMALL = "the memory does not suffice for this file alone: take a smaller --model, a smaller --beam-size or the CPU"

_NAME = "wat-engine"
_ending = threading.Event()
"""Set when the program ends."""


@atexit.register
def _end_turns() -> None:
    """Let the engines' threads finish their turns.

    Python ends a thread that comes back from torch while the interpreter goes away, which C++ answers with an abort.
    """
    _ending.set()
    for thread in threading.enumerate():
        if thread.name == _NAME:
            thread.join(_PATIENCE)


class _Ticket:
    """One file's way, or one shard's, through the scheduler."""

    def __init__(self, file: File, notes: Notes | None) -> None:
        self.file, self.notes = file, notes
        self.siblings: tuple[_Ticket, ...] = (self,)
        """All shards of the file: what fails one of them fails all."""
        self.run: Generator[Request, Any, tuple[Segment, ...]] = file.seek.run()
        self.pending: Request | None = None
        """What it asked and was not answered yet: what its slot is decoding, or what memory did not suffice for."""
        self.loaded: int | None = None
        """Index of the window whose features are in its slot."""
        self.segments: tuple[Segment, ...] | None = None
        self.error: BaseException | None = None

        self.stopped = False
        """Whether it has to ask again what is pending."""
        self.waits = False
        """Whether what is pending asks for a window that is not encoded yet."""

    @property
    def done(self) -> bool:
        """Whether the whole file is: heard in all its shards, or failed in one."""
        return self.error is not None or all(sibling.segments is not None for sibling in self.siblings)


class Engine:
    """A speech model, and perhaps a tagging head that reads it or a second, smaller encoder, for many files at once."""

    def __init__(
        self,
        model: WhisperAT,
        head: Head | None = None,
        tagger: WhisperAT | None = None,
        tuning: HeadTuning | None = None,
        slots: int = SLOTS,
        together: int | None = None,
    ) -> None:
        """`head` reads `tagger` where there is one, otherwise `model`; `tuning` says how to read its scores.

        `together` windows at most are encoded in one pass. Left out, one on a CPU, which one fills, and as many as
        there are slots on a GPU.
        """
        self.models = Models(model, head, tagger, tuning)
        self.decoder = BatchDecoder(model.model, model.dtype, model.sole)
        self._slots: list[_Ticket | None] = [None] * slots
        self._arrivals: deque[_Ticket] = deque()
        self._together = together or (1 if model.device.type == "cpu" else slots)
        self._turns = threading.Condition()
        self._driven = False
        """Whether there is a thread that drives the models."""
        self._windows = 0
        self._threads = torch.get_num_threads()

    def hear(
        self,
        pcm: Pcm,
        options: TranscribeOptions,
        tags: bool = True,
        progress: Callable[[float], None] = lambda seconds: None,
        notebook: Notebook | None = None,
    ) -> Hearing:
        """Hear one file: its segments, its language, and with `tags` the tag track.

        Waits until it is heard; other threads' files share the models meanwhile. `progress` is told how many seconds of
        the file are done, by the engine's thread. What `notebook` recalls is not heard again, and what is heard is
        kept in it. Raises UsageError for a language that the model does not know.
        """
        with alone():
            shards = Shards(Recording(self.models, pcm, options, tags), options, progress)
        notes = shards.notes(notebook)
        tickets = tuple(_Ticket(file, pages) for file, pages in zip(shards.files, notes, strict=True))
        for ticket in tickets:
            ticket.siblings = tickets
        with self._turns:
            self._arrivals.extend(tickets)
            if not self._driven:
                self._driven = True
                threading.Thread(target=self._drive, name=_NAME, daemon=True).start()
            try:
                while not tickets[0].done:
                    self._turns.wait()
            except BaseException as error:  # an interrupt: the engine drops the file at its next turn
                for ticket in tickets:
                    ticket.error = ticket.error or error
                raise
            finally:
                for ticket in tickets:  # they hold each other, and with that the file's features
                    ticket.siblings = ()
        if tickets[0].error is not None:
            raise tickets[0].error
        return shards.hearing([ticket.segments or () for ticket in tickets])

    def _drive(self) -> None:
        """Drive the models as long as there are files."""
        compute_with(self._threads)
        try:
            with Spinning() as self._spinning:  # a later thread has one of its own
                while self._at_work() and not _ending.is_set():
                    self._turn()
        except BaseException as error:  # told to all who wait
            with self._turns:  # until all are told, nobody starts another thread
                for ticket in [*self._arrivals, *self._slots]:
                    if ticket is not None:
                        self._fail(ticket, error)
                self._driven = False

    def _at_work(self) -> bool:
        """Whether there are files still, but for those that nobody waits for any more."""
        with self._turns:
            for ticket in [*self._arrivals, *self._slots]:
                if ticket is not None and ticket.error is not None:
                    self._leave(ticket)
            self._driven = bool(self._arrivals) or any(ticket is not None for ticket in self._slots)
            return self._driven

    @property
    def slots(self) -> int:
        """Files or shards that are decoded together at most: fewer after the memory ran out."""
        return len(self._slots)

    def _turn(self) -> None:
        """Let waiting files into free slots, then take every running try one token further."""
        try:
            for slot, ticket in enumerate(self._slots):
                if ticket is None and (arrived := self._next()) is not None:
                    self._slots[slot] = arrived
                    self._begin(slot, arrived)
            self._encode_waiting()
            for slot, text in self.decoder.step():
                self._ended(slot, text)
            self._spinning.look()
            self._encode_waiting()
            return
        except Exception as error:
            if not ran_out_of_memory(error):
                raise
            said = str(error) or "out of memory"
        self._make_room(said)  # out here, where nothing holds on to the failed call's tensors

    def _encode_waiting(self) -> None:
        """Encode the windows that files wait for, several in a pass, and let the files go on."""
        while waiting := [(slot, ticket) for slot, ticket in enumerate(self._slots) if ticket and ticket.waits]:
            alike = waiting[0][1].file.tags is None
            batch = [(slot, one) for slot, one in waiting if (one.file.tags is None) == alike][: self._together]
            for _, ticket in batch:
                ticket.waits = False
            try:
                encode_together([(one.file, one.pending.window) for _, one in batch if one.pending is not None])
            except Exception as error:
                if ran_out_of_memory(error):
                    raise
                # one of them broke it for all: each is encoded alone as it goes on, and fails alone
            self._spinning.look()
            for slot, ticket in batch:
                if not ticket.done:
                    self._answer_all(slot, ticket, ticket.pending)

    def _begin(self, slot: int, ticket: _Ticket) -> None:
        """Let a file go on from its beginning, or from what it asked when it was stopped."""
        if not ticket.stopped:
            self._advance(slot, ticket, None)
            return
        ticket.stopped = False
        self._answer_all(slot, ticket, ticket.pending)

    def _ended(self, slot: int, text: Text | Exception) -> None:
        """Give a file the text of its try, or let it fail with what went wrong there."""
        ticket = self._slots[slot]
        if ticket is None:  # failed with another shard of its file in this very step
            return
        if isinstance(text, Exception):
            if ran_out_of_memory(text):
                raise text
            self._fail(ticket, text)
            return
        request = ticket.pending
        assert isinstance(request, DecodeRequest)
        self._advance(slot, ticket, self._noted(ticket, request, _decoded(request, text)))

    def _make_room(self, said: str) -> None:
        """Go on with half as many slots, and let every file ask again what it asked last.

        A file that had the memory for itself, and not enough, fails; `said` is what torch said.
        """
        inside = [ticket for ticket in self._slots if ticket is not None]
        alone = len(inside) <= 1 and self.decoder.decoder.slots <= 1
        self._slots = [None] * max(1, len(inside) // 2)
        for ticket in inside:
            ticket.loaded, ticket.stopped, ticket.waits = None, ticket.pending is not None, False
            if alone:
                self._fail(ticket, MediaError(f"{_TOO_SMALL} ({said.splitlines()[0]})"))
        with self._turns:
            self._arrivals.extendleft(ticket for ticket in reversed(inside) if not ticket.done)
        self.decoder.clear()
        give_back()

    def _next(self) -> _Ticket | None:
        """The file or shard that waits longest and can begin."""
        with self._turns:
            arrived = next((ticket for ticket in self._arrivals if ticket.file.ready), None)
            if arrived is not None:
                self._arrivals.remove(arrived)
            return arrived

    def _advance(self, slot: int, ticket: _Ticket, answer: Any) -> None:
        """Send a file its answer and answer what it asks next, until its slot decodes or the file is done."""
        self._answer_all(slot, ticket, None, answer)

    def _answer_all(self, slot: int, ticket: _Ticket, request: Request | None, answer: Any = None) -> None:
        """The same, from a `request` on that is not answered yet, where there is one."""
        try:
            while True:
                if request is None:
                    ticket.pending = None
                    try:
                        request = ticket.run.send(answer)
                    except StopIteration as end:
                        ticket.segments = end.value
                        self._leave(ticket)
                        return
                    found, answer = ticket.notes.recalled(request) if ticket.notes is not None else (False, None)
                    if found:
                        request = None
                        continue
                    if self._together > 1 and not ticket.file.holds(request.window):
                        ticket.pending, ticket.waits = request, True
                        return
                ticket.pending = request
                if isinstance(request, DecodeRequest):
                    text = self._start(slot, ticket, request)
                    if text is None:
                        return
                    answer = _decoded(request, text)
                else:
                    answer = self._answer(ticket.file, request)
                self._noted(ticket, request, answer)
                request = None
        except BaseException as error:
            if ran_out_of_memory(error) and ticket.pending is not None:
                raise
            self._fail(ticket, error)  # what is wrong with one file leaves the others alone

    def _fail(self, ticket: _Ticket, error: BaseException) -> None:
        for sibling in ticket.siblings:
            sibling.error = sibling.error or error
            self._leave(sibling)

    def _leave(self, ticket: _Ticket) -> None:
        """Free a ticket's slot and wake the thread that waits for it."""
        for slot, holder in enumerate(self._slots):
            if holder is ticket:
                self._slots[slot] = None
                self.decoder.drop(slot)
        with self._turns:
            if ticket in self._arrivals:
                self._arrivals.remove(ticket)
            self._turns.notify_all()

    def _answer(self, file: File, request: LanguageRequest | WordsRequest) -> Any:
        encoded = file.encoded(request.window)
        if isinstance(request, LanguageRequest):
            return file.tokenizer(encoded)
        add_words(
            self.models.model.model,
            file.tokenizer(encoded),
            encoded.audio_features[0],
            request.segments,
            frames=request.window.size,
            last_speech=request.last_speech,
            prepend_punctuations=file.options.prepend_punctuations,
            append_punctuations=file.options.append_punctuations,
        )
        return None

    def _start(self, slot: int, ticket: _Ticket, request: DecodeRequest) -> Text | None:
        """Start a try in a file's slot, from the features that are there after a first one."""
        file, options = ticket.file, ticket.file.options
        encoded = file.encoded(request.window)
        if ticket.loaded != request.window.index:
            self.decoder.load(slot, encoded.audio_features[0])
            ticket.loaded = request.window.index
            self._windows += 1
            if self._windows % _TRIMMED_AFTER == 0:
                trim_heap()
        attempt = Try(
            tokenizer=file.vocabulary(),
            prompt=request.prompt,
            temperature=request.temperature,
            seed=sampling_seed(options.seed, request.window.seek, request.temperature),
            best_of=options.best_of,
            beam_size=options.beam_size,
            patience=options.patience,
            length_penalty=options.length_penalty,
            suppress_tokens=options.suppress_tokens,
        )
        return self.decoder.start(slot, attempt)

    def _noted(self, ticket: _Ticket, request: Request, answer: Any) -> Any:
        if ticket.notes is not None:
            ticket.notes.note(request, answer)
        return answer


def _decoded(request: DecodeRequest, text: Text) -> Decoded:
    return Decoded(text.tokens, request.temperature, text.avg_logprob, text.no_speech_prob, text.compression_ratio)
