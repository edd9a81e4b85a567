"""What one request may ask for in all: shares of an explanation, results, bytes of an answer."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from typing import Any

from starlette.exceptions import HTTPException

from itl_infer.web.openapi import LIMITS


class Room:
    """What is left of it, for a request that asks for the `k` best of each query. Raises HTTPException 400 for more."""

    def __init__(self, k: int) -> None:
        self._k = k
        self._shares, self._results, self._bytes = LIMITS["shares"], LIMITS["results"], LIMITS["answer_bytes"]

    def take_queries(self, queries: int) -> None:
        """Before any of a batch is answered."""
        self._results -= queries * self._k
        if self._results < 0:
            raise HTTPException(
                400, f"{queries} queries with k={self._k}: at most {LIMITS['results']} pictures in all"
            )

    def take_explanation(self, terms: int) -> None:
        """Before a query of so many words and pictures is explained."""
        self._shares -= terms * self._k
        if terms > LIMITS["explained"]:
            raise HTTPException(400, f"explain: {terms} words, at most {LIMITS['explained']} are explained")
        if self._shares < 0:
            raise HTTPException(
                400,
                f"explain: {terms} words with k={self._k}: at most {LIMITS['shares']} shares in all, so ask for fewer"
                " pictures or words",
            )

    def take_answer(
        self, content: dict[str, Any], results: Iterator[dict[str, Any]]
    ) -> Generator[None, None, bytes]:
        """An answer of `content` and its results as `to_json` makes it, a picture at a step."""
        whole = to_json({**content, "results": []})
        self._take(len(whole))
        parts = [whole.removesuffix(b"]}")]
        for number, result in enumerate(results):
            yield
            parts.append(b", " * (number > 0) + to_json(result))
            self._take(len(parts[-1]))
        return b"".join([*parts, b"]}"])

    def take_error(self, content: dict[str, Any]) -> bytes:
        """One of the answers of a batch that says why there is none."""
        as_json = to_json(content)
        self._take(len(as_json))
        return as_json

    def _take(self, size: int) -> None:
        self._bytes -= size
        if self._bytes < 0:
            raise HTTPException(
                400, f"the answer is longer than {LIMITS['answer_bytes']} bytes: ask for fewer pictures"
            )


def to_json(value: Any) -> bytes:
    """As the commands write it: bytes of a name that are not UTF-8 become \\udc80 to \\udcff."""
    return json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace")
