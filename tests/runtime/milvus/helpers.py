"""Commands, rows and pushes in processes of their own, and what a collection holds."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result

from itl_infer import Bundle, Index, milvus
from itl_infer.cli import main
from itl_infer.index import Picture
from itl_infer.milvus.rows import key_of, text_to_path
from itl_infer.parquet import shards
from tests.places import ROOT

DIM = 128
COLOURS = ["red", "green", "blue", "white", "purple", "yellow", "teal", "orange"]


def run(*args: str | Path, **options: Any) -> Result:
    """A command in this process."""
    return CliRunner().invoke(main, [str(arg) for arg in args], **options)


def process(*args: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    command = [sys.executable, "-m", "itl_infer", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, **options)


def output_of(*args: str | Path, **options: Any) -> str:
    result = run(*args, **options)
    assert (result.exit_code, result.stderr) == (0, ""), result.stderr
    return result.stdout


def error_of(*args: str | Path, exit_code: int = 1) -> str:
    """The one line of a command that fails."""
    result = run(*args)
    assert isinstance(result.exception, SystemExit), result.exception
    assert (result.exit_code, result.stdout) == (exit_code, "")
    [line] = result.stderr.splitlines()
    return line


def unit_rows(rows: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((rows, dim), dtype=np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def write_rows(path: Path, bundle: Bundle, embeddings: np.ndarray, names: list[bytes] | None = None) -> Index:
    """An index of embeddings, of pictures that are nowhere."""
    index = Index.open(path, bundle)
    with index.writing() as writer:
        root = writer.add_root(path.parent / "nowhere")
        for i, embedding in enumerate(embeddings):
            name = names[i] if names else b"%05d.jpg" % i
            writer.add(Picture(root.id, name, 1, 1, b"%016d" % i), embedding)
        writer.commit()
    return index


def write_shard(path: Path, paths: list[str], embeddings: np.ndarray, fingerprint: str) -> None:
    """What `embed-images --ray` writes; the paths beyond the embeddings are of pictures that failed."""
    from pyarrow import fs

    path.parent.mkdir(exist_ok=True)
    failed = len(paths) - len(embeddings)
    padded = np.concatenate([embeddings, np.zeros((failed, embeddings.shape[1]), np.float32)])
    rows = shards.Rows(paths, padded, [None] * len(embeddings) + ["truncated"] * failed)
    shards.write_shard(fs.LocalFileSystem(), str(path), rows, fingerprint)


def drop(index: Index, paths: list[str]) -> None:
    with index.writing() as writer:
        [root] = writer.roots().values()
        for path in paths:
            writer.drop(root.id, Path(path).name.encode())
        writer.commit()


def rows_of(address: str) -> dict[str, np.ndarray]:
    """Every path of a collection with its embedding; fails where one is there twice, or under a wrong key."""
    found: dict[str, np.ndarray] = {}
    with milvus.Collection.open(address) as collection:
        for block in collection.read_all(["id", "path", "embedding"]):
            for row in block:
                path = text_to_path(row["path"])
                assert path not in found
                assert row["id"] == key_of(path)
                found[path] = np.array(row["embedding"], np.float32)
        assert collection.count() == len(found)
    return found


def assert_holds(address: str, index: Index) -> None:
    """The collection has the rows of the index, to the last bit, each once, and no more."""
    found = rows_of(address)
    assert found.keys() == set(index.paths)
    for path, embedding in zip(index.paths, index.embeddings, strict=True):
        np.testing.assert_array_equal(found[path], embedding, path)


PUSHING = textwrap.dedent(
    """
    import sys
    from itl_infer import milvus
    source, address, batch_rows, seconds = sys.argv[1:]
    milvus.push(
        source, address, batch_rows=int(batch_rows), seconds=float(seconds),
        progress=lambda progress: print(progress.done, flush=True),
    )
    """
)


@contextlib.contextmanager
def pushing(
    source: Path, address: str, batch_rows: int, seconds: float = 30
) -> Iterator[subprocess.Popen[str]]:
    """A process that pushes, and prints how far it is."""
    command = [sys.executable, "-c", PUSHING, str(source), address, str(batch_rows), str(seconds)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()
