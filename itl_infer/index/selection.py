"""Which rows of a view are meant by a `Where`: from records and folders at once, from names only where these are asked.

A million rows take some milliseconds: each question is answered for all of them together, names by their bytes. What
cannot be told that way (names that are not of ASCII, rows without facts, globs with more than a star) is looked at one
by one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from itl_infer.files import one_form
from itl_infer.index.facts import ASCII_NAME, GPS, KNOWN, NO_DATE, FactsOfRows, to_seconds
from itl_infer.index.paths import Paths
from itl_infer.index.roots import Root, real_path

if TYPE_CHECKING:
    from itl_infer.where import Where

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

_SPECIAL = re.compile(r"[?\[]")  # of a glob, besides the star


def rows_where(where: Where, facts: FactsOfRows, paths: Paths, roots: Mapping[int, Root]) -> Mask:
    """Whether each position of a view is meant, (N,)."""
    records = facts.records
    mask = _of_facts(facts, where)
    if where.folders:
        folders = facts.folders()
        targets = [_targets(folder, roots.values()) for folder in where.folders]
        inside = _table(
            (number for number, *_ in folders),
            (
                root in roots and any(_is_inside(roots[root], path, target) for target in targets)
                for _, root, path in folders
            ),
        )
        unknown = _without_folder(records, mask)
        mask &= inside[np.minimum(records["folder"], len(inside) - 1)]
        for position in unknown:
            folder = one_form(os.path.dirname(paths[int(position)]))  # noqa: PTH120 (names as they are)
            mask[position] = any(_holds(one, folder) for target in targets for one in target)
    if where.names:
        candidates = np.flatnonzero(mask)
        mask[candidates] = _fit_names(where, facts, paths, candidates)
    return mask


def _of_facts(facts: FactsOfRows, where: Where) -> Mask:
    records = facts.records
    mask = np.ones(len(records), bool)
    start, end = where.period()
    if start is not None or end is not None:
        taken = records["taken"]
        mask &= (records["flags"] & KNOWN > 0) & (taken != NO_DATE)
        if start is not None:
            mask &= taken >= to_seconds(start)
        if end is not None:
            mask &= taken < to_seconds(end)
    if where.orientation is not None:
        width, height = records["width"], records["height"]
        compare = {"landscape": np.greater, "portrait": np.less, "square": np.equal}[where.orientation]
        mask &= compare(width, height) & (width > 0)
    if where.gps is not None:
        mask &= (records["flags"] & (KNOWN | GPS)) == (KNOWN | GPS if where.gps else KNOWN)
    if where.cameras:
        cameras = facts.cameras()
        fitting = _table(cameras, map(where.fits_camera, cameras.values()))
        mask &= fitting[np.minimum(records["camera"], len(fitting) - 1)]
    return mask


def _table(numbers: Iterable[int], fitting: Iterable[bool]) -> Mask:
    """Whether the line with each number fits: numbers begin at 1, and the last place is for those of no line."""
    fits = dict(zip(numbers, fitting, strict=True))
    table = np.zeros(len(fits) + 2, bool)
    for number, does in fits.items():
        if 0 < number <= len(fits):  # else it is damage: they are counted without gaps
            table[number] = does
    return table


def _without_folder(records: npt.NDArray[np.void], mask: Mask) -> Numbers:
    return np.flatnonzero(mask & (records["folder"] == 0))


def _targets(folder: str, roots: Iterable[Root]) -> list[str]:
    """What a folder may mean: where it is from here on, or from a remembered folder on; in one form of names."""
    given = os.path.expanduser(folder)  # noqa: PTH111 (a name need not be text)
    found = [os.path.abspath(given), os.fspath(real_path(Path(given)))]  # noqa: PTH100
    is_of_here = given.startswith(".")  # ".", "./a", "../a"
    if not (is_of_here or os.path.isabs(given)):  # noqa: PTH117
        found += [os.path.normpath(os.path.join(root.folder, given)) for root in roots]  # noqa: PTH118
    return list(dict.fromkeys(map(one_form, found)))


def _is_inside(root: Root, path: bytes, targets: list[str]) -> bool:
    folder = one_form(root.locate(path) if path else str(root.folder))
    return any(_holds(target, folder) for target in targets)


def _holds(target: str, folder: str) -> bool:
    """Whether a folder is the target, or in it."""
    return folder == target or folder.startswith(target.rstrip(os.sep) + os.sep)


def _fit_names(where: Where, facts: FactsOfRows, paths: Paths, positions: Numbers) -> Mask:
    """Whether the file at each of some positions is called so, (n,)."""
    flags, folders = facts.records["flags"][positions], facts.records["folder"][positions]
    fits = np.zeros(len(positions), bool)
    # Without a folder it is not known where a name begins in the path.
    is_plain = (flags & ASCII_NAME > 0) & (folders > 0)
    plain = np.flatnonzero(is_plain)
    one_by_one = [np.flatnonzero(~is_plain)]
    if len(plain):
        names = _Names(facts, paths, positions[plain], folders[plain])
        for glob in map(one_form, where.names):
            found, is_certain = names.fitting(glob)
            if is_certain:
                fits[plain[found]] = True
            else:
                one_by_one.append(plain[found])
    for place in sorted(set(np.concatenate(one_by_one).tolist())):
        if not fits[place]:
            name = os.path.basename(paths[int(positions[place])])  # noqa: PTH119
            fits[place] = where.fits_name(name)
    return fits


class _Names:
    """The names of some files, of ASCII alone, as bytes: where each begins and ends in the file of paths."""

    def __init__(
        self, facts: FactsOfRows, paths: Paths, positions: Numbers, folders: npt.NDArray[np.uint32]
    ) -> None:
        self._bytes = np.frombuffer(paths.names, np.uint8)
        starts, self._ends = paths.spans(positions)
        self._starts = starts + _lengths_before_names(facts.folders(), folders)

    def fitting(self, glob: str) -> tuple[Numbers, bool]:
        """Which may fit a glob, and whether these do for certain."""
        everything = np.arange(len(self._starts))
        if not glob.isascii() or _SPECIAL.search(glob):
            return everything, False
        first, *rest = os.fsencode(glob).split(b"*")
        *middle, last = rest or [b""]
        found = self._beginning(everything, first)
        if not rest:
            return found[self._ends[found] - self._starts[found] == len(first)], True
        length = len(first) + sum(map(len, middle)) + len(last)
        found = self._ending(found[self._ends[found] - self._starts[found] >= length], last)
        held = [part for part in middle if part]
        for part in held:
            found = self._holding(found, part)
        # One part between two stars is anywhere in a name of nothing else; more have an order to be looked at.
        return found, not held or (len(held) == 1 and not first and not last)

    def _beginning(self, found: Numbers, text: bytes) -> Numbers:
        found = _those(found, self._ends[found] - self._starts[found] >= len(text))
        for i, byte in enumerate(text):
            found = _those(found, self._bytes[self._starts[found] + i] == byte)
        return found

    def _ending(self, found: Numbers, text: bytes) -> Numbers:
        for i, byte in enumerate(reversed(text), start=1):
            found = _those(found, self._bytes[self._ends[found] - i] == byte)
        return found

    def _holding(self, found: Numbers, text: bytes) -> Numbers:
        hits = np.append(self._hits(text), np.iinfo(np.int64).max // 2)
        # The first hit that is not before the name must end within it.
        first = hits[np.searchsorted(hits, self._starts[found])]
        return _those(found, first + len(text) <= self._ends[found])

    def _hits(self, text: bytes) -> Numbers:
        """Where a text stands among all bytes."""
        hits: Numbers = np.flatnonzero(self._bytes[: len(self._bytes) - len(text) + 1] == text[0])
        for i, byte in enumerate(text[1:], start=1):
            hits = hits[self._bytes[hits + i] == byte]
        return hits


def _those(found: Numbers, are: Mask) -> Numbers:
    return found if are.all() else found[are]


def _lengths_before_names(folders: list[tuple[int, int, bytes]], numbers: npt.NDArray[np.uint32]) -> Numbers:
    """How many bytes stand before a name in the file of paths, "ROOT/FOLDER/", by the number of its folder, (n,)."""
    lengths = np.zeros(len(folders) + 1, np.int64)
    for number, root, path in folders:
        if 0 < number <= len(folders):
            lengths[number] = len(b"%d/" % root) + len(path) + bool(path)
    of_each: Numbers = lengths[np.minimum(numbers, len(folders))]
    return of_each
