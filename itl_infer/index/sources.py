"""The files that pictures of an index were embedded from: in which folder, under which path, with which content."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from itl_infer.index import schema
from itl_infer.index.disk import store_errors
from itl_infer.index.snapshot import read_roots

if TYPE_CHECKING:
    from itl_infer.index.index import Index
    from itl_infer.index.roots import Root


class Source(NamedTuple):
    """A file as it was when it was embedded."""

    root: Root
    path: bytes  # from the root on, with "/", in the bytes of the file system
    digest: bytes  # BLAKE2b of its content


def sources_of(index: Index) -> dict[str, Source]:
    """By the absolute path, the source of each picture that an index has now. Raises IndexStoreError."""
    with store_errors(index.path), schema.reading(index.path) as connection:
        roots = read_roots(connection, index.path)
        found = connection.execute("SELECT root, path, digest FROM pictures WHERE state = 0")
        return {roots[root].locate(path): Source(roots[root], path, digest) for root, path, digest in found}
