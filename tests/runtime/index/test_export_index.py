"""An index as .npy, JSON lines and Parquet."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from itl_infer.errors import IndexStoreError, MissingExtraError
from itl_infer.index import Index
from itl_infer.index.export import export_index


def test_export_npy(index: Index, tmp_path: Path) -> None:
    written = export_index(index, tmp_path / "out.npy", "npy")
    assert written == [tmp_path / "out.npy", tmp_path / "out.paths.json"]
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), index.embeddings)
    assert json.loads((tmp_path / "out.paths.json").read_bytes()) == index.paths[:]


def test_export_jsonl(index: Index, tmp_path: Path) -> None:
    export_index(index, tmp_path / "out.jsonl", "jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["path"] for line in lines] == index.paths[:]
    np.testing.assert_array_equal(
        np.array([line["embedding"] for line in lines], np.float32), index.embeddings
    )


def test_export_parquet(index: Index, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    export_index(index, tmp_path / "out.parquet", "parquet")
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table["path"].to_pylist() == index.paths[:]
    np.testing.assert_array_equal(np.array(table["embedding"].to_pylist(), np.float32), index.embeddings)


def test_export_names_the_extra_that_is_missing(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'itl-infer\[parquet\]'"):
        export_index(index, tmp_path / "out.parquet", "parquet")


def test_a_failed_export_leaves_what_was_there(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out.jsonl").write_text("before")
    monkeypatch.setattr(json, "dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_index(index, tmp_path / "out.jsonl", "jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "before"
    assert not list(tmp_path.glob("*.part"))
    with pytest.raises(IndexStoreError, match="name a file that can be written"):
        export_index(index, tmp_path / "none" / "out.npy", "npy")
