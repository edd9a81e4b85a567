"""What sheets say in words, whether drawn or written as a page."""

from __future__ import annotations

from pathlib import Path

from itl_infer.search import Answer, Found, Place

NOTHING_FOUND = "No picture passed."


def and_duplicates(found: Found) -> str:
    return f"   +{len(found.duplicates)} like it" if found.duplicates else ""


def shorten_middle(text: str, length: int) -> str:
    """A text of at most `length` characters; what is too long loses its middle, as names differ at both ends."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def subtitle(answer: Answer) -> str:
    shown = f"{len(answer.results)} of {answer.pictures} pictures"
    return f"{shown}  ·  {name_of(answer.truth.path)}: {answer.truth}" if answer.truth else shown


def shows(answer: Answer, place: Place) -> bool:
    return any(is_at(found, place) for found in answer.results)


def is_at(found: Found, place: Place | None) -> bool:
    return place is not None and place.path == found.path


def name_of(path: str) -> str:
    return Path(path).name


def printable(text: str) -> str:
    """Text that any font and browser takes: other characters, and bytes that are no text, as a box."""
    return "".join(char if char.isprintable() else "�" for char in text)
