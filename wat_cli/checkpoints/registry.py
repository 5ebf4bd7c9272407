"""Which models are published, where, and what is known of their files.

The checkpoints are openai-whisper's (MIT), the heads Whisper-AT's (BSD 2-clause, Yuan Gong). This table is written
down here rather than read out of the installed openai-whisper: a hash that pins a download must not come from a
package that changes by itself, and reading it there would mean importing torch or parsing a private name. A test
compares it with `whisper._MODELS`.

Heads: the links of the package whisper-at 0.5 (`whisper_at/__init__.py`, `_MODELS_AT`), for which its publisher gives
no hash. The list in its repository (`pretrained_models/README.md`) has other links for eight of them; the package's
are the ones its users run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_WHISPER = "https://openaipublic.azureedge.net/main/whisper/models"
_HEADS = "https://www.dropbox.com/s"

FULL_MODE = "tl_tr_1_8"
"""whisper-at's name of a time- and layer-wise Transformer as wide as its encoder."""
NARROW_MODE = "tl_down_tr_512_1_8"
"""The same with its input projected to 512."""


@dataclass(frozen=True)
class Remote:
    """One file at its publisher."""

    url: str
    filename: str
    """Name in the cache folder: the one that openai-whisper and whisper-at give it, so that their files are found."""
    sha256: str | None
    """The publisher's hash; None where it gives none, and the one seen first is kept (`hashes`)."""


@dataclass(frozen=True)
class Head:
    """A published audio-tagging head of one model."""

    mode: str
    parameters: str
    mean_average_precision: float
    """On AudioSet's evaluation set, in percent, as its publisher reports it."""
    file: Remote


@dataclass(frozen=True)
class Model:
    """A published speech model with the heads trained on its encoder."""

    name: str
    parameters: str
    megabytes: int
    """Size of the checkpoint, about."""
    file: Remote
    heads: Mapping[str, Head]
    """By width: ``full``, ``512``; none is published for some."""
    aliases: tuple[str, ...]

    @property
    def languages(self) -> str:
        return "English" if self.name.endswith(".en") else "multilingual"


_SIZES = {
    "tiny.en": ("39 M", 76),
    "tiny": ("39 M", 76),
    "base.en": ("74 M", 145),
    "base": ("74 M", 145),
    "small.en": ("244 M", 484),
    "small": ("244 M", 484),
    "medium.en": ("769 M", 1528),
    "medium": ("769 M", 1528),
    "large-v1": ("1550 M", 3087),
    "large-v2": ("1550 M", 3087),
    "large-v3": ("1550 M", 3087),
    "large-v3-turbo": ("809 M", 1618),
}
"""Parameters, and megabytes of the checkpoint, about."""

_SHA256 = {
    "tiny.en": "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03",
    "tiny": "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
    "base.en": "25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead",
    "base": "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e",
    "small.en": "f953ad0fd29cacd07d5a9eda5624af0f6bcf2258be67c92b79389873d91e0872",
    "small": "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794",
    "medium.en": "d7440d1dc186f76616474e0ff0b3b6b879abc9d1a4926b7adfa41db2d497ab4f",
    "medium": "345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1",
    "large-v1": "e4b87e7e0bf463eb8e6956e646f1e277e901512310def2c24bf0e11bd3c28e9a",
    "large-v2": "81f7c96c852ee8fc832187b0132e569d6c3065a3252ed18e56effd0b6a73e524",
    "large-v3": "e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb",
    "large-v3-turbo": "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a",
}
"""Hashes of the checkpoints, which are also the folders that they are published in."""

_HEAD_FILES = {
    "tiny.en": {
        "full": ("atq9so6w0qug5ai/tiny.en_ori.pth", "3.8 M", 35.8),
    },
    "tiny": {
        "full": ("cib4q4iz6g758l0/tiny_ori.pth", "3.8 M", 36.5),
    },
    "base.en": {
        "full": ("qtzgsbuquoz0afn/base.en_ori.pth", "6.6 M", 37.5),
    },
    "base": {
        "full": ("2odwh42u6e9ger7/base_ori.pth", "6.6 M", 37.6),
    },
    "small.en": {
        "full": ("cyx50ycl1ul7lji/small.en_ori.pth", "14.6 M", 40.1),
        "512": ("507o66zgl8v6ddd/small.en_low.pth", "6.9 M", 39.9),
    },
    "small": {
        "full": ("jftj9s0kr4ycvr1/small_ori.pth", "14.6 M", 39.8),
        "512": ("a1x0416v58f7wrf/small_low.pth", "6.9 M", 39.8),
    },
    "medium.en": {
        "full": ("bbvylvmgns8ja4p/medium.en_ori.pth", "25.8 M", 41.4),
        "512": ("2q5wprr8f9gti5t/medium.en_low.pth", "7.1 M", 41.1),
    },
    "medium": {
        "full": ("65aabayr7o819az/medium_ori.pth", "25.8 M", 40.8),
        "512": ("0mnfmcasram4n6o/medium_low.pth", "7.1 M", 41.2),
    },
    "large-v1": {
        "full": ("b8x2en1fdzc8nhk/large-v1_ori.pth", "40.0 M", 42.1),
        "512": ("5o79h70wyla8jlk/large-v1_low.pth", "7.2 M", 41.6),
    },
    "large-v2": {
        "full": ("3zxpyvdrxy22eq7/large-v2_ori.pth", "40.0 M", 41.7),
        "512": ("jw2rh4uylhqgn85/large-v2_low.pth", "7.2 M", 40.3),
    },
}
"""By width: place at the publisher, parameters, and mean average precision as the publisher's README gives it."""

_ALIASES = {"large-v3": ("large",), "large-v3-turbo": ("turbo",)}
_MODES = {"full": FULL_MODE, "512": NARROW_MODE}


def _model(name: str) -> Model:
    parameters, megabytes = _SIZES[name]
    heads = {
        width: Head(_MODES[width], size, precision, Remote(f"{_HEADS}/{place}?dl=1", place.split("/")[-1], None))
        for width, (place, size, precision) in _HEAD_FILES.get(name, {}).items()
    }
    checkpoint = Remote(f"{_WHISPER}/{_SHA256[name]}/{name}.pt", f"{name}.pt", _SHA256[name])
    return Model(name, parameters, megabytes, checkpoint, heads, _ALIASES.get(name, ()))


MODELS: dict[str, Model] = {name: _model(name) for name in _SIZES}
"""Published models by their own name, smallest first."""

MINI = "mini"
"""Name of the model that ships with wat."""


def find(name: str) -> Model | None:
    """The published model of this name or alias (``large`` is large-v3, as in openai-whisper)."""
    if name in MODELS:
        return MODELS[name]
    return next((model for model in MODELS.values() if name in model.aliases), None)


def names() -> tuple[str, ...]:
    """Every name that ``--model`` takes, aliases and ``mini`` included."""
    published = (name for model in MODELS.values() for name in (model.name, *model.aliases))
    return (MINI, *published)
