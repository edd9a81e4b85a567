"""Turn a caption or a query into the ids of its stems, by rules that travel with the bundle.

The rules of the original project: lower case, split into words, drop stop words and punctuation, stem,
and keep the set of stems. "whitespace" splitting is the original to the letter; "nltk-word" is what a
person's own sentence needs, and agrees with it on tokenised captions.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice
from types import MappingProxyType
from typing import cast

import numpy as np
import numpy.typing as npt

# The English list of NLTK's stop-word corpus, which is a download: carried here, and in every bundle.
_ENGLISH_STOP_WORDS = """
    i me my myself we our ours ourselves you you're you've you'll you'd your yours yourself yourselves
    he him his himself she she's her hers herself it it's its itself they them their theirs themselves
    what which who whom this that that'll these those am is are was were be been being have has had having
    do does did doing a an the and but if or because as until while of at by for with about against between
    into through during before after above below to from up down in out on off over under again further
    then once here there when where why how all any both each few more most other some such no nor not only
    own same so than too very s t can will just don don't should should've now d ll m o re ve y
    ain aren aren't couldn couldn't didn didn't doesn doesn't hadn hadn't hasn hasn't haven haven't isn isn't
    ma mightn mightn't mustn mustn't needn needn't shan shan't shouldn shouldn't wasn wasn't weren weren't
    won won't wouldn wouldn't
"""
ENGLISH_STOP_WORDS: tuple[str, ...] = tuple(_ENGLISH_STOP_WORDS.split())

# Longer than any word worth stemming: the stemmer takes time quadratic in the length.
_MAX_WORD_LENGTH = 100
_NEAR = 0.75  # twice the letters that two words share, over the letters of both: "surfr" and "surfer" 0.91


@dataclass(frozen=True)
class TextRules:
    """How text becomes stems; written into the bundle, so that training and queries cannot differ.

    `tokenizer` is "nltk-word" or "whitespace", `stemmer` is "snowball-english"; ValueError for another.
    """

    tokenizer: str = "nltk-word"
    stop_words: tuple[str, ...] = ENGLISH_STOP_WORDS
    stemmer: str = "snowball-english"

    def __post_init__(self) -> None:
        if self.tokenizer not in _TOKENIZERS:
            raise ValueError(f"unknown tokenizer {self.tokenizer!r}, expected one of {sorted(_TOKENIZERS)}")
        if self.stemmer != "snowball-english":
            raise ValueError(f"unknown stemmer {self.stemmer!r}, expected 'snowball-english'")


@dataclass(frozen=True)
class ParsedText:
    """What became of the words of one text; every list in order of first appearance, without repeats."""

    ids: tuple[int, ...]
    used_words: tuple[str, ...]
    ignored_words: tuple[str, ...]  # stop words
    unknown_words: tuple[str, ...]  # no such stem in the vocabulary
    used_ids: tuple[int, ...]  # of each of the used words


class TextProcessor:
    """Text to ids, for one vocabulary: stem i of `stems`, counted from 1, has id i; 0 is padding.

    `forms` has for each stem the words that it was in training, the commonest first: `words` are what is shown to
    people, and none of the others needs stemming. Where they are not known, the stem stands for itself.
    """

    def __init__(
        self, rules: TextRules, stems: Sequence[str], forms: Sequence[Sequence[str]] | None = None
    ) -> None:
        self.rules = rules
        self.stems = tuple(stems)
        self.forms = tuple((stem,) for stem in self.stems) if forms is None else tuple(map(tuple, forms))
        self.words = tuple(words[0] for words in self.forms)
        self._ids = {stem: number for number, stem in enumerate(self.stems, start=1)}
        if len(self._ids) != len(self.stems):
            raise ValueError(f"{len(self.stems) - len(self._ids)} stems of the vocabulary are repeated")
        if len(self.forms) != len(self.stems):
            raise ValueError(f"{len(self.forms)} words for {len(self.stems)} stems")
        self._stem_of = (
            {}
            if forms is None
            else {word: stem for stem, words in zip(stems, forms, strict=True) for word in words}
        )

    def parse(self, text: str) -> ParsedText:
        """The unique ids of a text and the words behind them; never fails, whatever the text."""
        used: dict[str, int] = {}
        ignored: dict[str, None] = {}  # dictionaries as ordered sets
        unknown: dict[str, None] = {}
        for word, stem in stem_text(text, self.rules, self._stem_of):
            if stem is None:
                ignored[word] = None
            elif stem in self._ids:
                used[word] = self._ids[stem]
            else:
                unknown[word] = None
        ids = tuple(dict.fromkeys(used.values()))
        return ParsedText(ids, tuple(used), tuple(ignored), tuple(unknown), tuple(used.values()))

    def suggest(self, word: str, n: int = 3) -> tuple[str, ...]:
        """The known words that are spelled most like an unknown one, best first; none where none is near."""
        from difflib import get_close_matches  # only a query with unknown words needs it

        nearest = get_close_matches(word.lower()[:_MAX_WORD_LENGTH], self.words, n, _NEAR)
        return tuple(near for near in nearest if self.parse(near).ids)

    def complete(self, prefix: str, n: int = 10) -> tuple[str, ...]:
        """The first n known words that begin so, in the order of the vocabulary."""
        start = prefix.lower()
        return tuple(islice((word for word in self.words if word.startswith(start)), n))

    def input_ids(self, texts: Iterable[str]) -> npt.NDArray[np.int64]:
        """(N, T) int64 for the text graph; T is the most ids that one of the texts has, and at least 1."""
        return pad_ids([self.parse(text).ids for text in texts])


def pad_ids(rows: Sequence[Sequence[int]]) -> npt.NDArray[np.int64]:
    """Rows of ids as one (N, T) int64 array, short rows filled up with 0; T is at least 1."""
    padded = np.zeros((len(rows), max((len(row) for row in rows), default=1) or 1), dtype=np.int64)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded


def stem_text(
    text: str, rules: TextRules, known: Mapping[str, str] = MappingProxyType({})
) -> list[tuple[str, str | None]]:
    """The words of a text, in order and lower case, each with its stem, or with None for a stop word.

    `known` are stems of words as the stemmer makes them, so that it is not needed for these.
    """
    stop_words = _as_set(rules.stop_words)
    return [
        (word, None if word in stop_words else known.get(word) or _stem(word))
        for word in _TOKENIZERS[rules.tokenizer](text.lower())
    ]


def count_stems(texts: Iterable[str] | Mapping[str, int], rules: TextRules) -> dict[str, int]:
    """How often each stem occurs, in order of first appearance.

    `texts` are captions, or a mapping from a text (a single word will do) to the times it occurs.
    """
    counts: dict[str, int] = {}
    for text, times in texts.items() if isinstance(texts, Mapping) else ((text, 1) for text in texts):
        for _, stem in stem_text(text, rules):
            if stem is not None:
                counts[stem] = counts.get(stem, 0) + times
    return counts


def build_vocabulary(
    texts: Iterable[str] | Mapping[str, int], rules: TextRules, *, min_count: int = 1
) -> list[str]:
    """The stems that occur at least `min_count` times, by falling count, ties by first appearance."""
    counts = count_stems(texts, rules)
    return sorted((stem for stem in counts if counts[stem] >= min_count), key=lambda stem: -counts[stem])


def collect_forms(texts: Iterable[str], rules: TextRules, stems: Sequence[str]) -> list[tuple[str, ...]]:
    """For each stem the words that it was in these texts, by falling count, ties by first appearance.

    A stem that is in none of them is its own word.
    """
    counts: dict[str, dict[str, int]] = {stem: {} for stem in stems}
    for text in texts:
        for word, stem in stem_text(text, rules):
            if stem in counts:
                counts[stem][word] = counts[stem].get(word, 0) + 1
    return [tuple(sorted(words, key=lambda word: -words[word])) or (stem,) for stem, words in counts.items()]


def format_vocabulary(stems: Iterable[str]) -> bytes:
    """The content of vocabulary.txt, UTF-8, one a line."""
    return "".join(f"{stem}\n" for stem in stems).encode()


def parse_vocabulary(content: bytes) -> list[str]:
    """The lines of vocabulary.txt; ValueError where they are not UTF-8."""
    return content.decode().removesuffix("\n").split("\n") if content else []


def format_forms(forms: Iterable[Sequence[str]]) -> bytes:
    """The content of words.txt: the words of a stem on each line, which hold no spaces, with spaces between."""
    return format_vocabulary(" ".join(words) for words in forms)


def parse_forms(content: bytes) -> list[list[str]]:
    """The lines of words.txt; ValueError where they are not UTF-8, or one is empty."""
    forms = [line.split(" ") for line in parse_vocabulary(content)]
    if not all(all(words) for words in forms):
        raise ValueError("a line without a word")
    return forms


# How to split a text in lower case into words, without the punctuation between them.


def _split_on_whitespace(text: str) -> list[str]:
    return [word for word in text.split() if not _is_ascii_mark(word)]


def _split_words(text: str) -> list[str]:
    if _PLAIN.fullmatch(text) and not _CONTRACTED.search(text):
        return text.rstrip(" .").replace(",", "").split()
    words = map(_without_full_stop, _nltk_tokenize()(text.translate(_TYPEWRITTEN)))
    return [word for word in words if not _is_marks(word)]


# Most captions and queries: words with spaces or commas between them, and a full stop. NLTK's tokenizer splits these at
# the same places, but takes 50 times as long, and a third of a second to be imported.
_PLAIN = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*(?:,? +[a-z0-9]+(?:-[a-z0-9]+)*)* ?\.?")
_CONTRACTED = re.compile("cannot|gimme|gonna|gotta|lemme|wanna")  # which it takes apart


# What phones write, as the tokenizer knows it.
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


def _is_ascii_mark(word: str) -> bool:
    return len(word) == 1 and word in string.punctuation


def _is_marks(word: str) -> bool:
    """Nothing but punctuation, of any script; this includes the `` that NLTK makes of a quotation mark."""
    return all(char in string.punctuation or unicodedata.category(char).startswith("P") for char in word)


_TOKENIZERS: dict[str, Callable[[str], list[str]]] = {
    "nltk-word": _split_words,
    "whitespace": _split_on_whitespace,
}


@lru_cache(maxsize=8)
def _as_set(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(words)


def _stem(word: str) -> str:
    return _cached_stem(word) if len(word) <= _MAX_WORD_LENGTH else word


@lru_cache(maxsize=65536)
def _cached_stem(word: str) -> str:
    return _nltk_stem()(word)


@cache
def _nltk_tokenize() -> Callable[[str], list[str]]:
    from nltk.tokenize import NLTKWordTokenizer  # a third of a second, which only text should cost

    return cast("Callable[[str], list[str]]", NLTKWordTokenizer().tokenize)


@cache
def _nltk_stem() -> Callable[[str], str]:
    from nltk.stem.snowball import SnowballStemmer

    return cast("Callable[[str], str]", SnowballStemmer("english").stem)


DEFAULT_TEXT_RULES = TextRules()
