"""Reads WordNet 3.0: the words of each thing, what it is a kind of, and which of its meanings a word has first."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from export.errors import ExportError

FOLDER = Path("/usr/share/wordnet")  # where Debian's package wordnet-base puts it
_MARK = re.compile(r"\(.*\)")  # of where an adjective stands


@dataclass(frozen=True)
class WordNet:
    """What of WordNet is needed. A synset, which is one thing with all of its words, is called by its key."""

    irregular: dict[str, str]  # form: word
    words: dict[str, list[str]]  # by the key of a synset, in lower case
    kinds: dict[str, list[str]]  # likewise: the synsets above it
    glosses: dict[str, str]
    synsets: dict[str, list[str]]  # by word
    counts: dict[str, dict[str, int]]  # word: part of speech (n, v, a, r): times it was tagged so
    senses: dict[str, list[str]]  # by noun: its synsets, the commonest first
    categories: dict[
        str, int
    ]  # by the key of a noun: the number of the file that it stood in (lexnames(5WN))
    instances: frozenset[str]  # keys of what is one of a kind, such as a person or a city
    adverbs: frozenset[str]  # words that are nothing else
    names: frozenset[str]  # words that begin with a capital and are of several parts: most are Latin

    @classmethod
    def read(cls, folder: Path) -> WordNet:
        """Of a folder with the data files and lists of exceptions. Raises ExportError where they are not there."""
        try:
            return cls._read(folder)
        except FileNotFoundError as error:
            raise ExportError(
                f"{folder} has no {Path(error.filename).name}: give the folder of WordNet 3.0, such as Debian's package"
                " wordnet-base has it"
            ) from error

    @classmethod
    def _read(cls, folder: Path) -> WordNet:
        irregular = dict(
            line.split()[:2]
            for name in ("verb.exc", "noun.exc")
            for line in (folder / name).read_text(encoding="ascii").splitlines()
        )
        words, kinds, glosses, categories = {}, {}, {}, {}
        synsets: dict[str, list[str]] = defaultdict(list)
        names: set[str] = set()
        instances: set[str] = set()
        spelled_as: dict[str, set[str]] = defaultdict(set)
        for part in ("noun", "verb", "adj", "adv"):
            for line in (folder / f"data.{part}").read_text(encoding="ascii").splitlines():
                if line.startswith(" "):  # the licence
                    continue
                fields, _, gloss = line.partition("|")
                values = fields.split()
                key, count = part[0] + values[0], int(values[3], 16)
                spelled = [_MARK.sub("", word) for word in values[4 : 4 + 2 * count : 2]]
                words[key] = [word.lower() for word in spelled]
                spelled_as[part].update(words[key])
                names.update(word.lower() for word in spelled if word[0].isupper() and "_" in word)
                pointers = values[5 + 2 * count :]
                kinds[key] = [
                    pointers[i + 2] + pointers[i + 1]
                    for i in range(0, 4 * int(values[4 + 2 * count]), 4)
                    if pointers[i] in ("@", "@i")
                ]
                if "@i" in pointers:
                    instances.add(key)
                glosses[key] = gloss.lower()
                if part == "noun":
                    categories[key] = int(values[1])
                for word in words[key]:
                    synsets[word].append(key)
        counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for line in (folder / "cntlist.rev").read_text(encoding="ascii").splitlines():
            sense, _, times = line.split()
            word, _, place = sense.partition("%")
            counts[word]["?nvara"[int(place[0])]] += int(times)
        senses = {}
        for line in (folder / "index.noun").read_text(encoding="ascii").splitlines():
            if not line.startswith(" "):
                word, _, count, *rest = line.split()
                senses[word] = [f"n{key}" for key in rest[-int(count) :]]
        return cls(
            irregular,
            words,
            kinds,
            glosses,
            synsets,
            counts,
            senses,
            categories,
            frozenset(instances),
            frozenset(spelled_as.pop("adv").difference(*spelled_as.values())),
            frozenset(names),
        )

    def above(self, key: str) -> Iterator[str]:
        """All that a synset is a kind of, however far above."""
        seen, to_see = set(), [key]
        while to_see:
            for kind in self.kinds[to_see.pop()]:
                if kind in self.words and kind not in seen:
                    seen.add(kind)
                    to_see.append(kind)
                    yield kind
