"""One file from its publisher to disk: resumed, checked while it streams, in place whole or not at all.

The client is requests, which openai-whisper brings already (through tiktoken): it keeps the timeouts of connecting and
reading apart, reads the proxies and certificates that a machine is set up with, and says when a body ends early.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import BinaryIO
from urllib.parse import urlsplit

import requests
from filelock import FileLock, Timeout

from wat_cli.checkpoints.hashes import hash_file
from wat_cli.checkpoints.transfer import PATIENCE, Patience, Progress, Transfer, silent
from wat_cli.errors import WeightsMissing, printable, shown

_BLOCK = 1 << 16
"""Bytes read at a time: what a cut loses at most."""
_SPARE_BYTES = 64 << 20
_CHECKPOINT_MAGIC = (b"PK\x03\x04", b"\x80")
"""How a file written by `torch.save` begins: a zip archive, or a bare pickle in the old format."""


class WrongHash(Exception):
    """A file came whole, and is another one than expected."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"sha256 {found}, expected {expected}")
        self.found, self.expected = found, expected


class _Unreachable(Exception):
    """No answer from the publisher; the argument says why."""


class _CutOff(Exception):
    """The answer ended before the file did."""


def fetch(
    url: str,
    target: Path,
    sha256: str | None,
    progress: Progress = silent,
    *,
    still_wanted: Callable[[], bool] = lambda: True,
    patience: Patience = PATIENCE,
) -> str | None:
    """Bring one checkpoint to `target` and return its hash, or None where another run brought it meanwhile.

    Bytes gather in ``TARGET.part``, which stays after a cut and is gone on with next time. One run at a time fetches
    a file; a second one waits and then asks `still_wanted`. An existing `target` is replaced only by a whole file
    with the right hash (any hash where `sha256` is None).

    Raises `WeightsMissing` when there is no network, no such file or no room, `WrongHash` when the hash differs.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.with_name(f".{target.name}.lock"))
        try:
            held = lock.acquire(timeout=0)
        except Timeout:
            progress(Transfer(target.name, 0, None, "another run is fetching it; waiting for that one"))
            held = lock.acquire()
        with held:
            return _Download(url, target, sha256, progress, patience).run() if still_wanted() else None
    except OSError as error:
        raise WeightsMissing(_disk_message(target, error)) from error


class _Download:
    """The tries at one file."""

    def __init__(self, url: str, target: Path, sha256: str | None, progress: Progress, patience: Patience) -> None:
        self.url, self.target, self.sha256 = url, target, sha256
        self.progress, self.patience = progress, patience
        self.part = target.with_name(target.name + ".part")
        self.etag_file = target.with_name(target.name + ".part.etag")

    def run(self) -> str:
        pauses = iter(self.patience.pauses)
        wait = self.patience.first_answer
        while True:
            try:
                digest = self._attempt(wait)
                break
            except (_Unreachable, _CutOff) as error:
                if isinstance(error, _Unreachable) and wait == self.patience.first_answer:
                    raise WeightsMissing(f"{self._host} cannot be reached ({error}).") from error
                pause = next(pauses, None)
                if pause is None:
                    raise WeightsMissing(
                        f"{self._host} broke off {self.target.name} again and again ({error}). What came is kept in "
                        f"{shown(self.part)}; the same command goes on from there."
                    ) from error
                self._say(f"{error}; trying again in {pause:g} s")
                time.sleep(pause)
                wait = self.patience.next_answer
        self.part.replace(self.target)
        self.etag_file.unlink(missing_ok=True)
        return digest

    def _attempt(self, wait: float) -> str:
        offset, etag = self._resumable()
        with self._open(wait, offset, etag) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                # as after a run that ended between the last byte and the renaming
                if self.sha256 is not None and hash_file(self.part) == self.sha256:
                    return self.sha256
                self._forget_part()
                raise _CutOff("the publisher refuses to go on from there")
            if response.status_code >= 500:
                raise _Unreachable(f"it answers {response.status_code} {printable(str(response.reason))}")
            if response.status_code not in (requests.codes.ok, requests.codes.partial_content):
                raise WeightsMissing(
                    f"{self._host} answers {response.status_code} ({printable(str(response.reason))}) for {self.url}"
                )
            if response.status_code == requests.codes.ok:
                offset = 0
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
                self._forget_part()
                raise _CutOff("the publisher sent another part of the file than asked for")
            digest = self._receive(response, offset)
        if self.sha256 is not None and digest != self.sha256:
            self._forget_part()
            raise WrongHash(digest, self.sha256)
        if self.sha256 is None and (damage := _damage(self.part)):
            self._forget_part()
            raise WeightsMissing(f"{self.target.name} came damaged from {self._host} ({damage}). Try again: {self.url}")
        return digest

    def _receive(self, response: requests.Response, offset: int) -> str:
        """Write the body behind the first `offset` bytes of the part; the hash of the whole."""
        length = response.headers.get("Content-Length", "")
        total = offset + int(length) if length.isdigit() else None
        room = shutil.disk_usage(self.part.parent).free
        if total is not None and room < total - offset + _SPARE_BYTES:
            raise OSError(errno.ENOSPC, f"{(total - offset) / 1e6:.0f} MB are needed and {room / 1e6:.0f} MB are free")
        if offset == 0:
            self._keep_etag(response.headers.get("ETag", ""))
        with self.part.open("r+b" if offset else "w+b") as file:
            digest = _digest_start(file, offset)
            done = offset
            self._report(done, total)
            try:
                for block in response.iter_content(_BLOCK):
                    if done == 0 and not block.startswith(_CHECKPOINT_MAGIC):
                        raise WeightsMissing(
                            f"{self._host} sent something else than a checkpoint for {self.target.name} "
                            f"({printable(response.headers.get('Content-Type', 'of no stated type'))}): {self.url}"
                        )
                    file.write(block)
                    digest.update(block)
                    done += len(block)
                    self._report(done, total)
            except requests.RequestException as error:
                raise _CutOff(f"the connection broke after {done / 1e6:.1f} MB") from error
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        if done == 0 or (total is not None and done < total):
            raise _CutOff(f"the connection ended after {done / 1e6:.1f} MB")
        return digest.hexdigest()

    def _open(self, wait: float, offset: int, etag: str) -> requests.Response:
        """The publisher's answer, headers read, within `wait` seconds."""
        headers = {"Accept-Encoding": "identity", "User-Agent": "wat"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if etag:
                headers["If-Range"] = etag
        answers: SimpleQueue[requests.Response | Exception] = SimpleQueue()

        def ask() -> None:
            try:
                answers.put(requests.get(self.url, headers=headers, stream=True, timeout=(wait, self.patience.silence)))
            except Exception as error:  # raised again below, in the thread that can tell somebody
                answers.put(error)

        threading.Thread(target=ask, daemon=True).start()
        try:
            answer = answers.get(timeout=wait)
        except Empty:
            raise _Unreachable(f"no answer in {wait:g} s") from None
        if isinstance(answer, requests.RequestException):
            raise _Unreachable(_plain_reason(answer)) from answer
        if isinstance(answer, Exception):
            raise answer
        if self.url.startswith("https:") and not all(hop.url.startswith("https:") for hop in (*answer.history, answer)):
            answer.close()
            raise WeightsMissing(f"{self._host} leads to an address without encryption for {self.target.name}.")
        return answer

    def _resumable(self) -> tuple[int, str]:
        """Bytes that need not come again, and the version that they are of.

        Without a published hash only a part whose version the publisher can confirm (a strong ETag) is gone on with:
        nothing would find two halves of different files.
        """
        try:
            size = self.part.stat().st_size
        except FileNotFoundError:
            return 0, ""
        etag = self.etag_file.read_text(encoding="ascii") if self.etag_file.is_file() else ""
        return (size, etag) if etag or self.sha256 is not None else (0, "")

    def _keep_etag(self, etag: str) -> None:
        if etag.startswith('"') and etag.isascii():
            self.etag_file.write_text(etag, encoding="ascii")
        else:
            self.etag_file.unlink(missing_ok=True)

    def _forget_part(self) -> None:
        self.part.unlink(missing_ok=True)
        self.etag_file.unlink(missing_ok=True)

    def _report(self, done: int, total: int | None) -> None:
        self.progress(Transfer(self.target.name, done, total))

    def _say(self, note: str) -> None:
        size = self.part.stat().st_size if self.part.exists() else 0
        self.progress(Transfer(self.target.name, size, None, note))

    @property
    def _host(self) -> str:
        return urlsplit(self.url).hostname or self.url


def _digest_start(file: BinaryIO, offset: int) -> hashlib._Hash:
    """The hash of the first `offset` bytes, with the file left standing behind them."""
    digest = hashlib.sha256()
    while (left := offset - file.tell()) > 0:
        if not (block := file.read(min(_BLOCK, left))):
            raise _CutOff("the part on disk became shorter")
        digest.update(block)
    return digest


def _damage(path: Path) -> str | None:
    """What shows, without unpickling anything, that a checkpoint did not arrive whole.

    For files that no published hash speaks for: a body without a stated length may end early unnoticed. Checkpoints in
    `torch.save`'s old format, a bare pickle, show nothing.
    """
    with path.open("rb") as file:
        if file.read(4) != _CHECKPOINT_MAGIC[0]:
            return None
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError) as error:
        return str(error)
    return f"{broken} in it is damaged" if broken else None


def _plain_reason(error: requests.RequestException) -> str:
    """Why no answer came, in words instead of nested exceptions."""
    text = str(error)
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if "NameResolution" in text or "getaddrinfo" in text or "resolve" in text:
        return "its name cannot be looked up"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy that is set up does not answer"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not accepted"
    if "refused" in text:
        return "the connection is refused"
    if "unreachable" in text:
        return "there is no way to it"
    return type(error).__name__


def _disk_message(target: Path, error: OSError) -> str:
    where = shown(target.parent)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        detail = f" ({error.strerror})" if error.strerror and "MB" in error.strerror else ""
        return f"no room for {target.name} in {where}{detail}. Free some, or name another folder with --model-dir."
    return (
        f"{target.name} cannot be written in {where} ({error.strerror or error}). Name another folder with --model-dir."
    )
