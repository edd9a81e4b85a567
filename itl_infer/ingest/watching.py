"""Keep an index in step with folders while they change: wait for changes, until files stand still, and look.

A look is an ordinary run over the folders, so that whatever ends this, the next one goes on from there.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itl_infer.arguments import (
    require_callables,
    require_instance,
    require_number,
    require_paths,
    wrong,
)
from itl_infer.errors import FolderError
from itl_infer.files import as_on_disk
from itl_infer.image import IMAGE_SUFFIXES
from itl_infer.index import Index
from itl_infer.ingest.network import is_on_network
from itl_infer.ingest.report import Change
from itl_infer.ingest.run import embed_directory
from itl_infer.walk import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Generator

POLL_SECONDS = 30.0
SETTLE_SECONDS = 2.0
_ASKED_SECONDS = 1.0  # how often folders are asked whether they are still the same
_REST = 5  # times the length of a look, between looks: a large folder is not walked all the time


def watch(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    index: Index,
    on_change: Callable[[Change], None],
    *,
    poll: float | None = None,
    settle: float = SETTLE_SECONDS,
    stop: threading.Event | None = None,
    announce: Callable[[str], None] | None = None,
    **options: Any,
) -> None:
    """Bring `index` in step with folders and files, and keep it so, until `stop` is set, or an interrupt.

    `on_change` is told of each change once it is on the disk. A new or changed file is taken when it has not changed
    for `settle` seconds. The system tells of changes where `watchfiles` is installed (the extra `watch`) and all
    folders are on this machine's own drives; else, or where `poll` is given, they are looked at every `poll` seconds
    (default: 30). `announce` is told which it is, and of what is away. `options` are those of `embed_directory`; the
    index is written to only while there is something to do, and another writer is waited for.

    Raises IndexStoreError where the index cannot be written.
    """
    given = require_paths("paths", paths)
    require_instance("index", index, Index, "an index, as Index.open() gives it")
    if on_change is None:
        raise wrong("on_change", on_change, "a function")
    require_callables(on_change=on_change, announce=announce)
    if poll is not None:
        require_number("poll", poll, above=0)
    require_number("settle", settle, above=-1e-9)
    if stop is not None:
        require_instance("stop", stop, threading.Event, "an event of threading")
    folders = [as_on_disk(Path(os.path.abspath(path))) for path in given]  # noqa: PTH100, links are left to the run
    stop = stop or threading.Event()
    say = announce or (lambda _: None)
    still = _Still(settle)
    told = _Told(on_change, say)
    with closing(_wakes(folders, index.path, poll, stop, say)) as wakes:
        next(wakes)
        while not stop.is_set():
            began = time.monotonic()
            still.begin()
            try:
                report = embed_directory(
                    folders, index, wait=True, on_change=told.change, pass_over=still.moves, **options
                )
            except FolderError as error:
                told.away([str(error)])
            else:
                told.end([f"{kept.path}: {kept.reason}; kept {kept.pictures}" for kept in report.kept])
                options = {
                    name: value for name, value in options.items() if name not in ("exclude", "no_exclude")
                }
            rest = _REST * (time.monotonic() - began)
            wakes.send(max(settle, rest) if still.has_moving else None)


class _Still:
    """Tells files that still change: what was modified within `settle` seconds, or since the last look."""

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self._before: dict[str, tuple[int, int, float]] = {}
        self._now: dict[str, tuple[int, int, float]] = {}

    def begin(self) -> None:
        self._before, self._now = self._now, {}

    @property
    def has_moving(self) -> bool:
        return bool(self._now)

    def moves(self, path: str, size: int, mtime_ns: int) -> bool:
        """Whether a file is to be passed over in this look."""
        if mtime_ns == UNKNOWN:
            return False
        now = time.monotonic()
        before = self._before.get(path)
        if before is not None and before[:2] == (size, mtime_ns):
            if now - before[2] >= self._settle:
                return False
            self._now[path] = before
            return True
        if before is None and time.time() - mtime_ns / 1e9 > self._settle:
            return False
        self._now[path] = (size, mtime_ns, now)
        return True


class _Told:
    """Says each thing once: what cannot be read is tried in every look."""

    def __init__(self, on_change: Callable[[Change], None], say: Callable[[str], None]) -> None:
        self._on_change, self._say = on_change, say
        self._failed: set[Change] = set()
        self._failed_before: set[Change] = set()
        self._away: list[str] = []

    def change(self, change: Change) -> None:
        if change.kind == "failed":
            self._failed.add(change)
            if change in self._failed_before:
                return
        self._on_change(change)

    def end(self, away: list[str]) -> None:
        """Of a look."""
        self._failed_before, self._failed = self._failed, set()
        self.away(away)

    def away(self, lines: list[str]) -> None:
        for line in lines:
            if line not in self._away:
                self._say(line)
        self._away = lines


def _wakes(
    folders: list[Path], index: Path, poll: float | None, stop: threading.Event, say: Callable[[str], None]
) -> Generator[None, float | None, None]:
    """Returns when it is time for another look; what is sent is after how many seconds at the latest, if at all."""
    why = None if poll is None else "as you say"
    if why is None and (away := [folder for folder in folders if is_on_network(folder)]):
        why = f"as {away[0]} is on a network drive, whose changes nobody tells"
    if why is None:
        try:
            import watchfiles  # noqa: F401
        except ImportError:
            why = "as watchfiles is not installed: pip install 'itl-infer[watch]'"
    if why is None:
        try:
            yield from _told_by_the_system(folders, index, stop, say)
        except OSError as error:
            why = f"as the system does not tell ({error})"
        else:
            return
    seconds = POLL_SECONDS if poll is None else poll
    say(f"Looking every {seconds:g} seconds, {why}")
    within = yield
    while True:
        stop.wait(seconds if within is None else min(seconds, within))
        within = yield


def _told_by_the_system(
    folders: list[Path], index: Path, stop: threading.Event, say: Callable[[str], None]
) -> Generator[None, float | None, None]:
    from watchfiles import Change as Kind
    from watchfiles import watch as changes

    inside = os.path.join(os.path.realpath(index), "")  # noqa: PTH118 (its own files change with each look)

    def matters(kind: Kind, path: str) -> bool:
        if os.path.join(os.path.realpath(path), "").startswith(inside):  # noqa: PTH118
            return False
        # What is gone may have been a folder.
        suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122
        return suffix in IMAGE_SUFFIXES or kind == Kind.deleted or os.path.isdir(path)  # noqa: PTH112

    say("Watching for changes")
    within = yield
    while True:
        there = _identities(folders)
        watched = [folder for folder in folders if there[folder] is not None]
        deadline = None if within is None else time.monotonic() + within
        if not watched:
            stop.wait(_ASKED_SECONDS)
            if stop.is_set() or _is_over(deadline):
                within = yield
            continue
        milliseconds = round(1000 * _ASKED_SECONDS)
        told = changes(
            *watched,
            watch_filter=matters,
            stop_event=stop,
            rust_timeout=milliseconds,
            yield_on_timeout=True,
            debounce=milliseconds,
            ignore_permission_denied=True,
        )
        with _retried(stop), closing(told):
            is_first = True  # there may have been changes before it was begun
            for found in told:
                has_moved = _identities(folders) != there
                if is_first or found or has_moved or _is_over(deadline):
                    within = yield
                    deadline = None if within is None else time.monotonic() + within
                if has_moved:  # a drive was plugged in or out: what was watched is no more what is there
                    break
                is_first = False
            else:
                within = yield  # stopped


@contextlib.contextmanager
def _retried(stop: threading.Event) -> Iterator[None]:
    """A folder may go away between being asked for and being watched."""
    try:
        yield
    except FileNotFoundError:
        stop.wait(_ASKED_SECONDS)


def _is_over(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


def _identities(folders: Iterable[Path]) -> dict[Path, tuple[int, int] | None]:
    def identity(folder: Path) -> tuple[int, int] | None:
        try:
            status = folder.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    return {folder: identity(folder) for folder in folders}
