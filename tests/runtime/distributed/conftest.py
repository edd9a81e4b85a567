"""Two nodes of Ray on this machine, what can be wrong with them, and pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import itl_infer
from tests.places import ROOT
from tests.runtime.distributed.helpers import in_one_process, write_pictures

# Python runs a module of this name at start-up: here, in every process of the nodes. Files beside it say what is
# wrong with them: a disk that is slow or full, a package that is not installed, a folder that is not mounted.
SITECUSTOMIZE = """
import errno, os, pathlib, sys, time

HERE = pathlib.Path(__file__).parent
fsync, is_dir, open_path, exists = os.fsync, pathlib.Path.is_dir, pathlib.Path.open, os.path.exists

def slow_or_full(descriptor):
    if exists(HERE / "slow"):
        time.sleep(0.4)
    if exists(HERE / "full"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    fsync(descriptor)

def named(what, path):
    return exists(HERE / what) and open_path(HERE / what).read() == str(path)

def is_seen(path, **options):
    return is_dir(path, **options) and not named("unseen", path)

def open_or_die(path, *args, **options):
    if named("deadly", path):
        os._exit(1)
    return open_path(path, *args, **options)

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "itl_infer" and exists(HERE / "absent"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if name in ("pillow_heif", "rawpy") and exists(HERE / "plain"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

os.fsync, pathlib.Path.is_dir, pathlib.Path.open = slow_or_full, is_seen, open_or_die
sys.meta_path.insert(0, Absent())
"""


@pytest.fixture(scope="package")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that decides what is wrong with the nodes."""
    folder = tmp_path_factory.mktemp("nodes")
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    return folder


@pytest.fixture(scope="package")
def cluster(nodes: Path) -> Iterator[str]:
    """The address of two nodes with a CPU each, to which this process is connected."""
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(nodes), str(ROOT)]))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # else whatever else runs on this machine goes before
        node = {"num_cpus": 1, "object_store_memory": 2**27}
        started = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        started.add_node(**node)
        patch.delenv("PYTHONPATH")
        ray.init(address=started.address, log_to_driver=False, logging_level="error")
        yield started.address
        ray.shutdown()
        started.shutdown()


@pytest.fixture
def one_process() -> Iterator[None]:
    with in_one_process():
        yield


@pytest.fixture
def node_is(nodes: Path) -> Iterator[Callable[..., None]]:
    """Makes something wrong with the nodes, until the test is over."""
    made = set()

    def make(what: str, detail: str = "") -> None:
        made.add(nodes / what)
        (nodes / what).write_text(detail)

    yield make
    for file in made:
        file.unlink()


@pytest.fixture
def bundle(tiny_bundle: Path) -> itl_infer.Bundle:
    return itl_infer.load_bundle(tiny_bundle)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Thirteen good ones of plain colours, two of them the same, in two folders; a bad one, and one that is empty."""
    folder = tmp_path / "Pictures"
    write_pictures(folder, 8)
    write_pictures(folder / "sub folder", 4, seed=50)
    (folder / "sub folder" / "100%#same?.png").write_bytes((folder / "003.png").read_bytes())
    (folder / "bad.jpg").write_bytes(b"bad")
    (folder / "empty.png").touch()
    (folder / "notes.txt").write_text("no picture")
    return folder
