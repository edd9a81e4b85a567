"""What is done to an index, step by step, so that it can be stopped at each of them."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from itl_infer.index import Index, Writer
from itl_infer.index.check import check_index
from itl_infer.index.upkeep import prune
from itl_infer.ingest import embed_directory
from tests.fake_bundle import LONG_AGO_NS, FakeBundle, assert_whole, write_picture, write_pictures
from tests.runtime.index.old_formats import make_format_1

# The C functions that change something outside of the process: the steps worth dying before.
_STEPS = {"fsync", "mkdir", "open", "replace", "truncate", "unlink", "write"}
_BOUNDARIES = {"__enter__", "__exit__"}  # of a transaction, where `execute` is a step too


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


class Upgrade(Update):
    """A run over an index of the format that had no facts, of pictures that are as they were, but for one."""

    def prepare(self) -> None:
        write_pictures(self.photos, 5)
        embed_directory(self.photos, Index.open(self.path, self.bundle))
        make_format_1(self.path)
        (self.photos / "000.bmp").rename(self.photos / "renamed.bmp")

    def assert_complete(self) -> None:
        super().assert_complete()
        assert all(facts is not None and facts.width == 4 for facts in Index.open(self.path).facts)


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


def prepare(
    folder: Path, kind: type[Update], monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, list[dict[str, bytes]]]:
    """A scene to copy, whose work commits every two rows, and what its index shows after each commit."""
    monkeypatch.setattr("itl_infer.ingest.run.COMMIT_ROWS", 2)
    template = folder / "template"
    kind(template).prepare()
    shutil.copytree(template, folder / "undisturbed")
    return template, kind(folder / "undisturbed").states()
