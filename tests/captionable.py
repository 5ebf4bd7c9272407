"""What could be captioned: hypothesis strategies for segments and sounds with every kind of text and time."""

from __future__ import annotations

from hypothesis import strategies as st

from wat_cli.options import CaptionOptions
from wat_cli.transcript import Segment, SoundEvent, Word

HOUR = 3600.0

TRAPS = [
    "&", "<", ">", "-->", "<i>", "</c>", "<b", "&amp;", "&lt", "&#13;", "{\\an8}", "{y:i}", "\\N", "\\h", "\n", "\n\n",
    "\r\n\r\n", "\r", "\0", "\x0b", "\x1c", "\x85", "\u2028", "\u2029", "\xa0", "\u3000", "\ufeff", "\ud800", "\u200b",
    "NOTE", "WEBVTT", "STYLE", "00:00:01,000", "42", "1\n", "👨‍👩‍👧", "🇩🇪", "é", "עברית", "العربية",
    "\u202e", "日本語の、文。", "한국어", "ไทย", "a" * 100, "漢" * 60, "[Music]", "♪", "...", "—",
]  # fmt: skip

characters = st.characters(codec=None)  # every category, surrogates and controls too
words = st.one_of(st.sampled_from(TRAPS), st.text(characters, max_size=12), st.text("abc ,.", max_size=30))
texts = st.lists(words, max_size=14).map(" ".join)


def segment(start: float, end: float, text: str, words: tuple[Word, ...] | None = None) -> Segment:
    """A segment as the engine gives it, with what captions look at."""
    return Segment(0, 0, start, end, text, (), 0.0, -0.2, 1.2, 0.01, words)


def sound(start: float, end: float, caption: str = "Music") -> SoundEvent:
    """A shown sound."""
    return SoundEvent(start, end, caption.lower().replace(" ", "_"), caption, caption, 0.9)


def spoken(start: float, text: str, rate: float = 2.5, pause_after: dict[str, float] | None = None) -> Segment:
    """A segment with word times: `rate` words a second, and a pause after the words that `pause_after` names."""
    now, found = start, []
    for word in text.split():
        found.append(Word(" " + word, round(now, 3), round(now + 1 / rate, 3), 0.9))
        now += 1 / rate + (pause_after or {}).get(word, 0.0)
    return segment(start, found[-1].end, " " + text, tuple(found))


@st.composite
def speeches(draw: st.DrawFn, max_size: int = 5) -> list[Segment]:
    """Segments anywhere in up to 100 hours: in order or not, overlapping, empty, of no length."""
    now = draw(st.sampled_from([0.0, 0.0, 5.0, 99.99 * HOUR, 100 * HOUR]))
    segments = []
    for text in draw(st.lists(texts, max_size=max_size)):
        length = draw(st.sampled_from([0.0, 0.001, 0.4, 1.0, 3.0, 6.5, 12.0, 29.98]))
        timed = draw(st.booleans())
        segments.append(
            spoken(now, text, len(text.split()) / max(length, 0.001))
            if timed and text.split()
            else segment(now, now + length, text)
        )
        now = max(0.0, segments[-1].end + draw(st.sampled_from([-2.0, 0.0, 0.0, 0.02, 0.3, 0.6, 4.0])))
    return segments


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[Segment], list[SoundEvent], float]:
    """Speech, sounds around it, and a duration in which both have their place."""
    segments = draw(speeches())
    end = max((s.end for s in segments), default=draw(st.sampled_from([0.0, 3.0])))
    begin = min((s.start for s in segments), default=0.0)
    captions = st.one_of(
        st.sampled_from(["Music", "Dog barking", "Cheers and applause", "A" * 60]),
        st.text(characters, min_size=1, max_size=20),
    )
    sounds = []
    for caption in draw(st.lists(captions, max_size=4)):
        at = begin + draw(st.floats(0, 1)) * (end - begin + 3)
        sounds.append(sound(at, at + draw(st.sampled_from([0.0, 0.4, 2.0, 30.0])), caption))
    return segments, sounds, end + draw(st.sampled_from([0.5, 3.0]))


@st.composite
def voiced(draw: st.DrawFn, segments: list[Segment]) -> list[tuple[float, float]] | None:
    """Stretches in which somebody may speak, in order and apart, anywhere from before to after the segments."""
    if draw(st.booleans()):
        return None
    begin = min((s.start for s in segments), default=0.0)
    end = max((s.end for s in segments), default=0.0)
    edges = sorted(draw(st.lists(st.floats(-0.2, 1.2), unique=True, max_size=12)))
    times = [max(0.0, begin + edge * (end - begin)) for edge in edges]
    return list(zip(times[::2], times[1::2], strict=False))


options = st.builds(
    CaptionOptions,
    style=st.sampled_from(["default", "netflix", "plain"]),
    max_line_width=st.sampled_from([None, None, 8, 20, 32]),
    max_line_count=st.sampled_from([None, None, 1, 3]),
    max_words_per_line=st.sampled_from([None, None, 1, 4]),
    highlight_words=st.sampled_from([False, False, True]),
    vtt_classes=st.booleans(),
)
