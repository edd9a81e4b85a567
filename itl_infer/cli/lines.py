"""Queries from a file, one on a line, answered in blocks."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from itl_infer.errors import QueryError

if TYPE_CHECKING:
    from itl_infer.errors import ImageError


T = TypeVar("T")
_CHUNK = 2**16  # bytes of queries read at a time
LONGEST_LINE = 2**20  # bytes of one query
BLOCK = 256  # queries answered at a time


def answer_each(
    answer_many: Callable[[Sequence[str]], Sequence[T | QueryError | ImageError]], queries: Sequence[str]
) -> list[T | QueryError | ImageError]:
    """For each query its answer or its error."""
    answers = iter(answer_many([text for text in queries if is_utf8(text)]))
    return [next(answers) if is_utf8(text) else QueryError("the line is not UTF-8") for text in queries]


def blocks_of_queries(stream: io.BufferedReader) -> Iterator[list[str]]:
    """Lines without their ends, as soon as they are there, so that whoever waits for an answer gets it."""
    rest = b""
    while chunk := stream.read1(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        for start in range(0, len(lines), BLOCK):
            yield [_decode(line) for line in lines[start : start + BLOCK]]
        if len(rest) > LONGEST_LINE:
            raise QueryError(f"a line is longer than {LONGEST_LINE} bytes: is this a file of queries?")
    if rest:
        yield [_decode(rest)]


def joined(blocks: Iterable[list[str]], least: int) -> Iterator[list[str]]:
    """The same queries in blocks of at least that many, but for the last."""
    joined: list[str] = []
    for block in blocks:
        joined += block
        if len(joined) >= least:
            yield joined
            joined = []
    if joined:
        yield joined


def _decode(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8-sig", errors="surrogateescape")


def is_utf8(text: str) -> bool:
    """Whether there was UTF-8 behind a decoded text."""
    return not any("\ud800" <= char <= "\udfff" for char in text)
