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
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from itl_infer.bundle import load_bundle
from itl_infer.errors import IndexStoreError
from itl_infer.index import Index
from itl_infer.index.check import check_index
from itl_infer.index.facts import RECORD
from itl_infer.ingest import embed_directory
from tests.fake_bundle import LONG_AGO_NS, write_picture, write_pictures
from tests.places import ROOT
from tests.runtime.index.updates import (
    FirstRun,
    Prune,
    Rebuild,
    Repair,
    Salvage,
    Update,
    Upgrade,
    at_every_step,
    prepare,
    told_of_commits,
)


def spoil_what_does_not_count(folder: Path) -> None:
    """Power loss may leave anything in what was not yet waited for: what is behind the rows that count."""
    try:
        state = Index.open(folder).state
    except IndexStoreError:
        return
    counting = {
        state.vectors_file(folder): state.vectors_bytes,
        state.paths_file(folder): state.paths_bytes,
        state.facts_file(folder): state.rows * RECORD.itemsize,
    }
    for path in [*folder.glob("*.f32"), *folder.glob("*.nul"), *folder.glob("*.bin")]:
        path.write_bytes(path.read_bytes()[: counting.get(path, 0)] + os.urandom(random.randrange(100)))


def leave_at_every_step(scene: Update, folder: Path) -> list[int]:
    """Do the work of a scene once, and leave in `folder`/STEP what a process killed before that step would.

    What was written stays and what was not is gone with the process: it is what the files hold at that moment. Of each
    step, how often something was said to be committed until then.
    """
    told: list[None] = []
    told_before: list[int] = []

    def leave(step: int, _: str) -> None:
        shutil.copytree(scene.photos.parent, folder / str(step))
        told_before.append(len(told))

    with told_of_commits(partial(told.append, None)):
        at_every_step(leave, scene.work)
    return told_before


@pytest.mark.parametrize("kind", [Update, Upgrade, FirstRun, Prune, Rebuild, Repair, Salvage])
def test_killed_at_every_step(folder: Path, kind: type[Update], monkeypatch: pytest.MonkeyPatch) -> None:
    template, states = prepare(folder, kind, monkeypatch)
    told_before = leave_at_every_step(kind(template), folder)
    assert len(told_before) > 20
    for step, told in enumerate(told_before):
        scene = kind(folder / str(step))
        spoil_what_does_not_count(scene.path)
        scene.assert_one_of(states[told : told + 2])  # what it said is committed, is; one more may be
        scene.work()
        scene.assert_complete()
        shutil.rmtree(scene.photos.parent)


@pytest.mark.parametrize(
    "kind",
    [
        Update,
        FirstRun,
        Prune,
        Repair,
        Salvage,
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in (Upgrade, Rebuild)),
    ],
)
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


@pytest.mark.parametrize("moments", [12, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_random_moments(tmp_path: Path, tiny_bundle: Path, moments: int) -> None:
    """Real processes. Before each run, some pictures are deleted, changed, renamed and added.

    On a disk, where commits take long enough to be hit, and a death may leave a journal to be played back.
    """
    dice, bundle = random.Random(1), load_bundle(tiny_bundle)
    photos, path = tmp_path / "photos", tmp_path / "photos.itl"
    write_pictures(photos, 40)
    seeds = itertools.count(1000)
    held: dict[str, np.ndarray] = {}  # what the index showed last: path -> embedding
    killed, whole, seconds = 0, 0, 0.1
    while killed < moments:
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
    assert whole > moments / 20
