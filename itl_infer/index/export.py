"""Write an index in formats that other tools read: npy, parquet, jsonl."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from itl_infer.errors import IndexStoreError, MissingExtraError, reason_of
from itl_infer.files import replacing
from itl_infer.index.index import Index
from itl_infer.parquet.table import embedding_column, make_schema

_BLOCK_ROWS = 2**13


def export_index(index: Index, output: str | os.PathLike[str], format: str) -> list[Path]:
    """Write paths and embeddings to `output`, whole or not at all; the files that were written.

    "npy" is one (N, D) float32 array, and beside it a JSON list of paths; "jsonl" one object a line with
    "path" and "embedding"; "parquet" a table of these two columns, and needs pyarrow. Bytes of a path that
    are not UTF-8 are written as \\xNN. Raises IndexStoreError.
    """
    path = Path(output)
    try:
        return _WRITERS[format](index, path)
    except OSError as error:
        raise IndexStoreError(f"{path}: {reason_of(error)}: name a file that can be written") from error


def _write_npy(index: Index, path: Path) -> list[Path]:
    beside = path.with_suffix(".paths.json")
    with replacing(beside) as file:
        file.write(json.dumps(_texts(index.paths[:]), ensure_ascii=False, indent=0).encode())
    with replacing(path) as file:
        np.save(file, index.embeddings)
    return [path, beside]


def _write_jsonl(index: Index, path: Path) -> list[Path]:
    with replacing(path) as file:
        for location, embedding in zip(index.paths, index.embeddings, strict=True):
            line = {"path": _text(location), "embedding": embedding.tolist()}
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
    return [path]


def _write_parquet(index: Index, path: Path) -> list[Path]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("--format parquet", "pyarrow", "parquet") from error
    schema = make_schema(index.embeddings.shape[1], index.state.bundle_fingerprint)
    with replacing(path) as file, parquet.ParquetWriter(file, schema) as writer:
        for start in range(0, len(index), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            columns = [_texts(index.paths[block]), embedding_column(index.embeddings[block])]
            writer.write_table(pyarrow.table(columns, schema=schema))
    return [path]


_WRITERS: dict[str, Callable[[Index, Path], list[Path]]] = {
    "npy": _write_npy,
    "parquet": _write_parquet,
    "jsonl": _write_jsonl,
}
EXPORT_FORMATS = tuple(_WRITERS)


def _text(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _texts(paths: list[str]) -> list[str]:
    return [_text(path) for path in paths]
