"""A bundle is built in a folder beside its own, and takes its place when it verifies."""

from __future__ import annotations

import shutil
from pathlib import Path

from export.errors import ExportError
from itl_infer.bundle import verify_bundle


def new_folder(out: Path) -> Path:
    """An empty folder beside `out`, to build in."""
    building = out.with_name(out.name + ".building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    return building


def take_place(building: Path, out: Path) -> None:
    """Verify a bundle, and put it where it belongs; ExportError, and `out` as it was, if it does not verify."""
    if problems := verify_bundle(building).problems:
        raise ExportError(f"the new bundle does not verify: {problems[0]}")
    retired = out.with_name(out.name + ".old")
    shutil.rmtree(retired, ignore_errors=True)
    if out.exists():
        out.replace(retired)
    building.replace(out)
    shutil.rmtree(retired, ignore_errors=True)
