"""Pushes that are killed, and disks that are read-only or full: nothing is lost and nothing is there twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from itl_infer import Bundle, Index
from itl_infer.milvus.address import Address

pytest.importorskip("pymilvus", reason="needs the extra: pip install 'itl-infer[milvus]'")
pytest.importorskip("milvus_lite", reason="needs the extra: pip install 'itl-infer[milvus]'")
from itl_infer import milvus
from tests.runtime.milvus.helpers import (
    assert_holds,
    error_of,
    process,
    pushing,
    rows_of,
    unit_rows,
    write_rows,
)

pytestmark = pytest.mark.cluster


# --- kills


@pytest.mark.parametrize("batches", [1, 4, 17])
def test_killed_in_the_middle_nothing_is_lost_and_nothing_twice(
    tmp_path: Path, bundle: Bundle, batches: int
) -> None:
    index = write_rows(tmp_path / "photos.itl", bundle, unit_rows(2000))
    address = f"milvus:{tmp_path}/photos.db#photos"
    with pushing(index.path, address, batch_rows=40) as process:
        assert process.stdout
        for _ in range(batches):
            done = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    assert done == 40 * batches
    partial = rows_of(address)
    assert done <= len(partial) < 2000
    position = {path: row for row, path in enumerate(index.paths)}
    for path, embedding in partial.items():
        np.testing.assert_array_equal(embedding, index.embeddings[position[path]])
    report = milvus.push(index.path, address)
    assert (report.added, report.unchanged) == (2000 - len(partial), len(partial))
    assert_holds(address, index)


def test_killed_before_the_collection_has_its_index(colours: Index) -> None:
    from itl_infer.milvus.client import Connection
    from itl_infer.milvus.setup import create_collection
    from itl_infer.milvus.sources import open_source

    address = f"milvus:{colours.path.parent}/photos.db#photos"
    connection = Connection(Address.parse(address), create=True)
    create_collection(connection, open_source(colours.path).origin)
    connection.close()
    assert "has no index yet, as its push was interrupted" in error_of("query", "red", "-d", address)
    assert milvus.push(colours.path, address).added == 8
    assert_holds(address, colours)


# --- disks


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts something, for root on Linux."""
    mounts: list[Path] = []

    def make(*options: str) -> Path:
        place = tmp_path / "mount"
        place.mkdir(exist_ok=True)
        if (
            sys.platform != "linux"
            or os.geteuid() != 0
            or subprocess.run(["mount", *options, str(place)], capture_output=True).returncode
        ):
            pytest.skip("only root can mount a disk")
        mounts.append(place)
        return place

    yield make
    for place in set(mounts):
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.usefixtures("pushed")
def test_a_read_only_folder(colours: Index, mount: Callable[..., Path]) -> None:
    place = mount("--bind", str(colours.path.parent))
    mount("-o", "remount,ro,bind")
    for args in (
        ["query", "red", "-d", f"milvus:{place}/photos.db#photos"],
        ["push", colours.path, "--to", place / "new.db", "--collection", "photos"],
    ):
        assert "cannot be written, and Milvus Lite must even to read" in error_of(*args)


def test_a_full_disk_costs_nothing_that_was_pushed(
    tmp_path: Path, bundle: Bundle, mount: Callable[..., Path]
) -> None:
    disk = mount("-t", "tmpfs", "-o", "size=3m", "tmpfs")
    index = write_rows(tmp_path / "photos.itl", bundle, unit_rows(6000))
    address = f"milvus:{disk}/photos.db#photos"
    push = ["push", index.path, "--to", disk / "photos.db", "--collection", "photos", "--batch-size", "100"]
    found = process(*push)  # another one: what Milvus Lite cannot write, it cannot close
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (1, "", 1)
    [done] = map(
        int, re.findall(r": free some space and run again; (\d+) of 6000 pictures are pushed", found.stderr)
    )
    assert 0 < done < 6000
    subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
    report = milvus.push(index.path, address)
    assert report.unchanged >= done
    assert_holds(address, index)
