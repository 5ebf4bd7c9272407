"""A file's notebook: what its windows were answered, so that a killed run goes on where it stopped."""

from __future__ import annotations

import copy
from collections import deque
from dataclasses import asdict
from typing import Any, Protocol

from wat_cli.engine.file import File
from wat_cli.resume import WindowRecord
from wat_cli.seek import Decoded, DecodeRequest, LanguageRequest, Request, Window, WordsRequest


class Pages(Protocol):
    """Keeps what each window was answered, in turn."""

    def recall(self, seek: int, size: int) -> WindowRecord | None: ...
    def keep(self, record: WindowRecord) -> None: ...


class Notebook(Pages, Protocol):
    """The same for a file that may be cut; `resume.ResumeLog` is one."""

    def pages(self, first: int, stop: int) -> Pages: ...


class Notes:
    """Answers a file's requests from its notebook as far as that goes, and notes what the models answer after it."""

    def __init__(self, file: File, notebook: Pages) -> None:
        self._file, self._notebook = file, notebook
        self._window: Window | None = None
        self._recalled: deque[Any] | None = None
        self._answers: list[Any] = []

    def recalled(self, request: Request) -> tuple[bool, Any]:
        """Whether an earlier run was answered this, and what."""
        if request.window != self._window:
            self._turn_to(request.window)
        if self._recalled is None:
            return False, None
        return True, self._again(request, self._recalled.popleft())

    def note(self, request: Request, answer: Any) -> None:
        """Remember what the models answered."""
        self._answers.append(self._noted(request, answer))

    def _turn_to(self, window: Window) -> None:
        """A window's record is written when the next window begins: all that was asked about it is known then."""
        if self._window is not None and self._recalled is None:
            logits = () if self._file.logits is None else (self._file.logits,)
            record = WindowRecord(self._window.seek, self._window.size, tuple(self._answers), logits)
            self._notebook.keep(record)
        self._window = window
        self._answers = []
        found = self._notebook.recall(window.seek, window.size)
        self._recalled = deque(found.answers) if found is not None else None
        if found is not None:
            self._file.recall(window, found)

    def _noted(self, request: Request, answer: Any) -> Any:
        match request:
            case LanguageRequest():
                return [self._file.recording.language, self._file.recording.language_probability]
            case DecodeRequest():
                return asdict(answer)
            case WordsRequest():
                return copy.deepcopy(request.segments)

    def _again(self, request: Request, noted: Any) -> Any:
        match request:
            case LanguageRequest():
                self._file.recording.language, self._file.recording.language_probability = noted
                return self._file.vocabulary()
            case DecodeRequest():
                return Decoded(**{**noted, "tokens": tuple(noted["tokens"])})
            case WordsRequest():
                request.segments[:] = noted
                return None
