"""What a push sends: all of it once, what changed later, from indexes and from shards."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itl_infer import Bundle, Index, embed_directory
from itl_infer.index import Picture
from tests.facts_aside import without_facts
from tests.terminal import run_with_terminal

pytest.importorskip("pymilvus", reason="needs the extra: pip install 'itl-infer[milvus]'")
pytest.importorskip("milvus_lite", reason="needs the extra: pip install 'itl-infer[milvus]'")
from itl_infer import milvus
from tests.runtime.milvus.helpers import (
    assert_holds,
    drop,
    output_of,
    rows_of,
    run,
    unit_rows,
    write_rows,
    write_shard,
)

pytestmark = pytest.mark.cluster


def test_only_what_is_new_or_changed_is_sent(tmp_path: Path, bundle: Bundle) -> None:
    index = write_rows(tmp_path / "photos.itl", bundle, unit_rows(300))
    address = f"milvus:{tmp_path}/photos.db#photos"
    first = milvus.push(index.path, address, batch_rows=64)
    assert (first.added, first.updated, first.unchanged, first.removed, first.kept) == (300, 0, 0, 0, 0)
    assert first.seconds > 0
    assert first.pictures_per_second > 0
    assert_holds(address, index)
    before = rows_of(address)
    again = milvus.push(index.path, address, batch_rows=77)
    assert (again.added, again.updated, again.unchanged) == (0, 0, 300)
    assert rows_of(address).keys() == before.keys()

    gone = index.paths[:20]
    drop(index, gone)
    with index.writing() as writer:
        [root] = writer.roots().values()
        for i, embedding in enumerate(unit_rows(30, seed=5)):  # 10 new ones, 20 with another content
            writer.add(
                Picture(root.id, b"%05d.jpg" % (290 + i if i < 20 else 1000 + i), 2, 2, b"%016d" % i),
                embedding,
            )
        writer.commit()
    third = milvus.push(index.path, address)
    assert (third.added, third.updated, third.unchanged, third.removed, third.kept) == (20, 10, 270, 0, 20)
    assert rows_of(address).keys() == {*index.paths, *gone}
    fourth = milvus.push(index.path, address, prune=True)
    assert (fourth.added, fourth.updated, fourth.unchanged, fourth.removed, fourth.kept) == (0, 0, 300, 20, 0)
    assert_holds(address, index)


@settings(max_examples=8)
@given(st.lists(st.dictionaries(st.integers(0, 30), st.integers(0, 2)), min_size=1, max_size=3))
def test_whatever_an_index_becomes_a_push_follows(bundle: Bundle, states: list[dict[int, int]]) -> None:
    """Each state of the index says which pictures there are, and which content each has."""
    contents = unit_rows(3)
    with tempfile.TemporaryDirectory() as name:
        folder, address = Path(name), f"milvus:{name}/photos.db#photos"
        before: dict[int, int] = {}
        for number, state in enumerate(states):
            state = {**state, 31: 0}  # an empty one is an error
            shutil.rmtree(folder / "photos.itl", ignore_errors=True)
            index = write_rows(
                folder / "photos.itl", bundle, contents[list(state.values())], [b"%d.jpg" % i for i in state]
            )
            report = milvus.push(index.path, address, prune=number % 2 == 0)
            there = state.keys() & before.keys()
            assert report.added == len(state) - len(there)
            assert report.updated == sum(state[i] != before[i] for i in there)
            assert report.unchanged == len(there) - report.updated
            assert report.removed + report.kept == len(before.keys() - state.keys())
            before = state if number % 2 == 0 else {**before, **state}
        milvus.push(index.path, address, prune=True)
        assert_holds(address, index)


def test_several_sources_share_a_collection(tmp_path: Path, bundle: Bundle) -> None:
    one = write_rows(tmp_path / "one" / "photos.itl", bundle, unit_rows(20))
    two = write_rows(tmp_path / "two" / "photos.itl", bundle, unit_rows(30, seed=1))
    address = f"milvus:{tmp_path}/photos.db#photos"
    milvus.push(one.path, address)
    assert milvus.push(two.path, address).kept == 20
    assert rows_of(address).keys() == {*one.paths, *two.paths}


def test_names_that_are_no_text(tmp_path: Path, bundle: Bundle) -> None:
    names = [
        b"\xff\xfe.jpg",
        "žluťoučký kůň.jpg".encode(),
        b"two\nlines\t.jpg",
        "\U0010ffff.jpg".encode(),
        b"'\"\\.jpg",
    ]
    index = write_rows(tmp_path / "photos.itl", bundle, unit_rows(5), names)
    address = f"milvus:{tmp_path}/photos.db#photos"
    milvus.push(index.path, address)
    assert_holds(address, index)
    found = output_of("query", "red", "-d", address, "--format", "json")
    here = output_of("query", "red", "-d", index.path, "--format", "json")
    assert json.loads(found) == json.loads(without_facts(here))
    assert milvus.push(index.path, address).unchanged == 5


def test_parquet(tmp_path: Path, bundle: Bundle) -> None:
    index = write_rows(tmp_path / "photos.itl", bundle, unit_rows(50))
    output_of("export-index", tmp_path / "photos.parquet", "-d", index.path)
    one, several = (f"milvus:{tmp_path}/photos.db#{name}" for name in ("one", "several"))
    report = milvus.push(tmp_path / "photos.parquet", one, batch_rows=7)
    assert (report.added, report.skipped) == (50, 0)
    assert_holds(one, index)
    assert milvus.push(index.path, one).unchanged == 50

    for number, block in enumerate((slice(0, 20), slice(15, 50))):  # five twice
        paths, embeddings = [*index.paths[block], "s3://bucket/broken.jpg"], index.embeddings[block]
        write_shard(tmp_path / "shards" / f"part-{number:06}.parquet", paths, embeddings, bundle.fingerprint)
    report = milvus.push(tmp_path / "shards", several)
    assert (report.added, report.unchanged, report.skipped) == (50, 0, 7)
    assert_holds(several, index)
    report = milvus.push(tmp_path / "shards", several)
    assert (report.added, report.unchanged, report.skipped) == (0, 50, 7)


def test_push_as_a_command(colours: Index) -> None:
    folder = colours.path.parent
    push = ["push", colours.path, "--to", folder / "photos.db", "--collection", "photos"]
    report = json.loads(output_of(*push, "--format", "json"))
    assert report.keys() == {
        *("added", "updated", "unchanged", "skipped", "removed", "kept", "seconds", "pictures_per_second")
    }
    assert report["added"] == 8
    assert re.fullmatch(r"added 0, unchanged 8 \(\d+\.\d s, \d+\.\d pictures/s\)\n", output_of(*push))
    (folder / "pictures" / "red.png").unlink()
    embed_directory(folder / "pictures", colours)
    result = run(*push)
    assert result.stderr == (
        f"1 pictures of the collection are not in {colours.path}; they are kept (--prune deletes them)\n"
    )
    assert "removed 1" in output_of(*push, "--prune")
    assert_holds(f"milvus:{folder}/photos.db#photos", colours)


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_progress_is_for_terminals_only(tmp_path: Path, bundle: Bundle) -> None:
    index = write_rows(tmp_path / "photos.itl", bundle, unit_rows(2000))
    command = ["push", str(index.path), "--to", str(tmp_path / "photos.db"), "--collection", "photos"]
    stdout, drawn = run_with_terminal([sys.executable, "-m", "itl_infer", *command, "--batch-size", "50"])
    assert stdout.startswith(b"added 2000, ")
    assert re.search(rb"/2000 pictures  [\d.]+/s  [\d:]+ left", drawn)
    assert drawn.endswith(b"\r")  # wiped away
