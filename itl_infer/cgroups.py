"""What Linux limits a process to: the files of its control groups, of version 1 and 2."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import NamedTuple

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


class Group(NamedTuple):
    """A control group that this process is in, itself or through one below it."""

    folder: Path
    version: int


def groups_of(controller: str, proc: Path = PROC, cgroups: Path = CGROUPS) -> list[Group]:
    """The groups that limit this process' "cpu" or "memory"; each one's limit counts, the lowest is felt."""
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    groups: list[Group] = []
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "":  # version 2: one tree of groups
            groups += [Group(folder, 2) for folder in _upwards(cgroups, path)]
        elif controller in controllers.split(","):
            groups += [Group(folder, 1) for folder in _upwards(cgroups / controller, path)]
    return groups


def words_of(path: Path) -> list[str]:
    """What stands in a file, word by word; nothing where there is none."""
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return []


def _upwards(root: Path, path: str) -> list[Path]:
    """The folder of a group and those above it, up to the root; in a container the root may be all there is."""
    inside = PurePosixPath(path.lstrip("/"))
    return [root / inside, *(root / parent for parent in inside.parents)]
