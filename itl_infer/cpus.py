"""How many CPUs this process may use: fewer than the machine has, in a container or where some are set aside."""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath


def usable_cpus(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """At least 1. OMP_NUM_THREADS, where it is set, has the last word; else affinity and cgroup limits.

    `proc` and `cgroups` are where Linux says what a process is limited to.
    """
    wish = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # the rest is for nested loops
    if wish.isdecimal() and int(wish) > 0:
        return int(wish)
    present = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(present, _cgroup_limit(proc, cgroups))))


def _cgroup_limit(proc: Path, cgroups: Path) -> float:
    """CPUs that the process' control group and those above it may use together; infinity without a limit."""
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return math.inf
    limits = [math.inf]
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "":  # version 2: one tree of groups, "QUOTA PERIOD" or "max PERIOD"
            limits += [_ratio(*_words(folder / "cpu.max")) for folder in _upwards(cgroups, path)]
        elif "cpu" in controllers.split(","):  # version 1, quota -1 without a limit
            for folder in _upwards(cgroups / "cpu", path):
                quota, period = (_words(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
                limits.append(_ratio(*quota, *period))
    return min(limits)


def _upwards(root: Path, path: str) -> list[Path]:
    """The folder of a group and those above it, up to the root; in a container the root may be all there is."""
    inside = PurePosixPath(path.lstrip("/"))
    return [root / inside, *(root / parent for parent in inside.parents)]


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return []


def _ratio(*words: str) -> float:
    if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]) > 0:
        return int(words[0]) / int(words[1])
    return math.inf
