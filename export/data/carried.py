"""Makes the table of carried words: what to read words as that no caption had, by WordNet and by word vectors.

A word is read as words for the same thing, for the kind of thing that it is, and for things of its kind; of these as
those whose vectors are near. How far a word lies from another in WordNet is Lin's measure (1998), with the information
of a synset taken from how many kinds it has (Seco et al. 2004). What is only near as a vector comes second.
"""

from __future__ import annotations

import math
import re
import string
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from export.data.frequencies import OTHERS, frequency, is_foreign, most_frequent
from export.data.vectors import WordVectors
from export.data.wordnet import WordNet
from itl_infer.text import TextProcessor
from itl_infer.text.carried import MOST_STEMS, Meaning
from itl_infer.text.reading import Reader

FREQUENT = 40_000  # words that no typing mistake is among

# What can be seen of what a synset is, by its category in WordNet: of an animal all, of a thought little.
_SEEN = {
    **{5: 1, 6: 1, 8: 1, 13: 1, 17: 1, 20: 1},  # animal, artifact, body, food, object, plant
    **{18: 0.9, 15: 0.8, 27: 0.8, 19: 0.7, 14: 0.6},  # person, location, substance, phenomenon, group
    **{11: 0.5, 25: 0.5, 7: 0.2},  # event, shape, attribute
}
_SEEN_ELSE_OF_A_WORD, _SEEN_ELSE_AS_ANOTHER = 0.15, 0.3
_SENSES = 5  # of a word, at most
_NEXT_SENSE = 0.5  # weight of each, beside the one before
_NEXT_SENSE_OF_KNOWN = 0.7  # of a known word that has the synset only as its second meaning
_SAME, _ABOVE = 2.5, 1.3  # what is the same thing, or a kind above it, beside what has the same kind above
_POWER = 3  # of Lin's measure
_LARGEST = 600  # synsets below one whose kinds are still alike
_LEAST_ALIKE = 0.5
# Words of several parts: a "record player" is no player. Where its last part is no kind of it, it counts less.
_ODD_SAME, _ODD_ABOVE = 0.4, 0.7
_UNPICTURED = 0.7  # of words that name neither a class of a network nor a common thing of captions
_COMMON_STEMS = 2_500  # of a vocabulary, the commonest first
_BASE, _UNSURE = 0.5, 0.2  # what counts without vectors
_SURE_ROWS = 60_000  # a word's vector says less, the rarer it is
_NEAR, _NEAR_POWER = 0.65, 4  # from which cosine on a vector alone will do
_NEAR_BESIDE_SENSES, _NEAR_ALONE = 0.125, 1.0
_NEAR_ROWS = 40_000  # words that are rarer are near to others that are rare, and mean nothing by it
_LEAST = 0.01  # score of the best meaning, without which nothing is near
_LEAST_SHARE = 0.4  # of the best meaning's weight: what has less is left out
# Frequencies are logarithms. Left out are words for things that are so much commoner in another language, and words so
# common that are no nouns: "never", "every".
_FOREIGN_THING, _LITTLE_WORDS = 2.0, 4.3
_TRIED = 60  # meanings looked at
# How many stems a word gets in the table, which is to stay small: things that people write about, rare ones, the rest.
_STEMS, _STEMS_IF_RARE, _STEMS_IF_NO_THING = MOST_STEMS, 3, 2
_RARE = 1.5  # as a logarithm: 30 times in a billion words
_THING = 0.5  # how much must be seen of one


@dataclass(frozen=True)
class Sources:
    """What words mean."""

    wordnet: WordNet
    vectors: WordVectors


class _Entry(NamedTuple):
    """A known word, or several that are one, as a synset has it."""

    synset: str
    ids: tuple[int, ...]
    is_odd: bool


class Carrier:
    """Reads words as those of one vocabulary. `pictured` are names of things that pictures are known to show."""

    def __init__(self, processor: TextProcessor, pictured: Iterable[str], sources: Sources) -> None:
        self._processor, self._wordnet, self._vectors = processor, sources.wordnet, sources.vectors
        self._id_of = {stem: number for number, stem in enumerate(processor.stems, start=1)}
        known = {
            word: stem
            for stem, words in zip(processor.stems, processor.spellings, strict=True)
            for word in words
        }
        self._reader = Reader(processor.rules, known, self._id_of)
        self._known_ids: dict[str, tuple[int, ...]] = {}
        self._pictured = {ids[-1] for name in pictured if (ids := self.known_ids(name))}
        self._entries = list(self._known_entries())
        self._of_synset: dict[str, list[int]] = defaultdict(list)
        for place, entry in enumerate(self._entries):
            self._of_synset[entry.synset].append(place)
        self._kinds_below: dict[str, list[str]] = defaultdict(list)
        for key, above in self._wordnet.kinds.items():
            for kind in above:
                self._kinds_below[kind].append(key)
        self._sizes: dict[str, int] = {}
        self._below: dict[str, np.ndarray] = {}  # type: ignore[type-arg]

    def known_ids(self, text: str) -> tuple[int, ...]:
        """The ids of a text all of whose words are known; else none."""
        if text not in self._known_ids:
            stems = [stem for _, _, stem in self._reader.read(text.replace("_", " ")) if stem is not None]
            is_known = all(stem in self._id_of for stem in stems)
            self._known_ids[text] = tuple({self._id_of[stem]: None for stem in stems}) if is_known else ()
        return self._known_ids[text]

    def unknown_stem(self, word: str) -> str | None:
        """The stem of a word that is read as one word, and that one unknown; else None."""
        read = self._reader.read(word)
        stem = read[0][2] if len(read) == 1 else None
        return None if stem is None or stem in self._id_of else stem

    def meanings(self, word: str, without: Collection[int] = (), most: int = MOST_STEMS) -> list[Meaning]:
        """What to read a word as, the nearest first: `most` stems or fewer, none of them of the ids `without`.

        The squares of the weights sum to 1, so that the sum of the rows is about as long as one row.
        """
        found: dict[tuple[int, ...], float] = {}
        row = self._vectors.row_of.get(word)
        vector = np.zeros(self._vectors.rows.shape[1]) if row is None else self._vectors.rows[row]
        sureness = 0.0 if row is None else min(1.0, math.sqrt(_SURE_ROWS / max(row, 1)))
        related = self._relations(word)
        places = np.flatnonzero(related)
        cosines = (self._entry_vectors[places] @ vector).clip(min=0)
        scores = related[places] * self._worth[places]
        scores *= _BASE + (1 - sureness) * _UNSURE + sureness * cosines
        for place in _best(scores):
            ids = self._entries[places[place]].ids
            found[ids] = max(found.get(ids, 0.0), float(scores[place]))
        if sureness:
            is_noun = word in self._wordnet.senses
            share = _NEAR_BESIDE_SENSES if is_noun else _NEAR_ALONE
            near = self._stem_vectors @ vector
            for number in _best(np.where(self._is_common if is_noun else self._is_common_thing, near, 0)):
                if near[number] >= _NEAR:
                    worth = share * sureness * self._worth_of((int(number),)) * near[number] ** _NEAR_POWER
                    found[(int(number),)] = found.get((int(number),), 0.0) + float(worth)
        return self._chosen(found, set(without), most)

    def _chosen(self, found: dict[tuple[int, ...], float], without: set[int], most: int) -> list[Meaning]:
        best = sorted(
            ((ids, score) for ids, score in found.items() if score >= _LEAST and without.isdisjoint(ids)),
            key=lambda one: (-one[1], one[0]),
        )
        chosen: list[tuple[tuple[int, ...], float]] = []
        taken: set[int] = set()
        for ids, score in best:
            if score < _LEAST_SHARE * best[0][1]:
                break
            if taken.isdisjoint(ids) and len(taken) + len(ids) <= most:
                chosen.append((ids, score))
                taken.update(ids)
        length = math.sqrt(sum(score**2 for _, score in chosen))
        return [
            (tuple(self._processor.stems[number - 1] for number in ids), score / length)
            for ids, score in chosen
        ]

    def _relations(self, word: str) -> np.ndarray:  # type: ignore[type-arg]
        """(entries,): how near each is to one of the meanings of a word."""
        related = np.zeros(len(self._entries))
        wordnet = self._wordnet
        for number, sense in enumerate(wordnet.senses.get(word, ())[:_SENSES]):
            weight = _NEXT_SENSE**number * _SEEN.get(wordnet.categories[sense], _SEEN_ELSE_OF_A_WORD)
            information = self._information(sense)
            for place in self._of_synset[sense]:
                self._raise(
                    related, place, weight * _SAME * (_ODD_SAME if self._entries[place].is_odd else 1)
                )
            self._raise_alike(related, self._places_below(sense), weight, information, information)
            for hop, kind in self._hops_above(sense):
                shared = self._information(kind)
                alike = 2 * shared / (information + shared or 1)
                for place in self._of_synset[kind]:
                    odd = self._entries[place].is_odd
                    share = 1.0 if not odd else _ODD_ABOVE if hop == 1 else 0.0
                    self._raise(related, place, weight * _ABOVE * share * alike**_POWER)
                if self._size(kind) <= _LARGEST:
                    self._raise_alike(related, self._places_below(kind), weight, information, shared)
        return related

    @staticmethod
    def _raise(related: np.ndarray, place: int, score: float) -> None:  # type: ignore[type-arg]
        related[place] = max(related[place], score)

    def _raise_alike(
        self,
        related: np.ndarray,  # type: ignore[type-arg]
        places: np.ndarray,  # type: ignore[type-arg]
        weight: float,
        information: float,
        shared: float,
    ) -> None:
        """By Lin's measure: twice the information that two synsets share, over that of both."""
        alike = 2 * shared / (information + self._entry_information[places] + 1e-9)
        scores = np.where((alike > _LEAST_ALIKE) & ~self._is_odd[places], weight * alike**_POWER, 0)
        related[places] = np.maximum(related[places], scores)

    def _hops_above(self, sense: str) -> Iterator[tuple[int, str]]:
        seen, level, hop = {sense}, [sense], 0
        while level:
            hop += 1
            level = list(
                dict.fromkeys(kind for key in level for kind in self._wordnet.kinds[key] if kind not in seen)
            )
            seen.update(level)
            yield from ((hop, kind) for kind in level)

    def _known_entries(self) -> Iterator[_Entry]:
        wordnet = self._wordnet
        for key, words in wordnet.words.items():
            if key[0] != "n" or key in wordnet.instances:  # no "Pierce", who was a president
                continue
            for word in words:
                if word in wordnet.names or not (ids := self.known_ids(word)):
                    continue
                if len(ids) == 1:
                    yield _Entry(key, ids, False)
                elif len(ids) == 2:
                    head = re.split("[_-]", word)[-1]
                    yield _Entry(
                        key, ids, not any(head in wordnet.words[kind] for kind in wordnet.above(key))
                    )

    @cached_property
    def _worth(self) -> np.ndarray:  # type: ignore[type-arg]
        """(entries,): how much of each is to be seen, and how sure it is that people mean it by this word."""
        return np.array(
            [
                self._worth_of(entry.ids)
                * _SEEN.get(self._wordnet.categories[entry.synset], _SEEN_ELSE_AS_ANOTHER)
                * _NEXT_SENSE_OF_KNOWN ** self._place_of_sense(entry)
                for entry in self._entries
            ]
        )

    def _worth_of(self, ids: tuple[int, ...]) -> float:
        is_pictured = ids[-1] in self._pictured or ids[-1] in self._common_things
        return 1.0 if is_pictured else _UNPICTURED

    def _place_of_sense(self, entry: _Entry) -> int:
        """Which of its word's meanings the synset is, from 0; 3 for all later ones."""
        places = [
            self._wordnet.senses[word].index(entry.synset)
            for word in self._wordnet.words[entry.synset]
            if self.known_ids(word) == entry.ids and word in self._wordnet.senses
        ]
        return min([*places, 3])

    @cached_property
    def _common_things(self) -> set[int]:
        """Of the commonest stems those that are things to be seen before they are anything else."""
        return {
            entry.ids[0]
            for entry in self._entries
            if len(entry.ids) == 1
            and entry.ids[0] <= _COMMON_STEMS
            and _SEEN.get(self._wordnet.categories[entry.synset], 0) >= 0.8
            and self._place_of_sense(entry) == 0
        }

    @cached_property
    def _stem_vectors(self) -> np.ndarray:  # type: ignore[type-arg]
        """(1 + stems, D): of each id, that of its commonest spelling that has one; else 0."""
        found = np.zeros((1 + len(self._processor.stems), self._vectors.rows.shape[1]), np.float32)
        for number, row in enumerate(self._vector_rows, start=1):
            if row is not None:
                found[number] = self._vectors.rows[row]
        return found

    @cached_property
    def _vector_rows(self) -> list[int | None]:
        rows = self._vectors.row_of
        return [
            next((rows[plain] for word in words if (plain := word.replace("-", "")) in rows), None)
            for words in self._processor.spellings
        ]

    @cached_property
    def _is_common(self) -> np.ndarray:  # type: ignore[type-arg]
        return np.array([False, *(row is not None and row <= _NEAR_ROWS for row in self._vector_rows)])

    @cached_property
    def _is_common_thing(self) -> np.ndarray:  # type: ignore[type-arg]
        """What a word that is no noun may be read as: nothing that is no noun either, such as "still"."""
        things = self._pictured | self._common_things
        return self._is_common & np.array([number in things for number in range(len(self._is_common))])

    @cached_property
    def _entry_vectors(self) -> np.ndarray:  # type: ignore[type-arg]
        """(entries, D), unit rows: of several stems that of their sum."""
        sums = np.array([self._stem_vectors[list(entry.ids)].sum(axis=0) for entry in self._entries])
        sums = sums.reshape(-1, self._vectors.rows.shape[1])
        return sums / (np.linalg.norm(sums, axis=1, keepdims=True) + 1e-9)

    @cached_property
    def _entry_information(self) -> np.ndarray:  # type: ignore[type-arg]
        return np.array([self._information(entry.synset) for entry in self._entries])

    @cached_property
    def _is_odd(self) -> np.ndarray:  # type: ignore[type-arg]
        return np.array([entry.is_odd for entry in self._entries], dtype=bool)

    def _information(self, key: str) -> float:
        """From 0, for what everything is a kind of, to 1 for what nothing is."""
        return 1 - math.log(self._size(key)) / math.log(len(self._wordnet.categories))

    def _size(self, key: str) -> int:
        """The synsets below one, and itself."""
        if key not in self._sizes:
            self._sizes[key] = 1 + sum(map(self._size, self._kinds_below[key]))
        return self._sizes[key]

    def _places_below(self, key: str) -> np.ndarray:  # type: ignore[type-arg]
        """Where the entries are of a synset and of all below it; of a large one, of the next ones alone."""
        if key not in self._below:
            if self._size(key) <= _LARGEST:
                parts = [self._places_below(kind) for kind in self._kinds_below[key]]
            else:
                parts = [np.array(self._of_synset[kind], np.int64) for kind in self._kinds_below[key]]
            self._below[key] = np.unique(np.concatenate([np.array(self._of_synset[key], np.int64), *parts]))
        return self._below[key]


def make_carried(
    processor: TextProcessor, pictured: Iterable[str], sources: Sources
) -> dict[str, tuple[str, list[Meaning]]]:
    """By the stem of each word to carry: the word as people write it, and what it is read as.

    These are the commonest English words and WordNet's nouns, as far as they are outside the vocabulary. Left out are
    those that may be typing mistakes or of another language, and those that nothing is near. Raises ExportError.
    """
    carrier = Carrier(processor, pictured, sources)
    known = {word.replace("-", "") for words in processor.spellings for word in words}
    frequent = set(most_frequent("en", FREQUENT))
    things = {
        word
        for word, senses in sources.wordnet.senses.items()
        if any(_SEEN.get(sources.wordnet.categories[sense], 0) >= _THING for sense in senses)
    }
    words_of: dict[str, list[str]] = defaultdict(list)
    for word in sorted(frequent | sources.wordnet.senses.keys()):
        if not re.fullmatch("[a-z]{2,}", word) or (word not in frequent and is_misspelled(word, known)):
            continue
        if word not in sources.wordnet.senses and is_little(word, sources.wordnet):
            continue
        if is_of_another_language(word, word in things):
            continue
        if (stem := carrier.unknown_stem(word)) is not None:
            words_of[stem].append(word)
    found = {}
    for stem, words in words_of.items():
        word = max(words, key=lambda one: (one in sources.wordnet.senses, frequency(one), -len(one), one))
        is_rare = word not in frequent and frequency(word) < _RARE
        most = _STEMS_IF_NO_THING if word not in things else _STEMS_IF_RARE if is_rare else _STEMS
        meanings = carrier.meanings(word, most=most)
        if not meanings:
            continue
        found[stem] = (word, meanings)
        plural = _plural(word)
        if word in things and not is_rare and (other := carrier.unknown_stem(plural)) is not None:
            found.setdefault(other, (plural, meanings))  # "ibises", of another stem than "ibis"
    return found


def is_of_another_language(word: str, is_thing: bool) -> bool:
    """Whether those who write it mostly write French, German or the like: "la"; but a "sombrero" is English too."""
    if is_thing:
        return any(frequency(word, other) >= frequency(word) + _FOREIGN_THING for other in OTHERS)
    return any(is_foreign(word, other) for other in OTHERS)


def is_little(word: str, wordnet: WordNet) -> bool:
    """Whether a word that is no noun says how or when and nothing of what is to be seen: "never", "briefly"."""
    return frequency(word) >= _LITTLE_WORDS or word in wordnet.adverbs


def is_misspelled(word: str, known: Collection[str]) -> bool:
    """Whether one letter more, less, another one, or two letters in turn make a known word of it."""
    for place in range(len(word) + 1):
        head, tail = word[:place], word[place:]
        if tail and head + tail[1:] in known:
            return True
        if len(tail) > 1 and head + tail[1] + tail[0] + tail[2:] in known:
            return True
        for letter in string.ascii_lowercase:
            if head + letter + tail in known or (tail and head + letter + tail[1:] in known):
                return True
    return False


def _plural(word: str) -> str:
    if re.search("(s|x|z|ch|sh)$", word):
        return f"{word}es"
    return f"{word[:-1]}ies" if re.search("[^aeiou]y$", word) else f"{word}s"


def _best(scores: np.ndarray) -> list[int]:  # type: ignore[type-arg]
    """The places of the highest scores, those above 0."""
    places = np.argpartition(-scores, min(_TRIED, len(scores) - 1))[:_TRIED] if len(scores) else []
    return [int(place) for place in places if scores[place] > 0]
