"""What a run did, and what an index shows."""

from __future__ import annotations

from pathlib import Path

from itl_infer.ingest import Report


def counts(report: Report) -> dict[str, int]:
    """What is not zero in a report."""
    skipped = ("seconds", "images_per_second")
    numbers = {name: value for name, value in report.to_json().items() if name not in skipped}
    numbers["failed"] = len(report.failed)
    numbers["kept"] = sum(kept.pictures for kept in report.kept)
    return {name: number for name, number in numbers.items() if number}


def pictures_in(*folders: Path) -> list[str]:
    return [str(path) for folder in folders for path in folder.rglob("*.bmp")]
