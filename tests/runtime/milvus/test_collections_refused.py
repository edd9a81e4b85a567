"""What is no collection, no source, or does not go together, in one line each; and what needs no Milvus."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itl_infer import Bundle, Index
from tests.tiny_bundle import make_tiny_bundle

pytest.importorskip("pymilvus", reason="needs the extra: pip install 'itl-infer[milvus]'")
pytest.importorskip("milvus_lite", reason="needs the extra: pip install 'itl-infer[milvus]'")
from itl_infer import milvus
from tests.places import ROOT
from tests.runtime.milvus.helpers import assert_holds, error_of, output_of, process, unit_rows, write_shard

pytestmark = pytest.mark.cluster


INSTALL = "pip install 'itl-infer[milvus]'"


@pytest.mark.parametrize(
    ("location", "message"),
    [
        (
            "milvus:x",
            r"milvus:x: expected milvus:URI#NAME, such as milvus:http://localhost:19530#photos or .*",
        ),
        ("milvus:#x", "milvus:#x: expected milvus:URI#NAME, .*"),
        ("milvus:ftp://x#y", r"ftp://x: neither http://HOST:PORT nor a path that ends in \.db: expected .*"),
        ("milvus:http://h:99999#y", "http://h:99999: port out of range 0-65535: expected .*"),
        ("milvus:a.db#9", "9: no name of a collection: give letters, digits and _, no digit first"),
        ("milvus:a.db#a?ef", "ef: a search parameter is a name and a number, such as ef=128"),
        ("milvus:none.db#a", r"none\.db: no such file: itl-infer push makes it"),
        (
            "milvus:text.db#a",
            r"text\.db: no Milvus Lite \(of version 3, which is a folder\): name another file",
        ),
        (
            "milvus:folder.db#a",
            r"folder\.db: no Milvus Lite \(of version 3, which is a folder\): name another file",
        ),
        (
            "milvus:photos.db#none",
            r"milvus:photos\.db#none: no such collection: itl-infer push INDEX --to photos\.db --collection none",
        ),
    ],
)
@pytest.mark.usefixtures("pushed")
def test_a_collection_that_is_not_there(
    tmp_path: Path, location: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.db").write_text("Dear all")
    Path("folder.db").mkdir()
    Path("folder.db", "letter.txt").write_text("Dear all")
    before = sorted(path.name for path in tmp_path.iterdir())
    for command in (["query", "red"], ["check"]):
        assert re.fullmatch(f"Error: {message}", error_of(*command, "-d", location))
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_another_bundle_is_refused(colours: Index, pushed: str, tmp_path: Path) -> None:
    rules = {"side": 16, "resize": "bilinear-antialias", "pixel_scaling": "inception"}
    other = make_tiny_bundle(tmp_path / "other", name="other", image=rules)
    expected = rf"made with bundle 'tiny' \({colours.state.bundle_fingerprint[:12]}\), not with 'other' "
    line = error_of("query", "red", "-d", pushed, "-m", other)
    assert re.search(expected, line)
    index = tmp_path / "other.itl"
    output_of("embed-images", tmp_path / "pictures", "-d", index, "-m", other)
    for command in (
        ["push", index, "--to", tmp_path / "photos.db", "--collection", "photos"],
        ["check", "-d", pushed, "--against", index],
    ):
        assert re.search(expected, error_of(*command))
    assert_holds(pushed, colours)


def test_other_widths_and_foreign_collections_are_refused(
    pushed: str, colours: Index, tmp_path: Path, bundle: Bundle
) -> None:
    shard = tmp_path / "narrow" / "part-000000.parquet"
    write_shard(shard, ["a.jpg"], unit_rows(1, dim=8), bundle.fingerprint)
    to = ["--to", tmp_path / "photos.db", "--collection"]
    line = error_of("push", tmp_path / "narrow", *to, "photos")
    assert line.endswith("#photos: its embeddings have 128 numbers, expected 8: push into another collection")
    from pymilvus import MilvusClient

    with milvus.Collection.open(pushed):  # keeps Milvus Lite open
        client = MilvusClient(str(tmp_path / "photos.db"))
        client.create_collection("foreign", dimension=128)
        client.close()
    for command in (
        ["query", "red", "-d", f"milvus:{tmp_path}/photos.db#foreign"],
        ["push", colours.path, *to, "foreign"],
    ):
        assert "#foreign: not made by itl-infer push" in error_of(*command)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Path.exists, "{}: no index here: "),
        (Path.mkdir, "{}: no index here: "),
        (
            lambda folder: folder.with_suffix(".parquet").write_text("Dear all"),
            "{}.parquet: cannot be read: ",
        ),
    ],
)
def test_a_source_that_is_none(tmp_path: Path, make: Callable[[Path], Any], message: str) -> None:
    source = tmp_path / "source"
    make(source)
    if source.with_suffix(".parquet").exists():
        source = source.with_suffix(".parquet")
    line = error_of("push", source, "--to", tmp_path / "photos.db", "--collection", "photos")
    assert line.startswith(f"Error: {message.format(tmp_path / 'source')}")
    assert not (tmp_path / "photos.db").exists()


def test_parquet_that_is_not_ours(tmp_path: Path, bundle: Bundle) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows, units = (
        pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values.reshape(-1)), 8)
        for values in (np.ones(16, np.float32), unit_rows(2, dim=8))
    )
    ours = {b"itl_infer.bundle": bundle.fingerprint}
    for columns, metadata, message in (
        ({"path": ["a", "b"]}, ours, "no column 'embedding', only path: is it of itl-infer?"),
        ({"path": [1, 2], "embedding": rows}, ours, "the column path is int64, expected string"),
        ({"path": ["a", "b"], "embedding": [[1.0], [2.0]]}, ours, "the column embedding is list<"),
        ({"path": ["a", "b"], "embedding": rows}, {}, "does not say which bundle it was made with"),
        ({"path": ["a", "b"], "embedding": rows}, ours, "holds embeddings that are not of unit length"),
        ({"path": ["a", None], "embedding": units}, ours, "holds a picture without a path"),
        ({"path": [], "embedding": rows[:0]}, ours, "no pictures in it, so nothing was pushed"),
    ):
        table = pyarrow.table(columns)
        if columns["path"] == []:
            table = pyarrow.table(
                [pyarrow.array([], pyarrow.string()), rows[:0]], names=["path", "embedding"]
            )
        parquet.write_table(table.replace_schema_metadata(metadata), tmp_path / "a.parquet")
        line = error_of("push", tmp_path / "a.parquet", "--to", tmp_path / "a.db", "--collection", "a")
        assert line.startswith(f"Error: {tmp_path / 'a.parquet'}: {message}"), line


def test_commands_that_need_an_index_say_so(pushed: str, tmp_path: Path) -> None:
    for command in (
        ["status"],
        ["prune"],
        ["embed-images", tmp_path / "pictures"],
        ["evaluate", "--captions", "x"],
    ):
        line = error_of(*command, "-d", pushed, exit_code=2)
        assert "A collection of Milvus will not do here" in line
    assert "--repair and --wait are for an index" in error_of("check", "-d", pushed, "--repair", exit_code=2)
    line = error_of("check", "-d", tmp_path / "photos.itl", "--sample", "3", exit_code=2)
    assert "--sample is for a collection" in line
    line = error_of("push", "a", "--to", pushed, "--collection", "b", exit_code=2)
    assert "--to takes the URI alone" in line


def test_milvus_lite_serves_one_process(pushed: str, tmp_path: Path) -> None:
    with milvus.Collection.open(pushed):
        other = process("query", "red", "-d", pushed)
    assert (other.returncode, other.stdout) == (1, "")
    assert other.stderr == (
        f"Error: {tmp_path}/photos.db: in use by another process, and Milvus Lite serves one at a time: wait for it to"
        " end\n"
    )


def test_without_the_extra_there_is_the_line_that_installs_it(
    pushed: str, tmp_path: Path, colours: Index
) -> None:
    blocker = tmp_path / "absent"
    blocker.mkdir()
    for absent in ("pymilvus", "milvus_lite"):
        (blocker / "sitecustomize.py").write_text(f"import sys\nsys.modules[{absent!r}] = None\n")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(blocker), str(ROOT)])}
        for args in (
            ["query", "red", "-d", pushed],
            ["push", str(colours.path), "--to", str(tmp_path / "new.db"), "--collection", "photos"],
        ):
            found = process(*args, env=environment)
            assert (found.returncode, found.stdout) == (1, "")
            assert found.stderr.count("\n") == 1
            assert found.stderr.endswith(f"{absent}: {INSTALL}\n")


def test_a_query_of_an_index_imports_nothing_of_this(colours: Index) -> None:
    check = (
        "import sys\nfrom itl_infer.cli import main\n"
        f"main(['query', 'red', '-d', {str(colours.path)!r}], standalone_mode=False)\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(names & {'pymilvus', 'milvus_lite', 'grpc', 'pandas', 'pyarrow'}, 'itl_infer.milvus' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert found.stdout.splitlines()[-1] == "set() False"
