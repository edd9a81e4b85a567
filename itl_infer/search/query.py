"""A query: texts and pictures, added and subtracted, as one unit vector that knows its terms."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from itl_infer.errors import ImageError, QueryError
from itl_infer.search.negation import split_negations
from itl_infer.text import weigh

if TYPE_CHECKING:
    from itl_infer.bundle import Bundle
    from itl_infer.image import ImageSource
    from itl_infer.text import CarriedWord, ParsedText

Vector = npt.NDArray[np.float32]

_LONGEST_NOTE = 200  # characters of a text that a note repeats
_NOTHING = 1e-4  # a sum of unit embeddings that is shorter than this has no direction worth the name


@dataclass(frozen=True)
class Query:
    """What to look for: the sum of the unit embeddings of its texts and pictures, made a unit vector again.

    `text`, each of `images` and each of `add` has weight 1, each of `subtract` weight -1; `weighted` are texts
    with weights of their own, and `image_weight` is that of every picture. With `understand_not` what `text` says
    is not to be seen is subtracted: "a street without cars" is "a street", and "cars" subtracted.
    """

    text: str | None = None
    images: Sequence[ImageSource] = ()
    add: Sequence[str] = ()
    subtract: Sequence[str] = ()
    weighted: Sequence[tuple[float, str]] = ()
    image_weight: float = 1.0
    understand_not: bool = False

    @property
    def texts(self) -> list[tuple[float, str]]:
        """Every text with its weight."""
        first = [] if self.text is None else [(1.0, self.text)]
        return [
            *first,
            *((1.0, text) for text in self.add),
            *((-1.0, text) for text in self.subtract),
            *self.weighted,
        ]

    @property
    def image_names(self) -> list[str]:
        """What to call each picture: its path, or else its number."""
        return [
            os.fspath(image) if isinstance(image, (str, os.PathLike)) else f"picture {number}"
            for number, image in enumerate(self.images, start=1)
        ]

    def __str__(self) -> str:
        """As a person would write it: surfer + snow - 0.5 beach + a.jpg."""
        terms = [*self.texts, *((self.image_weight, os.path.basename(name)) for name in self.image_names)]  # noqa: PTH119
        written = " ".join(
            f"{'-' if weight < 0 else '+'} {'' if abs(weight) == 1 else f'{abs(weight):g} '}{name}"
            for weight, name in terms
        )
        return written.removeprefix("+ ")

    def embed(self, bundle: Bundle) -> EmbeddedQuery:
        """The vector, and all that explains it. Raises QueryError, ImageError, BundleError."""
        understood = self._understood(bundle)
        if understood is None:
            return self._embed(bundle)
        command = shorten(understood.as_command(), _LONGEST_NOTE, placeholder=" ...")
        if self.understand_not:
            return understood._embed(bundle, (f"read as {command}",))
        left_out = shorten(
            ", ".join(understood.subtract[len(self.subtract) :]), _LONGEST_NOTE, placeholder=" ..."
        )
        return self._embed(
            bundle, (f"counts as wanted: {left_out}; to leave it out: {command}, or --understand-not",)
        )

    def as_command(self) -> str:
        """Text and subtracted texts as the command `query` takes them: query "a street" --subtract cars."""
        text = "" if self.text is None else f" {_quoted(self.text)}"
        return f"query{text}" + "".join(f" --subtract {_quoted(one)}" for one in self.subtract)

    def _understood(self, bundle: Bundle) -> Query | None:
        """With what its text says is not to be seen subtracted; None where that is nothing that the bundle knows."""
        negated = split_negations(self.text or "")
        if not any(bundle.parse_text(phrase).weighted_ids for phrase in negated.phrases):
            return None
        known = [phrase for phrase in negated.phrases if bundle.parse_text(phrase).weighted_ids]
        left = bundle.parse_text(negated.rest)
        text = negated.rest if left.weighted_ids or left.unknown_words else None
        return replace(self, text=text, subtract=(*self.subtract, *known), understand_not=False)

    def _embed(self, bundle: Bundle, notes: tuple[str, ...] = ()) -> EmbeddedQuery:
        weights = [weight for weight, _ in self.texts] + [self.image_weight] * len(self.images)
        if not weights:
            raise QueryError('the query is empty: write a few words, such as "surfer in a wave"')
        if wrong := [weight for weight in weights if not 1e-6 <= abs(weight) <= 1e6]:  # NaN too
            raise QueryError(
                f"a weight of the query is {wrong[0]:g}: give each one from 1e-6 to 1e6, or below 0"
            )
        parsed = [bundle.parse_query(text) for _, text in self.texts]
        embeddings = bundle.embed_ids([p.weighted_ids for p in parsed])
        if self.images:
            embeddings = np.concatenate([embeddings, bundle.embed_images(self.images)])
        vector = _sum(np.array(weights, np.float32), embeddings)
        if vector is None:
            raise QueryError(f"nothing is left of the query: what it subtracts is what it adds ({self})")
        return EmbeddedQuery(self, vector, tuple(parsed), np.array(weights, np.float32), embeddings, notes)


def embed_each(
    queries: Iterable[str | Query | EmbeddedQuery], bundle: Bundle
) -> list[EmbeddedQuery | QueryError | ImageError]:
    """Each query embedded, or why it cannot be, in its place."""
    embedded: list[EmbeddedQuery | QueryError | ImageError] = []
    for query in queries:
        try:
            query = Query(query) if isinstance(query, str) else query
            embedded.append(query.embed(bundle) if isinstance(query, Query) else query)
        except (QueryError, ImageError) as error:
            embedded.append(error)
    return embedded


@dataclass(frozen=True, eq=False)
class Term:
    """A word or a picture of a query."""

    name: str
    weight: float  # of the text it stands in, or of the picture
    rest: Vector | None  # (D,): the query without it; None where nothing is left


@dataclass(frozen=True, eq=False)
class EmbeddedQuery:
    """A query as a vector, with what was made of its words."""

    query: Query
    vector: Vector  # (D,), of unit length
    parsed: tuple[ParsedText, ...]  # of each text
    weights: Vector  # of each text, then of each picture
    embeddings: Vector  # (texts + pictures, D)
    notes: tuple[str, ...] = ()  # on how the query was read, where that may not be what was meant

    @property
    def used_words(self) -> tuple[str, ...]:
        return _union(parsed.used_words for parsed in self.parsed)

    @property
    def ignored_words(self) -> tuple[str, ...]:
        return _union(parsed.ignored_words for parsed in self.parsed)

    @property
    def unknown_words(self) -> tuple[str, ...]:
        return _union(parsed.unknown_words for parsed in self.parsed)

    @property
    def carried(self) -> tuple[CarriedWord, ...]:
        """The words that are read as known ones, with what."""
        return tuple({word.word: word for parsed in self.parsed for word in parsed.carried}.values())

    @property
    def term_count(self) -> int:
        """How many words and pictures `terms` gives."""
        words = sum(
            len({*parsed.used_ids, *(word.stem for word in parsed.carried)}) for parsed in self.parsed
        )
        return words + len(self.query.images)

    def terms(self, bundle: Bundle) -> list[Term]:
        """Each word that was used and each picture, with the query as it would be without.

        Embedded anew for each, so that it is exact: the text branch is no sum over words. Words of one stem
        are one term.
        """
        terms = []
        for row, (parsed, weight) in enumerate(zip(self.parsed, self.weights, strict=False)):
            words: dict[int | str, str] = {}  # by their ids, carried ones by their stems
            for word, word_id in zip(parsed.used_words, parsed.used_ids, strict=True):
                words.setdefault(word_id, word)
            for carried in parsed.carried:
                words.setdefault(carried.stem, carried.word)
            others = [_without_term(parsed, term) for term in words]
            # One call for all words of a text. Not for those of all texts: each text may have thousands, and the
            # ids that are left grow with their square.
            embedded: Iterable[Vector | None] = bundle.embed_ids(others) if len(words) > 1 else [None]
            for word, embedding in zip(words.values(), embedded, strict=True):
                terms.append(Term(word, float(weight), self._with_row(row, embedding)))
        for row, name in enumerate(self.query.image_names, start=len(self.parsed)):
            terms.append(Term(name, float(self.weights[row]), self._with_row(row, None)))
        return terms

    def _with_row(self, row: int, embedding: Vector | None) -> Vector | None:
        """The vector with another embedding (D,) in this row, or without that row."""
        if embedding is None:
            return _sum(np.delete(self.weights, row), np.delete(self.embeddings, row, axis=0))
        embeddings = self.embeddings.copy()
        embeddings[row] = embedding
        return _sum(self.weights, embeddings)


def _sum(weights: Vector, embeddings: Vector) -> Vector | None:
    """The unit vector along the weighted sum of unit rows; None where the sum is as good as nothing."""
    if len(weights) == 1 and weights[0] == 1:
        only: Vector = embeddings[0]  # to the last bit
        return only
    total = weights.astype(np.float64) @ embeddings
    length = np.linalg.norm(total)
    return (total / length).astype(np.float32) if length > _NOTHING else None


def _without_term(parsed: ParsedText, term: int | str) -> Sequence[int] | dict[int, float]:
    """The ids of a text without those of one known word, or of one carried word with all their weight."""
    ids = [other for other in parsed.ids if other != term]
    carried = [word for word in parsed.carried if word.stem != term]
    return weigh(ids, carried) if carried else ids


def _quoted(text: str) -> str:
    return text if text.isalnum() else '"{}"'.format(text.replace('"', r"\""))


def _union(words: Iterator[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for some in words for word in some))
