"""Keras files of the original project, weights and tokenizer: layers and stems, or one line."""

from __future__ import annotations

from collections.abc import Iterator

from export.errors import ExportError
from export.from_keras.stack import read_branch
from export.from_keras.tokenizer import read_stems
from tests.fuzz.helpers import require_line, scratch
from tests.places import TESTS

_MODEL, _TOKENIZER = b"m", b"t"  # what the first byte says that the rest is


def seeds() -> Iterator[bytes]:
    """The files of the fixture."""
    for path in sorted((TESTS / "fixtures" / "keras").glob("*/*")):
        if path.suffix == ".pickle":
            yield _TOKENIZER + path.read_bytes()
        elif path.stat().st_size < 40_000:
            yield _MODEL + path.read_bytes()


def run(data: bytes) -> None:
    """Read a model, or a tokenizer."""
    path = scratch() / "keras"
    path.write_bytes(data[1:])
    try:
        if data[:1] == _TOKENIZER:
            read_stems(path)
        else:
            read_branch(path)
    except ExportError as error:
        require_line(error)
