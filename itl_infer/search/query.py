"""A query: texts and pictures, added and subtracted, as one unit vector that knows its terms."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from textwrap import shorten
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from itl_infer.arguments import (
    require_bundle,
    require_flags,
    require_instance,
    require_real,
    require_several,
    require_text,
    wrong,
)
from itl_infer.errors import ImageError, QueryError
from itl_infer.search.negation import split_negations
from itl_infer.teaching import NO_NAMES, Names, read_text, says_something, sum_of, weigh
from itl_infer.text import weigh as weigh_ids
from itl_infer.vectors import as_row

if TYPE_CHECKING:
    from itl_infer.bundle import Bundle
    from itl_infer.image import ImageSource
    from itl_infer.teaching import Moments, Taught
    from itl_infer.text import CarriedWord, ParsedText

Vector = npt.NDArray[np.float32]

_LONGEST_NOTE = 200  # characters of a text that a note repeats


@dataclass(frozen=True)
class Query:
    """What to look for: the sum of the unit embeddings of its texts and pictures, made a unit vector again.

    `text`, each of `images` and each of `add` has weight 1, each of `subtract` weight -1; `weighted` are texts
    with weights of their own, and `image_weight` is that of every picture. With `understand_not` what `text` says
    is not to be seen is subtracted: "a street without cars" is "a street", and "cars" subtracted.

    A name that was taught counts wherever it stands in a text, unless texts are taken as words alone (`as_word`).
    `like` are pictures that show what is wanted and `unlike` those that do not, as files or as embeddings (D,): they
    change the rest of the query (`itl_infer.teaching.mark`), and those that it is unlike come last in an answer.
    """

    text: str | None = None
    images: Sequence[ImageSource] = ()
    add: Sequence[str] = ()
    subtract: Sequence[str] = ()
    weighted: Sequence[tuple[float, str]] = ()
    image_weight: float = 1.0
    understand_not: bool = False
    as_word: bool = False
    like: Sequence[ImageSource | Vector] = ()
    unlike: Sequence[ImageSource | Vector] = ()

    def __post_init__(self) -> None:
        if self.text is not None:
            require_text("text", self.text)
        for name, of, check in (
            ("images", "pictures", None),
            ("add", "texts", require_text),
            ("subtract", "texts", require_text),
            ("weighted", "weights and texts, such as (0.5, 'beach')", _require_weighted),
            ("like", "pictures", None),
            ("unlike", "pictures", None),
        ):
            object.__setattr__(self, name, require_several(name, getattr(self, name), of, check))
        require_real("image_weight", self.image_weight)
        require_flags(understand_not=self.understand_not, as_word=self.as_word)

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
        return names_of(self.images)

    def __str__(self) -> str:
        """As a person would write it: surfer + snow - 0.5 beach + a.jpg."""
        terms = [*self.texts, *((self.image_weight, os.path.basename(name)) for name in self.image_names)]  # noqa: PTH119
        terms += [(1.0, self.marked)] if self.marked else []
        written = " ".join(
            f"{'-' if weight < 0 else '+'} {'' if abs(weight) == 1 else f'{abs(weight):g} '}{name}"
            for weight, name in terms
        )
        return written.removeprefix("+ ")

    @property
    def marked(self) -> str:
        """How many pictures say what is wanted and what is not: "like 2 pictures, unlike 1"; empty for none."""
        like, unlike = len(self.like), len(self.unlike)
        said = f"like {like} picture{'s' * (like != 1)}" if like else ""
        if unlike:
            said += f", unlike {unlike}" if like else f"unlike {unlike} picture{'s' * (unlike != 1)}"
        return said

    def embed(self, bundle: Bundle, names: Names = NO_NAMES, among: Moments | None = None) -> EmbeddedQuery:
        """The vector, and all that explains it. Raises QueryError, ImageError, BundleError.

        `names` may stand in its texts, and `among` are the moments of the rows that are to be searched, without which
        `like` and `unlike` are only averaged.
        """
        require_bundle(bundle)
        require_instance("names", names, Names, "names, as those of an index")
        names = NO_NAMES if self.as_word else names
        understood = self._understood(bundle, names)
        if understood is None:
            return self._embed(bundle, names, among)
        command = shorten(understood.as_command(), _LONGEST_NOTE, placeholder=" ...")
        if self.understand_not:
            return understood._embed(bundle, names, among, (f"read as {command}",))
        left_out = shorten(
            ", ".join(understood.subtract[len(self.subtract) :]), _LONGEST_NOTE, placeholder=" ..."
        )
        note = f"counts as wanted: {left_out}; to leave it out: {command}, or --understand-not"
        return self._embed(bundle, names, among, (note,))

    def as_command(self) -> str:
        """Text and subtracted texts as the command `query` takes them: query "a street" --subtract cars."""
        text = "" if self.text is None else f" {_quoted(self.text)}"
        return f"query{text}" + "".join(f" --subtract {_quoted(one)}" for one in self.subtract)

    def _understood(self, bundle: Bundle, names: Names) -> Query | None:
        """With what its text says is not to be seen subtracted; None where that is nothing that the bundle knows."""
        negated = split_negations(self.text or "")
        known = [phrase for phrase in negated.phrases if says_something(bundle, phrase, names)]
        if not known:
            return None
        left = bundle.parse_text(negated.rest)
        has_rest = left.unknown_words or says_something(bundle, negated.rest, names)
        text = negated.rest if has_rest else None
        return replace(self, text=text, subtract=(*self.subtract, *known), understand_not=False)

    def _embed(
        self, bundle: Bundle, names: Names, among: Moments | None, notes: tuple[str, ...] = ()
    ) -> EmbeddedQuery:
        given = [weight for weight, _ in self.texts] + [self.image_weight] * len(self.images)
        if not (given or self.like or self.unlike):
            raise QueryError('the query is empty: write a few words, such as "surfer in a wave"')
        if wrong := [weight for weight in given if not 1e-6 <= abs(weight) <= 1e6]:  # NaN too
            raise QueryError(
                f"a weight of the query is {wrong[0]:g}: give each one from 1e-6 to 1e6, or below 0"
            )
        read = [read_text(bundle, text, names) for _, text in self.texts]
        embeddings = np.zeros((len(read), bundle.embed_dim), np.float32)
        has_words = [place for place, text in enumerate(read) if text.parsed.weighted_ids]
        embeddings[has_words] = bundle.embed_ids([read[place].parsed.weighted_ids for place in has_words])
        if self.images:
            embeddings = np.concatenate([embeddings, bundle.embed_images(self.images)])
        weights = np.array(given, np.float32)
        of_names = [
            (one, weight) for text, (weight, _) in zip(read, self.texts, strict=True) for one in text.taught
        ]
        taught = [one for one, _ in of_names]
        weights = np.concatenate([weights, weigh(embeddings, taught, [weight for _, weight in of_names])])
        embeddings = np.concatenate([embeddings, *(one.vector[None] for one in taught)])
        like, unlike = (_embed_some(bundle, pictures) for pictures in (self.like, self.unlike))
        if self.like or self.unlike:
            weights, embeddings = _with_marks(weights, embeddings, like, unlike, among)
        vector = sum_of(weights, embeddings)
        if vector is None:
            raise QueryError(f"nothing is left of the query: what it subtracts is what it adds ({self})")
        notes += tuple(note for text in read for note in text.notes)
        parsed = tuple(text.parsed for text in read)
        return EmbeddedQuery(self, vector, parsed, weights, embeddings, notes, tuple(of_names), unlike)


def _with_marks(
    weights: Vector, embeddings: Vector, like: Vector, unlike: Vector, among: Moments | None
) -> tuple[Vector, Vector]:
    """With one row more, of what the marked pictures have in common."""
    from itl_infer.teaching import Moments, mark

    rest = sum_of(weights, embeddings) if len(weights) else None
    row, weight = mark(rest, like, unlike, among or Moments.none(embeddings.shape[1]))
    length = 1.0 if rest is None else float(np.linalg.norm(weights @ embeddings))
    return np.append(weights, np.float32(weight * length)), np.concatenate([embeddings, row[None]])


def _embed_some(bundle: Bundle, pictures: Sequence[ImageSource | Vector]) -> Vector:
    """The embeddings (n, D) of pictures, some of which may be embeddings already."""
    rows = [
        _require_vector(one, bundle)
        if isinstance(one, np.ndarray) and one.ndim == 1
        else bundle.embed_images([cast("ImageSource", one)])[0]
        for one in pictures
    ]
    return np.array(rows, np.float32).reshape(len(rows), bundle.embed_dim)


def _require_vector(vector: npt.NDArray[Any], bundle: Bundle) -> Vector:
    """A vector of the bundle's, (D,) float32. Raises ValueError for one of another width, or with NaN in it."""
    row = as_row("the embedding of a picture", vector)
    if row.shape != (bundle.embed_dim,) or not np.isfinite(row).all():
        raise ValueError(
            f"the embedding of a picture has {len(row)} numbers, expected {bundle.embed_dim} finite ones, as bundle"
            f" {bundle.name!r} gives them"
        )
    return row


def _require_weighted(name: str, value: Any) -> None:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise wrong(name, value, "a weight and a text, such as (0.5, 'beach')")
    require_real(f"the weight of {name}", value[0])
    require_text(f"the text of {name}", value[1])


def names_of(images: Sequence[object]) -> list[str]:
    """What to call each of some pictures: its path, or else its number."""
    return [
        os.fspath(image) if isinstance(image, (str, os.PathLike)) else f"picture {number}"
        for number, image in enumerate(images, start=1)
    ]


def embed_each(
    queries: Iterable[str | Query | EmbeddedQuery | QueryError],
    bundle: Bundle,
    names: Names = NO_NAMES,
    among: Callable[[], Moments | None] = lambda: None,
) -> list[EmbeddedQuery | QueryError | ImageError]:
    """Each query embedded, or why it cannot be, in its place."""
    embedded: list[EmbeddedQuery | QueryError | ImageError] = []
    for query in queries:
        try:
            query = Query(query) if isinstance(query, str) else query
            if isinstance(query, Query):
                moments = among() if query.like or query.unlike else None
                query = query.embed(bundle, names, moments)
            elif isinstance(query, EmbeddedQuery):
                _require_vector(query.vector, bundle)
            elif not isinstance(query, (QueryError, ImageError)):
                raise wrong("a query", query, "a text, a Query or an embedded one")
            embedded.append(query)
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
    weights: Vector  # of each text, of each picture, of each name, and of what marked pictures have in common
    embeddings: Vector  # the same rows, (n, D); that of a text without a known word is 0
    notes: tuple[str, ...] = ()  # on how the query was read, where that may not be what was meant
    named: tuple[tuple[Taught, float], ...] = ()  # names in its texts, with the weights of these
    unwanted: Vector = field(
        default_factory=lambda: np.empty((0, 0), np.float32)
    )  # (M, D), of those it is unlike

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
    def taught(self) -> tuple[str, ...]:
        """The names that were found in its texts."""
        return tuple(dict.fromkeys(one.name for one, _ in self.named))

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
        return words + len(self.query.images) + len(self.named) + bool(self.query.marked)

    def terms(self, bundle: Bundle) -> list[Term]:
        """Each word that was used and each picture, with the query as it would be without.

        Embedded anew for each, so that it is exact: the text branch is no sum over words. Words of one stem
        are one term.
        """
        terms = self._terms_of_names()
        for row, (parsed, weight) in enumerate(zip(self.parsed, self.weights, strict=False)):
            words: dict[int | str, str] = {}  # by their ids, carried ones by their stems
            for word, word_id in zip(parsed.used_words, parsed.used_ids, strict=True):
                words.setdefault(word_id, word)
            for carried in parsed.carried:
                words.setdefault(carried.stem, carried.word)
            if not words:
                continue
            others = [_without_term(parsed, term) for term in words]
            # One call for all words of a text. Not for those of all texts: each text may have thousands, and the
            # ids that are left grow with their square.
            embedded: Iterable[Vector | None] = bundle.embed_ids(others) if len(words) > 1 else [None]
            for word, embedding in zip(words.values(), embedded, strict=True):
                terms.append(Term(word, float(weight), self._with_row(row, embedding)))
        for row, name in enumerate(self.query.image_names, start=len(self.parsed)):
            terms.append(Term(name, float(self.weights[row]), self._with_row(row, None)))
        if self.query.marked:
            terms.append(Term(self.query.marked, 1.0, self._with_row(len(self.weights) - 1, None)))
        return terms

    def _terms_of_names(self) -> list[Term]:
        first = len(self.parsed) + len(self.query.images)
        return [
            Term(one.name, weight, self._with_row(row, None))
            for row, (one, weight) in enumerate(self.named, start=first)
        ]

    def _with_row(self, row: int, embedding: Vector | None) -> Vector | None:
        """The vector with another embedding (D,) in this row, or without that row."""
        if embedding is None:
            return sum_of(np.delete(self.weights, row), np.delete(self.embeddings, row, axis=0))
        embeddings = self.embeddings.copy()
        embeddings[row] = embedding
        return sum_of(self.weights, embeddings)


def _without_term(parsed: ParsedText, term: int | str) -> Sequence[int] | dict[int, float]:
    """The ids of a text without those of one known word, or of one carried word with all their weight."""
    ids = [other for other in parsed.ids if other != term]
    carried = [word for word in parsed.carried if word.stem != term]
    return weigh_ids(ids, carried) if carried else ids


def _quoted(text: str) -> str:
    return text if text.isalnum() else '"{}"'.format(text.replace('"', r"\""))


def _union(words: Iterator[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for some in words for word in some))
