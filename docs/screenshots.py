"""Makes the pictures in ``docs/pictures`` and the samples of output in the README, from real runs: ``make pictures``.

``wat`` captions the sample films with the embedded model in a terminal that is recorded; Chromium opens the review page
that ``wat review`` writes of them; the block after ``<!-- sample NAME -->`` in the README becomes what the sample's
command prints.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pysrt

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
README = ROOT / "README.md"
MODULES = ROOT / "build" / "browser" / "node_modules"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LARGEST = 300_000
"""Bytes of a picture."""

FILMS = ("sample_media/*.mp4", "sample_media/*.mkv", "sample_media/*.webm", "sample_media/*.mp3")
CAPTION = ("caption", "sample_media", "--model", "mini", "--output-dir", "captions")
ON_THE_WAY = 0.85
"""Share of the run's time after which it is pictured."""
FILM, SECONDS = "market.mp4", 8.6
"""What the review page is pictured with."""

SAMPLES = {
    "before": ("render", "captions/island.json", "--style", "plain", "--sounds", "none", "-f", "srt", "-o", "-"),
    "after": ("render", "captions/island.json", "-f", "srt", "-o", "-"),
}
"""The commands whose output the README shows, by the names of the samples."""
UNTIL_MS = 29_000
"""It shows the captions that begin earlier."""


def wat() -> str:
    """The program of the environment that this runs in."""
    return str(Path(sys.executable).with_name("wat"))


def beginning(captions: str) -> str:
    """The captions of an SRT file that begin before `UNTIL_MS`."""
    cues = [str(cue).strip() for cue in pysrt.from_string(captions) if cue.start.ordinal < UNTIL_MS]
    return "\n\n".join(cues) + "\n"


def sample(name: str, folder: Path) -> str:
    """What the README shows under `name`: the start of what its command prints, run in `folder`."""
    done = subprocess.run([wat(), *SAMPLES[name]], cwd=folder, check=True, capture_output=True, text=True)
    return beginning(done.stdout)


def told_samples(text: str) -> dict[str, str]:
    """The samples that stand in a page."""
    return dict(re.findall(r"^<!-- sample (\w+) -->\n\n```srt\n(.*?)```\n", text, re.MULTILINE | re.DOTALL))


def with_samples(text: str, samples: dict[str, str]) -> str:
    """The page with these samples in the place of its own."""
    for name, new in samples.items():
        text = re.sub(
            rf"(<!-- sample {name} -->\n\n```srt\n).*?(```\n)",
            lambda match, new=new: match[1] + new + match[2],  # type: ignore[misc]
            text,
            flags=re.DOTALL,
        )
    return text


def caption(folder: Path) -> Iterator[tuple[str, str]]:
    """Caption the films in a terminal; pictures of it on the way and at the end, by their names."""
    from docs import terminal  # needs the extra `pictures`, which tests of this module do without

    recording = terminal.record([wat(), *CAPTION], folder)
    prompt = terminal.prompt("wat " + " ".join(CAPTION))
    for name, share in (("running", ON_THE_WAY), ("caption", 1.0)):
        yield name, terminal.picture(prompt + terminal.text_of(recording.screen(share)), "wat caption", name)


def main() -> None:
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None or not MODULES.is_dir():
        sys.exit("needs Chromium and node (apt install chromium npm), and `make build/browser/node_modules`")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sample_media").mkdir()
        for film in (path for pattern in FILMS for path in ROOT.glob(pattern)):
            shutil.copy2(film, folder / "sample_media")
        for picture, svg in caption(folder):
            (PICTURES / f"{picture}.svg").write_text(svg, encoding="utf-8")
        subprocess.run([wat(), "review", "captions", "--quiet"], cwd=folder, check=True)
        page, script = folder / "captions" / "review.html", Path(__file__).with_name("screenshots.cjs")
        command = ["node", script, MODULES, browser, page, PICTURES, FILM, str(SECONDS)]
        subprocess.run([str(word) for word in command], check=True)
        samples = {name: sample(name, folder) for name in SAMPLES}
    README.write_text(with_samples(README.read_text(encoding="utf-8"), samples), encoding="utf-8")
    for path in sorted(path for path in PICTURES.iterdir() if path.is_file()):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")
        assert path.stat().st_size <= LARGEST, f"{path.name} is too large"


if __name__ == "__main__":
    main()
