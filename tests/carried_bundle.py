"""A tiny bundle that reads a few words of colour as those that it knows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from itl_infer.bundle.manifest import write_manifest

TABLE = """# for people
crimson\t\tred 1
maroon\t\tred .6\tblue .2
turquois\te\tgreen+blue .5\tbright .25
"""


def with_carried(bundle: Path, folder: Path, table: str | bytes = TABLE) -> Path:
    """A copy of a bundle, in the new `folder`, with this table of carried words."""
    shutil.copytree(bundle, folder)
    (folder / "carried.tsv").write_bytes(table if isinstance(table, bytes) else table.encode())
    write_manifest(folder, json.loads((folder / "bundle.json").read_text(encoding="utf-8")))
    return folder
