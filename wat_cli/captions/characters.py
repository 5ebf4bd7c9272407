"""Characters of a caption: which may stand in it, how wide they are, where they may be parted.

Widths are columns of a terminal or a caption grid: 1 for most characters, 2 for Chinese, Japanese, Korean and emoji,
0 for combining marks (Unicode Standard Annex 11, through wcwidth).
"""

from __future__ import annotations

import re
from functools import lru_cache
from unicodedata import bidirectional

from wcwidth import iter_graphemes, wcswidth

# NUL and lone surrogates, which no UTF-8 file can carry, become the replacement character; line ends of any kind and
# control characters (some readers split lines at \x0b, \x1c, \x85, \u2028 ...) and odd spaces become a space; a
# no-break space stays where it does its work, alone between two words.
_UNWRITABLE = re.compile(r"[\x00\ud800-\udfff\ufffe\uffff]")
_CONTROL = re.compile(r"[\x01-\x1f\x7f-\x9f\ufeff]")
_SPACES = re.compile(r"\s{2,}|[^\S \xa0\u202f]")

# What may not start a line and what may not end one in Chinese and Japanese (JIS X 4051, the common part).
NOT_AT_LINE_START = frozenset(
    "、。，．・：；？！‼⁇⁈⁉゛゜ヽヾゝゞ々ー’”）〕］｝〉》」』】〙〗〟｠»"
    "ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶ)]},.!?:;%‰℃…‥—"
)
NOT_AT_LINE_END = frozenset("‘“（〔［｛〈《「『【〘〖〝｟«([{$£¥")


def clean_text(text: str) -> str:
    """Text as it can stand in any caption file: one line, single spaces, no control characters.

    What a viewer could see is kept, character for character.
    """
    if not (text.isascii() and text.isprintable()):
        text = _CONTROL.sub(" ", _UNWRITABLE.sub("\ufffd", text))
    elif "  " not in text:
        return text.strip()
    return _SPACES.sub(" ", text).strip()


def width(text: str) -> int:
    """Columns that `text` takes."""
    return len(text) if text.isascii() else _wide_width(text)


@lru_cache(maxsize=65536)
def _wide_width(text: str) -> int:
    columns = wcswidth(text)
    # wcswidth gives -1 for text with a character of no known width: count grapheme by grapheme then
    return columns if columns >= 0 else sum(max(1, wcswidth(cluster)) for cluster in iter_graphemes(text))


def reads_from_right(text: str) -> bool:
    """Whether the first letter with a direction is Hebrew, Arabic or another that is written from right to left."""
    if text.isascii():
        return False
    strong = (direction for direction in map(bidirectional, text) if direction in ("L", "R", "AL"))
    return next(strong, "L") != "L"


def is_wide(character: str) -> bool:
    """Whether lines may be broken beside this character without a space: Chinese, Japanese, not Korean."""
    code = ord(character)
    return (
        0x2E80 <= code <= 0x312F  # radicals, kana, CJK punctuation, bopomofo
        or 0x3190 <= code <= 0xA4CF  # ideographs, kana extensions, Yi
        or 0xF900 <= code <= 0xFAFF
        or 0xFE30 <= code <= 0xFE4F
        or 0xFF01 <= code <= 0xFF9F  # full- and half-width forms
        or 0x1F000 <= code <= 0x1FAFF  # emoji
        or 0x20000 <= code <= 0x3FFFF
    )


_SOME_WIDE = re.compile(
    "[\u2e80-\u312f\u3190-\ua4cf\uf900-\ufaff\ufe30-\ufe4f\uff01-\uff9f\U0001f000-\U0001faff\U00020000-\U0003ffff]"
)


def units(text: str, limit: int) -> list[tuple[str, bool]]:
    """`text` in pieces that a line break should not part, each with whether a space follows it.

    Pieces are words and, in Chinese and Japanese, single characters with the punctuation that clings to them. A piece
    wider than `limit` columns is parted between graphemes. Joined with their spaces the pieces give `text` back, if
    `text` is clean.
    """
    words = text.split(" ") if text else []
    pieces: list[tuple[str, bool]] = []
    for place, word in enumerate(words):
        space = place + 1 < len(words)
        if len(word) <= limit and word.isascii():  # the usual case, by the shortest way
            pieces.append((word, space))
            continue
        parts = _wide_parts(word) if _SOME_WIDE.search(word) else [word]
        fitting = [piece for part in parts for piece in (_hard_parts(part, limit) if width(part) > limit else [part])]
        pieces.extend((piece, space and number + 1 == len(fitting)) for number, piece in enumerate(fitting))
    return pieces


def _wide_parts(word: str) -> list[str]:
    """`word` cut beside every wide character, as far as punctuation allows."""
    parts: list[str] = []
    for cluster in iter_graphemes(word):
        if parts and not _may_part(parts[-1][-1], cluster[0], parts[-1]):
            parts[-1] += cluster
        else:
            parts.append(cluster)
    return parts


def _may_part(before: str, after: str, whole: str) -> bool:
    if before in NOT_AT_LINE_END or after in NOT_AT_LINE_START or before.isspace() or after.isspace():
        return False
    return is_wide(after) or is_wide(before) or any(is_wide(character) for character in whole[-4:])


def _hard_parts(part: str, limit: int) -> list[str]:
    """A piece wider than a line, cut between graphemes into pieces that fit."""
    parts = [""]
    for cluster in iter_graphemes(part):
        for piece in _cut_cluster(cluster, limit):
            if parts[-1] and width(parts[-1] + piece) > limit:
                parts.append("")
            parts[-1] += piece
    return [piece for piece in parts if piece]


def _cut_cluster(cluster: str, limit: int) -> list[str]:
    """A grapheme cluster, in single characters if it alone is wider than a line."""
    return [cluster] if width(cluster) <= limit else list(cluster)
