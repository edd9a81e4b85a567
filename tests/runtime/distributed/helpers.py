"""Pictures, shards and commands, and what they held and said."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import itl_infer
from itl_infer.cli import main
from tests.places import ROOT
from tests.tiny_bundle import EMBED_DIM


def write_pictures(folder: Path, count: int, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        colour = tuple(random.Random(seed + i).randrange(256) for _ in range(3))
        Image.new("RGB", (8, 8), colour).save(folder / f"{i:03}.png")


def files_in(folder: Path) -> list[str]:
    """The pictures, in the order in which they are embedded."""
    from itl_infer.walk import Walk

    return [found.path for found in Walk(folder)]


def rows_in(out: Path) -> list[dict[str, Any]]:
    """The rows of all shards, in order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    for shard in sorted(out.glob("part-*.parquet")):
        table = pq.read_table(shard)
        assert table.schema.names == ["path", "embedding", "error"]
        assert table.schema.field("embedding").type == pa.list_(pa.float32(), 128)
        rows += table.to_pylist()
    return rows


def assert_whole(
    out: Path,
    bundle: itl_infer.Bundle,
    paths: list[str],
    names: list[str] | None = None,
    failing: tuple[str, ...] = ("bad", "empty"),
) -> None:
    """The shards hold each path once, in order, with the embedding that one process gives it, or an error."""
    rows = rows_in(out)
    assert [row["path"] for row in rows] == (names or paths)
    for path, row in zip(paths, rows, strict=True):
        if Path(path).stem in failing:
            assert row["embedding"] == [0] * EMBED_DIM
            assert row["error"]
        else:
            assert row["error"] is None
            np.testing.assert_allclose(row["embedding"], bundle.embed_images([path])[0], rtol=0, atol=1e-6)
    assert not list(out.glob("*.part"))


def itl(*args: str | Path, **options: Any) -> Result:
    """A command in this process, which is connected to the cluster."""
    return CliRunner().invoke(main, [str(arg) for arg in args], **options)


def error_of(result: Result | subprocess.CompletedProcess[str], exit_code: int = 1) -> str:
    """The error that a command ended with, on one line."""
    found = result.exit_code if isinstance(result, Result) else result.returncode
    assert found == exit_code, result.stderr
    lines = result.stderr.splitlines()
    assert "Traceback" not in result.stderr
    assert lines[-1].startswith("Error: ")
    assert [line for line in lines if line.startswith("Error: ")] == lines[-1:]
    return lines[-1].removeprefix("Error: ")


def command(*args: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    run = [sys.executable, "-m", "itl_infer", *map(str, args)]
    return subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, **options)


@contextmanager
def in_one_process() -> Iterator[None]:
    """Inside, what would run in the actors of a cluster is done here, one number after the other."""

    def here(worker: Any, settings: dict[str, Any], numbers: list[int], _cpus: float) -> Iterator[Any]:
        yield from map(worker(**settings), numbers)

    with pytest.MonkeyPatch.context() as patch:
        for module in ("embedding", "searching"):
            patch.setattr(f"itl_infer.distributed.{module}.map_numbers", here)
            patch.setattr(f"itl_infer.distributed.{module}.connected", lambda _address: nullcontext())
        yield
