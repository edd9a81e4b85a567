"""`batch`: an answer for each line of a file."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from itl_infer.cli.lines import answer_each, blocks_of_queries, is_utf8, joined
from itl_infer.cli.opened import SearchOptions, check_sheet, open_bundle, open_names, open_store, write_sheet
from itl_infer.cli.options import (
    FILTERS,
    CommandWithRay,
    all_of,
    as_word_option,
    bundle_option,
    explain_option,
    filter_options,
    names_option,
    ray_option,
    refuse,
    sheet_option,
    sort_option,
    stop_options,
    store_option,
    threads_option,
    top_option,
    understand_not_option,
)
from itl_infer.cli.output import as_json, failure, write
from itl_infer.errors import ItlError

if TYPE_CHECKING:
    from itl_infer.search import Answer, AnswerMany


_OF_AN_INDEX = ("location", "relevant", "dedupe", "dedupe_from", "explain", "sheet_path", "sort", *FILTERS)


@click.command(cls=CommandWithRay)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@all_of(
    *(
        understand_not_option,
        as_word_option,
        names_option,
        top_option,
        filter_options,
        stop_options,
        sort_option,
        explain_option,
        sheet_option,
    ),
    *(store_option, bundle_option, threads_option),
)
@click.option(
    "--shards", metavar="FOLDER", help="Search the Parquet shards in this folder or URI, on a Ray cluster."
)
@ray_option(
    "With --shards: the cluster, HOST:PORT, or auto for the one of this machine.  [default: this machine alone]"
)
def batch(
    file: Path,
    location: str | None,
    bundle_path: Path | None,
    threads: int | None,
    understand_not: bool,
    as_word: bool,
    names_path: Path | None,
    address: str | None,
    shards: str | None,
    **searching: Any,
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
    options = SearchOptions(**searching)
    check_sheet(options.sheet_path)
    from itl_infer.search import Answer, Query

    if shards is not None or address is not None:
        refuse(_OF_AN_INDEX, "needs an index on this machine (-d), not --shards")
    bundle = open_bundle(bundle_path, threads)
    names = open_names(names_path, bundle)
    from_stdin = str(file) == "-"
    name = "stdin" if from_stdin else file
    lines = undecodable = 0
    on_sheet: list[Answer] = []
    with contextlib.ExitStack() as stack:
        if shards is None and address is None:
            searcher = options.searcher(open_store(location, bundle), names)
            answer_many: AnswerMany = searcher.answer_many
            put: Callable[[bytes], None] = write
            least = 1
        else:
            from itl_infer.cli import cluster

            on_cluster = cluster.searching(shards, address, bundle, options.top, options.min_score, names)
            answer_many, put = stack.enter_context(on_cluster)
            least = cluster.queries_at_once(options.top)
        stream = sys.stdin.buffer if from_stdin else stack.enter_context(file.open("rb"))
        for queries in joined(blocks_of_queries(cast("io.BufferedReader", stream)), least):
            answers = answer_each(
                lambda texts: answer_many(
                    [Query(text, understand_not=understand_not, as_word=as_word) for text in texts]
                ),
                queries,
            )
            put(b"".join(map(as_json, _batch_objects(queries, answers))))
            if options.sheet_path:
                on_sheet += [answer for answer in answers if isinstance(answer, Answer)]
            lines += len(queries)
            undecodable += sum(not is_utf8(text) for text in queries)
    write_sheet(on_sheet, options.sheet_path)
    if lines == 0:
        raise failure(f"{name}: no queries in it: write one on each line")
    if undecodable:
        raise failure(f"{name}: {undecodable} of {lines} lines are not UTF-8: save the file as UTF-8")


def _batch_objects(queries: Sequence[str], answers: Iterable[Answer | ItlError]) -> Iterator[dict[str, Any]]:
    for text, answer in zip(queries, answers, strict=True):
        yield {"query": text, "error": str(answer)} if isinstance(answer, ItlError) else answer.to_json()
