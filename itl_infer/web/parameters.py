"""The parameters of a request, each checked, from a URL or from the JSON of a batch."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.datastructures import MultiDict
from starlette.exceptions import HTTPException

from itl_infer.errors import QueryError
from itl_infer.search import NEAR_DUPLICATE, SORTS, Answer, Searcher
from itl_infer.search.query import Query
from itl_infer.web.openapi import DATES, LIMITS, SEVERAL
from itl_infer.where import ORIENTATIONS, Where

if TYPE_CHECKING:
    from itl_infer.image import ImageSource
    from itl_infer.store import Store

T = TypeVar("T")


def parse_json(body: bytes) -> Any:
    """What a JSON body says. HTTPException 400 where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"not JSON: {error}") from error


def parse_batch(body: bytes) -> tuple[list[str], Parameters]:
    """The queries of a batch, and all else that its JSON asks for. Raises HTTPException 400."""
    asked = parse_json(body)
    queries = asked.pop("queries", None) if isinstance(asked, dict) else None
    if not isinstance(queries, list) or not all(isinstance(text, str) for text in queries):
        raise HTTPException(400, 'expected {"queries": ["...", ...]}')
    if len(queries) > LIMITS["queries"] or any(len(text) > LIMITS["text"] for text in queries):
        raise HTTPException(
            400, f"more than {LIMITS['queries']} queries, or one longer than {LIMITS['text']} characters"
        )
    return queries, Parameters(MultiDict(list(_as_pairs(asked))))


class Parameters:
    """The parameters of a request, each checked. Raises HTTPException 400 for what is wrong with one."""

    def __init__(self, given: Any) -> None:
        self._given = given

    def text(self, name: str) -> str | None:
        return next(iter(self.texts(name)), None)

    def texts(self, name: str) -> list[str]:
        texts = self._given.getlist(name)
        if any(len(text) > LIMITS["text"] for text in texts) or len(texts) > LIMITS["terms"]:
            raise HTTPException(400, f"{name}: too long, or too many of them")
        return list(texts)

    def query(self, images: Sequence[ImageSource]) -> Query:
        weight = self._score("image_weight")
        return Query(
            self.text("q"),
            images,
            self.texts("add"),
            self.texts("subtract"),
            [self._weighted(text) for text in self.texts("weighted")],
            1.0 if weight is None else weight,
            understand_not=self.understands_not,
            as_word=self.reads_as_word,
        )

    def ids(self, name: str) -> list[str]:
        """Ids of pictures, as many as may be marked."""
        ids = self._given.getlist(name)
        if len(ids) > LIMITS["marks"]:
            raise HTTPException(400, f"{name}: more than {LIMITS['marks']} pictures")
        return list(ids)

    @property
    def reads_as_word(self) -> bool:
        return self._switch("as_word")

    def require_proper(self, store: Store) -> None:
        """Check all that a search takes, where there may be none. A filter that is wrong is each query's own answer."""
        self._switch("understand_not")
        self._switch("as_word")
        with contextlib.suppress(QueryError):
            self.searcher(store)

    @property
    def understands_not(self) -> bool:
        return self._switch("understand_not")

    @property
    def explains(self) -> bool:
        return self._switch("explain")

    @property
    def k(self) -> int:
        return self._number("k", LIMITS["k_default"], 1, LIMITS["k"])

    def searcher(self, store: Store) -> Searcher:
        """What answers as these ask. Raises QueryError for a filter that is none."""
        offset, k, folds = self._offset, self.k, self._switch("dedupe")
        if folds:  # that takes ever longer the further it goes
            offset = min(offset, LIMITS["folded"] - 1)
            k = min(k, LIMITS["folded"] - offset)
        return Searcher(
            store,
            k,
            offset=offset,
            explain=self.explains,
            min_score=self._score("min_score"),
            relevant=self._switch("relevant"),
            dedupe=NEAR_DUPLICATE if folds else None,
            where=self.where(),
            sort=self._one_of("sort", SORTS) or "score",
        )

    def shown(self, answer: Answer) -> Answer:
        """An answer as it was asked for: behind the last picture of which near-duplicates are folded there is none."""
        is_behind = self._switch("dedupe") and self._offset >= LIMITS["folded"]
        return replace(answer, results=()) if is_behind else answer

    @property
    def _offset(self) -> int:
        return self._number("offset", 0, 0, LIMITS["offset"])

    def where(self) -> Where:
        """The filter; empty texts are not asked for, as forms send them so. Raises QueryError for a wrong one."""
        under, name, camera = ([text for text in self.texts(field) if text] for field in SEVERAL)
        try:
            return Where(
                under=under,
                name=name,
                camera=camera,
                **{field: self.text(field) or None for field in DATES},
                orientation=self._one_of("orientation", ORIENTATIONS),
                gps=self._switch("gps") if "gps" in self._given else None,
            )
        except ValueError as error:
            raise QueryError(str(error)) from error

    def _one_of(self, name: str, values: Sequence[T]) -> T | None:
        text = self._given.get(name)
        if text is None:
            return None
        if text not in values:
            raise HTTPException(
                400, f"{name} is {text[:40]!r}, expected one of {', '.join(map(str, values))}"
            )
        return values[values.index(text)]

    def _number(self, name: str, default: int, lowest: int, highest: int) -> int:
        text = self._given.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10 and lowest <= int(text) <= highest):
            raise HTTPException(
                400, f"{name} is {text[:40]!r}, expected a whole number from {lowest} to {highest}"
            )
        return int(text)

    def _score(self, name: str) -> float | None:
        text = self._given.get(name)
        return None if text is None else _finite(name, text, "a number")

    def _weighted(self, value: str) -> tuple[float, str]:
        """ "0.5 night": a weight and the text that has it, as after --weighted."""
        weight, _, text = value.strip().partition(" ")
        expected = 'a number and a text, as "0.5 night"'
        if not text:
            raise HTTPException(400, f"weighted is {value[:40]!r}, expected {expected}")
        return _finite("weighted", weight, expected), text

    def _switch(self, name: str) -> bool:
        text = self._given.get(name, "false")
        if text not in ("true", "false"):
            raise HTTPException(400, f"{name} is {text[:40]!r}, expected true or false")
        return bool(text == "true")


def _finite(name: str, text: str, expected: str) -> float:
    with contextlib.suppress(ValueError):
        if math.isfinite(float(text)):
            return float(text)
    raise HTTPException(400, f"{name} is {text[:40]!r}, expected {expected}")


def _as_pairs(asked: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The members of a JSON body as they would stand in a URL."""
    for name, value in asked.items():
        if name in DATES and not isinstance(value, str):
            raise HTTPException(400, f"{name}: expected a text")
        if name not in SEVERAL:
            yield name, _as_text(value)
        elif isinstance(value, list) and all(isinstance(text, str) for text in value):
            yield from ((name, text) for text in value)
        else:
            raise HTTPException(400, f'{name}: expected ["...", ...]')


def _as_text(value: Any) -> str:
    """A value of a JSON body as it would stand in a URL."""
    if isinstance(value, float) and value.is_integer():  # 68.0 is an integer to JSON Schema
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)
