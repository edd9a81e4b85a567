"""What has to be installed, in megabytes, beside what torch takes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

from tests.benchmarks.ground import Ground
from tests.benchmarks.report import Table
from tests.places import ROOT


def tables(_: Ground) -> Iterator[Table]:
    wheel, unpacked = _wheel_sizes()
    dependencies = {name: _size(name) for name in _needed("itl-infer") - {"itl-infer"}}
    table = Table("Installed, MB", ("what", "MB"))
    table.add("wheel of itl-infer, with the starter bundle", wheel)
    table.add("the same, installed", unpacked)
    for name, size in sorted(dependencies.items(), key=lambda item: -item[1]):
        table.add(f"- {name}", size)
    runtime = unpacked + sum(dependencies.values())
    table.add("runtime, all of it", runtime)
    table.at_most("installed, MB", 250, runtime)
    torch = _needed("torch") | _needed("torchvision")
    table.add("torch and torchvision (CPU), with what they need", sum(map(_size, torch)))
    yield table


def _needed(name: str) -> set[str]:
    """The name itself and all that it requires here, without extras."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            requirements = distribution(name).requires or []
        except PackageNotFoundError:  # such as the CUDA packages, which a CPU build does without
            continue
        found.add(name)
        for text in requirements:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def _size(name: str) -> float:
    files = [Path(str(file.locate())) for file in distribution(name).files or []]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def _wheel_sizes() -> tuple[float, float]:
    """Of the wheel that `pip install` would fetch, and of what it unpacks."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            folder,
            str(ROOT),
        ]
        subprocess.run(command, check=True)
        [wheel] = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return wheel.stat().st_size / 1e6, sum(item.file_size for item in archive.infolist()) / 1e6
