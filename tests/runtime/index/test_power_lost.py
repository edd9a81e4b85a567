"""Power is lost at every step: what was waited for is on the disk, and the index is one that a commit left."""

from __future__ import annotations

import os
import random
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest

from itl_infer.errors import IndexStoreError
from tests.runtime.index.updates import (
    FirstRun,
    Prune,
    Rebuild,
    Repair,
    Update,
    Upgrade,
    at_every_step,
    prepare,
    told_of_commits,
)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked to be killed")


class Disk:
    """Of the folder of an index, what a disk must have kept when the power fails, and what it may have.

    It must have the bytes of a file, and the names in a folder, as they were when they were last synced. Of what
    came after that it may have any part. SQLite syncs its own files, and is trusted with that.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.is_there = folder.exists()
        self.names: dict[str, int] = {}  # name -> inode
        self.contents: dict[int, bytes] = {}
        if self.is_there:
            self.names = self.names_now()
            self.contents = {number: (folder / name).read_bytes() for name, number in self.names.items()}
        self._fsync = os.fsync
        patch.setattr(os, "fsync", self.sync)

    def names_now(self) -> dict[str, int]:
        return (
            {path.name: path.stat().st_ino for path in self.folder.iterdir()} if self.folder.exists() else {}
        )

    def sync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        number = os.fstat(descriptor).st_ino
        if number == self.folder.stat().st_ino:
            self.names = self.names_now()
        elif number == self.folder.parent.stat().st_ino:
            self.is_there = True
        else:
            [name] = [name for name, of_name in self.names_now().items() if of_name == number]
            self.contents[number] = (self.folder / name).read_bytes()

    def after_power_loss(self, copy: Path, chance: float, dice: random.Random) -> None:
        """Write to `copy` what is left, where everything not synced had the same chance to reach the disk."""
        now = self.names_now()
        if not now or not (self.is_there or dice.random() < chance):
            return
        copy.mkdir(parents=True)
        for name in now.keys() | self.names.keys():
            if name.startswith("index.sqlite"):
                if name in now:
                    shutil.copyfile(self.folder / name, copy / name)
                continue
            number = (now if dice.random() < chance else self.names).get(name)
            if number is not None:
                data = (self.folder / name).read_bytes() if now.get(name) == number else b""
                (copy / name).write_bytes(self._mixed(self.contents.get(number, b""), data, chance, dice))

    def _mixed(self, old: bytes, new: bytes, chance: float, dice: random.Random) -> bytes:
        """Blocks of the one and the other, and the length of one of them."""
        length = len(new if dice.random() < chance else old)
        old, new = old.ljust(length, b"\0"), new.ljust(length, b"\0")
        starts = range(0, length, 16)
        return b"".join((new if dice.random() < chance else old)[i : i + 16] for i in starts)[:length]


@pytest.mark.skipif(sys.platform == "darwin", reason="syncs by F_FULLFSYNC there")
@pytest.mark.parametrize("kind", [Update, Upgrade, FirstRun, Prune, Rebuild, Repair])
def test_power_lost_at_every_step(folder: Path, kind: type[Update], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever part of what was not synced has reached the disk, and in whatever order."""
    template, states = prepare(folder, kind, monkeypatch)
    scene = kind(folder / "scene")
    shutil.copytree(template, scene.photos.parent)
    disk, dice = Disk(scene.path, monkeypatch), random.Random(1)
    told: list[None] = []
    failures: list[str] = []

    def lose_power(step: int, _: str) -> None:
        for chance in (0, 0.5, 0.9):
            after = kind(folder / f"{step}-{chance}")
            disk.after_power_loss(after.path, chance, dice)
            try:
                after.assert_one_of(states[len(told) : len(told) + 2])
            except (AssertionError, IndexStoreError) as error:  # not here: the work might take it for its own
                failures.append(f"step {step}, chance {chance}: {error}")
            shutil.rmtree(after.photos.parent, ignore_errors=True)

    with told_of_commits(partial(told.append, None)):
        at_every_step(lose_power, scene.work)
    assert failures == []
    assert len(told) == len(states) - 1
