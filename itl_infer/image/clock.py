"""How long a picture may be decoded, and what may be read of it: asked whenever its decoder wants more of the file."""

from __future__ import annotations

import time
from typing import Any, BinaryIO

from itl_infer.errors import ImageError, ImageMemoryError

SECONDS = 7.0  # of computing, for a picture within the default limit of megapixels
WALL_SECONDS = 30.0  # until it is there: on an idle machine the clock above is the one that counts
_SLOWEST = 10**6  # bytes that a slow drive gives in a second, for which there is as much more time
MEMORY = 850 * 10**6  # bytes, for one that is decoded in a process of its own
_SMALL = 2**12  # bytes of a read
_SMALL_READS = 32
_FILE_BYTES = 10**9
_MEGAPIXELS = 100.0  # for which these are meant: who allows more pictures allows more of all


class Allowance:
    """What decoding a picture may take, by the limit of megapixels."""

    def __init__(self, max_megapixels: float) -> None:
        self.max_megapixels = max_megapixels
        more = max(1.0, max_megapixels / _MEGAPIXELS)
        self.seconds = SECONDS * more
        self._wall_seconds = WALL_SECONDS * more
        self.memory = int(MEMORY * more)
        self.file_bytes = int(_FILE_BYTES * more)

    def wall_seconds(self, size: int) -> float:
        """Until a file of so many bytes is read and decoded, in a process of its own."""
        return self._wall_seconds + size / _SLOWEST

    def require_file(self, name: str, size: int) -> None:
        """Raise ImageError for a file that is too large to be a picture within the limit."""
        if size > self.file_bytes:
            raise ImageError(
                name,
                f"a file of {size / 1e9:.1f} GB, more than the {self.file_bytes / 1e9:.1f} GB that a picture may"
                " have: raise --max-megapixels (max_megapixels) if it is one",
            )

    def too_long(self, name: str) -> ImageError:
        return ImageError(
            name,
            f"takes more than {self.seconds:.0f} s to be decoded: raise --max-megapixels (max_megapixels)"
            " if it is meant",
        )

    def not_in_time(self, name: str, seconds: float) -> ImageMemoryError:
        """Of one that may do elsewhere, or at another time."""
        return ImageMemoryError(
            name,
            f"not enough of a CPU, or of its drive, to decode it within {seconds:.0f} s: close other programs,"
            " or allow more",
        )

    def too_much(self, name: str) -> ImageError:
        return ImageError(
            name,
            f"takes more than {self.memory / 1e6:.0f} MB to be decoded: raise --max-megapixels (max_megapixels)"
            " where there is memory for it",
        )


class ClockedFile:
    """A file whose reader has only so much time: decoders that go on and on read on and on.

    The time is what this thread computes, whatever else the machine has to do. To ask for it costs as much as a small
    read does: of those, which are of headers, it is asked at some.
    """

    def __init__(self, file: BinaryIO, name: str, allowance: Allowance) -> None:
        self._file, self._name, self._allowance = file, name, allowance
        self._ends = time.thread_time() + allowance.seconds
        self._read, self.seek, self.tell = file.read, file.seek, file.tell
        self._small_reads = 0

    def read(self, size: int = -1) -> bytes:
        """Raises ImageError when the time is over."""
        if 0 <= size < _SMALL:
            self._small_reads += 1
            if self._small_reads % _SMALL_READS:
                return self._read(size)
        if time.thread_time() > self._ends:
            raise self._allowance.too_long(self._name)
        return self._read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
