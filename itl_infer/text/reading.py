"""Reads the words of a text by the rules: which stem each is, which are stop words, which two are one."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from functools import cache, lru_cache
from types import MappingProxyType
from typing import cast

from itl_infer.text.rules import TextRules
from itl_infer.text.tokens import is_symbol, split_like_nltk, split_on_whitespace, words_of

# Longer than any word worth stemming: the stemmer takes time quadratic in the length.
MAX_WORD_LENGTH = 100

# What English hangs on a word with an apostrophe: the wave's, they're.
_CLITICS = frozenset(("s", "re", "ve", "ll", "d", "m"))
_ALONE = frozenset((*(f"'{clitic}" for clitic in _CLITICS), "n't"))

Read = tuple[str, str, str | None]
"""A word as it was typed, in lower case; in plain letters; and its stem, or None for a stop word."""


class Reader:
    """Reads texts by one set of rules.

    `known` are stems of words as these rules give them, so that no stemmer is needed for these. `has` says which stems
    there are: a compound that is none of them is read as its parts. Without it, all in the table of forms are.
    """

    def __init__(
        self,
        rules: TextRules,
        known: Mapping[str, str] = MappingProxyType({}),
        has: Container[str] | None = None,
    ) -> None:
        self._known, self._has = known, has
        self._forms, self._compounds = rules.forms, rules.forms.compounds
        self._stop_words = frozenset(rules.stop_words)
        self._split: Callable[[str], list[str]] | None = {
            "nltk-word": split_like_nltk,
            "whitespace": split_on_whitespace,
        }.get(rules.tokenizer)
        # Most words of a text are these, whatever stands beside them.
        self._plain: dict[str, str | None] = {
            **{word: stem for word, stem in known.items() if word not in self._compounds},
            **{word: None for word in self._stop_words if word not in self._compounds},
        }

    def read(self, text: str) -> list[Read]:
        """The words of a text, in order."""
        if self._split is not None:
            stop_words, known = self._stop_words, self._known
            return [
                (word, word, None if word in stop_words else known.get(word) or stem(word))
                for word in self._split(text.lower())
            ]
        if text in _ALONE:  # as in a list of words: there it is one of them
            return [(text, text, text)]
        words, typed = words_of(text)
        plain = self._plain
        found: list[Read] = []
        joined = -1  # the place of a word that was read with the one before
        for place, word in enumerate(words):
            if place == joined:
                continue
            if word in plain:
                found.append((typed[place], word, plain[word]))
                continue
            if word in self._compounds and place + 1 < len(words):
                one = self._compound(word, words[place + 1])
                if one is not None:
                    joined = place + 1
                    found.append((f"{typed[place]} {typed[joined]}", f"{word}-{words[joined]}", one))
                    continue
            found += self._read_word(word, typed[place])
        return found

    def stem_of(self, word: str) -> str:
        """The stem of one word in plain letters, by the stemmer and the table of forms."""
        forms = self._forms
        if word in forms.apart:
            return word
        if word not in forms.words and word.endswith("s") and word[:-1] in forms.words:
            word = word[:-1]  # "womens", whose apostrophe was left out
        found = stem(forms.words.get(word, word))
        return forms.stems.get(found, found)

    def _stem(self, word: str) -> str:
        return self._known.get(word) or self.stem_of(word)

    def _read_word(self, word: str, typed: str) -> Iterator[Read]:
        if word in self._known:
            yield typed, word, self._known[word]
            return
        if not word[0].isalnum():
            if is_symbol(word):
                yield typed, word, word
            return
        if "'" in word:
            if word in self._stop_words or word.endswith("n't"):
                yield typed, word, None
                return
            word = _without_clitic(word).replace("'", "")
        if "-" in word:
            yield from self._read_hyphenated(word, typed)
        elif word in self._stop_words:
            yield typed, word, None
        else:
            found = self._stem(word)
            first = self._first_part(word) if self._has is not None and found not in self._has else 0
            if first:
                yield from self._read_parts([word[:first], word[first:]], [typed[:first], typed[first:]])
            else:
                yield typed, word, found

    def _read_hyphenated(self, word: str, typed: str) -> Iterator[Read]:
        """As one word where there is such a word, else as its parts: "sky-diver", but "brown" and "haired"."""
        parts = [self._forms.words.get(part, part) if part.isdigit() else part for part in word.split("-")]
        joined = "".join(parts)
        one = self._stem(joined)
        if self._stop_words.issuperset(parts):  # "in-between"
            is_one = True
        elif self._has is None:
            is_one = len(parts) == 2 and self._is_compound(*parts)
        else:
            is_one = one in self._has
        if is_one:
            yield typed, word, one
        else:
            yield from self._read_parts(parts, typed.split("-"))

    def _read_parts(self, parts: list[str], typed: list[str]) -> Iterator[Read]:
        if len(typed) != len(parts):  # with another kind of hyphen
            typed = parts
        for part, typed_part in zip(parts, typed, strict=True):
            yield from self._read_word(part, typed_part)

    def _compound(self, first: str, second: str) -> str | None:
        """The stem of two words that are one: "hot dogs", "sky diver's"."""
        second = _without_clitic(second)
        if not self._is_compound(first, second):
            return None
        one = self._stem(first + second)
        return one if self._has is None or one in self._has else None

    def _is_compound(self, first: str, second: str) -> bool:
        """Whether these are the parts of a compound of the table, in whatever form the second is."""
        if not second.isalnum():
            return False
        for known in self._compounds.get(first, "").split():
            if known == self._forms.words.get(second, second):
                return True
            # All but the last letter is as in the table: "dive" and "diving", "berry" and "berries".
            if second.startswith(known[:-1]) and self.stem_of(first + second) == self.stem_of(first + known):
                return True
        return False

    def _first_part(self, word: str) -> int:
        """How long the first part is of a word that is a compound of the table, and no stem here; else 0."""
        first_parts = self._forms.first_parts
        return len(first_parts.get(word) or first_parts.get(word.removesuffix("s"), ""))


def _without_clitic(word: str) -> str:
    base, _, clitic = word.rpartition("'")
    return base if clitic in _CLITICS else word


def stem_text(text: str, rules: TextRules) -> list[tuple[str, str | None]]:
    """The words of a text as they were typed, in lower case, each with its stem, or with None for a stop word."""
    return [(typed, found) for typed, _, found in Reader(rules).read(text)]


def stem(word: str) -> str:
    """What NLTK's Snowball stemmer makes of a word."""
    return _cached_stem(word) if len(word) <= MAX_WORD_LENGTH else word


@lru_cache(maxsize=65536)
def _cached_stem(word: str) -> str:
    return _nltk_stem()(word)


@cache
def _nltk_stem() -> Callable[[str], str]:
    from nltk.stem.snowball import SnowballStemmer  # a third of a second, which only text should cost

    return cast("Callable[[str], str]", SnowballStemmer("english").stem)
