"""Answer queries over an index: the best pictures, where to stop, what each word did, where a picture stands."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from itl_infer import ranking, relevance
from itl_infer.errors import ImageError, QueryError
from itl_infer.query import EmbeddedQuery, Query, Term, embed_each

if TYPE_CHECKING:
    from itl_infer.bundle import Bundle
    from itl_infer.store import Store, View, Whole

Floats = npt.NDArray[np.float32]
_Rows = list[tuple[int, float]]  # rows of a store with their scores, best first

NEAR_DUPLICATE = 0.98  # a cosine that copies of one picture have, at half the size or a low JPEG quality


@dataclass(frozen=True)
class Share:
    """What one term of a query did for a picture: its score, less the score it has without that term."""

    term: str  # a word, or a picture of the query
    weight: float  # of the text that the word stands in, or of the picture
    share: float

    @property
    def label(self) -> str:
        """The term as it counts, such as "- beach" where it is subtracted; of a picture, the file name."""
        sign = "- " if self.weight < 0 else ""
        factor = "" if abs(self.weight) == 1 else f"{abs(self.weight):g} "
        return f"{sign}{factor}{PurePath(self.term).name}"

    def to_json(self) -> dict[str, Any]:
        weight = {"weight": self.weight} if self.weight != 1 else {}
        return {"term": self.term, **weight, "share": round(self.share, 6)}


@dataclass(frozen=True)
class Duplicate:
    """A picture that is nearly the same as a better one."""

    score: float  # cosine with the query
    path: str

    def to_json(self) -> dict[str, Any]:
        return {"score": round(self.score, 6), "path": self.path}


@dataclass(frozen=True)
class Found:
    """One picture of an answer."""

    rank: int  # from 1, best first
    score: float  # cosine with the query
    path: str  # absolute, or as it was embedded from elsewhere
    row: int  # what the store calls it, as long as it does not change
    shares: tuple[Share, ...] = ()  # of each term, where an explanation was asked for
    duplicates: tuple[Duplicate, ...] = ()  # folded under this one, where that was asked for

    def to_json(self) -> dict[str, Any]:
        shares = {"shares": [share.to_json() for share in self.shares]} if self.shares else {}
        same = {"duplicates": [one.to_json() for one in self.duplicates]} if self.duplicates else {}
        return {"rank": self.rank, "score": round(self.score, 6), "path": self.path, **shares, **same}


@dataclass(frozen=True)
class Word:
    """What became of one word of a query."""

    word: str
    use: Literal["used", "dropped", "unknown"]  # dropped: too common to search for
    did_you_mean: tuple[str, ...] = ()  # for an unknown word, the nearest known ones

    def __str__(self) -> str:
        meant = " or ".join(self.did_you_mean[:2])
        return f"{self.word} (did you mean {meant}?)" if meant else self.word

    def to_json(self) -> dict[str, Any]:
        meant = {"did_you_mean": self.did_you_mean} if self.use == "unknown" else {}
        return {"word": self.word, "use": self.use, **meant}


@dataclass(frozen=True)
class Place:
    """Where one picture stands among all."""

    position: int  # from 1
    pictures: int
    score: float
    path: str

    def __str__(self) -> str:
        return f"position {self.position} of {self.pictures}, score {self.score:.2f}"

    def to_json(self) -> dict[str, Any]:
        return {
            "position": self.position,
            "pictures": self.pictures,
            "score": round(self.score, 6),
            "path": self.path,
        }


@dataclass(frozen=True)
class Answer:
    """What was found for one query."""

    embedded: EmbeddedQuery
    pictures: int  # that were searched
    results: tuple[Found, ...]
    truth: Place | None = None
    words: tuple[Word, ...] = ()  # of the query, where an explanation was asked for
    relevant_from: float | None = None  # the lowest score that stands out, where that was asked for

    def describe_words(self) -> list[str]:
        """Which words were used, dropped or unknown, a line each; none where it was not asked for."""
        lines = []
        for use in ("used", "dropped", "unknown"):
            if words := [str(word) for word in self.words if word.use == use]:
                lines.append(f"{use}: {', '.join(words)}")
        return lines

    @property
    def longest_share(self) -> float:
        """The scale of all bars: the share that is farthest from 0."""
        return max((abs(share.share) for found in self.results for share in found.shares), default=0) or 1

    @property
    def query(self) -> Query:
        return self.embedded.query

    def to_json(self) -> dict[str, Any]:
        """The object that `query --format json` prints."""
        query = self.query
        asked = {
            "images": query.image_names,
            "image_weight": query.image_weight if query.images and query.image_weight != 1 else None,
            "add": query.add,
            "subtract": query.subtract,
            "weighted": [{"weight": weight, "text": text} for weight, text in query.weighted],
        }
        return {
            "query": query.text,
            **{name: value for name, value in asked.items() if value},
            "ignored_words": self.embedded.ignored_words,
            "unknown_words": self.embedded.unknown_words,
            **({"words": [word.to_json() for word in self.words]} if self.words else {}),
            **({} if self.relevant_from is None else {"relevant_from": round(self.relevant_from, 6)}),
            **({"truth": self.truth.to_json()} if self.truth else {}),
            "results": [found.to_json() for found in self.results],
        }


@dataclass(frozen=True)
class Searcher:
    """Answers queries over `index`, any store that was opened with a bundle: the `k` best pictures of each.

    Fewer, where fewer have `min_score`, or where with `relevant` fewer stand out (`relevance.relevant_from`).
    `dedupe` is a cosine from which on two pictures count as one: the others are folded under the best.
    `truth` names a picture, by its path or its file name, whose place among all is found too. With `explain`,
    answers say what became of each word, and what each did for each picture.
    """

    index: Store
    k: int = 10
    truth: str | None = None
    explain: bool = False
    min_score: float | None = None
    relevant: bool = False
    dedupe: float | None = None

    def answer(self, query: str | Query | EmbeddedQuery) -> Answer:
        """Raises QueryError, and ImageError for a picture of the query that cannot be read."""
        [answer] = self.answer_many([query])
        if not isinstance(answer, Answer):
            raise answer
        return answer

    def answer_many(
        self, queries: Sequence[str | Query | EmbeddedQuery]
    ) -> list[Answer | QueryError | ImageError]:
        """For each query its answer, the same as alone, or its error; far faster than one by one."""
        bundle, view = self.index.require_bundle(), self.index.snapshot
        embedded = embed_each(queries, bundle)
        vectors = [one.vector for one in embedded if isinstance(one, EmbeddedQuery)]
        best = iter(view.nearest(np.array(vectors).reshape(-1, bundle.embed_dim), self.k))
        return [
            self._answer(one, next(best), view) if isinstance(one, EmbeddedQuery) else one for one in embedded
        ]

    def _answer(self, embedded: EmbeddedQuery, best: _Rows, view: View) -> Answer:
        bundle = self.index.require_bundle()
        relevant_from = None
        if self.relevant:
            relevant_from = relevance.relevant_from(view.whole("relevant").embeddings @ embedded.vector)
        lowest = max((cut for cut in (self.min_score, relevant_from) if cut is not None), default=-np.inf)
        if self.dedupe is None:
            groups = [[row] for row in best]
        else:
            groups = _fold(embedded.vector, best, view, self.k, self.dedupe)
        groups = [group for group in groups if group[0][1] >= lowest]
        terms = embedded.terms(bundle) if self.explain else []
        of_groups = iter(view.embeddings_of([group[0][0] for group in groups]) if terms else ())
        return Answer(
            embedded,
            len(view),
            tuple(
                Found(
                    rank,
                    score,
                    view.path_of(row),
                    row,
                    _shares(terms, next(of_groups), score) if terms else (),
                    tuple(Duplicate(score, view.path_of(row)) for row, score in duplicates),
                )
                for rank, ((row, score), *duplicates) in enumerate(groups, start=1)
            ),
            None if self.truth is None else _place_of(self.truth, embedded.vector, view.whole("truth")),
            _words(embedded, bundle) if self.explain else (),
            relevant_from,
        )


def _fold(vector: Floats, best: _Rows, view: View, k: int, threshold: float) -> list[_Rows]:
    """The k best pictures of which no two are near-duplicates, each followed by its near-duplicates.

    In order of score, each picture joins the first better one whose cosine with it reaches the threshold;
    looks at ever more of the best, until there are k groups and one picture that would begin another.
    """
    asked = k
    while True:
        groups: list[_Rows] = []
        leaders = np.empty((min(k, len(best)), len(vector)), np.float32)
        embeddings = view.embeddings_of([row for row, _ in best])
        for (row, score), embedding in zip(best, embeddings, strict=True):
            near = np.flatnonzero(leaders[: len(groups)] @ embedding >= threshold)
            if len(near):
                groups[near[0]].append((row, score))
            elif len(groups) == k:
                return groups
            else:
                leaders[len(groups)] = embedding
                groups.append([(row, score)])
        if len(best) < asked or len(best) == len(view):
            return groups
        asked = 4 * len(best)
        [best] = view.nearest(vector[None], asked)


def _shares(terms: Sequence[Term], embedding: Floats, score: float) -> tuple[Share, ...]:
    return tuple(
        Share(term.name, term.weight, score - (0.0 if term.rest is None else float(term.rest @ embedding)))
        for term in terms
    )


def _words(embedded: EmbeddedQuery, bundle: Bundle) -> tuple[Word, ...]:
    return (
        *(Word(word, "used") for word in embedded.used_words),
        *(Word(word, "dropped") for word in embedded.ignored_words),
        *(Word(word, "unknown", bundle.suggest_words(word)) for word in embedded.unknown_words),
    )


def _place_of(name: str, vector: Floats, all_rows: Whole) -> Place:
    paths = all_rows.paths
    row = _find(name, paths)
    rows, scores = ranking.rank(vector[None], all_rows.embeddings, len(paths))
    position = int(np.flatnonzero(rows[0] == row)[0])
    return Place(position + 1, len(paths), float(scores[0, position]), paths[row])


def _find(name: str, paths: Sequence[str]) -> int:
    """The row of the picture that is meant: its path, or the end of a path that only one picture has."""
    absolute = os.path.abspath(name)  # noqa: PTH100, a path that need not exist
    matches = []
    for row, path in enumerate(paths):
        if path == absolute:
            return row
        if PurePath(path).parts[-len(PurePath(name).parts) :] == PurePath(name).parts:
            matches.append(row)
    if not matches:
        raise QueryError(f"{name}: no such picture in the index")
    if len(matches) > 1:
        raise QueryError(
            f"{name}: {len(matches)} pictures in the index are called so, name one by its path, such as"
            f" {paths[matches[0]]}"
        )
    return matches[0]
