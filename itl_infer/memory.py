"""How much memory this process may use: less than the machine has, in a container."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

from itl_infer.cgroups import CGROUPS, PROC, groups_of, words_of

_LIMITS = {1: "memory.limit_in_bytes", 2: "memory.max"}  # 1: a number beyond all memory without a limit


@cache
def usable_memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> float:
    """Bytes: those of the machine, or of the tightest control group; infinity where nobody says. Asked once.

    `proc` and `cgroups` are where Linux says what a process is limited to.
    """
    limits = [math.inf, _of_machine(proc)]
    for folder, version in groups_of("memory", proc, cgroups):
        words = words_of(folder / _LIMITS[version])
        if len(words) == 1 and words[0].isdecimal():  # else "max"
            limits.append(int(words[0]))
    return min(limits)


def _of_machine(proc: Path) -> float:
    words = words_of(proc / "meminfo")
    if words[:1] == ["MemTotal:"] and words[2:3] == ["kB"] and words[1].isdecimal():
        return int(words[1]) * 1024
    return math.inf
