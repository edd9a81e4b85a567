"""Answer queries over an index: the best pictures, where to stop, what each word did, where a picture stands."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from itl_infer import ranking
from itl_infer.arguments import (
    require_flags,
    require_instance,
    require_number,
    require_one_of,
    require_several,
    require_text,
    require_whole,
    wrong,
)
from itl_infer.errors import ImageError, QueryError
from itl_infer.files import one_form
from itl_infer.search.answer import Answer, Duplicate, Found, Place, Share, Word
from itl_infer.search.duplicates import fold
from itl_infer.search.query import EmbeddedQuery, Query, Term, embed_each
from itl_infer.search.ranked import Ranked, is_unwanted
from itl_infer.search.relevance import relevant_from

if TYPE_CHECKING:
    from itl_infer.bundle import Bundle
    from itl_infer.image import ImageSource
    from itl_infer.store import Store, View, Whole
    from itl_infer.teaching import Names
    from itl_infer.where import Where

Floats = npt.NDArray[np.float32]
Sort = Literal["score", "taken"]
SORTS: tuple[Sort, ...] = get_args(Sort)

MOST_EXPLAINED = (
    1000  # words and pictures: each is left out in turn, which is work that grows with their square
)
_SUGGESTED = 20  # unknown words for which near ones are looked up, which takes milliseconds for each


@dataclass(frozen=True)
class Searcher:
    """Answers queries over `index`, any store that was opened with a bundle: the `k` best pictures of each.

    With `offset` the `k` behind that many, ranked from `offset` + 1: the next page of an answer. Fewer, where fewer
    have `min_score`, or where with `relevant` fewer stand out (`relevance.relevant_from`). `dedupe` is a cosine
    from which on two pictures count as one: the others are folded under the best. `truth` names a picture, by its
    path or its file name, whose place among all is found too. With `explain`, answers say what became of each word,
    and what each did for each picture. `names` may stand in texts: by default those that were taught to the index.
    Pictures that a query is `unlike` come last, whatever they score, and so do copies of them.

    `where` says among which pictures the best are found, and `truth` has its place; how high a score must be to stand
    out is said by those of all. `sort` "taken" puts those found in order of date, the oldest first and those without
    one last; each keeps its rank.
    """

    index: Store
    k: int = 10
    truth: str | None = None
    explain: bool = False
    min_score: float | None = None
    relevant: bool = False
    dedupe: float | None = None
    where: Where | None = None
    sort: Sort = "score"
    offset: int = 0
    names: Names | None = None

    def __post_init__(self) -> None:
        if not all(hasattr(self.index, name) for name in ("snapshot", "require_bundle")):
            raise wrong("index", self.index, "an index, as open_store() gives it")
        require_whole("k", self.k, 1)
        require_whole("offset", self.offset, 0)
        if self.truth is not None:
            require_text("truth", self.truth)
        require_flags(explain=self.explain, relevant=self.relevant)
        for number in ("min_score", "dedupe"):
            if getattr(self, number) is not None:
                require_number(number, getattr(self, number))
        if self.where is not None:
            from itl_infer.where import require_where  # milliseconds, for a query without a filter

            require_where(self.where)
        require_one_of("sort", self.sort, SORTS)
        if self.names is not None:
            from itl_infer.teaching import Names

            require_instance("names", self.names, Names, "names, as those of an index")

    def answer(self, query: str | Query | EmbeddedQuery) -> Answer:
        """Raises QueryError, and ImageError for a picture of the query that cannot be read."""
        [answer] = self.answer_many([query])
        if not isinstance(answer, Answer):
            raise answer
        return answer

    def embed_many(
        self, queries: Sequence[str | Query | EmbeddedQuery]
    ) -> list[EmbeddedQuery | QueryError | ImageError]:
        """Each query embedded as `answer_many` does it before it looks, or why it cannot be answered."""
        queries = require_several("queries", queries, "queries")
        view = self.index.snapshot
        names = view.names if self.names is None else self.names
        asked = [_with_pictures_of(view, query) for query in queries]
        embedded = embed_each(asked, self.index.require_bundle(), names, lambda: view.moments)
        return [self._as_explained(one) for one in embedded]

    def answer_many(
        self, queries: Sequence[str | Query | EmbeddedQuery]
    ) -> list[Answer | QueryError | ImageError]:
        """For each query its answer, the same as alone, or its error; far faster than one by one."""
        steps = self.answer_in_steps(queries)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                answers: list[Answer | QueryError | ImageError] = end.value
                return answers

    def answer_in_steps(
        self, queries: Sequence[str | Query | EmbeddedQuery]
    ) -> Generator[None, None, list[Answer | QueryError | ImageError]]:
        """What `answer_many` gives, in short steps, for who has others to answer in between."""
        queries = require_several("queries", queries, "queries")
        bundle, view = self.index.require_bundle(), self.index.snapshot
        embedded = self.embed_many(queries)
        asked = [one for one in embedded if isinstance(one, EmbeddedQuery)]
        reach = self._reach + max((len(one.unwanted) for one in asked), default=0)
        vectors = np.array([one.vector for one in asked]).reshape(-1, bundle.embed_dim)
        best = iter(view.nearest(vectors, reach, self.where))
        answers: list[Answer | QueryError | ImageError] = []
        for one in embedded:
            if isinstance(one, EmbeddedQuery):
                ranked = Ranked(one, view, self.where, reach, next(best))
                answers.append((yield from self._answer(one, ranked, view)))
            else:
                answers.append(one)
        return answers

    @property
    def _reach(self) -> int:
        """How many of the best there have to be, for those that are wanted to be among them."""
        return self.offset + self.k

    def _as_explained(
        self, one: EmbeddedQuery | QueryError | ImageError
    ) -> EmbeddedQuery | QueryError | ImageError:
        """The same, or why it has too many words to be explained."""
        if not self.explain or not isinstance(one, EmbeddedQuery) or one.term_count <= MOST_EXPLAINED:
            return one
        return QueryError(
            f"the query has {one.term_count} words, of which at most {MOST_EXPLAINED} can be explained: ask without"
            " --explain"
        )

    def _answer(self, embedded: EmbeddedQuery, ranked: Ranked, view: View) -> Generator[None, None, Answer]:
        bundle = self.index.require_bundle()
        lowest_relevant = None
        if self.relevant:
            lowest_relevant = relevant_from(view.whole("relevant").embeddings @ embedded.vector)
        lowest = max((cut for cut in (self.min_score, lowest_relevant) if cut is not None), default=-np.inf)
        if self.dedupe is None:
            groups = [[row] for row in ranked.best(self._reach)]
        else:
            groups = fold(ranked, self._reach, self.dedupe)
        groups = [group for group in groups[self.offset :] if group[0][1] >= lowest]
        terms = embedded.terms(bundle) if self.explain else []
        of_groups = iter(view.embeddings_of([group[0][0] for group in groups]) if terms else ())
        found = []
        for rank, ((row, score), *duplicates) in enumerate(groups, start=self.offset + 1):
            yield
            found.append(
                Found(
                    rank,
                    score,
                    view.path_of(row),
                    row,
                    _shares(terms, next(of_groups), score) if terms else (),
                    tuple(Duplicate(score, view.path_of(row)) for row, score in duplicates),
                    view.facts_of(row),
                )
            )
        if self.sort == "taken":
            found.sort(key=_date_of)
        return Answer(
            embedded,
            view.count(self.where),
            tuple(found),
            None if self.truth is None else _place_of(self.truth, embedded, view.whole("truth"), self.where),
            _words(embedded, bundle) if self.explain else (),
            lowest_relevant,
        )


def _with_pictures_of(
    view: View, query: str | Query | EmbeddedQuery
) -> str | Query | EmbeddedQuery | QueryError:
    """A query in which paths of `like` and `unlike` that are no files stand for pictures of the store."""
    if not isinstance(query, Query) or not (query.like or query.unlike):
        return query
    try:
        return replace(
            query,
            like=[_picture_of(view, one) for one in query.like],
            unlike=[_picture_of(view, one) for one in query.unlike],
        )
    except QueryError as error:
        return error


def _picture_of(view: View, picture: ImageSource | Floats) -> ImageSource | Floats:
    if not isinstance(picture, (str, os.PathLike)) or os.path.lexists(picture):
        return picture
    whole = view.whole("a picture that is no file")
    embedding: Floats = whole.embeddings[_find(os.fspath(picture), whole.paths)]
    return embedding


def _date_of(found: Found) -> tuple[bool, datetime]:
    taken = found.facts.taken if found.facts else None
    return taken is None, taken or datetime.min


def _shares(terms: Sequence[Term], embedding: Floats, score: float) -> tuple[Share, ...]:
    return tuple(
        Share(term.name, term.weight, score - (0.0 if term.rest is None else float(term.rest @ embedding)))
        for term in terms
    )


def _words(embedded: EmbeddedQuery, bundle: Bundle) -> tuple[Word, ...]:
    return (
        *(Word(name, "taught") for name in embedded.taught),
        *(Word(word, "used") for word in embedded.used_words),
        *(Word(carried.word, "carried", read_as=carried.read_as) for carried in embedded.carried),
        *(Word(word, "dropped") for word in embedded.ignored_words),
        *(
            Word(word, "unknown", bundle.suggest_words(word) if number < _SUGGESTED else ())
            for number, word in enumerate(embedded.unknown_words)
        ),
    )


def _place_of(name: str, query: EmbeddedQuery, all_rows: Whole, where: Where | None) -> Place:
    paths, among = all_rows.paths, all_rows.among(where)
    row = _find(name, paths)
    if among is not None and not among[row]:
        raise QueryError(
            f"{paths[row]}: not among the pictures that the filter leaves: ask without it, or widen it"
        )
    ranked, scores = ranking.rank(query.vector[None], all_rows.embeddings, len(paths), among=among)
    rows, score = ranked[0], float(scores[0, np.flatnonzero(ranked[0] == row)[0]])
    if len(query.unwanted):
        rows = rows[np.argsort(is_unwanted(all_rows.embeddings[rows], query.unwanted), kind="stable")]
    return Place(int(np.flatnonzero(rows == row)[0]) + 1, len(rows), score, paths[row])


def _find(name: str, paths: Sequence[str]) -> int:
    """The row of the picture that is meant: its path, or the end of a path that only one picture has.

    Accents may be written either way; where a name fits as it is written, only so.
    """
    absolute = os.path.abspath(name)  # noqa: PTH100, a path that need not exist
    parts, form = PurePath(name).parts, PurePath(one_form(name)).parts
    matches: list[int] = []
    of_form: list[int] = []
    for row, path in enumerate(paths):
        if path == absolute:
            return row
        if form and not one_form(path).endswith(form[-1]):
            continue
        if PurePath(path).parts[-len(parts) :] == parts:
            matches.append(row)
        elif PurePath(one_form(path)).parts[-len(form) :] == form:
            of_form.append(row)
    matches = matches or of_form
    if not matches:
        raise QueryError(f"{name}: no such picture in the index")
    if len(matches) > 1:
        raise QueryError(
            f"{name}: {len(matches)} pictures in the index are called so, name one by its path, such as"
            f" {paths[matches[0]]}"
        )
    return matches[0]


AnswerMany: TypeAlias = Callable[[Sequence[str | Query]], Sequence[Answer | QueryError | ImageError]]
"""What answers a block of queries: `Searcher.answer_many`, or a search over the shards of a cluster."""
