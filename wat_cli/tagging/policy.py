"""Which sounds are captioned, in which words, and how sure the head must be: the caption policy and a user's wishes.

Every class belongs to one *group* of classes that mean the same to a viewer (136 kinds of music are ``music``) and to
a *tier*: 1 is captioned unless a user says otherwise, 2 with ``--sounds more``, 3 with ``--sounds all``, 0 never.
Within a group one caption is the general one (*Alarm*); others say more (*Smoke alarm*) and are used where they are
clearly right. The table is ``data/caption_policy.csv``; `resolve` applies level, inclusions, exclusions and a TOML file
to it.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from wat_cli.errors import UsageError
from wat_cli.options import TagOptions
from wat_cli.tagging.labels import load_labels, read_table
from wat_cli.tagging.own_labels import new_labels

TIER_THRESHOLDS = {1: 0.50, 2: 0.65, 3: 0.75}
"""Where a sound of each tier starts when the first starts at one half; the distances in logits are what counts."""

LEVEL_TIERS = {"none": 0, "default": 1, "more": 2, "all": 3}


def logit(probability: float) -> float:
    """Log odds."""
    return math.log(probability / (1 - probability))


@dataclass(frozen=True)
class SoundClass:
    """One AudioSet class as captions see it."""

    index: int
    mid: str
    name: str
    tier: int
    """1 to 3; 0 is never captioned."""
    group: str
    caption: str
    """What a viewer reads: ``Dog barking``; empty in tier 0."""
    caption_sdh: str
    """The same in the form of subtitles for the deaf and hard of hearing: ``dog barking``."""
    kind: str
    """``sustained`` or ``abrupt``; empty in tier 0."""
    general: str
    """The more general caption of the same group that is also true, or empty."""
    parents: tuple[int, ...]
    """Classes directly above it in AudioSet's ontology."""


@dataclass(frozen=True)
class GroupRule:
    """How scores of one group become events; times in seconds."""

    kind: Literal["sustained", "abrupt"] = "sustained"
    merge: float = 1.0
    """Events closer than this are one."""
    shortest: float = 0.8
    """Shorter events are left out."""
    rivals: tuple[str, ...] = ()
    """Groups that, when they are at least as likely at that time, are what is really heard."""
    wordless: bool = False
    """Not captioned where the speech recogniser has confident words: the words say it."""
    aliens: tuple[str, ...] = ()
    """Groups that AudioSet files under this one's general classes although no viewer would call them so."""


_KNOCKS = ("explosion", "gunfire", "fireworks", "thunder", "door", "knocking", "glass_shattering")
_RINGING = ("alarm", "siren", "phone", "doorbell", "horn_honking")

RIVALS: Mapping[str, tuple[str, ...]] = {
    "singing": ("music",),
    "rapping": ("music",),
    "humming": ("music", "singing"),
    "chanting": ("music",),
    "chatter": ("cheering", "applause", "laughter", "shouting", "children_playing"),
    "shouting": ("cheering", "screaming"),
    "whimpering": ("dog",),
    "wailing": ("crying", "siren"),
    "beeping": _RINGING,
    "buzzer": ("siren", "phone", "doorbell", "horn_honking"),
    "ding": (*_RINGING, "bell"),
    "bell": ("phone", "doorbell"),
    "jingling": ("bell", "keys_jangling", "coins_clinking"),
    "bang": _KNOCKS,
    "thud": _KNOCKS,
    "crash": _KNOCKS,
    "crack": _KNOCKS,
    "pop": _KNOCKS,
    "slap": (*_KNOCKS, "applause"),
    "rumbling": ("thunder", "explosion", "train", "aircraft"),
    "engine": ("siren", "train", "aircraft", "chainsaw", "lawn_mower"),
    "traffic": ("siren", "train"),
    "water": ("rain", "waves"),
    "pouring": ("rain", "water"),
    "spraying": ("rain", "water"),
    "gurgling": ("water",),
    "dripping": ("rain", "clock_ticking"),
    "splashing": ("waves", "water"),
    "buzzing": ("insect", "chainsaw", "lawn_mower"),
    "tapping": ("knocking", "footsteps", "typing", "clock_ticking"),
    "clicking": ("typing", "clock_ticking", "camera_shutter", "horse"),
    "clattering": ("dishes_clattering", "train"),
    "squeaking": ("mouse_squeaking", "bird", "tires_screeching", "creaking"),
    "squealing": ("tires_screeching", "train", "pig"),
    "rustling": ("leaves_rustling", "crinkling"),
    "whirring": ("drill", "aircraft", "printer"),
}
"""Cross-rules: the sound on the left is not captioned where one on the right is as likely."""

WORDLESS = ("chatter", "whispering", "shouting", "baby_babbling")
ALIENS = {"music": ("bell", "wind_chimes", "gong", "drum_roll")}


@dataclass(frozen=True)
class Policy:
    """The caption policy as one run uses it."""

    classes: tuple[SoundClass, ...]
    enabled: frozenset[int]
    """Indices of the classes that may be captioned."""
    hidden: Mapping[int, str]
    """Why each other class of a tier above 0 may not."""
    thresholds: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    """Probabilities that a user set for single classes."""

    def members(self, group: str) -> tuple[int, ...]:
        """Indices of the classes of `group`."""
        return self._by_group[group]

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups that have a caption, in the table's order."""
        return tuple(group for group, members in self._by_group.items() if self.classes[members[0]].tier)

    @cached_property
    def _by_group(self) -> dict[str, tuple[int, ...]]:
        groups: dict[str, list[int]] = {}
        for sound in self.classes:
            groups.setdefault(sound.group, []).append(sound.index)
        return {group: tuple(members) for group, members in groups.items()}

    @cached_property
    def name_index(self) -> dict[str, frozenset[int]]:
        """Everything a sound can be called, in lower case, and the classes meant: a group or caption before a class."""
        return _name_index(self.classes, ("group", "caption", "name", "mid"))

    @cached_property
    def descendants(self) -> dict[int, frozenset[int]]:
        """Captioned classes below each class in AudioSet's ontology."""
        below: dict[int, set[int]] = {sound.index: set() for sound in self.classes}
        for sound in self.classes:
            todo, seen = list(sound.parents), set[int]()
            while todo:
                parent = todo.pop()
                if parent not in seen:
                    seen.add(parent)
                    todo += self.classes[parent].parents
                    if sound.caption:
                        below[parent].add(sound.index)
        return {index: frozenset(members - {index}) for index, members in below.items()}

    def rule(self, group: str) -> GroupRule:
        """How `group`'s events are formed."""
        kind: Literal["sustained", "abrupt"] = "sustained"
        if self.classes[self.members(group)[0]].kind == "abrupt":
            kind = "abrupt"
        merge, shortest = (0.5, 0.0) if kind == "abrupt" else (1.0, 0.8)
        if group == "music":  # pieces further apart are two pieces; the second gets no caption so soon after the first
            merge, shortest = 1.2, 2.0
        return GroupRule(kind, merge, shortest, RIVALS.get(group, ()), group in WORDLESS, ALIENS.get(group, ()))

    def distance(self, index: int, threshold: float) -> float:
        """How many logits above a first-tier sound this class starts, for a head whose own threshold is `threshold`."""
        if index in self.thresholds:
            return logit(self.thresholds[index]) - logit(threshold)
        tier = self.classes[index].tier
        return logit(TIER_THRESHOLDS[tier]) - logit(TIER_THRESHOLDS[1]) if tier else 0.0

    @cached_property
    def named_groups(self) -> dict[str, str]:
        """Each name of a captioned sound, in lower case, and its group."""
        captioned = {c.index: c.group for c in self.classes if c.caption}
        named = {name: min(members) for name, members in self.name_index.items()}
        return {name: captioned[index] for name, index in named.items() if index in captioned}

    def sdh_captions(self) -> dict[str, str]:
        """The form for the deaf and hard of hearing of each caption."""
        return {c.caption: c.caption_sdh or c.caption for c in reversed(self.classes) if c.caption}


@cache
def load_policy() -> Policy:
    """The table as it ships, at ``--sounds default`` (``data/caption_policy.csv``: CC BY-SA 4.0)."""
    classes = tuple(
        SoundClass(
            index=label.index,
            mid=label.mid,
            name=label.name,
            tier=int(row["tier"]),
            group=row["group"],
            caption=row["caption"],
            caption_sdh=row["caption_sdh"],
            kind=row["kind"],
            general=row["general"],
            parents=tuple(int(parent) for parent in row["parents"].split()),
        )
        for label, row in zip(load_labels(), read_table("caption_policy.csv"), strict=True)
    )
    return _at_level(Policy(classes, frozenset(), {}), "default")


def resolve(options: TagOptions, own: Sequence[str] = ()) -> Policy:
    """The policy that `options` ask for.

    `own` are the labels of a head that was made for them: those that AudioSet lacks follow its classes, captioned by
    their names, and all that have a caption are of the first tier.

    Raises UsageError for a sound that is not in the table, naming the nearest, and for a file that is not what
    ``--sounds-file`` wants.
    """
    return _resolved(options, tuple(own), "" if options.sounds_file is None else _read(options.sounds_file))


@lru_cache(maxsize=8)
def _resolved(options: TagOptions, own: tuple[str, ...], text: str) -> Policy:
    """The same once for all files of a run; `text` is the ``--sounds-file``'s."""
    policy = _with_own(load_policy(), own) if own else load_policy()
    table = _parsed(text, options.sounds_file)
    if table:
        policy = _with_table(policy, table, f"--sounds-file {options.sounds_file}")
    policy = _at_level(policy, options.sounds)
    include = _wanted(policy, _names(options.include_sounds), "--include-sounds")
    include |= _wanted(policy, table.get("include", []), f"--sounds-file {options.sounds_file}")
    exclude = _wanted(policy, _names(options.exclude_sounds), "--exclude-sounds")
    exclude |= _wanted(policy, table.get("suppress", []), f"--sounds-file {options.sounds_file}")
    hidden = {index: why for index, why in policy.hidden.items() if index not in include}
    hidden |= {index: "excluded" for index in exclude if policy.classes[index].caption}
    return replace(policy, enabled=(policy.enabled | include) - exclude, hidden=MappingProxyType(hidden))


def _with_own(policy: Policy, labels: Sequence[str]) -> Policy:
    named = {label.casefold() for label in labels}
    classes = [
        replace(sound, tier=1) if sound.caption and sound.name.casefold() in named else sound
        for sound in policy.classes
    ]
    groups = {sound.group for sound in classes}
    for name in new_labels(labels):
        caption = " ".join(name.replace("_", " ").split())
        caption = caption[:1].upper() + caption[1:]
        sound = SoundClass(len(classes), "", name, 1, "", caption, caption.casefold(), "sustained", "", ())
        group = _own_group(sound)
        while group in groups:
            group += "_"
        groups.add(group)
        classes.append(replace(sound, group=group))
    return replace(policy, classes=tuple(classes))


def _at_level(policy: Policy, level: str) -> Policy:
    most = LEVEL_TIERS[level]
    enabled = frozenset(c.index for c in policy.classes if 1 <= c.tier <= most)
    needs = {1: "default", 2: "more", 3: "all"}
    hidden = {c.index: f"shown with --sounds {needs[c.tier]}" for c in policy.classes if c.tier > most}
    return replace(policy, enabled=enabled, hidden=MappingProxyType(hidden))


def _names(text: str | None) -> list[str]:
    """Names between commas; a comma followed by a space may be part of an AudioSet name, `_wanted` sorts that out."""
    return [text] if text and text.strip() else []


def _wanted(policy: Policy, names: Iterable[str], source: str) -> frozenset[int]:
    known = policy.name_index
    found: set[int] = set()
    for name in names:
        for part in _split(name, known):
            indices = known.get(_folded(part))
            if indices is None:
                raise UsageError(_unknown(part, source, known, policy))
            found |= indices
    uncaptioned = sorted(index for index in found if not policy.classes[index].caption)
    if uncaptioned and found == set(uncaptioned) and not source.startswith("--exclude"):
        name = policy.classes[uncaptioned[0]].name
        raise UsageError(f"{source}: {name} has no caption; give it one in a --sounds-file")
    return frozenset(found)


def _split(text: str, known: Mapping[str, frozenset[int]]) -> list[str]:
    """`text` at its commas, except at those inside a known name such as ``Whoosh, swoosh, swish``."""
    pieces, names = text.split(","), []
    while pieces:
        for taken in range(len(pieces), 0, -1):
            name = ",".join(pieces[:taken]).strip()
            if taken == 1 or _folded(name) in known:
                break
        pieces = pieces[taken:]
        if name:
            names.append(name)
    return names


def _folded(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _name_index(classes: Iterable[SoundClass], kinds: Iterable[str]) -> dict[str, frozenset[int]]:
    """Names of each of `kinds`, in lower case, with the classes they mean; an earlier kind wins."""
    index: dict[str, frozenset[int]] = {}
    for kind in kinds:
        grouped: dict[str, set[int]] = {}
        for sound in classes:
            if name := getattr(sound, kind):
                grouped.setdefault(_folded(name), set()).add(sound.index)
        for name, members in grouped.items():
            index.setdefault(name, frozenset(members))
    return index


def _unknown(name: str, source: str, known: Mapping[str, frozenset[int]], policy: Policy) -> str:
    spelling = {_folded(n): n for c in policy.classes for n in (c.group, c.caption, c.name) if n}
    near = [spelling[match] for match in difflib.get_close_matches(_folded(name), spelling, n=3, cutoff=0.5)]
    near = near or [spelling[match] for match in sorted(spelling) if _folded(name) and _folded(name) in match][:3]
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"{source}: no sound is called {name!r}{hint}"


# --- a user's own file ----------------------------------------------------------------------------------------------


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--sounds-file {path}: {getattr(error, 'strerror', None) or error}") from None


def _parsed(text: str, path: Path | None) -> dict[str, Any]:
    """``captions`` and ``thresholds`` by label, group or mid; ``include`` and ``suppress`` lists."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"--sounds-file {path}: {error}") from None
    names, numbers = (list, str), (int, float)
    shapes = {"captions": (dict, str), "thresholds": (dict, numbers), "include": names, "suppress": names}
    for key, value in table.items():
        if key not in shapes:
            raise UsageError(f"--sounds-file {path}: [{key}] is not one of {', '.join(shapes)}")
        outer, inner = shapes[key]
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        if not isinstance(value, outer) or not all(isinstance(i, inner) and not isinstance(i, bool) for i in items):
            raise UsageError(f"--sounds-file {path}: {key} holds something else than it should")
    return table


def _with_table(policy: Policy, table: Mapping[str, Any], source: str) -> Policy:
    classes, renamed = list(policy.classes), dict[tuple[str, str], str]()
    # `"Alarm" = ...` renames the caption, not the fire alarms of the same group.
    known = _name_index(policy.classes, ("caption", "group", "name", "mid"))
    for name, caption in table.get("captions", {}).items():
        caption = " ".join(caption.split()).strip("[]()")
        if not caption:
            raise UsageError(f"{source}: the caption of {name!r} is empty; to leave a sound out, suppress it")
        for index in _one(policy, known, name, source):
            old = classes[index]
            group = old.group if old.tier else _own_group(old)
            renamed[group, old.caption] = caption
            new = replace(old, caption=caption, caption_sdh=caption, tier=old.tier or 1, kind=old.kind or "sustained")
            classes[index] = replace(new, group=group)
    captions = {(c.group, c.caption) for c in classes}
    for index, sound in enumerate(classes):
        general = renamed.get((sound.group, sound.general), sound.general)
        kept = general != sound.caption and (sound.group, general) in captions
        classes[index] = replace(sound, general=general if kept else "")
    thresholds: dict[int, float] = {}
    for name, threshold in table.get("thresholds", {}).items():
        if not 0.0 < threshold < 1.0:
            raise UsageError(f"{source}: the threshold of {name!r} is {threshold}; it lies between 0 and 1")
        thresholds |= dict.fromkeys(_one(policy, policy.name_index, name, source), float(threshold))
    return replace(policy, classes=tuple(classes), thresholds=MappingProxyType(thresholds))


def _one(policy: Policy, known: Mapping[str, frozenset[int]], name: str, source: str) -> frozenset[int]:
    if _folded(name) not in known:
        raise UsageError(_unknown(name, source, known, policy))
    return known[_folded(name)]


def _own_group(sound: SoundClass) -> str:
    """A group for a class of tier 0 that a user gives a caption to."""
    return "_".join("".join(c if c.isalnum() else " " for c in sound.name.casefold()).split())
