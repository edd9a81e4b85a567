"""How much memory may be used: what the machine has, or what a control group of either version allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from itl_infer.memory import usable_memory

MEGABYTE = 2**20


def limited(tmp_path: Path, group: str, files: dict[str, str]) -> float:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text(group)
    (tmp_path / "proc" / "meminfo").write_text("MemTotal:        8388608 kB\nMemFree:         12 kB\n")
    for name, content in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return usable_memory(tmp_path / "proc", tmp_path / "cgroup") / MEGABYTE


def test_nobody_says(tmp_path: Path) -> None:
    assert usable_memory(tmp_path / "none", tmp_path / "none") == float("inf")


def test_this_machine() -> None:
    assert usable_memory() > 2**26


@pytest.mark.parametrize(
    ("group", "files", "megabytes"),
    [
        ("0::/\n", {}, 8192),
        ("0::/\n", {"memory.max": "max\n"}, 8192),
        ("0::/\n", {"memory.max": f"{512 * MEGABYTE}\n"}, 512),  # docker run --memory 512m
        ("0::/pod/app\n", {"pod/app/memory.max": "max\n", "pod/memory.max": f"{512 * MEGABYTE}\n"}, 512),
        ("4:memory:/a\n", {"memory/a/memory.limit_in_bytes": f"{512 * MEGABYTE}\n"}, 512),
        (
            "4:memory:/a/b\n",
            {
                "memory/a/b/memory.limit_in_bytes": "9223372036854771712\n",
                "memory/a/memory.limit_in_bytes": f"{600 * MEGABYTE}\n",
            },
            600,
        ),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 8192),  # no limit
        ("3:cpu,cpuacct:/a\n", {"cpu/a/memory.limit_in_bytes": "1\n"}, 8192),
        ("0::/\n", {"memory.max": "nonsense\n"}, 8192),
        ("0::/\n", {"memory.max": f"{2**60}\n"}, 8192),  # more than there is
    ],
)
def test_limits_of_control_groups(tmp_path: Path, group: str, files: dict[str, str], megabytes: int) -> None:
    assert limited(tmp_path, group, files) == megabytes
