"""From what was heard to the text of one file, whatever its format."""

from __future__ import annotations

from collections.abc import Sequence

from wat_cli.captions.cues import Layout
from wat_cli.captions.rules import rules_for
from wat_cli.captions.srt import srt_text
from wat_cli.captions.text import tsv_text, txt_text
from wat_cli.captions.vtt import vtt_text
from wat_cli.options import CaptionOptions
from wat_cli.transcript import Segment

CAPTION_FORMATS = ("srt", "vtt", "txt", "tsv")
"""What `render` writes: every output format but the JSON sidecar."""


def render(
    name: str, layout: Layout, segments: Sequence[Segment], options: CaptionOptions, origin: str = ""
) -> str | None:
    """Text of a file in the format `name`, one of `CAPTION_FORMATS`, from a layout (`cues.cues_from`).

    None where nothing is to be written: an SRT file without cues, which is an error to ffmpeg. Say so to the user.
    `origin` is the VTT file's NOTE (`origin_note`). TXT and TSV hold the segments, not the cues.
    """
    if name == "srt":
        return srt_text(layout.cues)
    if name == "vtt":
        return vtt_text(layout.cues, origin, options.vtt_classes)
    if name in ("tsv", "txt"):
        write = tsv_text if name == "tsv" else txt_text
        return write(segments, layout.events, rules_for(options))
    raise ValueError(f"{name} is none of {', '.join(CAPTION_FORMATS)}")


def origin_note(version: str, models: Sequence[str]) -> str:
    """One line that says what made the captions: by machine, by which version and models."""
    named = f" with {' and '.join(models)}" if models else ""
    return f"Machine-made captions by wat {version}{named}; sound labels: AudioSet"
