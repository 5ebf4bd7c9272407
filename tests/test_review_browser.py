"""The review page in a real browser: opened from disk, played, searched, corrected; it connects to nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pysrt
import pytest
from typer.testing import CliRunner

from tests import reviewable
from wat_cli import sidecar
from wat_cli.captions.cues import cues_from
from wat_cli.cli import app
from wat_cli.options import CaptionOptions
from wat_cli.review import build, find, write_page

HERE = Path(__file__).parent
MODULES = HERE.parent / "build" / "browser" / "node_modules"
SCRIPT = HERE / "browser" / "review.cjs"
BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
SCENARIOS = re.findall(r'^  async "?(.+?)"?\(page\)', SCRIPT.read_text(encoding="utf-8"), re.MULTILINE)
POLICY = "forbids what a page of its kind must not do"

CORRECTION = {
    "text": 'Hello & "welcome", all.',
    "end": "0:02.750",
    "sound": "Applause",
    "added": "What nobody had heard.",
}


def missing() -> str | None:
    """Why there is no browser to test in; None where there is one."""
    if BROWSER is None:
        return "no Chromium on this machine (apt install chromium)"
    if subprocess.run([BROWSER, "--version"], capture_output=True).returncode != 0:
        return f"{BROWSER} does not run"  # Ubuntu's stands for a snap
    if shutil.which("node") is None:
        return "node is not installed"
    return None if MODULES.is_dir() else "playwright-core is not installed (make build/browser/node_modules)"


def told_cues() -> list[tuple[int, int, str]]:
    layout = cues_from(reviewable.talk_segments(), reviewable.talk_events(), reviewable.SECONDS, CaptionOptions())
    return [(cue.start_ms, cue.end_ms, cue.text) for cue in layout.cues]


def site_of(folder: Path, downloads: Path) -> dict[str, Any]:
    reviewable.write_site(folder)
    done = CliRunner().invoke(app, ["render", str(folder / "talks" / "talk.json"), "-f", "srt"])
    assert done.exit_code == 0
    reviewable.write_many(folder.with_name("many"), 1000)
    page, large = folder / "review.html", folder.with_name("many.html")
    write_page(find([folder]), page, failure=lambda path: "cut off" if path.name == "cut.mp3" else None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "SELF_CONTAINED", 100_000)
        patch.setattr(build, "TEXT_BLOCK", 10_000)
        assert write_page(find([folder.with_name("many")]), large, loudness=False).folder
    segments = [{"start": s.start, "end": s.end, "text": s.text} for s in reviewable.talk_segments()]
    talk = {
        "name": "talk.webm",
        "rows": [
            ["talks/talk.webm", "captioned", "English", "0:20", "45 %", "2", "1"],
            ["onerror", "captioned", "German", "0:03", "", "0", "0"],
            ["silent.wav", "nothing to caption", "", "0:01", "0 %", "0", "0"],
            ["gone.mp4", "captioned", "English"],
            ["broken.json", "unreadable"],
            ["new.wav", "not captioned"],
            ["cut.mp3", "failed"],
        ],
        "summary": (
            "3 captioned, 1 nothing to caption, 1 failed, 1 not captioned, 1 unreadable"
            " · 0:44 of audio · 2 with doubtful places"
        ),
        "duration": reviewable.SECONDS,
        "segments": segments,
        "cues": told_cues(),
        "silent": 15.5,
        "music": 12.0,
        "groups": ["Music", "Dog barking"],
        "invented": reviewable.INVENTED,
        "unsure": reviewable.UNSURE,
        "dropped": "[Dog barking]",
        "search": "NEEDLE line",
        "found": 3.5,
        "hostileName": reviewable.HOSTILE_NAME,
        "hostileText": reviewable.HOSTILE_TEXT,
        "gone": "gone.mp4",
        "correction": CORRECTION,
    }
    return {"browser": BROWSER, "page": str(page), "large": str(large), "downloads": str(downloads), "talk": talk}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str | None], Path]:
    """What each scenario came to, and the folder with the sidecar that the page saved."""
    if reason := missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("review")
    site = site_of(folder / "site", folder / "downloads")
    done = subprocess.run(
        ["node", str(SCRIPT), str(MODULES)], input=json.dumps(site), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), folder


@pytest.mark.parametrize("scenario", [*SCENARIOS, POLICY])
def test_the_page(session: tuple[dict[str, str | None], Path], scenario: str) -> None:
    verdicts, _ = session
    assert verdicts[scenario] is None, verdicts[scenario]


def test_a_saved_correction_changes_the_captions(session: tuple[dict[str, str | None], Path], tmp_path: Path) -> None:
    _, folder = session
    captions = Path(shutil.copy(folder / "site" / "talks" / "talk.srt", tmp_path))
    corrected = Path(shutil.copy(folder / "downloads" / "talk.json", tmp_path))
    first, unsure, invented, last = reviewable.TEXTS
    assert lines_of(captions) == [first, unsure, "[Music]", invented, last]
    done = CliRunner().invoke(app, ["render", str(corrected), "-f", "srt"])
    assert done.exit_code == 0, "the sidecar still knows that the old captions are wat's to replace"
    assert lines_of(captions) == [CORRECTION["text"], unsure, "[Applause]", CORRECTION["added"], last]


def lines_of(captions: Path) -> list[str]:
    return [line for cue in pysrt.open(str(captions)) for line in cue.text.splitlines()]


def test_a_saved_correction_keeps_the_rest_to_the_letter(session: tuple[dict[str, str | None], Path]) -> None:
    _, folder = session
    old = json.loads((folder / "site" / "talks" / "talk.json").read_bytes())
    new = json.loads((folder / "downloads" / "talk.json").read_bytes())
    jsonschema.validate(new, sidecar.schema())
    assert list(old) == list(new)
    changed = {"text", "segments", "events", "notes"}
    assert {key: value for key, value in old.items() if key not in changed} == {
        key: value for key, value in new.items() if key not in changed
    }
    record = sidecar.read(folder / "downloads" / "talk.json")
    assert not record.unchanged, "a person's work must not pass for wat's own"
    first, unsure, added, last, blank = record.transcript.hearing.segments
    assert (first.start, first.end, first.text) == (0.5, 2.75, f" {CORRECTION['text']}")
    assert unsure == reviewable.talk_segments()[1]
    assert last == reviewable.talk_segments()[3]
    assert blank == reviewable.segment(4, 19.0, 20.0, ""), "not listed, since never captioned, but kept"
    assert added.id not in {segment.id for segment in (first, unsure, last)}
    dog, applause = record.transcript.events
    assert dog == reviewable.talk_events()[0]
    assert (applause.group, applause.label, applause.shown) == ("applause", "Applause", True)
