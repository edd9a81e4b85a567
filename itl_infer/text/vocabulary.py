"""What a bundle knows: the stems of its training captions, how people spelled each, and the files of both."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from itl_infer.text.reading import Read, Reader
from itl_infer.text.rules import TextRules
from itl_infer.text.tokens import has_hyphen

Texts = Collection[str] | Mapping[str, int]
"""Captions, or a mapping from a text (a single word will do) to the times it occurs."""


class ReadTexts:
    """Texts read once: for their stems, how these were spelled, and the ids of each.

    A hyphenated word, or two side by side, are one where somebody wrote them as one: which stems there are is known
    only when all have been read. The few texts that this concerns are read again then.
    """

    def __init__(self, texts: Texts, rules: TextRules) -> None:
        self._rules = rules
        self._texts = list(texts)
        self._times = list(texts.values()) if isinstance(texts, Mapping) else [1] * len(self._texts)
        self._words: dict[tuple[str, str], int] = {}  # plain word and stem: their number, from 0
        self._stems: set[str] = (
            set()
        )  # by which the texts were read last; by the table of forms alone at first
        reader = Reader(rules)
        self._read = [self._numbers(reader.read(text)) for text in self._texts]
        self._read_again({stem for _, stem in self._words})

    def count_stems(self) -> dict[str, int]:
        """How often each stem occurs, in order of first appearance."""
        counts: dict[str, int] = {}
        stems = [stem for _, stem in self._words]
        for numbers, times in zip(self._read, self._times, strict=True):
            for number in numbers:
                counts[stems[number]] = counts.get(stems[number], 0) + times
        return counts

    def vocabulary(self, *, min_count: int = 1) -> list[str]:
        """The stems that occur at least `min_count` times, by falling count, ties by first appearance."""
        counts = self.count_stems()
        return sorted((stem for stem in counts if counts[stem] >= min_count), key=lambda stem: -counts[stem])

    def spellings(self, stems: Sequence[str]) -> list[tuple[str, ...]]:
        """For each stem the words that it was, by falling count, ties by first appearance.

        A compound is spelled with a hyphen. A stem that is in none of the texts is its own word.
        """
        self._read_again(set(stems))
        found: dict[str, dict[str, int]] = {stem: {} for stem in stems}
        words_of = list(self._words)
        for numbers, times in zip(self._read, self._times, strict=True):
            for number in numbers:
                word, stem = words_of[number]
                if stem in found:
                    found[stem][word] = found[stem].get(word, 0) + times
        return [
            tuple(sorted(words, key=lambda word: -words[word])) or (stem,) for stem, words in found.items()
        ]

    def ids(self, stems: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """For each text the ids that a vocabulary of these stems gives it, from 1, each once."""
        self._read_again(set(stems))
        id_of_stem = {stem: number for number, stem in enumerate(stems, start=1)}
        id_of = [id_of_stem.get(stem, 0) for _, stem in self._words]  # 0 is no id
        return {
            text: tuple(dict.fromkeys(id_of[number] for number in numbers if id_of[number]))
            for text, numbers in zip(self._texts, self._read, strict=True)
        }

    def _numbers(self, read: Iterable[Read]) -> tuple[int, ...]:
        words = self._words
        return tuple(words.setdefault((word, stem), len(words)) for _, word, stem in read if stem is not None)

    def _read_again(self, stems: set[str]) -> None:
        """Read by these stems what may be read otherwise by them."""
        if self._rules.tokenizer != "words" or stems == self._stems:
            return
        self._stems = stems
        unsure = {number for (word, stem), number in self._words.items() if "-" in word or stem not in stems}
        reader = Reader(self._rules, has=stems)
        for place, text in enumerate(self._texts):
            if has_hyphen(text) or not unsure.isdisjoint(self._read[place]):
                self._read[place] = self._numbers(reader.read(text))


def count_stems(texts: Texts, rules: TextRules) -> dict[str, int]:
    """How often each stem occurs, in order of first appearance."""
    return ReadTexts(texts, rules).count_stems()


def build_vocabulary(texts: Texts, rules: TextRules, *, min_count: int = 1) -> list[str]:
    """The stems that occur at least `min_count` times, by falling count, ties by first appearance."""
    return ReadTexts(texts, rules).vocabulary(min_count=min_count)


def collect_spellings(texts: Texts, rules: TextRules, stems: Sequence[str]) -> list[tuple[str, ...]]:
    """For each stem the words that it was in these texts, as `ReadTexts.spellings` gives them."""
    return ReadTexts(texts, rules).spellings(stems)


def format_vocabulary(stems: Iterable[str]) -> bytes:
    """The content of vocabulary.txt, UTF-8, one a line."""
    return "".join(f"{stem}\n" for stem in stems).encode()


def parse_vocabulary(content: bytes) -> list[str]:
    """The lines of vocabulary.txt; ValueError where they are not UTF-8."""
    return content.decode().removesuffix("\n").split("\n") if content else []


def format_spellings(spellings: Iterable[Sequence[str]]) -> bytes:
    """The content of words.txt: the words of a stem on each line, which hold no spaces, with spaces between."""
    return format_vocabulary(" ".join(words) for words in spellings)


def parse_spellings(content: bytes) -> list[list[str]]:
    """The lines of words.txt; ValueError where they are not UTF-8, or one is empty."""
    lines = parse_vocabulary(content)
    if lines and "  " in f" {' '.join(lines)} ":
        raise ValueError("a line without a word")
    return [line.split(" ") for line in lines]
