"""How common words are, by the package wordfreq: in English, and in the languages that are taken for it."""

from __future__ import annotations

import math
from functools import cache
from types import ModuleType

from export.errors import ExportError
from itl_infer.text.tokens import plain_letters

OTHERS = ("fr", "de", "es", "it", "pt", "nl")  # languages whose words stand in lists of English ones
_FOREIGN = 1.0  # on wordfreq's scale, on which 1 is ten times as common


def most_frequent(language: str, count: int) -> list[str]:
    """The commonest words of a language, by its code, the commonest first. ExportError without wordfreq."""
    found: list[str] = _wordfreq().top_n_list(language, count)
    return found


def frequency(word: str, language: str = "en") -> float:
    """The logarithm of how often it stands in a billion words; 0 where it is not known. ExportError as above."""
    share = _shares(language).get(word, 0.0)
    return 9 + math.log10(share) if share else 0.0


def is_foreign(word: str, language: str) -> bool:
    """Whether a word is far commoner in that language than in English, which has "café" as "cafe"."""
    return frequency(word, language) >= max(frequency(word), frequency(plain_letters(word))) + _FOREIGN


@cache
def _shares(language: str) -> dict[str, float]:
    found: dict[str, float] = _wordfreq().get_frequency_dict(language, wordlist="best")
    return found


def _wordfreq() -> ModuleType:
    try:
        import wordfreq
    except ImportError as error:
        raise ExportError("frequencies of words need wordfreq: pip install -e '.[words]'") from error
    return wordfreq
