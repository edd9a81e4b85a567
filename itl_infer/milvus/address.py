"""What a collection is called: milvus:URI#NAME, with search parameters behind a question mark."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from itl_infer.errors import IndexStoreError
from itl_infer.store import MILVUS

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_CREDENTIALS = re.compile(r"(?<=://)[^/@]*@")
_SCHEMES = ("http", "https", "tcp")
_EXPECTED = (
    "expected milvus:URI#NAME, such as milvus:http://localhost:19530#photos or milvus:photos.db#photos"
)


@dataclass(frozen=True)
class Address:
    """A collection, on a cluster or in a file of Milvus Lite."""

    # http(s)://[TOKEN@]HOST[:PORT][/DATABASE], or a path that ends in .db
    uri: str = field(repr=False)
    name: str
    search: Mapping[str, float] = field(default_factory=dict)  # of the engine, such as ef or nprobe

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise IndexStoreError(
                f"{self.name or 'the empty name'}: no name of a collection: give letters, digits and _, no digit first"
            )
        if self.lite is None:
            _check_uri(self.uri)

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises IndexStoreError for what is no address."""
        uri, mark, name = text.removeprefix(MILVUS).rpartition("#")
        name, _, search = name.partition("?")
        if not text.startswith(MILVUS) or not mark or not uri or not name:
            raise IndexStoreError(f"{_without_credentials(text)}: {_EXPECTED}")
        try:
            parameters = dict(map(parse_parameter, search.split("&"))) if search else {}
        except ValueError as error:
            raise IndexStoreError(
                f"{error}: a search parameter is a name and a number, such as ef=128"
            ) from error
        return cls(uri, name, parameters)

    @property
    def lite(self) -> Path | None:
        """The folder of a Milvus Lite; None for a cluster."""
        return Path(self.uri).expanduser() if self.uri.endswith(".db") and "://" not in self.uri else None

    @property
    def has_credentials(self) -> bool:
        """Whether the URI says who asks."""
        return bool(_CREDENTIALS.search(self.uri))

    @property
    def place(self) -> str:
        """The URI to show, without what is secret in it."""
        return _without_credentials(self.uri)

    def __str__(self) -> str:
        return f"{MILVUS}{self.place}#{self.name}"


def _check_uri(uri: str) -> None:
    shown = _without_credentials(uri)
    try:
        parts = urlsplit(uri)
        is_right = parts.scheme in _SCHEMES and bool(parts.hostname)
        _ = parts.port  # ValueError for one that is none
    except ValueError as error:
        raise IndexStoreError(f"{shown}: {str(error).lower()}: {_EXPECTED}") from error
    if not is_right:
        raise IndexStoreError(f"{shown}: neither http://HOST:PORT nor a path that ends in .db: {_EXPECTED}")


def parse_parameter(text: str) -> tuple[str, float]:
    """NAME=NUMBER. ValueError, which says the text, for anything else."""
    name, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(text) from None
    return name, int(number) if number.is_integer() else number


def _without_credentials(text: str) -> str:
    return _CREDENTIALS.sub("", text)
