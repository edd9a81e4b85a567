"""Killed at any moment and at every step: the index opens, holds what was committed, and the next run goes on."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from itl_infer.errors import IndexStoreError
from itl_infer.image import load_pixels
from itl_infer.index import Index, Writer, check_index, prune
from itl_infer.ingest import embed_directory
from tests.fake_bundle import LONG_AGO_NS, FakeBundle, assert_whole, embed, write_picture, write_pictures

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


def die_at(step: int, work: Callable[[], object]) -> None:
    """Do the work, and be killed before one of its steps, the first being number 0."""
    steps = itertools.count()

    def watch(frame: FrameType, event: str, function: object) -> None:
        name = getattr(function, "__name__", "")
        begins_or_ends_a_transaction = name == "execute" and frame.f_code.co_name in _BOUNDARIES
        is_step = event == "c_call" and (name in _STEPS or begins_or_ends_a_transaction)
        if is_step and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)
    work()
    sys.setprofile(None)


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


@pytest.mark.parametrize("kind", [Update, FirstRun, Prune, Rebuild, Repair, Salvage])
def test_killed_at_every_step(folder: Path, kind: type[Update], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itl_infer.ingest.run.COMMIT_ROWS", 2)
    template = folder / "template"
    kind(template).prepare()
    shutil.copytree(template, folder / "undisturbed")
    states = kind(folder / "undisturbed").states()
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


# --- any moment


def embed_by_command(photos: Path, path: Path) -> None:
    """What a person starts, but for onnxruntime."""
    import itl_infer.bundle
    import itl_infer.ingest.run
    from itl_infer.cli import main

    itl_infer.bundle.load_bundle = lambda *_, **__: FakeBundle()
    itl_infer.ingest.run.COMMIT_ROWS = 8
    main(["embed-images", str(photos), "-d", str(path), "--batch-size", "4"], standalone_mode=False)


def test_killed_at_a_hundred_random_moments(tmp_path: Path) -> None:
    """Before each run, some pictures are deleted, changed, renamed and added.

    On a disk, where commits take long enough to be hit: one death in five leaves a journal to be played back.
    """
    dice = random.Random(1)
    photos, path = tmp_path / "photos", tmp_path / "photos.itl"
    write_pictures(photos, 40)
    seeds = itertools.count(1000)
    held: dict[str, bytes] = {}  # what the index showed last: path -> embedding
    killed, seconds = 0, 0.1
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
        start = time.monotonic()
        child = fork(lambda: embed_by_command(photos, path))
        time.sleep(dice.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if status == 0:
            seconds = 0.9 * (time.monotonic() - start)
        assert status == 0 or os.WIFSIGNALED(status), "it failed before it was killed"
        killed += status != 0
        index = Index.open(path, FakeBundle())
        shown = {name: row.tobytes() for name, row in zip(index.paths, index.embeddings, strict=True)}
        assert len(shown) == len(index)  # none is doubled
        assert len(index) == 0 or check_index(path).ok
        fresh = {
            str(file): embed(load_pixels(file, FakeBundle.image_rules)).tobytes() for file in photos.iterdir()
        }
        for name, embedding in shown.items():
            assert embedding in (fresh.get(name), held.get(name))  # true now, or not yet looked at again
        for name, embedding in held.items():
            assert shown.get(name) == embedding or fresh.get(name) != embedding  # none is lost
        if dice.random() < 0.3:
            embed_directory(photos, index)
            assert_whole(index, list(fresh))
        held = dict(zip(index.paths[:], map(bytes, index.embeddings), strict=True))
