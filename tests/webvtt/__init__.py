"""The W3C's WebVTT parser (npm ``webvtt-parser``) as a judge: one node process for all files of a test run."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).parent
PARSER = HERE.parents[1] / "build" / "node" / "node_modules" / "webvtt-parser"


def missing() -> str | None:
    """Why there is no judge on this machine; None where there is one."""
    if shutil.which("node") is None:
        return "node is not installed"
    return None if PARSER.is_dir() else "webvtt-parser is not installed (make build/node/node_modules)"


class Judge:
    """A running node process; use it as a context manager."""

    def __enter__(self) -> Judge:
        command = ["node", str(HERE / "judge.js"), str(PARSER)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)

    def __call__(self, text: str) -> dict[str, Any]:
        """Errors and cues that the parser finds in the text of a VTT file."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(text) + "\n")
        self.process.stdin.flush()
        verdict: dict[str, Any] = json.loads(self.process.stdout.readline())
        return verdict
