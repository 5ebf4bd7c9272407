"""Where sound captions go: into a gap of the speech, or into the speech caption they sound with.

No speech caption starts later for a sound; a sound that finds no place is left out, and the event says so.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from wat_cli.captions.characters import clean_text
from wat_cli.captions.drafts import Draft, held_end
from wat_cli.captions.layout import to_ms
from wat_cli.captions.rules import LayoutRules
from wat_cli.transcript import SoundEvent

SHORTEST_MS = 1300
"""A sound caption of its own stays this long where there is room ..."""
LONGEST_MS = 4000
"""... and at most this long: a long sound gets one caption, at its onset."""
LEAST_MS = 300
"""Shorter than this, a caption is not seen, whatever the style asks for."""
FURTHEST_MS = 2000
"""A caption is for a sound that begins, at most so long before it; later ones are for one that goes on."""
BRIEF_MS = 1000
"""A shorter sound may be told until this long after its onset, any other while it sounds."""
EARLY_MS = 1500
"""A caption that begins this long before a sound is parted for it, if that is possible."""
SOUNDS_IN_CUE = 2
CUTS_TRIED = 4
SWAPS_TRIED = 3
"""Sounds that are asked to make way for another; where many crowd, more would take as long as hearing the file."""
CAPTIONS_TRIED = 20
"""For a sound that goes on, this many captions after its onset are tried."""

NO_ROOM = "no room beside the speech"


def sound_text(caption: str, rules: LayoutRules) -> str:
    """A sound caption as it is shown: ``[Music]``, in netflix style ``[music]``."""
    text = clean_text(caption)
    return f"[{text.lower() if rules.lower_case else text}]"


def place_sounds(
    drafts: list[Draft], events: Sequence[SoundEvent], rules: LayoutRules, duration_ms: int
) -> tuple[SoundEvent, ...]:
    """Add every shown event to `drafts`, which stay in order; the events, marked where there was no room.

    `drafts` hold settled starts and spoken ends. Placed first is what is shown under the highest threshold, so that a
    sound that a lower threshold lets in takes no surer one's place; a sound that goes on is told later where another
    has only this moment.
    """
    screen = _Screen(drafts, rules, duration_ms)
    placed = sorted(events, key=lambda event: event.start)
    for position in sorted(range(len(placed)), key=lambda position: rank(placed[position])):
        event = placed[position]
        if event.reason == NO_ROOM:  # in an earlier layout, of another style
            event = replace(event, shown=True, reason=None)
        shown = not event.shown or not clean_text(event.caption) or screen.place(event)
        placed[position] = event if shown else replace(event, shown=False, reason=NO_ROOM)
    return tuple(placed)


def rank(event: SoundEvent) -> tuple[float, float, float]:
    """Which sounds are placed first: those that are shown under the highest threshold."""
    return -(event.score if event.shown_up_to is None else event.shown_up_to), -event.score, event.start


@dataclass(frozen=True, eq=False)
class _Sound:
    """A sound to be placed; times in milliseconds, inside the file."""

    label: str
    onset: int
    end: int
    latest: int
    """Latest start of a caption that tells of it without misleading."""


class _Screen:
    """The captions of a file with the room between them. Captions that hold a sound keep their start."""

    def __init__(self, drafts: list[Draft], rules: LayoutRules, duration_ms: int) -> None:
        self.drafts, self.rules, self.duration_ms = drafts, rules, duration_ms
        self._told: dict[_Sound, int] = {}
        """Start of the caption that tells of each sound."""

    def place(self, event: SoundEvent) -> bool:
        """Put one sound on the screen, if need be in the place of one that can be told later."""
        onset = min(to_ms(event.start), self.duration_ms)
        end = max(onset + 1, min(to_ms(event.end), self.duration_ms))
        sound = _Sound(sound_text(event.caption, self.rules), onset, end, max(end, onset + BRIEF_MS))
        return self._place(sound) or any(self._swap(sound, other) for other in self._in_the_way(sound))

    def _place(self, sound: _Sound) -> bool:
        """Put one sound at its onset, or else where it goes on and there is room."""
        for time in self._times(sound):
            start = self._place_near(replace(sound, onset=time))
            if start is not None:
                self._told[sound] = start
                return True
        return False

    def _times(self, sound: _Sound) -> list[int]:
        """The sound's onset, and the times while it goes on at which one of the next captions begins or ends."""
        first, last = max(0, self._after(sound.onset) - 1), sound.end - 1
        near = self.drafts[first : min(self._after(last), first + CAPTIONS_TRIED)]
        edges = (time for draft in near for time in (draft.start, held_end(draft, self.rules) + self.rules.gap_ms))
        return [sound.onset, *(time for time in edges if sound.onset < time <= last)]

    def _in_the_way(self, sound: _Sound) -> list[_Sound]:
        """Sounds told in captions where this one could be, that go on; the longest first."""
        times = self._times(sound)
        starts = {self.drafts[i].start for time in times for i in self._neighbours(replace(sound, onset=time))}
        others = [other for other, start in self._told.items() if start in starts]
        return sorted(others, key=lambda other: -other.end)[:SWAPS_TRIED]

    def _swap(self, sound: _Sound, other: _Sound) -> bool:
        """Put `sound` where `other` is told and tell of that later; False, and nothing changed, where it cannot be."""
        drafts, told = self.drafts[:], self._told.copy()
        self._take_away(other)
        if self._place(sound) and self._place(other):
            return True
        self.drafts[:], self._told = drafts, told
        return False

    def _take_away(self, sound: _Sound) -> None:
        start = self._told.pop(sound)
        if any(other.label == sound.label and place == start for other, place in self._told.items()):
            return
        place = self._after(start) - 1
        draft = self.drafts[place]
        sounds = [label for label in draft.sounds if label != sound.label]
        self.drafts[place : place + 1] = [replace(draft, sounds=sounds)] if sounds or draft.flow else []

    def _place_near(self, sound: _Sound) -> int | None:
        """Start of the caption in which the sound is put nearest to its onset: in a gap, a caption, one parted for it.

        None, and nothing changed, where there is none.
        """
        gap = self._gap(sound)
        choices = [] if gap is None else [(gap.start - sound.onset, 0, gap.start)]
        for place in self._neighbours(sound):
            if self._takes(place, sound.label):
                start = self.drafts[place].start
                choices.append((abs(start - sound.onset), 1, start))
        distance, joins, chosen = min(choices, default=(self.duration_ms, 1, None))
        parted = self._part(sound, distance) if distance > EARLY_MS else None
        if parted is not None or chosen is None:
            return parted
        if not joins:
            assert gap is not None
            self.drafts.insert(self._after(chosen), gap)
        else:
            self._join(self._after(chosen) - 1, sound.label)
        return chosen

    def _join(self, place: int, label: str) -> None:
        draft = self.drafts[place]
        if label not in draft.sounds:
            self.drafts[place] = replace(draft, sounds=[*draft.sounds, label])

    def _after(self, time: int) -> int:
        """Place of the first caption that starts after `time`."""
        return bisect_right(self.drafts, time, key=lambda draft: draft.start)

    def _limit(self, place: int) -> int:
        """Where a caption before `place` has to end for the one there."""
        if place >= len(self.drafts):
            return self.duration_ms
        return self.drafts[place].start - self.rules.gap_ms

    def _gap(self, sound: _Sound) -> Draft | None:
        """A caption of its own in the first gap at or after the onset, None where there is none near enough."""
        wanted = max(SHORTEST_MS, 1000 + 300 * len(sound.label.split()))
        wanted = min(max(sound.end - sound.onset, wanted), LONGEST_MS, self.rules.max_ms)
        draft = Draft(sound.onset, sound.onset + wanted, sounds=[sound.label])
        if draft.lines(self.rules) is None:
            return None
        least = max(draft.reading_ms(self.rules), 2 * self.rules.gap_ms, LEAST_MS)
        for following in range(self._after(sound.onset), len(self.drafts) + 1):
            start = sound.onset
            if following:
                start = max(start, held_end(self.drafts[following - 1], self.rules) + self.rules.gap_ms)
            if start - sound.onset > FURTHEST_MS or start >= sound.latest:
                return None
            if self._limit(following) - start >= least:
                return replace(draft, start=start, spoken_end=min(start + wanted, self._limit(following)))
        return None

    def _neighbours(self, sound: _Sound) -> list[int]:
        """Places of captions that sound with the event, or start soon after its onset."""
        place = self._after(sound.onset)
        latest = min(sound.onset + FURTHEST_MS, sound.latest)
        near = range(max(0, place - 1), min(len(self.drafts), place + 4))
        return [i for i in near if self._stands(i, sound.onset) and self.drafts[i].start <= latest]

    def _stands(self, place: int, time: int) -> bool:
        """Whether a caption's words go on after `time`, and the next one leaves them the screen."""
        return min(self.drafts[place].spoken_end, self._limit(place + 1)) > time

    def _takes(self, place: int, label: str) -> bool:
        """Whether the caption can show the sound too: in its lines, and read in the time that it has."""
        draft = self.drafts[place]
        if len(draft.sounds) >= SOUNDS_IN_CUE or label in draft.sounds:
            return label in draft.sounds
        together = replace(draft, sounds=[*draft.sounds, label])
        room = min(self._limit(place + 1), max(draft.spoken_end, held_end(together, self.rules))) - draft.start
        readable = together.reading_ms(self.rules) <= max(room, self.rules.min_ms)
        return readable and together.lines(self.rules) is not None

    def _part(self, sound: _Sound, distance: int) -> int | None:
        """Part a caption near the onset, so that one half shows the sound within `distance`; that half's start.

        None, and nothing changed, where it cannot be. Each half is said at its own time: the first starts where the
        whole did, the second with its first word. So a caption is whole of whose words nobody knows when they are said.
        """
        for place in self._neighbours(sound):
            flow = self.drafts[place].flow
            if flow is None or self.drafts[place].sounds or flow.guessed(0, len(flow.texts)):
                continue
            cuts = sorted(range(1, len(flow.texts)), key=lambda cut: abs(flow.starts[cut] - sound.onset))
            whole = self.drafts[place]
            for cut in cuts[:CUTS_TRIED]:
                self.drafts[place : place + 1] = _halves(whole, cut)
                if self._readable(place) and self._readable(place + 1):
                    for half in sorted((place, place + 1), key=lambda half: abs(self.drafts[half].start - sound.onset)):
                        draft = self.drafts[half]
                        sounding = self._stands(half, sound.onset) and draft.start <= sound.latest
                        near = abs(draft.start - sound.onset) < distance
                        if sounding and near and self._takes(half, sound.label):
                            self._join(half, sound.label)
                            return draft.start
                self.drafts[place : place + 2] = [whole]
        return None

    def _readable(self, place: int) -> bool:
        """Whether a caption has the time to be read, and lines that hold it."""
        draft = self.drafts[place]
        room = min(self._limit(place + 1), held_end(draft, self.rules)) - draft.start
        return room >= max(draft.reading_ms(self.rules), LEAST_MS) and draft.lines(self.rules) is not None


def _halves(draft: Draft, cut: int) -> list[Draft]:
    assert draft.flow is not None
    first, second = draft.flow.cut(0, cut), draft.flow.cut(cut, len(draft.flow.texts))
    border = max(draft.start + 1, second.starts[0])
    spoken_end = max(draft.start + 1, min(first.ends[-1], border))
    return [Draft(draft.start, spoken_end, first), Draft(border, max(border + 1, draft.spoken_end), second)]
