"""Fuzz for some minutes: python -m tests.fuzz [--minutes N] [--hang SECONDS] [--corpus FOLDER] [TARGET ...]

Each target in turn, in a process of its own, from where the last run left off. Prints what came of it, summed over all
runs with this corpus: executions, crashes, hangs, largest memory. What is found lies in FOLDER/TARGET/found-*: mend it,
and put it into tests/fuzz/corpus/TARGET. Exit code 1 where something was found.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz import TARGETS

_TURN = 60.0  # seconds of one target before it is the next one's


def main() -> None:
    """Take turns until the time is up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=1.0 * len(TARGETS))
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"))
    parser.add_argument(
        "--hang", type=int, default=10, metavar="SECONDS", help="more where the machine has other work"
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    given = parser.parse_args()
    targets = given.targets or TARGETS
    if unknown := set(targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    end, found, turn = time.monotonic() + 60 * given.minutes, False, 0
    while (left := end - time.monotonic()) > 1:
        name = targets[turn % len(targets)]
        found |= _take_turn(name, given.corpus / name, min(_TURN, left), given.hang)
        turn += 1
    _print(given.corpus, targets)
    sys.exit(found)


def _take_turn(name: str, corpus: Path, seconds: float, hang: int) -> bool:
    """Whether something was found."""
    command = [sys.executable, "-m", "tests.fuzz.one", name, str(corpus), str(seconds), str(hang)]
    start = time.monotonic()
    said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = said.stdout.decode(errors="replace")
    counts = _counts(corpus)
    counts["seconds"] += time.monotonic() - start
    counts["executions"] += int(_stat(text, "number_of_executed_units"))
    counts["largest MB"] = max(counts["largest MB"], int(_stat(text, "peak_rss_mb")))
    if said.returncode:
        is_hang = "ERROR: libFuzzer: timeout" in text
        counts["hangs" if is_hang else "crashes"] += 1
        (corpus / f"found-{time.time_ns()}.log").write_text(text[-20_000:])
        print(f"{name}: {'hang' if is_hang else 'crash'}, see {corpus}", file=sys.stderr, flush=True)
    (corpus / "counts.json").write_text(json.dumps(counts))
    return said.returncode != 0


def _stat(text: str, name: str) -> str:
    found = re.findall(rf"stat::{name}:\s+(\d+)", text)
    return str(found[-1]) if found else "0"


def _counts(corpus: Path) -> dict[str, float]:
    path = corpus / "counts.json"
    zero = {"seconds": 0.0, "executions": 0, "crashes": 0, "hangs": 0, "largest MB": 0}
    return {**zero, **json.loads(path.read_text())} if path.exists() else zero


def _print(corpus: Path, targets: list[str] | tuple[str, ...]) -> None:
    print(f"{'target':12} {'hours':>7} {'executions':>11} {'crashes':>8} {'hangs':>6} {'largest MB':>11}")
    for name in targets:
        counts = _counts(corpus / name)
        print(
            f"{name:12} {counts['seconds'] / 3600:7.2f} {counts['executions']:11} {counts['crashes']:8}"
            f" {counts['hangs']:6} {counts['largest MB']:11}"
        )


if __name__ == "__main__":
    main()
