"""The table of carried words: words that no caption had, each with the known stems that it is read as."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from itl_infer.errors import BundleError

_SEARCHED_FOR = 20  # words, from which on it is worth while to know where each line is
MOST_STEMS = 5  # of one word
_MEND = "fetch the bundle again, or write the table anew with `python -m export carry`"

Meaning = tuple[tuple[str, ...], float]
"""Stems that are read together, as "record player" is two, and the weight that each of them gets."""


@dataclass(frozen=True)
class CarriedWord:
    """A word that no caption had, and what it is read as."""

    word: str  # as it was typed, or as people write it
    stem: str
    read_as: tuple[str, ...]  # for people, the nearest first: "record player", "cassette"
    stems: tuple[tuple[str, float], ...]  # known ones, with their weights
    ids: Mapping[int, float] = field(hash=False)  # of these stems, with their weights

    def __str__(self) -> str:
        return f"{self.word}: read as {', '.join(self.read_as)}"

    @property
    def described(self) -> str:
        """As it stands in a list of words: "bonsai (read as potted plant, shrub)"."""
        return f"{self.word} (read as {', '.join(self.read_as)})"


class CarriedWords:
    """The words of one table, for a vocabulary of which `ids` are the stems, and `shown` the words for people.

    The file is read when a word is looked up for the first time, and of its lines only those that are asked for are
    understood: most queries need neither. BundleError, which names `where` and the line, for one that is wrong.
    """

    def __init__(
        self,
        read: Callable[[], bytes],
        where: str,
        ids: Mapping[str, int],
        shown: Callable[[int], str],
    ) -> None:
        self._read, self._where, self._ids, self._shown = read, where, ids, shown
        self._content: bytes | None = None
        self._found: dict[str, CarriedWord | None] = {}

    def find(self, stem: str) -> CarriedWord | None:
        """What a word of this stem is read as; None where the table has none."""
        if stem not in self._found:
            self._found[stem] = self._look_up(stem)
        return self._found[stem]

    def starting_with(self, letters: str, n: int) -> list[CarriedWord]:
        """The first n of the words that begin so, in the order of the table."""
        return list(islice(self._where_word(lambda word: word.startswith(letters)), n))

    def containing(self, letters: str) -> list[CarriedWord]:
        """The words that have these letters in them, in the order of the table."""
        return list(self._where_word(lambda word: letters in word))

    def check(self) -> None:
        """BundleError for the first line that is wrong, whether anyone asks for it or not."""
        before = b""
        for number, line in self._lines():
            self._understand(line, number)
            stem = line.partition(b"\t")[0]
            if stem <= before:
                raise self._error(number, f"{stem.decode()!r} is there twice, or not in its place")
            before = stem

    def _bytes(self) -> bytes:
        """The file, between line ends, so that a stem is found by what stands around it."""
        if self._content is None:
            self._content = b"\n" + self._read()
        return self._content

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        for number, line in enumerate(self._bytes().removesuffix(b"\n").split(b"\n")[1:], start=1):
            if not line.startswith(b"#"):
                yield number, line

    def _where_word(self, is_asked_for: Callable[[str], bool]) -> Iterator[CarriedWord]:
        """Of all lines, only those that are asked for are understood."""
        return (self._understand(line, number) for word, number, line in self._listed if is_asked_for(word))

    @cached_property
    def _listed(self) -> list[tuple[str, int, bytes]]:
        """The word of each line, its number and the line, for a page that completes words letter by letter."""
        listed = []
        for number, line in self._lines():
            stem, ending = [*line.decode(errors="replace").split("\t", 2), ""][:2]
            listed.append((_word(stem, ending), number, line))
        return listed

    @cached_property
    def _starts(self) -> dict[bytes, int]:
        """Where the line of each stem begins, at the line end before it."""
        starts: dict[bytes, int] = {}
        start = 0
        for line in self._bytes().split(b"\n")[1:]:
            stem, tab, _ = line.partition(b"\t")
            if tab:
                starts.setdefault(stem, start)
            start += 1 + len(line)
        return starts

    def _look_up(self, stem: str) -> CarriedWord | None:
        content, name = self._bytes(), stem.encode(errors="replace")
        # To search all of it takes milliseconds: less than to learn where each is, but not for many words.
        if len(self._found) < _SEARCHED_FOR:
            start = content.find(b"\n" + name + b"\t")
        else:
            start = self._starts.get(name, -1)
        if start < 0:
            return None
        end = content.find(b"\n", start + 1)
        return self._understand(
            content[start + 1 : end if end >= 0 else None], content.count(b"\n", 0, start + 1)
        )

    def _understand(self, line: bytes, number: int) -> CarriedWord:
        try:
            stem, ending, *meanings = line.decode().split("\t")
            understood = [_parse_meaning(meaning) for meaning in meanings]
        except ValueError as error:
            raise self._error(
                number, f"{_begin_of(line)} is not a stem, a word, and stems with weights"
            ) from error
        stems = [(known, weight) for together, weight in understood for known in together]
        if not 1 <= len(stems) <= MOST_STEMS:
            raise self._error(number, f"{stem!r} has {len(stems)} stems, expected 1 to {MOST_STEMS}")
        if stem in self._ids:
            raise self._error(number, f"{stem!r} is a stem of the vocabulary: nothing is to be carried")
        for known, weight in stems:
            if not (math.isfinite(weight) and weight > 0):
                raise self._error(number, f"the weight of {known!r} is {weight:g}, expected a number above 0")
            if known in self._ids:
                continue
            if known == stem or f"\n{known}\t".encode() in self._bytes():
                raise self._error(number, f"{stem!r} is carried to {known!r}, which is carried itself")
            raise self._error(number, f"{known!r} is no stem of the vocabulary")
        ids: dict[int, float] = {}
        for known, weight in stems:
            ids[self._ids[known]] = ids.get(self._ids[known], 0.0) + weight
        return CarriedWord(
            _word(stem, ending),
            stem,
            tuple(
                " ".join(self._shown(self._ids[known]) for known in together) for together, _ in understood
            ),
            tuple(stems),
            ids,
        )

    def _error(self, number: int, what: str) -> BundleError:
        return BundleError(f"{self._where}, line {number}: {what}; {_MEND}")


def format_carried(words: Mapping[str, tuple[str, Iterable[Meaning]]], comment: str) -> bytes:
    """The content of carried.tsv: for each stem a word of it as people write it, and its meanings, behind a comment."""
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += sorted(
        (
            "\t".join(
                [
                    stem,
                    _ending(stem, word),
                    *(f"{'+'.join(stems)} {weight:.2g}".replace(" 0.", " .") for stems, weight in meanings),
                ]
            )
            for stem, (word, meanings) in words.items()
        ),
        key=lambda line: line.partition("\t")[0].encode(),
    )
    return "".join(f"{line}\n" for line in lines).encode()


def _word(stem: str, ending: str) -> str:
    """The word of a stem, by the second column: "e" is added to it, "=ibis" is another one."""
    return ending[1:] if ending.startswith("=") else stem + ending


def _ending(stem: str, word: str) -> str:
    return word[len(stem) :] if word.startswith(stem) else f"={word}"


def _parse_meaning(text: str) -> Meaning:
    stems, _, weight = text.rpartition(" ")
    return tuple(stems.split("+")), float(weight)


def _begin_of(line: bytes) -> str:
    return repr(line[:40].decode(errors="replace"))
