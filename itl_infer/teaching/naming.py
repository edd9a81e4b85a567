"""What may be a name, and the names that stand in a text: in any case, the longest first."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from itl_infer.arguments import require_text
from itl_infer.errors import TeachError
from itl_infer.text.tokens import plain_letters

LONGEST_NAME = 100  # characters
_TOKEN = re.compile(r"\w+|[^\w\s]")
_POSSESSIVE = ("'", "s")  # the marks behind a name that go with it: "Rex's ball"


def require_name(name: str) -> str:
    """A name without the space around it. Raises TeachError for one that nobody could ask for."""
    require_text("name", name)
    name = name.strip()
    wrong = None
    if not name:
        wrong = "a name is empty"
    elif len(name) > LONGEST_NAME:
        wrong = f"a name has {len(name):,} characters, at most {LONGEST_NAME} are allowed"
    elif any("\ud800" <= char <= "\udfff" for char in name):
        wrong = "a name is not valid text"
    elif any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in name):
        wrong = f"the name {name!r} has a line break or another control character in it"
    elif name.startswith("-"):
        wrong = f"the name {name!r} begins like an option"
    elif not any(unicodedata.category(char)[0] in "LNS" for char in plain_letters(name)):
        wrong = f"the name {name!r} has no letter, digit or symbol"
    if wrong:
        raise TeachError(f'{wrong}: give one or a few words, such as "Rex" or "Villa Rosa"')
    return name


def key_of(name: str) -> str:
    """What two names share that are one: "Villa  Rosa" and "villa rosa"."""
    return " ".join(token.key for token in _tokens(name))


class Named(NamedTuple):
    """A text without the names in it, and their keys in the order in which they stand there."""

    rest: str
    keys: tuple[str, ...]


class NameFinder:
    """Finds names in texts; `keys` are those that there are. As fast with 10,000 as with one."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = frozenset(keys)
        self._firsts = {key.partition(" ")[0] for key in self._keys}
        self._lengths = sorted({key.count(" ") + 1 for key in self._keys}, reverse=True)  # in words

    def split(self, text: str) -> Named:
        """The names in a text, and what is left of it. Of names that begin at one word the longest counts."""
        if not self._keys:
            return Named(text, ())
        tokens = _tokens(text)
        keys = [token.key for token in tokens]
        found: dict[str, None] = {}
        kept, end, place = [], 0, 0
        while place < len(keys):
            length = self._length_at(keys, place)
            if length == 0:
                place += 1
                continue
            found[" ".join(keys[place : place + length])] = None
            kept.append(text[end : tokens[place].start])
            place += length
            if tuple(keys[place : place + 2]) == _POSSESSIVE and tokens[place].start == tokens[place - 1].end:
                place += 2
            end = tokens[place - 1].end
        if not found:
            return Named(text, ())
        rest = " ".join("".join([*kept, text[end:]]).split())
        return Named(rest if plain_letters(rest).strip() else "", tuple(found))

    def _length_at(self, keys: list[str], place: int) -> int:
        """Of how many words the longest name is that begins there; 0 where none does."""
        if keys[place] not in self._firsts:
            return 0
        left = len(keys) - place
        return next(
            (n for n in self._lengths if n <= left and " ".join(keys[place : place + n]) in self._keys), 0
        )


class _Token(NamedTuple):
    """A word or a mark: in plain letters, and from where to where it stands in the text."""

    key: str
    start: int
    end: int


def _tokens(text: str) -> list[_Token]:
    plain = [*map(plain_letters, text)]
    place_of = [place for place, chars in enumerate(plain) for _ in chars]
    return [
        _Token(found[0], place_of[found.start()], place_of[found.end() - 1] + 1)
        for found in _TOKEN.finditer("".join(plain))
    ]
