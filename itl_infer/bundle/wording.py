"""How words that a bundle does not know are put in a message."""

from __future__ import annotations

from collections.abc import Sequence

from itl_infer.text.languages import ANOTHER_SCRIPT

_SUGGESTED = 2  # words, at most


def with_suggestions(word: str, near: Sequence[str]) -> str:
    """A word with what may have been meant by it, the nearest first: "surfr (did you mean surfer?)"."""
    return f"{word} (did you mean {' or '.join(near[:_SUGGESTED])}?)" if near else word


def with_language(message: str, language: str) -> str:
    """A message about a query that is not in English, with the language that it seems to be in."""
    seems = "is in" if language == ANOTHER_SCRIPT else "looks like"
    return f"{message}; it reads English, and the query {seems} {language}"
