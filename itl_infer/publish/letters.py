"""Tables of what Python makes of each letter, as browsers know other versions of Unicode."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from itl_infer.text.languages import is_foreign_script
from itl_infer.text.tokens import is_symbol, plain_letters

_HANGUL = range(
    0xAC00, 0xD7A4
)  # syllables, whose parts no version changes: the browser takes them apart itself
_ALNUM, _LETTER = re.compile(r"[^\W_]"), re.compile(r"[^\W\d_]")
_CLASSES: dict[str, Callable[[str], object]] = {
    "alnum": _ALNUM.match,
    "letter": _LETTER.match,
    "alpha": str.isalpha,
    "digit": str.isdigit,
    "space": str.isspace,
    "symbol": is_symbol,
    "foreign": is_foreign_script,
}


@cache
def letter_tables() -> dict[str, Any]:
    """By name the classes of characters, as `_ranges` has them, and what "plain" and "lower" make of some characters.

    A mapping is {"from": the characters that it changes, "to": what each becomes, with line ends between}.
    """
    letters = [char for char in map(chr, range(sys.maxunicode + 1)) if _is_assigned(char)]
    plain = (char for char in letters if ord(char) not in _HANGUL)
    return {
        "classes": {
            name: _ranges(ord(char) for char in letters if belongs(char))
            for name, belongs in _CLASSES.items()
        },
        "plain": _mapping(plain, plain_letters),
        "lower": _mapping(letters, str.lower),
    }


def _is_assigned(char: str) -> bool:
    """Whether it means something, and is no half of a character: the others are in no class, and stay as they are."""
    return unicodedata.category(char) not in ("Cn", "Co", "Cs")


def _ranges(codes: Iterable[int]) -> list[int]:
    """Ascending numbers as how many are left out, how many are in, and so on: 2, 3, 4, 9 are [2, 3, 4, 1]."""
    steps: list[int] = []
    end = 0
    for code in codes:
        if steps and code == end:
            steps[-1] += 1
        else:
            steps += [code - end, 1]
        end = code + 1
    return steps


def _mapping(letters: Iterable[str], change: Callable[[str], str]) -> dict[str, str]:
    changed: Sequence[tuple[str, str]] = [
        (char, other) for char in letters if (other := change(char)) != char
    ]
    return {
        "from": "".join(char for char, _ in changed),
        "to": "\n".join(other for _, other in changed),
    }
