"""Which rows of a view are meant by a `Where`: from records and folders at once, from names only where these are asked.

A million rows take some milliseconds: each question is answered for all of them together, names by their bytes. What
cannot be told that way (names that are not of ASCII, rows without facts) is looked at one by one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from itl_infer.ahead import in_threads
from itl_infer.files import one_form
from itl_infer.index.facts import ASCII_NAME, GPS, KNOWN, NO_DATE, FactsOfRows, Records, to_seconds
from itl_infer.index.globs import Glob
from itl_infer.index.paths import Paths
from itl_infer.index.roots import Root, real_path

if TYPE_CHECKING:
    from itl_infer.where import Where

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


_BLOCK = 2**15  # rows at a time, so that what is made of them stays in the cache of a core
_FOR_A_THREAD = 4  # blocks, from which on it is worth while

_Rows: TypeAlias = slice | Numbers
_Question: TypeAlias = Callable[[_Rows, Records], Mask]
"""Whether each of some positions fits, (n,), by their records, (n,), and whatever else is known of them."""


def rows_where(where: Where, facts: FactsOfRows, paths: Paths, roots: Mapping[int, Root]) -> Mask:
    """Whether each position of a view is meant, (N,)."""
    questions = [*_of_facts(where, facts), *_of_paths(where, facts, paths, roots)]
    mask = np.empty(len(facts), bool)

    def look(blocks: Iterator[_Rows]) -> None:
        for rows in blocks:
            records = facts.records[rows]
            fits = np.ones(len(records), bool)
            for ask in questions:
                if fits.any():
                    fits &= ask(rows, records)
            mask[rows] = fits

    in_threads([*_blocks(len(facts), paths.holes)], look, fewest=_FOR_A_THREAD)
    return mask


def _blocks(count: int, holes: Numbers) -> Iterator[_Rows]:
    """All positions, some at a time, in the order of their rows in the files."""
    for start in range(0, count, _BLOCK):
        end = min(start + _BLOCK, count)
        first, last = np.searchsorted(holes, (start, end))
        yield slice(start, end) if first == last else np.setdiff1d(np.arange(start, end), holes[first:last])
    for start in range(0, len(holes), _BLOCK):
        yield holes[start : start + _BLOCK]


def _of_facts(where: Where, facts: FactsOfRows) -> Iterator[_Question]:
    start, end = where.period()
    if start is not None or end is not None:
        since = NO_DATE + 1 if start is None else to_seconds(start)
        until = np.iinfo(np.int64).max if end is None else to_seconds(end)
        yield (
            lambda _, records: (
                (records["flags"] & KNOWN > 0) & (records["taken"] >= since) & (records["taken"] < until)
            )
        )
    if where.orientation is not None:
        compare = {"landscape": np.greater, "portrait": np.less, "square": np.equal}[where.orientation]
        yield lambda _, records: compare(records["width"], records["height"]) & (records["width"] > 0)
    if where.gps is not None:
        wanted = KNOWN | GPS if where.gps else KNOWN
        yield lambda _, records: records["flags"] & (KNOWN | GPS) == wanted
    if where.cameras:
        cameras = facts.cameras()
        fitting = _table(cameras, map(where.fits_camera, cameras.values()))
        yield lambda _, records: fitting[np.minimum(records["camera"], len(fitting) - 1)]


def _of_paths(
    where: Where, facts: FactsOfRows, paths: Paths, roots: Mapping[int, Root]
) -> Iterator[_Question]:
    if where.folders:
        yield _Under(where.folders, facts.folders(), paths, roots)
    if where.names:
        yield _Named(where, facts, paths)


def _table(numbers: Iterable[int], fitting: Iterable[bool]) -> Mask:
    """Whether the line with each number fits: numbers begin at 1, and the last place is for those of no line."""
    fits = dict(zip(numbers, fitting, strict=True))
    table = np.zeros(len(fits) + 2, bool)
    for number, does in fits.items():
        if 0 < number <= len(fits):  # else it is damage: they are counted without gaps
            table[number] = does
    return table


class _Under:
    """Whether pictures are in one of some folders."""

    def __init__(
        self,
        wanted: Iterable[str],
        folders: list[tuple[int, int, bytes]],
        paths: Paths,
        roots: Mapping[int, Root],
    ) -> None:
        self._paths = paths
        self._targets = [target for folder in wanted for target in _targets(folder, roots.values())]
        below = {root.id: _below(root, self._targets) for root in roots.values()}
        self._inside = _table(
            (number for number, *_ in folders),
            (root in roots and _is_inside(roots[root], path, below[root]) for _, root, path in folders),
        )

    def __call__(self, rows: _Rows, records: Records) -> Mask:
        fits: Mask = self._inside[np.minimum(records["folder"], len(self._inside) - 1)]
        for place in np.flatnonzero(records["folder"] == 0).tolist():  # what earlier versions embedded
            folder = one_form(os.path.dirname(self._paths[_position(rows, place)]))  # noqa: PTH120 (names as they are)
            fits[place] = any(_holds(target, folder) for target in self._targets)
        return fits


def _targets(folder: str, roots: Iterable[Root]) -> list[str]:
    """What a folder may mean: where it is from here on, or from a remembered folder on; in one form of names."""
    given = os.path.expanduser(folder)  # noqa: PTH111 (a name need not be text)
    found = [os.path.abspath(given), os.fspath(real_path(Path(given)))]  # noqa: PTH100
    is_of_here = given.startswith(".")  # ".", "./a", "../a"
    if not (is_of_here or os.path.isabs(given)):  # noqa: PTH117
        found += [os.path.normpath(os.path.join(root.folder, given)) for root in roots]  # noqa: PTH118
    return list(dict.fromkeys(map(one_form, found)))


def _below(root: Root, targets: Iterable[str]) -> tuple[bytes, ...]:
    """What the paths of a root begin with that are in a target, with "/" at their ends; "" where all are."""
    base = one_form(str(root.folder))
    start = base.rstrip(os.sep) + os.sep
    if any(_holds(target, base) for target in targets):
        return (b"",)
    return tuple(
        os.fsencode(target.removeprefix(start).replace(os.sep, "/")) + b"/"
        for target in targets
        if target.startswith(start)
    )


def _is_inside(root: Root, path: bytes, below: tuple[bytes, ...]) -> bool:
    """Whether a folder of a root is in one of those below it."""
    form = path if path.isascii() else os.fsencode(one_form(os.fsdecode(path)))
    if not (form + b"/").startswith(below):
        return False
    if path:
        root.locate(path)  # which raises where it leads out
    return True


def _holds(target: str, folder: str) -> bool:
    """Whether a folder is the target, or in it."""
    return folder == target or folder.startswith(target.rstrip(os.sep) + os.sep)


class _Named:
    """Whether pictures are called so that they are meant."""

    def __init__(self, where: Where, facts: FactsOfRows, paths: Paths) -> None:
        self._where, self._facts, self._paths = where, facts, paths
        self._globs = [Glob(one_form(glob)) for glob in where.names]
        self._buffer = np.frombuffer(paths.names, np.uint8)

    @cached_property
    def _lengths(self) -> Numbers:
        """How many bytes stand before a name in the file of paths, "ROOT/FOLDER/", by the number of its folder."""
        folders = self._facts.folders()
        lengths = np.zeros(len(folders) + 1, np.int64)
        if folders:
            numbers, roots, paths = zip(*folders, strict=True)
            of_root = {root: len(b"%d/" % root) for root in {*roots}}
            found = np.array([len(path) + bool(path) for path in paths])
            found += np.array([of_root[root] for root in roots])
            at = np.array(numbers)
            are = (at > 0) & (at <= len(folders))  # else it is damage: they are counted without gaps
            lengths[at[are]] = found[are]
        return lengths

    def __call__(self, rows: _Rows, records: Records) -> Mask:
        starts, ends = self._paths.spans(rows)
        fits = np.zeros(len(records), bool)
        # Without a folder it is not known where a name begins in the path.
        is_plain = (records["flags"] & ASCII_NAME > 0) & (records["folder"] > 0)
        plain = np.flatnonzero(is_plain)
        if len(plain):
            first, last = int(starts[plain[0]]), int(ends[plain[-1]])
            begins, stops = starts[plain] - first, ends[plain] - first
            if not all(glob.is_ending for glob in self._globs):
                begins += self._lengths[np.minimum(records["folder"][plain], len(self._lengths) - 1)]
            for glob in self._globs:
                fits[plain[glob.fitting(self._buffer[first:last], begins, stops)]] = True
        for place in np.flatnonzero(~is_plain).tolist():
            name = bytes(self._paths.names[starts[place] : ends[place]]).rpartition(b"/")[2]
            fits[place] = self._where.fits_name(os.fsdecode(name))
        return fits


def _position(rows: _Rows, place: int) -> int:
    """The position that stands at a place of some."""
    return rows.start + place if isinstance(rows, slice) else int(rows[place])
