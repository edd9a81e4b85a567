"""Splits text into words: as people type them, or as the original project and NLTK do."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable
from functools import cache
from itertools import accumulate
from typing import cast

# "words": letters made plain, then runs of them, with the hyphens and apostrophes between.


class _Plain(dict[int, str]):
    """A character as an English keyboard has it, for str.translate: no case, accent, width or curl."""

    def __missing__(self, code: int) -> str:
        parts = unicodedata.normalize("NFKD", chr(code)).lower().replace("\N{FRACTION SLASH}", "-")
        self[code] = "".join(c for c in parts if not unicodedata.category(c).startswith("M"))
        return self[code]


_PLAIN = _Plain(
    {
        **{code: chr(code).lower() for code in range(128)},
        **dict.fromkeys(map(ord, "\u2018\u2019\u201a\u201b\u02bc\u2032`\u00b4\uff07"), "'"),
        **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d"), "-"),
        # Seen by nobody: soft hyphens, joiners, the mark of byte order; and what stands for a trade mark.
        **dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff\u2122\u2120"), ""),
        **str.maketrans(
            {
                "ß": "ss",
                "æ": "ae",
                "œ": "oe",
                "ø": "o",
                "đ": "d",
                "ł": "l",
                "\u0131": "i",
                "þ": "th",
                "ð": "d",
            }
        ),
        **str.maketrans({"ẞ": "ss", "Æ": "ae", "Œ": "oe", "Ø": "o", "Đ": "d", "Ł": "l", "Þ": "th", "Ð": "d"}),
    }
)

_TOKEN = re.compile(
    r"(?<![^\W_])[^\W\d_](?:\.[^\W\d_])+\.?(?![^\W_])"  # "u.s." and "r.v"
    r"|[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])"  # "10,000"
    r"|[^\W_]+(?:['-][^\W_]+)*"  # "dog", "dog's", "sky-diver"
    r"|[^\w\s]"  # a mark, which parts what stands beside it
)


def plain_letters(text: str) -> str:
    """A text as an English keyboard has it: no case, accents, width or curls."""
    return text.translate(_PLAIN)


def has_hyphen(text: str) -> bool:
    """Whether some of its words may be written with a hyphen, of whatever kind."""
    return "-" in (text if text.isascii() else plain_letters(text))


def words_of(text: str) -> tuple[list[str], list[str]]:
    """The words and marks of a text in plain letters, and what was typed for each, in lower case."""
    if text.isascii():
        lower = text.lower()
        if _SIMPLE.fullmatch(lower):  # most captions and queries, in half the time
            words = lower.rstrip(" .").replace(",", " , ").split()
        else:
            words = [_without_marks(word) for word in _TOKEN.findall(lower)]
        return words, words
    plain = [*map(plain_letters, text)]
    # Where in the text each plain character comes from.
    place_of = [place for place, chars in enumerate(plain) for _ in chars]
    ends = [*accumulate(map(len, plain))]
    found = [*_TOKEN.finditer("".join(plain))]
    typed = []
    for token in found:
        first, last = place_of[token.start()], place_of[token.end() - 1]
        if first == last and len(token[0]) < len(plain[first]):  # one of several words in one character
            typed.append(token[0])
            continue
        while last + 1 < len(ends) and ends[last + 1] == ends[last] and not text[last + 1].isspace():
            last += 1  # accents that were typed as characters of their own
        typed.append(text[first : last + 1].lower())
    return [_without_marks(token[0]) for token in found], typed


def _without_marks(word: str) -> str:
    """ "u.s." and "10,000" as one word."""
    return word.replace(".", "").replace(",", "") if len(word) > 1 else word


def is_symbol(word: str) -> bool:
    """Whether a mark stands for something, such as an emoji, and is not just punctuation."""
    return not word.isascii() and unicodedata.category(word[0]).startswith("S")


# "whitespace": the original's. "nltk-word": what agrees with it on tokenised captions.


def split_on_whitespace(text: str) -> list[str]:
    """The words of a text in lower case, without those that are one ASCII punctuation mark."""
    return [word for word in text.split() if not (len(word) == 1 and word in string.punctuation)]


def split_like_nltk(text: str) -> list[str]:
    """The words of a text in lower case that NLTK finds, without punctuation."""
    if _SIMPLE.fullmatch(text) and not _CONTRACTED.search(text):
        return text.rstrip(" .").replace(",", "").split()
    words = map(_without_full_stop, _nltk_tokenize()(text.translate(_TYPEWRITTEN)))
    return [word for word in words if not _is_marks(word)]


# Most captions and queries: words with spaces or commas between them, and a full stop. NLTK's tokenizer splits these at
# the same places, but takes 50 times as long, and a third of a second to be imported.
_SIMPLE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*(?:,? +[a-z0-9]+(?:-[a-z0-9]+)*)* ?\.?")
_CONTRACTED = re.compile("cannot|gimme|gonna|gotta|lemme|wanna")  # which it takes apart

# What phones write, as NLTK's tokenizer knows it.
_TYPEWRITTEN = str.maketrans(
    {
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{EN DASH}": " - ",
        "\N{EM DASH}": " - ",
        "\N{HORIZONTAL ELLIPSIS}": " ... ",
    }
)


def _without_full_stop(word: str) -> str:
    """NLTK expects one sentence at a time, and leaves "play." inside a longer text; "u.s." stays as it is."""
    return word[:-1] if word.endswith(".") and word.count(".") == 1 else word


def _is_marks(word: str) -> bool:
    """Nothing but punctuation, of any script; this includes the `` that NLTK makes of a quotation mark."""
    return all(char in string.punctuation or unicodedata.category(char).startswith("P") for char in word)


@cache
def _nltk_tokenize() -> Callable[[str], list[str]]:
    from nltk.tokenize import NLTKWordTokenizer  # a third of a second, which only text should cost

    return cast("Callable[[str], list[str]]", NLTKWordTokenizer().tokenize)
