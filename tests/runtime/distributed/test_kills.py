"""Workers and drivers are killed, disks are full, nodes lack something: what is finished stays."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("ray", reason="working on a cluster needs the extra: pip install -e .[ray]")
pytest.importorskip("pyarrow", reason="working on a cluster needs the extra: pip install -e .[ray]")
pytest.importorskip("ray.data", reason="working on a cluster needs the extra: pip install -e .[ray]")
import itl_infer
from itl_infer import distributed
from tests.places import ROOT
from tests.runtime.distributed.helpers import (
    assert_whole,
    error_of,
    files_in,
    in_one_process,
    itl,
    rows_in,
    write_pictures,
)

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*"),  # Ray warns of what it does itself
]


# Kills


def workers() -> list[int]:
    """The processes that embed."""
    listing = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True)
    return [int(line.split()[0]) for line in listing.stdout.splitlines() if " ray::MapWorker" in line]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_worker_is_killed(
    cluster: str, bundle: itl_infer.Bundle, tmp_path: Path, node_is: Callable[..., None]
) -> None:
    write_pictures(tmp_path / "Pictures", 24)
    node_is("slow")
    killed: list[int] = []

    def kill(progress: distributed.Progress) -> None:
        if progress.done and not killed:
            time.sleep(0.2)  # into the next shard
            killed.append(random.choice(workers()))
            os.kill(killed[0], signal.SIGKILL)

    report = distributed.embed(
        tmp_path / "Pictures", tmp_path / "out", bundle=bundle, address=cluster, shard_rows=2, progress=kill
    )
    assert killed
    assert report.embedded + report.kept == 24  # kept: written, and the worker killed before it could say so
    assert report.failed == 0
    assert_whole(tmp_path / "out", bundle, files_in(tmp_path / "Pictures"))


@pytest.mark.parametrize("by", ["SIGKILL", pytest.param("SIGINT", marks=pytest.mark.slow)])
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_the_driver_is_killed(
    cluster: str,
    bundle: itl_infer.Bundle,
    tmp_path: Path,
    node_is: Callable[..., None],
    by: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_pictures(tmp_path / "Pictures", 24)
    node_is("slow")
    out = tmp_path / "out"
    shards = 12
    monkeypatch.setenv("ITL_BUNDLE", str(bundle.path))
    code = "import sys, itl_infer.cli, itl_infer.distributed.plan as plan; plan._FEWEST_ROWS = 2; itl_infer.cli.run()"
    args = ["embed-images", "--ray", cluster, tmp_path / "Pictures", "--out", out]
    driver = subprocess.Popen(
        [sys.executable, "-c", code, *args], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while len(list(out.glob("part-*.parquet"))) < 3:
        assert driver.poll() is None
        time.sleep(0.02)
    os.kill(driver.pid, getattr(signal, by))
    stdout, stderr = driver.communicate()
    finished = {
        shard.name: (shard.stat().st_ino, shard.stat().st_mtime_ns) for shard in out.glob("part-*.parquet")
    }
    assert 3 <= len(finished) < shards
    assert driver.returncode == (130 if by == "SIGINT" else -signal.SIGKILL)
    assert stdout == b""
    assert stderr == (b"\nInterrupted; what was done is kept.\n" if by == "SIGINT" else b"")

    (out / f"part-000000.parquet.{'0' * 32}.part").touch()  # as of a worker that was killed while it wrote
    with in_one_process():
        report = distributed.embed(tmp_path / "Pictures", out, bundle=bundle)
    assert report.shards == shards
    assert report.kept >= 2 * len(finished)
    assert report.kept + report.embedded == 24
    assert_whole(out, bundle, files_in(tmp_path / "Pictures"))
    for name, was in finished.items():
        assert ((out / name).stat().st_ino, (out / name).stat().st_mtime_ns) == was


def test_a_picture_that_kills_workers_ends_the_run(
    cluster: str, bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path, node_is: Callable[..., None]
) -> None:
    node_is("deadly", str(pictures / "sub folder" / "001.png"))
    run = ("embed-images", "--ray", cluster, pictures, "--out", tmp_path / "out", "-m", bundle.path)
    error = error_of(itl(*run))
    assert error.startswith("the cluster could not go on: 5 workers died over shard 0, the last on node")


# Once more


@pytest.mark.usefixtures("one_process")
def test_what_failed_is_tried_again_where_that_is_asked_for(
    bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path
) -> None:
    options = {"bundle": bundle, "shard_rows": 4}
    distributed.embed(pictures, tmp_path / "out", **options)
    Image.new("RGB", (8, 8), "red").save(pictures / "bad.jpg")
    before = {shard: shard.stat().st_mtime_ns for shard in (tmp_path / "out").glob("part-*.parquet")}
    assert distributed.embed(pictures, tmp_path / "out", **options).kept == 15
    report = distributed.embed(pictures, tmp_path / "out", retry_failed=True, **options)
    assert (report.embedded, report.kept, report.failed) == (1, 13, 1)
    assert_whole(tmp_path / "out", bundle, files_in(pictures), failing=("empty",))
    assert sum(shard.stat().st_mtime_ns != was for shard, was in before.items()) == 1  # both stood in one


def test_a_full_disk_costs_nothing_that_is_finished(
    cluster: str,
    bundle: itl_infer.Bundle,
    pictures: Path,
    tmp_path: Path,
    node_is: Callable[..., None],
    nodes: Path,
) -> None:
    node_is("slow")

    def fill(progress: distributed.Progress) -> None:
        if progress.done:
            (nodes / "full").touch()

    options = {"bundle": bundle, "address": cluster, "shard_rows": 2}
    with pytest.raises(
        itl_infer.ClusterError, match=r"shard \d+ cannot be written: No space left on device; what is"
    ):
        distributed.embed(pictures, tmp_path / "out", progress=fill, **options)
    error = error_of(
        itl("embed-images", "--ray", cluster, pictures, "--out", tmp_path / "other", "-m", bundle.path)
    )
    assert error.startswith(
        f"{tmp_path / 'other'}: shard 0 cannot be written: No space left on device; what is"
    )
    (nodes / "full").unlink()
    finished = len(list((tmp_path / "out").glob("part-*.parquet")))
    assert 1 <= finished < 8
    with in_one_process():
        report = distributed.embed(pictures, tmp_path / "out", **options)
    assert report.kept in (2 * finished, 2 * finished - 1)
    assert_whole(tmp_path / "out", bundle, files_in(pictures))


# Nodes


def test_a_node_without_the_package(
    cluster: str, bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path, node_is: Callable[..., None]
) -> None:
    node_is("absent")
    error = error_of(
        itl("embed-images", "--ray", cluster, pictures, "--out", tmp_path / "out", "-m", bundle.path)
    )
    assert "No module named 'itl_infer'" in error
    assert "pip install 'itl-infer[ray]' on every node" in error


def test_a_node_that_does_not_see_a_folder(
    cluster: str, bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path, node_is: Callable[..., None]
) -> None:
    run = ("embed-images", "--ray", cluster, pictures, "--out", tmp_path / "out", "-m", bundle.path)
    for folder in (pictures, tmp_path / "out"):
        node_is("unseen", str(folder))
        error = error_of(itl(*run))
        assert error.startswith(
            f"{folder}: node {socket.gethostname()} does not see this folder: give one that all"
        )
    assert not rows_in(tmp_path / "out")
