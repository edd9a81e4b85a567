"""What a bundle knows: the stems of its training captions, how people spelled each, and the files of both."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from itl_infer.text.reading import Reader
from itl_infer.text.rules import TextRules

Texts = Collection[str] | Mapping[str, int]
"""Captions, or a mapping from a text (a single word will do) to the times it occurs."""


def count_stems(texts: Texts, rules: TextRules) -> dict[str, int]:
    """How often each stem occurs, in order of first appearance."""
    reader = _reader(texts, rules)
    counts: dict[str, int] = {}
    for text, times in texts.items() if isinstance(texts, Mapping) else ((text, 1) for text in texts):
        for *_, stem in reader.read(text):
            if stem is not None:
                counts[stem] = counts.get(stem, 0) + times
    return counts


def _reader(texts: Texts, rules: TextRules) -> Reader:
    """By the stems there are in these texts: a hyphenated word is one word if somebody wrote it so."""
    first = Reader(rules)
    if rules.tokenizer != "words":
        return first
    return Reader(rules, has={stem for text in texts for *_, stem in first.read(text) if stem is not None})


def build_vocabulary(texts: Texts, rules: TextRules, *, min_count: int = 1) -> list[str]:
    """The stems that occur at least `min_count` times, by falling count, ties by first appearance."""
    counts = count_stems(texts, rules)
    return sorted((stem for stem in counts if counts[stem] >= min_count), key=lambda stem: -counts[stem])


def collect_spellings(texts: Iterable[str], rules: TextRules, stems: Sequence[str]) -> list[tuple[str, ...]]:
    """For each stem the words that it was in these texts, by falling count, ties by first appearance.

    A compound is spelled with a hyphen. A stem that is in none of the texts is its own word.
    """
    counts: dict[str, dict[str, int]] = {stem: {} for stem in stems}
    reader = Reader(rules, has=counts)
    for text in texts:
        for _, word, stem in reader.read(text):
            if stem in counts:
                counts[stem][word] = counts[stem].get(word, 0) + 1
    return [tuple(sorted(words, key=lambda word: -words[word])) or (stem,) for stem, words in counts.items()]


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
    spellings = [line.split(" ") for line in parse_vocabulary(content)]
    if not all(all(words) for words in spellings):
        raise ValueError("a line without a word")
    return spellings
