"""Which language a query looks like that has no English word: by lists of common words, and by its letters."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from itl_infer.text.tokens import plain_letters

LISTS = Path(__file__).with_name("languages.txt")
ANOTHER_SCRIPT = "another script"
_SHARE = 0.5  # of the words that must be common in a language; the others may be names, or rare


def guess_language(unknown: Sequence[str], known: Sequence[str] = ()) -> str | None:
    """What to call the language of a text by its words, those that are not known and those that are.

    "French", or `ANOTHER_SCRIPT` where letters are not Latin; None where it may be English. Common in that language are
    all known words, and so many of the others that the rest may be names.
    """
    if not known and any(map(is_foreign_script, unknown)):
        return ANOTHER_SCRIPT
    sought, others = _plain_words(unknown), _plain_words(known)
    if not sought:
        return None
    common = {
        language: sum(f" {word} " in words for word in sought)
        for language, words in _lists().items()
        if all(f" {word} " in words for word in others)
    }
    best = max(common, key=lambda language: common[language], default="")
    return best if best and common[best] >= _SHARE * len(sought) else None


def format_languages(words: Mapping[str, Sequence[str]], comment: str) -> str:
    """The content of the file: behind a comment a line for each language, its name, a tab, and its words."""
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += [f"{language}\t{' '.join(sorted(found))}" for language, found in words.items()]
    return "".join(f"{line}\n" for line in lines)


@cache
def _lists() -> dict[str, str]:
    """By the name of each language its words, with a space around each: few are ever looked for."""
    lines = (line.partition("\t") for line in LISTS.read_text(encoding="utf-8").splitlines())
    return {language: f" {words} " for language, tab, words in lines if tab}


def _plain_words(words: Sequence[str]) -> list[str]:
    return [word for word in dict.fromkeys(map(plain_letters, words)) if word.isalpha()]


def is_foreign_script(word: str) -> bool:
    """Whether a letter of it is of another script than Latin; a mark or an emoji is no letter."""
    return any(
        char.isalpha() and not unicodedata.name(char, "").startswith("LATIN") for char in plain_letters(word)
    )
