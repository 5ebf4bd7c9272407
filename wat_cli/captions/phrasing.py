"""Where a reader would pause: how bad it is to cut a text between two of its words.

The preferences (after punctuation, before conjunctions and prepositions, not after an article) are those of the
Netflix and BBC guides. The word lists are English and do no harm elsewhere.
"""

from __future__ import annotations

from functools import lru_cache

_SENTENCE_END = tuple(".?!…。？！؟।")
_CLAUSE_END = tuple(",;:—–、，；：،؛")
_CLOSING = "\"'”’)]»」』）"
_MARKS = _CLOSING + "".join(_CLAUSE_END + _SENTENCE_END)

_CONJUNCTION_LIST = """and but or nor so yet because although though while when where if unless until that which who
whose"""
_PREPOSITION_LIST = """about above across after against along among around as at before behind below between by down
during for from in inside into like near of off on onto out over past since than through to toward under up upon with
within without"""
_PROCLITIC_LIST = """a an the my your his her its our their this these those no not very mr mrs ms dr i i'm you he she
it we they is are was were am be been has have had will would can could do does did"""

CONJUNCTIONS = frozenset(_CONJUNCTION_LIST.split())
PREPOSITIONS = frozenset(_PREPOSITION_LIST.split())
CLINGING = frozenset(_PROCLITIC_LIST.split()) | PREPOSITIONS | CONJUNCTIONS
"""Words that belong to the one after them."""


@lru_cache(maxsize=65536)
def cut_penalty(before: str, after: str) -> float:
    """How bad it is to cut between two units: 0 at a sentence's end, 1 anywhere, up to 2.5 where it tears a phrase."""
    bare = before.rstrip(_CLOSING) or before
    if bare.endswith(_SENTENCE_END):
        return 0.0
    if bare.endswith(_CLAUSE_END):
        return 0.2
    following = after.lower().strip(_MARKS)
    penalty = 2.0 if bare.lower() in CLINGING else 1.0
    if following in CONJUNCTIONS:
        penalty -= 0.5
    elif following in PREPOSITIONS:
        penalty -= 0.4
    # A number alone on a line reads as a stray index, and so it is to some readers of SRT
    return penalty + 0.5 if following.isdigit() else penalty
