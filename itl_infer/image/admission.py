"""Which pictures may be decoded, and which beside each other: by the memory that each takes."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator

import numpy as np

from itl_infer.errors import ImageError, ImageMemoryError
from itl_infer.memory import usable_memory

SHORT = "not enough memory"  # what a message of such a shortage begins with
BYTES_PER_PIXEL = 8  # that is decoded: Pillow takes 4, and what is made of it as much again
_READING = 1 / 8  # what a pixel costs that is read, and decoded into a part of one
_ENOUGH = 2**31  # bytes of memory that may be used: with less, smaller pictures count as large
_ELSEWHERE = 200 * 10**6  # bytes: Python, onnxruntime, a small batch
_SHARE = 0.8  # of the memory that may be used
_LARGE_APART = 25e6  # pixels: what takes the memory of more is decoded in a process of its own
_ORDINARY_SIDE = 2**16  # pixels, the longest side of a JPEG
_OF_A_ROW, _OF_A_SIDE = (
    24,
    40,
)  # bytes that Pillow takes besides, for each row, and to scale each row and column
_SMALLEST_ROOM = 2**26  # bytes; a process that cannot have so much is short of memory

# Each takes hundreds of megabytes while it is decoded: one at a time, however many threads read.
_large_pictures = threading.Lock()


class Apart(BaseException):
    """A picture should be decoded in a process of its own. No error, and nothing that may be taken for one."""


class Admission:
    """Lets one picture be decoded, once it is known how large it is: admitted once, it stays so until it is done."""

    def __init__(
        self,
        name: str,
        max_megapixels: float,
        large_megapixels: float,
        until_done: contextlib.ExitStack,
        *,
        may_be_apart: bool = False,
    ) -> None:
        self._name, self._max_megapixels, self._until_done = name, max_megapixels, until_done
        self._may_be_apart = may_be_apart
        self._large = large_megapixels * 1e6 * min(1.0, usable_memory() / _ENOUGH)
        self._is_large = False
        self.bytes = 0.0  # that decoding takes, about

    def __call__(self, width: int, height: int, pixels: float | None = None) -> None:
        """`pixels` is how many the memory that it takes would be enough for; as many as it has, where none is given.

        Raises ImageError for too many, and ImageMemoryError for more than there is memory for.
        """
        pixels = width * height if pixels is None else pixels
        if max(width, height) > _ORDINARY_SIDE:
            pixels += (_OF_A_ROW * height + _OF_A_SIDE * (width + height)) / BYTES_PER_PIXEL
        # However small it is decoded, all of it is read.
        check_size(width, height, max(pixels, width * height * _READING), self._name, self._max_megapixels)
        self.bytes = pixels * BYTES_PER_PIXEL
        room = usable_memory() * _SHARE - _ELSEWHERE
        if self.bytes > room:
            raise ImageMemoryError(
                self._name,
                f"{SHORT}: {width} x {height} takes about {self.bytes / 1e6:.0f} MB of the"
                f" {usable_memory() / 1e6:.0f} MB that may be used: allow more",
            )
        if pixels > _LARGE_APART and usable_memory() >= _ENOUGH:
            self.suspect()
        if pixels > self._large and not self._is_large:
            self._is_large = True
            self._until_done.enter_context(_large_pictures)
            if usable_memory() < _ENOUGH:
                _give_back()

    def suspect(self) -> None:
        """Let it be decoded in a process of its own, where it is not there already and where that is possible.

        Raises Apart.
        """
        if self._may_be_apart:
            raise Apart


def check_size(width: int, height: int, pixels: float, name: str, max_megapixels: float) -> None:
    """Raise ImageError for a picture without pixels, or one that takes as much as more pixels than the limit."""
    if width * height == 0:
        raise ImageError(name, f"no pixels: {width} x {height}")
    if pixels > max_megapixels * 1e6:
        is_plain = max_megapixels * 1e6 < width * height <= pixels
        takes, pixels = ("is", width * height) if is_plain else ("takes as much as", pixels)
        raise ImageError(
            name,
            f"{width} x {height} {takes} {pixels / 1e6:.4g} megapixels, more than the limit of"
            f" {max_megapixels:g}: raise --max-megapixels (max_megapixels) where there is memory for it",
        )


def is_there_room(bytes_wanted: float) -> bool:
    """Whether this process could have so much memory now: libraries do not always say that they could not."""
    try:
        np.empty(max(_SMALLEST_ROOM, int(bytes_wanted)), np.uint8)
    except (MemoryError, ValueError):
        return False
    return True


def _give_back() -> None:
    """Memory that was freed: glibc keeps for each thread what it has decoded in, where others cannot have it."""
    import ctypes  # some milliseconds, where memory is short

    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


class Turns:
    """Many at a time, or one alone: who wants to be alone waits for the others, and they for him."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._is_alone = False

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_alone)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_alone)
            self._is_alone = True
            self._changed.wait_for(lambda: self._inside == 0)
        try:
            yield
        finally:
            with self._changed:
                self._is_alone = False
                self._changed.notify_all()
