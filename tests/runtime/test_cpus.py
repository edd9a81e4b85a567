"""How many threads are used by default: what the machine has, less what this process may not use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from itl_infer.cpus import usable_cpus


@pytest.fixture(autouse=True)
def _eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)


def limited(tmp_path: Path, group: str, files: dict[str, str]) -> int:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text(group)
    for name, content in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return usable_cpus(tmp_path / "proc", tmp_path / "cgroup")


def test_all_that_the_process_may_run_on(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path / "none", tmp_path / "none") == 8
    assert limited(tmp_path, "0::/\n", {"cpu.max": "max 100000\n"}) == 8


def test_environment_has_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wish, cpus in (
        ("2", 2),
        ("4,2", 4),
        ("16", 16),
        ("0", 8),
        ("many", 8),
        ("100000", 64),
        ("9" * 5000, 64),
    ):
        monkeypatch.setenv("OMP_NUM_THREADS", wish)
        assert usable_cpus(tmp_path, tmp_path) == cpus


@pytest.mark.parametrize(
    ("group", "files", "cpus"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),  # docker run --cpus 2
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 3),  # a part of a CPU counts as one
        ("0::/\n", {"cpu.max": "20000 100000\n"}, 1),
        ("0::/pod/app\n", {"pod/app/cpu.max": "max 100000", "pod/cpu.max": "400000 100000"}, 4),
        (
            "3:cpu,cpuacct:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "300000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            3,
        ),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ("1:memory:/a\n", {"cpu.max": "100000 100000"}, 8),
        ("0::/\n", {"cpu.max": "nonsense"}, 8),
        ("rubbish\n\n", {"cpu.max": "100000 100000"}, 1),  # as good as no group: that of the root
        ("0::/\n", {"cpu.max": "9900000 100000"}, 8),  # more than there are
    ],
)
def test_limits_of_control_groups(tmp_path: Path, group: str, files: dict[str, str], cpus: int) -> None:
    assert limited(tmp_path, group, files) == cpus
