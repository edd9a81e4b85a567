"""`batch`: an answer for each line of a file."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from itl_infer.cli.opened import check_sheet, open_bundle, open_store, searcher_over, write_sheet
from itl_infer.cli.options import (
    CommandWithRay,
    all_of,
    bundle_option,
    explain_option,
    ray_option,
    refuse,
    sheet_option,
    stop_options,
    store_option,
    threads_option,
    top_option,
)
from itl_infer.cli.output import as_json, failure, write
from itl_infer.errors import ItlError, QueryError

if TYPE_CHECKING:
    from itl_infer.errors import ImageError
    from itl_infer.search import Answer

    AnswerMany = Callable[[Sequence[str]], Sequence[Answer | QueryError | ImageError]]

T = TypeVar("T")

_CHUNK = 2**16  # bytes of queries read at a time
LONGEST_LINE = 2**20  # bytes of one query
BLOCK = 256  # queries answered at a time
_OF_AN_INDEX = ("location", "relevant", "dedupe", "dedupe_from", "explain", "sheet_path")


@click.command(cls=CommandWithRay)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@all_of(top_option, *stop_options, explain_option, sheet_option, store_option, bundle_option, threads_option)
@click.option(
    "--shards", metavar="FOLDER", help="Search the Parquet shards in this folder or URI, on a Ray cluster."
)
@ray_option(
    "With --shards: the cluster, HOST:PORT, or auto for the one of this machine.  [default: this machine alone]"
)
def batch(
    file: Path,
    top: int | None,
    sheet_path: Path | None,
    location: str | None,
    bundle_path: Path | None,
    threads: int | None,
    address: str | None,
    shards: str | None,
    **options: Any,
) -> None:
    """Answer each line of FILE with a line of JSON.

    FILE may be - for stdin. The objects are those of query --format json, in the order of the lines. A line
    that cannot be answered gives {"query": ..., "error": ...} in its place, and the rest goes on. The exit
    code is 0 then too, but 1 where lines are not UTF-8: the file as a whole may not be what was meant. A sheet
    of several queries is an .html file.

    \b
    itl-infer batch queries.txt -d photos.itl > answers.jsonl
    echo "surfer in a wave" | itl-infer batch -
    itl-infer batch queries.txt -d photos.itl --sheet answers.html > answers.jsonl
    itl-infer batch queries.txt --shards s3://bucket/shards --ray head:6379 > answers.jsonl
    """
    check_sheet(sheet_path)
    from itl_infer.search import Answer

    if shards is not None or address is not None:
        refuse(_OF_AN_INDEX, "needs an index on this machine (-d), not --shards")
    bundle = open_bundle(bundle_path, threads)
    from_stdin = str(file) == "-"
    name = "stdin" if from_stdin else file
    lines = undecodable = 0
    on_sheet: list[Answer] = []
    with contextlib.ExitStack() as stack:
        if shards is None and address is None:
            searcher = searcher_over(open_store(location, bundle), top, sheet_path, **options)
            answer_many: AnswerMany = searcher.answer_many
            put: Callable[[bytes], None] = write
            least = 1
        else:
            from itl_infer.cli import cluster

            on_cluster = cluster.searching(shards, address, bundle, top, options["min_score"])
            answer_many, put = stack.enter_context(on_cluster)
            least = cluster.queries_at_once(top)
        stream = sys.stdin.buffer if from_stdin else stack.enter_context(file.open("rb"))
        for queries in _joined(blocks_of_queries(cast("io.BufferedReader", stream)), least):
            answers = answer_each(answer_many, queries)
            put(b"".join(map(as_json, _batch_objects(queries, answers))))
            if sheet_path:
                on_sheet += [answer for answer in answers if isinstance(answer, Answer)]
            lines += len(queries)
            undecodable += sum(not _is_utf8(text) for text in queries)
    write_sheet(on_sheet, sheet_path)
    if lines == 0:
        raise failure(f"{name}: no queries in it: write one on each line")
    if undecodable:
        raise failure(f"{name}: {undecodable} of {lines} lines are not UTF-8: save the file as UTF-8")


def answer_each(
    answer_many: Callable[[Sequence[str]], Sequence[T | QueryError | ImageError]], queries: Sequence[str]
) -> list[T | QueryError | ImageError]:
    """For each query its answer or its error."""
    answers = iter(answer_many([text for text in queries if _is_utf8(text)]))
    return [next(answers) if _is_utf8(text) else QueryError("the line is not UTF-8") for text in queries]


def _batch_objects(queries: Sequence[str], answers: Iterable[Answer | ItlError]) -> Iterator[dict[str, Any]]:
    for text, answer in zip(queries, answers, strict=True):
        yield {"query": text, "error": str(answer)} if isinstance(answer, ItlError) else answer.to_json()


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


def _joined(blocks: Iterable[list[str]], least: int) -> Iterator[list[str]]:
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


def _is_utf8(text: str) -> bool:
    """Whether there was UTF-8 behind a decoded text."""
    return not any("\ud800" <= char <= "\udfff" for char in text)
