"""The stems of the original tokenizer's pickle: `export/limited/tokenizer.py` reads it in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

from export.errors import ExportError
from export.limited.reader import LimitedReader

_LONGER = 6  # times: what JSON makes of a letter
_reader = LimitedReader("from export.limited.tokenizer import main; main()", "pickled Keras tokenizer")


def read_stems(path: Path) -> list[str]:
    """The stems of a pickled Keras tokenizer in the order of their indices, which start at 1.

    ExportError for anything else, naming what the pickle asks for; nothing in it is imported or called.
    """
    if not path.is_file():
        raise ExportError(f"no tokenizer at {path}: give the path of the pickled Keras tokenizer")
    _, content = _reader.read(path, 2**10 + _LONGER * path.stat().st_size)
    stems: list[str] = json.loads(content)
    return stems
