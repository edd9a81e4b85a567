"""Which of many file names fit a glob: names of ASCII alone, by their bytes, for all of them at once."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Mask: TypeAlias = npt.NDArray[np.bool_]
Numbers: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]

# What fits one character, as fnmatch reads it: "[ab]", "[!ab]", "[]a]", or any other character, "[" of "[]" too.
_ELEMENT = re.compile(r"\[(?:!|(?!!))(?:\][^\]]*|[^\]]+)\]|.", re.DOTALL)
_ANY = None
_FEW = 4  # times as many names as hits: then it is sooner known which names the hits are in
_NOWHERE = np.iinfo(np.int64).max // 2

_Element: TypeAlias = int | Mask | None  # a byte; those that fit, (256,); any
_Part: TypeAlias = list[_Element]  # what stands between two stars


class Glob:
    """A glob, with the stars, question marks and brackets that `fnmatch` knows."""

    def __init__(self, glob: str) -> None:
        first, *rest = self._parts = _parts(glob)
        self._needed = sum(map(len, self._parts))  # characters
        self._is_whole = not rest
        self._first, self._middle, self._last = first, rest[:-1], rest[-1] if rest else []

    @property
    def is_ending(self) -> bool:
        """Whether it only says how names end, such as "*.jpg": as no glob has a "/", whole paths will do then."""
        return (
            not (self._is_whole or self._first or self._middle)
            and bool(self._last)
            and all(isinstance(element, int) for element in self._last)
        )

    def fitting(self, buffer: Bytes, starts: Numbers, ends: Numbers) -> Numbers:
        """The numbers of the names that fit, of (n,) that begin and end at ascending places in a buffer."""
        lengths = ends - starts
        found = np.flatnonzero(lengths == self._needed if self._is_whole else lengths >= self._needed)
        found = _with(self._last, found, buffer, ends - len(self._last))
        found = _with(self._first, found, buffer, starts)
        places, limits = starts[found] + len(self._first), ends[found] - len(self._last)
        for part in self._middle:  # each at the first place where it is: if any way fits, so does this one
            if not len(found):
                break
            behind = _first_place(part, buffer, places, limits) + len(part)
            are = behind <= limits
            found, places, limits = found[are], behind[are], limits[are]
        return found


def _with(part: _Part, found: Numbers, buffer: Bytes, places: Numbers) -> Numbers:
    """Those of some that have a part at their place, of (n,) places."""
    for i, element in enumerate(part):
        if element is not _ANY:
            found = found[_fits(element, buffer[places[found] + i])]
    return found


def _first_place(part: _Part, buffer: Bytes, places: Numbers, limits: Numbers) -> Numbers:
    """Where a part stands first from each of (n,) places on; one behind all limits where it does not before its own."""
    if all(element is _ANY for element in part):
        return places
    hits = _hits(part, buffer)
    if len(hits) * _FEW > len(places):
        return np.append(hits, _NOWHERE)[np.searchsorted(hits, places)]
    first = np.full(len(places), _NOWHERE)
    number = np.searchsorted(places, hits, side="right") - 1  # of the last place before each hit
    inside = (number >= 0) & (hits < limits[number])
    number, hits = number[inside], hits[inside]
    first[number[::-1]] = hits[::-1]  # what is written last is the first
    return first


def _hits(part: _Part, buffer: Bytes) -> Numbers:
    """Where a part stands in a buffer, ascending."""
    size = max(0, len(buffer) - len(part) + 1)
    hits = np.ones(size, bool)
    for i, element in enumerate(part):
        if element is not _ANY:
            hits &= _fits(element, buffer[i : i + size])
    return np.flatnonzero(hits)


def _parts(glob: str) -> list[_Part]:
    """What stands between the stars of a glob."""
    parts: list[_Part] = [[]]
    for text in _ELEMENT.findall(glob):
        if text == "*":
            parts.append([])
        else:
            parts[-1].append(_element(text))
    return parts


def _element(text: str) -> _Element:
    if text == "?":
        return _ANY
    if len(text) == 1 and text.isascii():
        return ord(text)
    fits = re.compile(translate(text)).fullmatch
    return np.array([number < 128 and fits(chr(number)) is not None for number in range(256)])


def _fits(element: int | Mask, found: Bytes) -> Mask:
    fits: Mask = found == element if isinstance(element, int) else element[found]
    return fits
