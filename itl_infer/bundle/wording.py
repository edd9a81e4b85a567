"""How a word that a bundle does not know is put in a message."""

from __future__ import annotations

from collections.abc import Sequence

_SUGGESTED = 2  # words, at most


def with_suggestions(word: str, near: Sequence[str]) -> str:
    """A word with what may have been meant by it, the nearest first: "surfr (did you mean surfer?)"."""
    return f"{word} (did you mean {' or '.join(near[:_SUGGESTED])}?)" if near else word
