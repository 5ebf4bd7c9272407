"""A publisher of checkpoints on 127.0.0.1, with the manners and the mishaps of real ones."""

from __future__ import annotations

import io
import os
import random
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import patch


def checkpoint_bytes(size: int, seed: int = 0) -> bytes:
    """A zip archive of about this size, as `torch.save` writes one: incompressible, with a pickle's name in it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", b"not a pickle: wat never opens it here")
        archive.writestr("archive/data/0", random.Random(seed).randbytes(size))
    return stream.getvalue()


@dataclass
class Offer:
    """One file on offer, and how it is served."""

    body: bytes
    ranges: bool = True
    chunked: bool = False
    length: bool = True
    """Whether Content-Length is sent."""
    etag: str | None = None
    status: int = 200
    cuts: list[int] = field(default_factory=list)
    """Bytes after which the connection drops, one for each coming answer; then it holds."""
    shift: int = 0
    """Bytes by which the part that is sent misses the part that was asked for."""
    delay: float = 0.0
    """Seconds before the answer."""


class Publisher:
    """A running server: `offers` by path, `asked` the requests so far with their Range."""

    def __init__(self, port: int) -> None:
        self.offers: dict[str, Offer] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.base = f"http://127.0.0.1:{port}"

    def offer(self, path: str, body: bytes, **manners: object) -> str:
        """Put a file on offer; its address."""
        self.offers[path] = Offer(body, **manners)  # type: ignore[arg-type]
        return self.base + path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    publisher: Publisher

    def do_GET(self) -> None:
        path, wanted = self.path, self.headers.get("Range")
        self.publisher.asked.append((path, wanted))
        offer = self.publisher.offers.get(path)
        if offer is None or offer.status != 200:
            return self._answer(offer.status if offer else 404, b"<html>nothing here</html>", Offer(b""))
        time.sleep(offer.delay)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        same_version = self.headers.get("If-Range") in (None, offer.etag)
        if not offer.ranges or not same_version or start == 0:
            return self._answer(200, offer.body, offer)
        if start >= len(offer.body):
            return self._answer(416, b"", Offer(b""))
        start += offer.shift
        return self._answer(206, offer.body[start:], offer, f"bytes {start}-{len(offer.body) - 1}/{len(offer.body)}")

    def _answer(self, status: int, body: bytes, offer: Offer, content_range: str | None = None) -> None:
        self.send_response(status)
        if offer.etag:
            self.send_header("ETag", offer.etag)
        if content_range:
            self.send_header("Content-Range", content_range)
        if offer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif offer.length:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        cut = offer.cuts.pop(0) if offer.cuts else None
        sent = body if cut is None else body[:cut]
        try:
            if offer.chunked:
                for begin in range(0, len(sent), 1000):
                    piece = sent[begin : begin + 1000]
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                if cut is None:
                    self.wfile.write(b"0\r\n\r\n")
            else:
                self.wfile.write(sent)
        except OSError:
            pass
        if cut is not None:
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the tests' output clean."""


@contextmanager
def serving() -> Iterator[Publisher]:
    """A publisher for as long as the context lasts."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    publisher = Publisher(server.server_address[1])
    handler.publisher = publisher  # type: ignore[attr-defined]
    server.handle_error = lambda request, address: None  # type: ignore[method-assign]  # clients hang up as they like
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        with patch.dict(os.environ, {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}):
            yield publisher
    finally:
        server.shutdown()
        server.server_close()
