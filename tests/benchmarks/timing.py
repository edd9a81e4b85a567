"""Times that can be compared: taken in turns, each with the machine to itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

ROUNDS = 9
_REST = 0.02  # threads of the work before spin for a while when they are done, above all OpenMP's
_SAMPLE = 0.1  # seconds of one sample, if one call does not take longer


def sample(work: Callable[[], object]) -> float:
    """The mean time of a call in ms, after a first one that warms up."""
    time.sleep(_REST)
    start = time.perf_counter()
    work()
    first = time.perf_counter() - start
    if first > 5 * _SAMPLE:
        return 1000 * first
    calls = 0
    start = time.perf_counter()
    while (seconds := time.perf_counter() - start) < _SAMPLE:
        work()
        calls += 1
    return 1000 * seconds / calls


def samples(*works: Callable[[], object], rounds: int = ROUNDS) -> np.ndarray:
    """(works, rounds) times in ms; a round takes one of each, so that a slow moment hits them all."""
    return np.array([[sample(work) for work in works] for _ in range(rounds)]).T


class Run(NamedTuple):
    """One run of a command."""

    seconds: float
    cpu_seconds: float
    peak_mb: float  # of its resident memory
    output: str


# A process starts with the peak memory of the one that started it: this one is small, and times without itself.
_LAUNCHER = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
figures = time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss
print(*figures, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def run(
    *command: str,
    program: str = sys.executable,
    cwd: Path | None = None,
    env: Mapping[str, str] = MappingProxyType({}),
) -> Run:
    """Run `program COMMAND` as its users do, with compiled modules; CalledProcessError where it fails.

    `env` is added to the environment.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, program, *command],
        capture_output=True,
        text=True,
        env=environment | dict(env),
        cwd=cwd,
        check=True,
    )
    seconds, cpu_seconds, peak_kb = map(float, done.stderr.split())
    return Run(seconds, cpu_seconds, peak_kb / 1024, done.stdout)


def runs(*commands: Sequence[str], rounds: int = ROUNDS) -> list[list[Run]]:
    """For each command its runs, taken in turns after one that is not counted."""
    for command in commands:
        run(*command)
    turns = [[run(*command) for command in commands] for _ in range(rounds)]
    return [list(column) for column in zip(*turns, strict=True)]
