"""A file of queries: for each line an answer or one line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from functools import cache

from itl_infer import Index, embed_directory, load_bundle
from itl_infer.cli.lines import answer_each, blocks_of_queries
from itl_infer.errors import ItlError
from itl_infer.search import Answer, Query, Searcher
from tests.fuzz.helpers import require_line, scratch
from tests.tiny_bundle import make_tiny_bundle, save_colours


@cache
def small_index() -> Index:
    """Three pictures, searched with a bundle that is worked out by hand."""
    bundle = load_bundle(make_tiny_bundle(scratch() / "small"), threads=1)
    save_colours(scratch() / "pictures", ["red", "green", "blue"])
    embed_directory(scratch() / "pictures", Index.open(scratch() / "small.itl", bundle))
    return Index.open(scratch() / "small.itl", bundle, mode="r")


def seeds() -> Iterator[bytes]:
    """Texts of several kinds."""
    yield b"red\na bright green wave\nblue surfers without red\n"
    yield "caf\u00e9 \u202e red \ud83d\ude00 don't t-shirt 1,000 \u0130\n".encode(errors="surrogatepass")
    yield b"\xef\xbb\xbfred\r\n\r\n\xff\xfe\n" + b"a" * 5000
    yield "\u0958\uff52\uff45\uff44 neither red, nor green or blue; anything but wave\n".encode()
    yield b"no " * 50 + b"red not " * 50


def run(data: bytes) -> None:
    """Answer each, in two ways, explained."""
    searcher = Searcher(small_index(), k=2, explain=True, relevant=True)

    def answer_many(texts: list[str]) -> list[Answer | ItlError]:
        return searcher.answer_many([Query(text, understand_not=len(text) % 2 == 0) for text in texts])

    try:
        for queries in blocks_of_queries(io.BufferedReader(io.BytesIO(data))):
            for found in answer_each(answer_many, queries):
                if isinstance(found, Answer):
                    json.dumps(found.to_json(), allow_nan=False)
                    assert len(found.results) <= 2
                else:
                    require_line(found)
    except ItlError as error:
        require_line(error)
