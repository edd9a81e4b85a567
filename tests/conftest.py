"""What every test may use: the data shared beside the checkout, and hypothesis without a stopwatch."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import settings

# So that what a helper asserts says what it found, as a test's own asserts do.
pytest.register_assert_rewrite("tests.fake_bundle", "tests.runtime", "tests.export")

from tests.places import SHARED
from tests.tiny_bundle import make_tiny_bundle

settings.register_profile("itl-infer", deadline=None, print_blob=True)
settings.load_profile("itl-infer")

# Programs inherit an ignored Ctrl+C, as that of a shell's background job is; tests send it to some.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
