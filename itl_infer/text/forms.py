"""The table by which forms of one word are one word: "feet" is foot, "grey" gray, "t shirt" and "t-shirt" tshirt."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

_SECTIONS = ("words", "stems", "apart", "compounds")


@dataclass(frozen=True)
class WordForms:
    """What the stemmer cannot know of a language. Falsy where the table is empty.

    `words` are irregular forms and numbers with the word that they are read as, `stems` are stems of one spelling with
    those of another, `apart` are words that no stemmer may touch ("glasses"), and `compounds` are words of two parts
    that people also write as two: the first part with all second ones, and spaces between ("snow": "ball board man").
    """

    words: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    stems: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    apart: frozenset[str] = field(default=frozenset(), compare=False)
    compounds: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    content: bytes = b""  # of the file, which also says where the table comes from, and its licence

    def __bool__(self) -> bool:
        return bool(self.content)

    @property
    def sha256(self) -> str:
        """Of the file."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def first_parts(self) -> Mapping[str, str]:
        """The first part of each compound, by its spelling as one word."""
        return {first + second: first for first, rest in self.compounds.items() for second in rest.split()}

    @classmethod
    def parse(cls, content: bytes) -> WordForms:
        """The table in a file. Raises ValueError where it is not one.

        Lines that begin with "#" are for people. Behind each of the lines [words], [stems], [apart] and [compounds] are
        the entries of that field, one a line: a word, what it is read as; or a first part, and its second ones.
        """
        text = "\n" + content.decode()
        starts = [text.find(f"\n[{name}]\n") for name in _SECTIONS]
        if starts != sorted({*starts} - {-1}):
            raise ValueError(f"not a table of forms: expected [{'], ['.join(_SECTIONS)}], in this order")
        words, stems, apart, compounds = (
            text[start:end].split("]", 1)[1]
            for start, end in zip(starts, [*starts[1:], len(text)], strict=True)
        )
        second_parts = dict(line.partition(" ")[::2] for line in compounds.split("\n") if line)
        if not all(second_parts.values()):
            raise ValueError("not a table of forms: a first part without a second one")
        return cls(_pairs(words), _pairs(stems), frozenset(apart.split()), second_parts, content)

    def format(self, comment: str) -> bytes:
        """The content of the file, sorted, behind a comment."""

        def lines() -> Iterator[str]:
            yield from (f"# {line}".rstrip() for line in comment.splitlines())
            for name in _SECTIONS:
                yield f"[{name}]"
                entries = getattr(self, name)
                yield from (
                    sorted(f"{a} {b}" for a, b in entries.items()) if name != "apart" else sorted(entries)
                )

        return "".join(f"{line}\n" for line in lines()).encode()


def _pairs(lines: str) -> dict[str, str]:
    """The first and the second word of each line; at once, as every first query waits for it."""
    words = lines.split()
    if len(words) != 2 * len(lines.strip().splitlines()):
        raise ValueError("not a table of forms: a line that is not two words")
    return dict(zip(words[::2], words[1::2], strict=True))
