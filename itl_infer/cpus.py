"""How many CPUs this process may use: fewer than the machine has, in a container or where some are set aside."""

from __future__ import annotations

import math
import os
from pathlib import Path

from itl_infer.cgroups import CGROUPS, PROC, groups_of, words_of

_MOST_THREADS = 64
_DIGITS = 9  # of a number of threads


def usable_cpus(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """At least 1. OMP_NUM_THREADS, where it is set, has the last word, up to `most_threads`; else affinity and cgroups.

    `proc` and `cgroups` are where Linux says what a process is limited to.
    """
    wish = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # the rest is for nested loops
    if wish.isdecimal() and int(wish[-_DIGITS:]) > 0:
        return most_threads() if len(wish) > _DIGITS else min(int(wish), most_threads())
    present = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(present, _cgroup_limit(proc, cgroups))))


def most_threads() -> int:
    """More than this many threads only take memory, whoever wishes for them."""
    return max(_MOST_THREADS, os.cpu_count() or 1)


def _cgroup_limit(proc: Path, cgroups: Path) -> float:
    """CPUs that the process' control group and those above it may use together; infinity without a limit."""
    limits = [math.inf]
    for folder, version in groups_of("cpu", proc, cgroups):
        if version == 2:  # "QUOTA PERIOD" or "max PERIOD"
            limits.append(_ratio(*words_of(folder / "cpu.max")))
        else:  # quota -1 without a limit
            quota, period = (words_of(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
            limits.append(_ratio(*quota, *period))
    return min(limits)


def _ratio(*words: str) -> float:
    if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]) > 0:
        return int(words[0]) / int(words[1])
    return math.inf
