"""Heads whose classes are not AudioSet's: their scores in AudioSet's columns, and in columns of their own after them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from wat_cli.tagging.labels import load_labels
from wat_cli.transcript import TagTrack


def spread(tags: TagTrack) -> tuple[TagTrack, tuple[str, ...]]:
    """The track with a column for each AudioSet class, then one for each label that AudioSet lacks; and those labels.

    Captions are decided by rules about AudioSet's classes; a class that the head does not know is never heard. A label
    that is spelled as AudioSet spells it means the same. Tracks of AudioSet's own classes come back as they are. Raises
    ValueError where the labels are not as many as the classes.
    """
    labels = tags.tuning.labels
    if not labels:
        return tags, ()
    if len(labels) != tags.classes:
        raise ValueError(f"{len(labels)} labels for {tags.classes} classes")
    known = {label.name.casefold(): label.index for label in load_labels()}
    extra = tuple(label for label in labels if label.casefold() not in known)
    own = {label: len(known) + position for position, label in enumerate(extra)}
    columns = [own[label] if label in own else known[label.casefold()] for label in labels]

    def wide(scores: NDArray[np.float32]) -> NDArray[np.float32]:
        spread_out = np.zeros((len(scores), len(known) + len(extra)), np.float32)
        spread_out[np.isnan(scores).any(axis=1)] = np.nan
        spread_out[:, columns] = scores
        return spread_out

    return replace(tags, what=wide(tags.what), when=wide(tags.when)), extra
