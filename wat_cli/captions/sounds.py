"""Where sound captions go: into a gap of the speech, or into the speech caption they sound with.

No speech caption starts later for a sound; a sound that finds no place is left out, and the event says so.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

from wat_cli.captions.characters import clean_text
from wat_cli.captions.drafts import Draft, held_end
from wat_cli.captions.layout import to_ms
from wat_cli.captions.rules import LayoutRules
from wat_cli.transcript import Segment, SoundEvent

SHORTEST_MS = 1300
"""A sound caption of its own stays this long where there is room ..."""
LONGEST_MS = 4000
"""... and at most this long: a long sound gets one caption, at its onset."""
FURTHEST_MS = 2000
"""A caption further than this from its sound's onset would mislead."""
SOUNDS_IN_CUE = 2

NO_ROOM = "no room beside the speech"
OWN_TEXT = "asr"
"""Group of a sound that the speech model wrote itself."""

_BRACKETED = re.compile(r"(\[[^\[\]]*\]|\([^()]*\)|（[^（）]*）|【[^【】]*】|\*[^*]+\*|[♪♫♬♩#\s]+)+[.!?,\s]*")
_NOT_A_SOUND = re.compile(r"blank[_ ]audio|silence|no (audio|sound|speech)|inaudible|speaking|end", re.IGNORECASE)


def sound_text(caption: str, rules: LayoutRules) -> str:
    """A sound caption as it is shown: ``[Music]``, in netflix style ``[music]``."""
    text = clean_text(caption)
    return f"[{text.lower() if rules.lower_case else text}]"


def own_sound(text: str) -> str | None:
    """The sound that a segment's text names if it is nothing but a sound, as ``[Music]``, ``(applause)`` or ``♪``.

    None for speech; empty for a mark that names no sound, as ``[BLANK_AUDIO]``.
    """
    text = clean_text(text)
    if not text or text[0] not in "[(（【*♪♫♬♩#" or not _BRACKETED.fullmatch(text):
        return None
    inner = " ".join(re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text))
    if not inner:
        return "Music" if set(text) & set("♪♫♬♩") else ""
    return "" if _NOT_A_SOUND.search(inner) else inner[0].upper() + inner[1:].lower()


def take_own_sounds(
    segments: Sequence[Segment], events: Sequence[SoundEvent]
) -> tuple[list[Segment], tuple[SoundEvent, ...]]:
    """Segments that are speech, and the events with what other segments name as sounds.

    The tagger's event stands for the text where the two overlap.
    """
    speech: list[Segment] = []
    found = list(events)
    for segment in segments:
        caption = own_sound(segment.text)
        if caption is None:
            speech.append(segment)
        elif caption and not any(event.start < segment.end and event.end > segment.start for event in events):
            score = 1 - segment.no_speech_prob
            found.append(SoundEvent(segment.start, segment.end, OWN_TEXT, caption, segment.text.strip(), score))
    return speech, tuple(sorted(found, key=lambda event: event.start))


def place_sounds(
    drafts: list[Draft], events: Sequence[SoundEvent], rules: LayoutRules, duration_ms: int
) -> tuple[SoundEvent, ...]:
    """Add every shown event to `drafts`, which stay in order; the events, marked where there was no room.

    `drafts` hold settled starts and spoken ends.
    """
    placed = []
    for event in sorted(events, key=lambda event: event.start):
        shown = not event.shown or not clean_text(event.caption) or _place(drafts, event, rules, duration_ms)
        placed.append(event if shown else replace(event, shown=False, reason=NO_ROOM))
    return tuple(placed)


def _place(drafts: list[Draft], event: SoundEvent, rules: LayoutRules, duration_ms: int) -> bool:
    """Put one sound where it is nearest to its onset: in a gap, in a caption, or in one that is parted for it."""
    label = sound_text(event.caption, rules)
    onset = min(to_ms(event.start), duration_ms)
    end = max(onset + 1, min(to_ms(event.end), duration_ms))
    choices = []
    gap = _gap(drafts, label, onset, end, rules, duration_ms)
    if gap is not None:
        choices.append((gap.start - onset, 0, gap))
    for place in _neighbours(drafts, onset, end):
        distance = abs(drafts[place].start - onset)
        if _takes(drafts, place, label, rules, duration_ms):
            choices.append((distance, 1, drafts[place]))
    if not choices:
        return _part(drafts, label, onset, end, rules, duration_ms)
    _, joins, chosen = min(choices, key=lambda choice: choice[:2])
    if not joins:
        drafts.insert(bisect_right(drafts, chosen.start, key=lambda draft: draft.start), chosen)
    elif label not in chosen.sounds:
        chosen.sounds.append(label)
    return True


def _gap(drafts: list[Draft], label: str, onset: int, end: int, rules: LayoutRules, duration_ms: int) -> Draft | None:
    """A caption of its own in the first gap at or after the onset, None where there is none near enough."""
    wanted = max(SHORTEST_MS, 1000 + 300 * len(label.split()))
    wanted = min(max(end - onset, wanted), LONGEST_MS, rules.max_ms)
    draft = Draft(onset, onset + wanted, sounds=[label])
    least = max(draft.reading_ms(rules), 2 * rules.gap_ms, 300)
    place = bisect_right(drafts, onset, key=lambda draft: draft.start)
    for following in range(place, min(len(drafts), place + 8) + 1):
        start = onset
        if following:
            start = max(start, held_end(drafts[following - 1], rules) + rules.gap_ms)
        limit = drafts[following].start - rules.gap_ms if following < len(drafts) else duration_ms
        if start - onset > FURTHEST_MS or start >= max(end, onset + 1000):
            return None
        if limit - start >= least and draft.lines(rules) is not None:
            return replace(draft, start=start, spoken_end=min(start + wanted, limit))
    return None


def _neighbours(drafts: list[Draft], onset: int, end: int) -> list[int]:
    """Captions that sound with the event, or start soon after its onset."""
    place = bisect_right(drafts, onset, key=lambda draft: draft.start)
    found = []
    for index in range(max(0, place - 1), min(len(drafts), place + 4)):
        draft = drafts[index]
        near = draft.start - onset <= FURTHEST_MS
        if near and draft.spoken_end > onset and draft.start < max(end, onset + 1000):
            found.append(index)
    return found


def _takes(drafts: list[Draft], place: int, label: str, rules: LayoutRules, duration_ms: int) -> bool:
    """Whether the caption can show the sound too: in its lines, and read in the time that it has."""
    draft = drafts[place]
    if len(draft.sounds) >= SOUNDS_IN_CUE or label in draft.sounds:
        return label in draft.sounds
    together = replace(draft, sounds=[*draft.sounds, label])
    limit = drafts[place + 1].start - rules.gap_ms if place + 1 < len(drafts) else duration_ms
    room = min(limit, max(draft.spoken_end, held_end(together, rules))) - draft.start
    return together.reading_ms(rules) <= max(room, rules.min_ms) and together.lines(rules) is not None


def _part(drafts: list[Draft], label: str, onset: int, end: int, rules: LayoutRules, duration_ms: int) -> bool:
    """Part a full caption near the onset in two, each said at its own time, so that one can show the sound."""
    for place in _neighbours(drafts, onset, end):
        draft = drafts[place]
        if draft.flow is None or draft.sounds:
            continue
        cuts = sorted(range(1, len(draft.flow.texts)), key=lambda cut: abs(draft.flow.starts[cut] - onset))  # type: ignore[union-attr]
        for cut in cuts[:4]:
            halves = _halves(draft, cut)
            trial = [*drafts[max(0, place - 1) : place], *halves, *drafts[place + 1 : place + 2]]
            at = trial.index(halves[1])
            if not all(_readable(trial, index, rules, duration_ms) for index in (at - 1, at)):
                continue
            for index in sorted((at - 1, at), key=lambda index: abs(trial[index].start - onset)):
                if _takes(trial, index, label, rules, duration_ms):
                    trial[index].sounds.append(label)
                    drafts[place : place + 1] = halves
                    return True
    return False


def _halves(draft: Draft, cut: int) -> list[Draft]:
    assert draft.flow is not None
    first, second = draft.flow.cut(0, cut), draft.flow.cut(cut, len(draft.flow.texts))
    border = max(draft.start + 1, second.starts[0])
    return [Draft(draft.start, border, first), Draft(border, max(border + 1, draft.spoken_end), second)]


def _readable(drafts: list[Draft], place: int, rules: LayoutRules, duration_ms: int) -> bool:
    draft = drafts[place]
    limit = drafts[place + 1].start - rules.gap_ms if place + 1 < len(drafts) else duration_ms
    room = min(limit, held_end(draft, rules)) - draft.start
    return room >= max(draft.reading_ms(rules), 300) and draft.lines(rules) is not None
