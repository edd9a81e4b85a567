"""What every test may use, and which tests go together where several processes share them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# So that what a helper asserts says what it found, as a test's own asserts do.
pytest.register_assert_rewrite("tests.fake_bundle", "tests.runtime", "tests.export")

from tests.chromium import browser  # noqa: F401, a fixture
from tests.places import SHARED, TESTS
from tests.tiny_bundle import make_tiny_bundle

settings.register_profile("itl-infer", deadline=None, print_blob=True)
settings.load_profile("itl-infer")

# Tests start hundreds of programs, each of which would compile this package anew where that is not to be kept.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Programs inherit an ignored Ctrl+C, as that of a shell's background job is; tests send it to some.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# With several processes, those of a room below begin first, as they take longest; and a room that has something
# costly for all of its tests, such as a cluster, stays in one process.
_LONGEST = (
    "runtime/distributed",
    "export/runs",
    "runtime/index/test_killed.py",
    "export/trunk",
    "export/branches",
    "runtime/milvus",
    "export/from_keras",
    "runtime/web",
)
_TOGETHER = ("runtime/distributed", "export/runs", "runtime/milvus", "runtime/web")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of one file go to one process, and so do those of a room that share what is costly."""
    from xdist.scheduler import LoadScopeScheduling

    class Rooms(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0].removeprefix("tests/")
            return next((room for room in _TOGETHER if file.startswith(room)), file)

    return Rooms(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest groups come first; what is marked slow runs where the expression of -m names that mark."""
    if "slow" not in config.option.markexpr:
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]

    def priority(item: pytest.Item) -> int:
        file = item.path.relative_to(TESTS).as_posix()
        return next((n for n, start in enumerate(_LONGEST) if file.startswith(start)), len(_LONGEST))

    items.sort(key=priority)


def pytest_runtest_setup() -> None:
    """One process among several leaves the cores to the others: torch's threads wait for each other by spinning."""
    if "PYTEST_XDIST_WORKER" in os.environ and (torch := sys.modules.get("torch")):
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data beside the checkout; without it, the test is skipped."""
    if not (SHARED / "seed").is_dir():
        pytest.skip("no ../shared/seed beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real bundle, small enough to work out by hand (see tiny_bundle.py). Not to be changed."""
    return make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")
