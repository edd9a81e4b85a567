"""Killed at any moment and at every step: the index opens, holds what was committed, and the next run goes on."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from itl_infer.bundle import load_bundle
from itl_infer.errors import IndexStoreError
from itl_infer.index import Index, Writer
from itl_infer.index.check import check_index
from itl_infer.index.upkeep import prune
from itl_infer.ingest import embed_directory
from tests.fake_bundle import LONG_AGO_NS, FakeBundle, assert_whole, write_picture, write_pictures
from tests.places import ROOT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked to be killed")


# The C functions that change something outside of the process: the steps worth dying before.
_STEPS = {"fsync", "mkdir", "open", "replace", "truncate", "unlink", "write"}
_BOUNDARIES = {"__enter__", "__exit__"}  # of a transaction, where `execute` is a step too


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place: a killed process loses none of that, and syncing costs nothing."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder).resolve()


def fork(work: Callable[[], object]) -> int:
    """Start `work` in a process of its own; its id. It exits with 0 when the work is done."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # BLAS has threads, but the child does not use them
        child = os.fork()
    if child == 0:
        try:
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return child


@contextlib.contextmanager
def told_of_commits(tell: Callable[[], object]) -> Iterator[None]:
    """Call `tell` whenever a writer has said that something is committed."""

    def telling(method: Callable[..., None]) -> Callable[..., None]:
        def call(writer: Writer, *arguments: object) -> None:
            before = writer._connection.total_changes
            method(writer, *arguments)
            if writer._connection.total_changes != before:
                tell()

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("commit", "compact", "start_over"):
            patch.setattr(Writer, name, telling(getattr(Writer, name)))
        yield


# --- every step


class Update:
    """A run over a folder in which much has changed: commits, drops, renames, compacts."""

    def __init__(self, folder: Path) -> None:
        self.photos = folder / "photos"
        self.path = folder / "photos.itl"
        self.bundle = FakeBundle()

    def prepare(self) -> None:
        write_pictures(self.photos, 8)
        embed_directory(self.photos, Index.open(self.path, self.bundle))
        for i in (0, 1):
            write_picture(self.photos / f"00{i}.bmp", 100 + i, LONG_AGO_NS + 1)
        for i in (2, 3, 4):
            (self.photos / f"00{i}.bmp").unlink()
        (self.photos / "005.bmp").rename(self.photos / "renamed.bmp")
        for i in range(3):
            write_picture(self.photos / f"new{i}.bmp", 200 + i)

    def work(self) -> None:
        embed_directory(self.photos, Index.open(self.path, self.bundle), workers=1, batch_size=1)

    def shown(self) -> dict[str, bytes]:
        """What the index shows: name -> embedding."""
        index = Index.open(self.path, self.bundle)
        names = [Path(path).name for path in index.paths]
        assert len(set(names)) == len(names)  # none is doubled
        return {name: row.tobytes() for name, row in zip(names, index.embeddings, strict=True)}

    def states(self) -> list[dict[str, bytes]]:
        """Do the work undisturbed: what the index shows before it, and after each commit."""
        states = [self.shown()]
        with told_of_commits(lambda: states.append(self.shown())):
            self.work()
        return states

    def assert_one_of(self, states: list[dict[str, bytes]]) -> None:
        """The index is whole, and what a commit left."""
        shown = self.shown()
        assert shown in states
        assert not shown or check_index(self.path).ok

    def assert_complete(self) -> None:
        """The index has just what the folder has."""
        assert check_index(self.path).ok
        assert_whole(Index.open(self.path, self.bundle), [str(path) for path in self.photos.iterdir()])


class FirstRun(Update):
    """Makes the index."""

    def prepare(self) -> None:
        write_pictures(self.photos, 5)


class Prune(Update):
    """Drops what is gone, and leaves the rest for the next run."""

    def work(self) -> None:
        prune(self.path)

    def assert_complete(self) -> None:
        super().work()
        super().assert_complete()


class Rebuild(Update):
    """With another bundle; the index belongs to the one or to the other."""

    def shown(self) -> dict[str, bytes]:
        name = Index.open(self.path).state.bundle_name
        self.bundle = FakeBundle(name)
        return super().shown()

    def work(self) -> None:
        self.bundle = FakeBundle("other")
        Index.rebuild(self.path, self.bundle)
        super().work()

    def assert_complete(self) -> None:
        self.bundle = FakeBundle("other")
        super().assert_complete()


class Repair(Prune):
    """Drops a damaged vector; until then it is shown."""

    def prepare(self) -> None:
        super().prepare()
        with (self.path / "vectors-000001.f32").open("r+b") as file:
            file.write(b"damage")

    def work(self) -> None:
        check_index(self.path, repair=True)

    def assert_one_of(self, states: list[dict[str, bytes]]) -> None:
        assert self.shown() in states


class Salvage(Repair):
    """Makes a new database of a damaged one, which cannot be read until then."""

    def prepare(self) -> None:
        Update.prepare(self)
        database = self.path / "index.sqlite"
        page = database.read_bytes().rindex(b"007.bmp") // 4096
        with database.open("r+b") as file:
            file.seek(page * 4096)
            file.write(b"damage" * 10)

    def states(self) -> list[dict[str, bytes]]:
        return []

    def assert_one_of(self, states: list[dict[str, bytes]]) -> None:
        pass


def at_every_step(call: Callable[[int, str], object], work: Callable[[], object]) -> None:
    """Do the work; before each of its steps call `call` with the number, from 0, and the name of the step."""
    steps = itertools.count()

    def watch(frame: FrameType, event: str, function: object) -> None:
        name = getattr(function, "__name__", "")
        begins_or_ends_a_transaction = name == "execute" and frame.f_code.co_name in _BOUNDARIES
        is_of_text = isinstance(getattr(function, "__self__", None), str)  # its "replace"
        is_step = name in _STEPS or begins_or_ends_a_transaction
        if event == "c_call" and is_step and not is_of_text:
            call(next(steps), name)

    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(None)


def die_at(step: int, work: Callable[[], object]) -> None:
    """Do the work, and be killed before one of its steps."""
    at_every_step(lambda i, _: os.kill(os.getpid(), signal.SIGKILL) if i == step else None, work)


def spoil_what_does_not_count(folder: Path) -> None:
    """Power loss may leave anything in what was not yet waited for: what is behind the rows that count."""
    try:
        state = Index.open(folder).state
    except IndexStoreError:
        return
    counting = {
        state.vectors_file(folder): state.vectors_bytes,
        state.paths_file(folder): state.paths_bytes,
    }
    for path in [*folder.glob("*.f32"), *folder.glob("*.nul")]:
        path.write_bytes(path.read_bytes()[: counting.get(path, 0)] + os.urandom(random.randrange(100)))


def prepare(
    folder: Path, kind: type[Update], monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, list[dict[str, bytes]]]:
    """A scene to copy, whose work commits every two rows, and what its index shows after each commit."""
    monkeypatch.setattr("itl_infer.ingest.run.COMMIT_ROWS", 2)
    template = folder / "template"
    kind(template).prepare()
    shutil.copytree(template, folder / "undisturbed")
    return template, kind(folder / "undisturbed").states()


@pytest.mark.parametrize("kind", [Update, FirstRun, Prune, Rebuild, Repair, Salvage])
def test_killed_at_every_step(folder: Path, kind: type[Update], monkeypatch: pytest.MonkeyPatch) -> None:
    template, states = prepare(folder, kind, monkeypatch)
    for step in itertools.count():
        scene = kind(folder / str(step))
        shutil.copytree(template, scene.photos.parent)
        reading, writing = os.pipe()

        def work(scene: Update = scene, step: int = step, writing: int = writing) -> None:
            with told_of_commits(lambda: os.write(writing, b".")):
                die_at(step, scene.work)

        _, status = os.waitpid(fork(work), 0)
        os.close(writing)
        told = len(os.read(reading, 1000))
        os.close(reading)
        if status == 0:
            break
        assert os.WIFSIGNALED(status), "it failed before it was killed"
        spoil_what_does_not_count(scene.path)
        scene.assert_one_of(states[told : told + 2])  # what it said is committed, is; one more may be
        scene.work()
        scene.assert_complete()
        shutil.rmtree(scene.photos.parent)
    assert step > 20
    scene.assert_complete()


@pytest.mark.parametrize("kind", [Update, FirstRun, Prune, Rebuild, Repair, Salvage])
def test_a_full_disk_at_every_step(folder: Path, kind: type[Update], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error of the index, if it matters at all, and costs nothing that was committed."""
    template, states = prepare(folder, kind, monkeypatch)
    for step in itertools.count():
        scene = kind(folder / str(step))
        shutil.copytree(template, scene.photos.parent)
        told: list[None] = []
        failed: list[str] = []

        def fail(i: int, name: str, step: int = step, failed: list[str] = failed) -> None:
            if i == step:
                failed.append(name)
                no_space = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                raise sqlite3.OperationalError("database is full") if name == "execute" else no_space

        with told_of_commits(partial(told.append, None)), contextlib.suppress(IndexStoreError):
            at_every_step(fail, scene.work)
        if not failed:
            break
        scene.assert_one_of(states[len(told) : len(told) + 2])
        scene.work()
        scene.assert_complete()
        shutil.rmtree(scene.photos.parent)
    assert step > 20


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
@pytest.mark.parametrize("kind", [Update, FirstRun, Prune, Rebuild, Repair])
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


# --- any moment


# What a person starts, but that it commits more often.
_EMBED_IMAGES = """
import itl_infer.ingest.run
from itl_infer.cli import main
itl_infer.ingest.run.COMMIT_ROWS = 8
main(prog_name="itl-infer")
"""


def start_embedding(photos: Path, path: Path, bundle: Path) -> subprocess.Popen[bytes]:
    """A process that has begun to write to the index at `path`, if it has not ended by then."""
    command = [sys.executable, "-c", _EMBED_IMAGES, "embed-images", photos, "-d", path, "-m", bundle]
    process = subprocess.Popen([*command, "--batch-size", "4"], cwd=ROOT, stdout=subprocess.DEVNULL)
    lock = path / "writer.lock"
    while process.poll() is None and not (lock.exists() and lock.read_bytes() == b"%d\n" % process.pid):
        time.sleep(0.001)
    return process


def test_killed_at_a_hundred_random_moments(tmp_path: Path, tiny_bundle: Path) -> None:
    """Real processes. Before each run, some pictures are deleted, changed, renamed and added.

    On a disk, where commits take long enough to be hit, and a death may leave a journal to be played back.
    """
    dice, bundle = random.Random(1), load_bundle(tiny_bundle)
    photos, path = tmp_path / "photos", tmp_path / "photos.itl"
    write_pictures(photos, 40)
    seeds = itertools.count(1000)
    held: dict[str, np.ndarray] = {}  # what the index showed last: path -> embedding
    killed, whole, seconds = 0, 0, 0.1
    while killed < 100:
        changed = dice.sample(sorted(photos.iterdir()), 8)
        for file in changed[:4]:
            file.unlink()
        for file in changed[4:6]:
            write_picture(file, next(seeds), LONG_AGO_NS + next(seeds))
        for file in changed[6:]:
            file.rename(photos / f"renamed{next(seeds)}.bmp")
        for _ in range(8):
            write_picture(photos / f"new{next(seeds)}.bmp", next(seeds))
        fresh = {str(file): bundle.embed_images([file])[0] for file in photos.iterdir()}
        process = start_embedding(photos, path, tiny_bundle)
        start = time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(dice.uniform(0, seconds))
            seconds = 0.9 * (time.monotonic() - start)
        process.kill()
        assert process.wait() in (0, -signal.SIGKILL), "it failed before it was killed"
        killed += process.returncode != 0
        index = Index.open(path, bundle)
        shown = dict(zip(index.paths, index.embeddings, strict=True))
        assert len(shown) == len(index)  # none is doubled
        assert len(index) == 0 or check_index(path).ok
        for name, embedding in shown.items():  # true now, or not yet looked at again
            assert any(np.array_equal(embedding, known[name]) for known in (fresh, held) if name in known)
        for name, embedding in held.items():  # none is lost
            assert name in shown or not np.array_equal(embedding, fresh.get(name))
        if process.returncode == 0 or dice.random() < 0.2:
            embed_directory(photos, index)
            assert sorted(index.paths) == sorted(fresh)
            for name, embedding in zip(index.paths, index.embeddings, strict=True):
                np.testing.assert_array_equal(embedding, fresh[name])
            whole += 1
        held = dict(zip(index.paths, index.embeddings.copy(), strict=True))
    assert whole > 10
