"""Text to ids, for one vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from itl_infer.text.carried import CarriedWord, CarriedWords
from itl_infer.text.reading import MAX_WORD_LENGTH, Reader, stem
from itl_infer.text.rules import TextRules
from itl_infer.text.tokens import plain_letters

if TYPE_CHECKING:
    from itl_infer.text.near import NearWords


@dataclass(frozen=True)
class ParsedText:
    """What became of the words of one text; every list in order of first appearance, without repeats.

    Words are as they were typed, in lower case; a compound of two words is one, with a space between.
    """

    ids: tuple[int, ...]
    used_words: tuple[str, ...]
    ignored_words: tuple[str, ...]  # stop words
    unknown_words: tuple[str, ...]  # no such stem in the vocabulary, and not carried to others
    used_ids: tuple[int, ...]  # of each of the used words
    carried: tuple[CarriedWord, ...] = ()  # no such stem either, but read as others

    @property
    def weighted_ids(self) -> Sequence[int] | dict[int, float]:
        """What is embedded: the ids of known words, where there are carried ones with the weights of all.

        Empty where nothing of the text is known.
        """
        return weigh(self.ids, self.carried) if self.carried else self.ids


class TextProcessor:
    """Text to ids, for one vocabulary: stem i of `stems`, counted from 1, has id i; 0 is padding.

    `spellings` has for each stem the words that it was in training, the commonest first: `words` are what is shown to
    people, and none of the others needs stemming. Where they are not known, the stem stands for itself. `carried` reads
    the table of words that are read as others, and its second part says where that is.
    """

    def __init__(
        self,
        rules: TextRules,
        stems: Sequence[str],
        spellings: Sequence[Sequence[str]] | None = None,
        carried: tuple[Callable[[], bytes], str] | None = None,
    ) -> None:
        self.rules = rules
        self.stems = tuple(stems)
        self.spellings = [(stem,) for stem in self.stems] if spellings is None else spellings
        self._ids = {stem: number for number, stem in enumerate(self.stems, start=1)}
        if len(self._ids) != len(self.stems):
            raise ValueError(f"{len(self.stems) - len(self._ids)} stems of the vocabulary are repeated")
        if len(self.spellings) != len(self.stems):
            raise ValueError(f"{len(self.spellings)} words for {len(self.stems)} stems")
        known = (
            {}
            if spellings is None
            else {word: stem for stem, words in zip(stems, spellings, strict=True) for word in words}
        )
        self._known, self._stop_words = known, frozenset(rules.stop_words)
        self._reader = Reader(rules, known, self._ids)
        self.carried = None if carried is None else CarriedWords(*carried, self._ids, self._noun)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The commonest word of each stem."""
        return tuple(words[0] for words in self.spellings)

    def parse(self, text: str) -> ParsedText:
        """The unique ids of a text and the words behind them, whatever the text; BundleError for a damaged table."""
        used: dict[str, int] = {}
        ignored: dict[str, None] = {}  # dictionaries as ordered sets
        unknown: dict[str, None] = {}
        carried: dict[str, CarriedWord] = {}
        for word, _, found in self._reader.read(text):
            if found is None:
                ignored[word] = None
            elif found in self._ids:
                used[word] = self._ids[found]
            elif self.carried and (other := self.carried.find(found)):
                carried[word] = replace(other, word=word)
            else:
                unknown[word] = None
        ids = tuple(dict.fromkeys(used.values()))
        return ParsedText(
            ids,
            tuple(used),
            tuple(ignored),
            tuple(unknown),
            tuple(used.values()),
            tuple(carried.values()),
        )

    def knows_as_written(self, words: Iterable[str]) -> bool:
        """Whether words in plain letters are all known as they are, without a stemmer; stop words and marks aside."""
        meant = [word for word in words if word[0].isalnum() and word not in self._stop_words]
        return bool(meant) and all(
            word in self._known or word in self._ids or bool(self.carried and self.carried.find(word))
            for word in meant
        )

    def ids_of(self, text: str) -> tuple[int, ...]:
        """The unique ids of a text, in order of first appearance."""
        return self.parse(text).ids

    def read_as(self, text: str) -> tuple[tuple[str, str], ...]:
        """Each known word of a text as it was typed, with the plainest word of the same id: feet, foot."""
        parsed = self.parse(text)
        return tuple(
            (word, self._plainest(number))
            for word, number in zip(parsed.used_words, parsed.used_ids, strict=True)
        )

    def _plainest(self, number: int) -> str:
        """The shortest regular form of a stem that was met in training, or the stem."""
        stem_of_all = self.stems[number - 1]
        regular = [word for word in self.spellings[number - 1] if stem(word) == stem_of_all]
        return min(regular, key=len, default=stem_of_all)

    def _noun(self, number: int) -> str:
        """The commonest word of a stem, or the singular of that: building, where the shortest form is build."""
        word, known = self.words[number - 1], self.spellings[number - 1]
        return next(
            (one for end in ("s", "es") if (one := word.removesuffix(end)) != word and one in known), word
        )

    def suggest(self, word: str, n: int = 3) -> tuple[str, ...]:
        """The known words that are spelled most like an unknown one, best first; none where none is near."""
        nearest = self._near.find(self._letters(word)[:MAX_WORD_LENGTH], n)
        return tuple(near for near in nearest if self.parse(near).ids)

    @cached_property
    def _near(self) -> NearWords:
        from itl_infer.text.near import NearWords  # only a query with unknown words needs it

        return NearWords(self.words)

    def complete(self, prefix: str, n: int = 10) -> tuple[str, ...]:
        """The first n known words that begin so, in the order of the vocabulary; below them, where there are fewer,
        those that are carried.
        """
        start = self._letters(prefix)
        known = list(islice((word for word in self.words if word.startswith(start)), n))
        if self.carried and len(known) < n:
            known += [word.word for word in self.carried.starting_with(start, n - len(known))]
        return tuple(known)

    def _letters(self, typed: str) -> str:
        return plain_letters(typed) if self.rules.tokenizer == "words" else typed.lower()

    def input_ids(self, texts: Iterable[str]) -> npt.NDArray[np.int64]:
        """(N, T) int64 for the text graph; T is the most ids that one of the texts has, and at least 1."""
        return pad_ids([self.ids_of(text) for text in texts])


def weigh(ids: Iterable[int], carried: Iterable[CarriedWord]) -> dict[int, float]:
    """The weight of every id of a text: 1 for those of known words, and what carried words add, each stem once."""
    weights = dict.fromkeys(ids, 1.0)
    for word in {word.stem: word for word in carried}.values():
        for number, weight in word.ids.items():
            weights[number] = weights.get(number, 0.0) + weight
    return weights


def pad_ids(rows: Sequence[Sequence[int]]) -> npt.NDArray[np.int64]:
    """Rows of ids as one (N, T) int64 array, short rows filled up with 0; T is at least 1."""
    padded = np.zeros((len(rows), max((len(row) for row in rows), default=1) or 1), dtype=np.int64)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded
