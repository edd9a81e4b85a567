"""One target in a process of its own, for as long as it is told: python -m tests.fuzz.one TARGET CORPUS SECONDS HANG

Guided by what lines of code an input reaches, by atheris; where that is not installed, changes are made blindly.
"""

from __future__ import annotations

import contextlib
import importlib
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.changes import changed

MEMORY_MB = 1500  # as much as anything from elsewhere may take


def main(name: str, corpus: Path, seconds: float, hang: int) -> None:
    """Exit code 0 where nothing was found."""
    corpus.mkdir(parents=True, exist_ok=True)
    try:
        import atheris
    except ImportError:
        target = importlib.import_module(f"tests.fuzz.{name}")
        _blindly(target.run, list(target.seeds()), seconds)
        return
    with atheris.instrument_imports(include=["itl_infer", "export"]):
        target = importlib.import_module(f"tests.fuzz.{name}")
    seeds = corpus / "seeds"
    seeds.mkdir(exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (seeds / f"{number:04}").write_bytes(seed)
    with contextlib.suppress(Exception):  # what is only slow the first time; a fault is found again
        target.run(next(iter(target.seeds())))
    options = [
        f"-max_total_time={int(seconds)}",
        f"-timeout={hang}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={corpus / 'found'}-",
        "-print_final_stats=1",
        "-max_len=50000",
    ]
    found = corpus / "grown"
    found.mkdir(exist_ok=True)
    atheris.Setup([sys.argv[0], *options, str(found), str(seeds)], target.run)
    atheris.Fuzz()


def _blindly(run: Callable[[bytes], None], inputs: list[bytes], seconds: float) -> None:
    chance = random.Random(time.time_ns())
    end, done = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        run(changed(chance.choice(inputs), chance))
        done += 1
    print(f"stat::number_of_executed_units: {done}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
