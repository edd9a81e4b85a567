"""The benchmark's tables; its figures are for people to look at, not for a test."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tests.benchmarks.report import Table, spread, table_of_aims
from tests.places import ROOT

RUN = ROOT / "tests" / "benchmarks" / "run.py"


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


def test_a_query_waits_for_the_slowest_of_its_shards() -> None:
    pytest.importorskip("torch", reason="the benchmark needs the extra: pip install -e .[bench]")
    from tests.benchmarks.at_scale import simulate

    service = np.array([0.001] * 99 + [0.1])  # seconds: one answer in a hundred is slow
    one, many = (np.mean(simulate(service, shards, queries=5000) > 0.1) for shards in (1, 100))
    assert one == pytest.approx(0.01, abs=0.01)  # a little more: the query behind a slow one waits
    assert many == pytest.approx(1 - 0.99**100, abs=0.1)
    alone = simulate(np.array([0.2]), 1)
    assert alone.min() == pytest.approx(0.2 + 0.0015)  # the network, and merging
    # Three queries a second keep it busy for 0.6 of the time: by Pollaczek and Khinchine the mean wait is this.
    assert alone.mean() - alone.min() == pytest.approx(0.6 * 0.2 / (2 * (1 - 0.6)), rel=0.1)
    assert simulate(np.array([0.2]), 1, copies=2).mean() < alone.mean() - 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["speed"], "unknown part speed"), (["text", "--photos", "nowhere"], "no pictures in nowhere")],
)
def test_what_cannot_be_measured_is_said(arguments: list[str], message: str) -> None:
    pytest.importorskip("torch", reason="the benchmark needs the extra: pip install -e .[bench]")
    run = subprocess.run([sys.executable, str(RUN), *arguments], capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].endswith(f"error: {message}")
