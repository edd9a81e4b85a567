"""The index against a dictionary: whatever is done to folders and index, in whatever order, both agree."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import tempfile
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from itl_infer.errors import FolderError
from itl_infer.image import load_pixels
from itl_infer.index import Index, schema
from itl_infer.index.check import check_index
from itl_infer.index.upkeep import prune
from itl_infer.ingest import embed_directory
from tests.fake_bundle import LONG_AGO_NS, FakeBundle, embed, write_picture

GARBAGE = -1
ROOTS = ("one", "two")
NAMES = ("a.bmp", "b.bmp", "c.bmp", "d/a.bmp", "d/e/b.bmp", ".hidden.bmp", os.fsdecode(b"\xff.bmp"))

roots = st.sampled_from(ROOTS)
names = st.sampled_from(NAMES)
contents = st.integers(GARBAGE, 4)
globs = st.sampled_from(["a*", "d", "d/e", "b.bmp", "*"])


@cache
def content_of(seed: int) -> bytes:
    if seed == GARBAGE:
        return b"garbage"
    with tempfile.TemporaryDirectory() as folder:
        write_picture(Path(folder, "picture.bmp"), seed)
        return Path(folder, "picture.bmp").read_bytes()


@cache
def embedding_of(seed: int) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        write_picture(Path(folder, "picture.bmp"), seed)
        return embed(load_pixels(Path(folder, "picture.bmp"), FakeBundle.image_rules))


class IndexAgainstDictionary(RuleBasedStateMachine):
    """`files` is what the folders hold, `shown` what the index should, both as path -> content.

    `aside` are the paths that it should know, but not show.
    """

    def __init__(self) -> None:
        super().__init__()
        memory = "/dev/shm"  # where there is such a place: syncing costs nothing there
        self.folder = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None)).resolve()
        self.files: dict[Path, int] = {}
        self.shown: dict[Path, int] = {}
        self.aside: set[Path] = set()
        self.time = LONG_AGO_NS
        for root in ROOTS:
            (self.folder / root).mkdir()
            (self.folder / root / "notes.txt").touch()  # an empty folder would count as missing
        self.open()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @initialize(seeds=st.lists(contents, min_size=2 * len(NAMES), max_size=2 * len(NAMES)))
    def fill(self, seeds: list[int]) -> None:
        """Both folders full, with some content in several places, and embedded: from there it gets lively."""
        for (root, name), seed in zip(itertools.product(ROOTS, NAMES), seeds, strict=True):
            self.write(root, name, seed)
        self.embed_all()

    @rule()
    def open(self) -> None:
        self.index = Index.open(self.folder / "photos.itl", FakeBundle())

    # --- the folders

    @rule(root=roots, name=names, seed=contents)
    def write(self, root: str, name: str, seed: int) -> None:
        """A new file, or new content for one."""
        path = self.folder / root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content_of(seed))
        self.files[path] = seed
        self.touch(path)

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def touch_one(self, data: st.DataObject) -> None:
        self.touch(self.any_file(data))

    def touch(self, path: Path) -> None:
        self.time += 1
        os.utime(path, ns=(self.time, self.time))

    def any_file(self, data: st.DataObject) -> Path:
        return data.draw(st.sampled_from(sorted(self.files)))

    @precondition(lambda self: self.files)
    @rule(data=st.data(), root=roots, name=names)
    def rename(self, data: st.DataObject, root: str, name: str) -> None:
        """Within a root or to the other, over another file or not; its time stays."""
        old, new = self.any_file(data), self.folder / root / name
        new.parent.mkdir(parents=True, exist_ok=True)
        if new in self.files and self.files[new] != self.files[old]:
            self.touch(old)  # two files of one size and one time exchanged would look unchanged
        old.rename(new)
        self.files[new] = self.files.pop(old)

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        path = self.any_file(data)
        path.unlink()
        del self.files[path]

    # --- the index

    @rule()
    def embed_all(self) -> None:
        for root in ROOTS:
            self.embed(root, [], hidden=False)

    @rule(root=roots, exclude=st.lists(globs, max_size=1), hidden=st.booleans())
    def embed(self, root: str, exclude: list[str], hidden: bool) -> None:
        top = self.folder / root
        wanted = {
            path: seed for path, seed in self.files.items() if self.is_wanted(path, top, exclude, hidden)
        }
        there = {path: seed for path, seed in self.shown.items() if path.is_relative_to(top)}
        lost = [path for path in {*there, *self.aside} if path.is_relative_to(top) and path not in self.files]
        known = self.known_digests()
        new = [
            path
            for path, seed in wanted.items()
            if seed != GARBAGE and hashlib.blake2b(content_of(seed), digest_size=16).digest() not in known
        ]
        before = self.index.bundle.embedded
        try:
            report = embed_directory(
                top,
                self.index,
                exclude=exclude,
                no_exclude=True,
                include_hidden=hidden,
                batch_size=3,
            )
        except FolderError:
            assert not wanted  # and nothing is changed
            assert lost or not there
            return
        self.aside = {path for path in self.aside.union(there) if path not in wanted and path not in lost}
        self.shown = {path: seed for path, seed in self.shown.items() if path not in there}
        self.shown |= {path: seed for path, seed in wanted.items() if seed != GARBAGE}
        assert self.index.bundle.embedded - before == report.embedded == len(new)
        found = report.embedded + report.unchanged + report.renamed + report.reused
        assert found == len([seed for seed in wanted.values() if seed != GARBAGE])
        assert len(report.failed) + report.known_failures == len(wanted) - found
        assert report.removed + report.renamed == len(lost)

    def is_wanted(self, path: Path, top: Path, exclude: list[str], hidden: bool) -> bool:
        if not path.is_relative_to(top) or (path.name.startswith(".") and not hidden):
            return False
        parts = path.relative_to(top).parts
        tails = ["/".join(parts[:i]) for i in range(1, len(parts) + 1)]
        return not any(fnmatchcase(name, glob) for glob in exclude for name in (*parts, *tails))

    def known_digests(self) -> set[bytes]:
        if not self.index.path.exists():
            return set()
        with schema.reading(self.index.path) as connection:
            return {digest for (digest,) in connection.execute("SELECT digest FROM pictures")}

    @rule(root=roots)
    def unplug(self, root: str) -> None:
        """A folder that is not there changes nothing."""
        top = self.folder / root
        top.rename(self.folder / "away")
        try:
            with pytest.raises(FolderError):
                embed_directory(top, self.index)
        finally:
            (self.folder / "away").rename(top)

    @precondition(lambda self: self.index.path.exists())
    @rule()
    def prune(self) -> None:
        gone = [path for path in self.shown if path not in self.files]
        assert prune(self.index.path).pictures == len(gone)
        for path in gone:
            del self.shown[path]
        self.aside &= self.files.keys()
        self.index.refresh()

    @precondition(lambda self: self.index.path.exists())
    @rule()
    def compact(self) -> None:
        before = self.index.paths[:]
        with self.index.writing() as writer:
            writer.compact()
        assert self.index.paths[:] == before

    @precondition(lambda self: self.index.path.exists())
    @rule()
    def rebuild(self) -> None:
        self.index = Index.rebuild(self.index.path, FakeBundle(), prune=True)
        self.shown, self.aside = {}, set()

    @precondition(lambda self: self.index.path.exists())
    @rule()
    def check(self) -> None:
        assert check_index(self.index.path).problems == []

    @invariant()
    def agrees(self) -> None:
        held = dict(zip(map(Path, self.index.paths), self.index.embeddings, strict=True))
        assert len(held) == len(self.index)
        assert held.keys() == self.shown.keys()
        for path, seed in self.shown.items():
            np.testing.assert_array_equal(held[path], embedding_of(seed))


TestIndexAgainstDictionary = IndexAgainstDictionary.TestCase
TestIndexAgainstDictionary.settings = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
