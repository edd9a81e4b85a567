"""The benchmark's tables; its figures are for people to look at, not for a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.report import Table, spread, table_of_aims

RUN = Path(__file__).parent / "benchmarks" / "run.py"


def test_a_table_to_read_and_as_json() -> None:
    table = Table("Speeds", ("what", "images/s", "share"))
    table.add("one", spread([1.0, 2.0, 3.0, 4.0, 5.0], 1), 0.12345)
    table.add("another", spread([1000.0, 2000.0, 3000.0], 0), 1234.5)
    assert table.markdown().splitlines() == [
        "Speeds:",
        "",
        "| what | images/s | share |",
        "|---|---:|---:|",
        "| one | 3.0 (2.0-4.0) | 0.123 |",
        "| another | 2,000 (1,500-2,500) | 1,234 |",
    ]
    assert table.to_json()["rows"][0] == ["one", {"median": 3.0, "quartiles": [2.0, 4.0]}, 0.12345]


def test_aims_are_held_against_medians() -> None:
    table = Table("Speeds", ("what",))
    table.at_least("times as fast", 2.5, spread([1.0, 2.4, 9.0]))
    table.at_most("MB", 1000, 1000.0)
    assert table_of_aims(table.aims).markdown().splitlines()[-2:] == [
        "| times as fast | >= 2.5 | 2.4 | no |",
        "| MB | <= 1,000 | 1,000 | yes |",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["speed"], "unknown part speed"), (["text", "--photos", "nowhere"], "no pictures in nowhere")],
)
def test_what_cannot_be_measured_is_said(arguments: list[str], message: str) -> None:
    pytest.importorskip("torch", reason="the benchmark needs the extra: pip install -e .[bench]")
    run = subprocess.run([sys.executable, str(RUN), *arguments], capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].endswith(f"error: {message}")
