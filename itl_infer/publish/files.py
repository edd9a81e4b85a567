"""Files of the data that a page reads, each with its hash for the manifest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

Written = dict[str, dict[str, Any]]
"""By its name relative to the folder, the "sha256" and the "bytes" of each file."""


def write_file(folder: Path, name: str, content: bytes, written: Written) -> None:
    """Write one file, and note it in `written`."""
    (folder / name).write_bytes(content)
    written[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def write_json(folder: Path, name: str, content: Any, written: Written) -> None:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    write_file(folder, name, text.encode(), written)
