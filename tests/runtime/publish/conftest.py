"""The shipped bundle as a page has it, and node to run the page's JavaScript."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from itl_infer import Bundle, Index, load_bundle
from itl_infer.publish.index_data import write_vectors
from itl_infer.publish.text_data import write_text_data
from tests.places import STARTER
from tests.runtime.publish.helpers import NODE, Node, running_node


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return load_bundle(STARTER)


@pytest.fixture(scope="session")
def gallery(bundle: Bundle) -> Index:
    """The pictures that come with the bundle."""
    assert bundle.gallery_index_path is not None
    return Index.open(bundle.gallery_index_path, bundle, mode="r")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle, gallery: Index) -> Path:
    """What a page reads: the text side of the shipped bundle, and its gallery. Not to be changed."""
    folder = tmp_path_factory.mktemp("published")
    write_text_data(bundle, folder)
    write_vectors(gallery.embeddings, folder)
    return folder


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Iterator[Node]:
    """The page's modules over that data; without node, the test is skipped."""
    if NODE is None:
        pytest.skip("no node on this machine")
    with running_node(tmp_path_factory.mktemp("node"), data) as node:
        yield node
