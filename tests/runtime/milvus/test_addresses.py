"""Addresses of collections, and paths as texts."""

from __future__ import annotations

import contextlib
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itl_infer import IndexStoreError
from itl_infer.milvus.address import Address
from itl_infer.milvus.rows import key_of, path_to_text, text_to_path

pytest.importorskip("pymilvus", reason="needs the extra: pip install 'itl-infer[milvus]'")
pytest.importorskip("milvus_lite", reason="needs the extra: pip install 'itl-infer[milvus]'")

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize(
    ("text", "uri", "name", "shown"),
    [
        ("milvus:photos.db#photos", "photos.db", "photos", None),
        ("milvus:C:\\my # photos.db#_p1", "C:\\my # photos.db", "_p1", None),
        ("milvus:http://localhost:19530#photos", "http://localhost:19530", "photos", None),
        ("milvus:https://[::1]:443/db#p", "https://[::1]:443/db", "p", None),
        ("milvus:http://ada:secret@host#p", "http://ada:secret@host", "p", "milvus:http://host#p"),
    ],
)
def test_an_address(text: str, uri: str, name: str, shown: str | None) -> None:
    address = Address.parse(text)
    assert (address.uri, address.name, dict(address.search)) == (uri, name, {})
    assert str(address) == (shown or text)
    assert (address.lite is None) == ("://" in uri)
    assert address.has_credentials == ("@" in uri)
    assert Address.parse(f"{text}?ef=200&nprobe=8.5").search == {"ef": 200, "nprobe": 8.5}


@given(st.text())
def test_any_other_text_is_no_address_and_says_so_in_one_line(text: str) -> None:
    with contextlib.suppress(IndexStoreError):
        address = Address.parse(f"milvus:{text}")
        assert Address.parse(str(address)).name == address.name
        return
    with pytest.raises(IndexStoreError) as caught:
        Address.parse(f"milvus:{text}")
    assert "expected" in str(caught.value) or "name" in str(caught.value)


@given(st.binary(max_size=30).filter(lambda name: b"\0" not in name))
def test_every_path_is_a_text_and_comes_back(name: bytes) -> None:
    path = os.fsdecode(name)
    text = path_to_text(path)
    text.encode()
    assert text_to_path(text) == path
    assert re.fullmatch("[0-9a-f]{32}", key_of(path))


def test_private_characters_of_a_path_are_not_mistaken_for_bytes() -> None:
    names = ["\U0010ffe9.jpg", os.fsdecode(b"\xe9.jpg"), "\U0010ff00", "é.jpg"]
    assert len({path_to_text(name) for name in names}) == 4
    assert [text_to_path(path_to_text(name)) for name in names] == names
