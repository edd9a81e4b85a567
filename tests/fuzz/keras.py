"""Keras files of the original project, weights and tokenizer: layers and stems, or one line.

What a process of its own has read within its limits is read here too, so that fuzzing is guided by what it reaches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from export.errors import ExportError
from export.from_keras.stack import read_branch
from export.from_keras.tokenizer import read_stems
from export.limited import hdf5, reader, tokenizer
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
    reader.SECONDS, reader.WALL_SECONDS = 0.5, 60.0
    path = scratch() / "keras"
    path.write_bytes(data[1:])
    is_tokenizer = data[:1] == _TOKENIZER
    try:
        read_stems(path) if is_tokenizer else read_branch(path)
    except ExportError as error:
        require_line(error)
        if "what reads it" in str(error) or "Memory" in str(error):
            return
    with contextlib.suppress(ExportError):
        tokenizer.read(path) if is_tokenizer else hdf5.read({"is_stack": True}, path)
