"""One file of a survey read, once: its bytes are what is hashed and what is decoded."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from itl_infer.errors import ImageError, ImageMemoryError, ReaderMissingError, reason_of
from itl_infer.image import (
    Facts,
    ImageRules,
    load_picture,
    open_picture_file,
    require_picture,
    require_reader,
)
from itl_infer.index import Picture
from itl_infer.index.facts import date_of_file
from itl_infer.ingest.survey import Item
from itl_infer.walk import UNKNOWN

# File systems tell time in steps of up to 2 s (FAT): a file that was modified less than that ago may be so
# again without its time showing it.
_SETTLED_NS = 2 * 10**9

# A file of so many bytes is kept in memory between hashing and decoding; a larger one is read twice.
_WHOLE_BYTES = 2**24
_HASHED_BYTES = 2**20  # of a larger one at a time


class Reading(NamedTuple):
    """What came of reading one file."""

    item: Item
    size: int = UNKNOWN
    mtime_ns: int = UNKNOWN
    digest: bytes | None = None  # None: could not be read
    pixels: npt.NDArray[np.uint8] | None = None  # None: not needed, or not to be had
    facts: Facts | None = None  # None: not needed, or not to be had
    date: datetime | None = None  # of the file, which dates a picture that has no date of its own
    error: str | None = None
    note: str | None = None  # on a picture that was read all the same
    vanished: bool = False
    reader_missing: ReaderMissingError | None = None  # so that it is left out

    def picture(self) -> Picture:
        assert self.digest is not None
        return Picture(self.item.root, self.item.path, self.size, self.mtime_ns, self.digest)


@dataclass(frozen=True)
class Reader:
    """Reads files for an index; safe to call from several threads.

    `knows` says whether the index has the facts of content, by its digest, so that nothing need be decoded; None where
    it has no embedding either.
    """

    rules: ImageRules
    max_megapixels: float
    knows: Callable[[bytes], bool | None]
    stopped: threading.Event = field(
        default_factory=threading.Event
    )  # set where nobody waits for what is read

    def read(self, item: Item) -> Reading:
        try:
            with open_picture_file(item.location) as file:
                return self._read_open(item, file)
        except ReaderMissingError as missing:
            return Reading(item, reader_missing=missing)
        except (ImageMemoryError, MemoryError) as error:
            # No fault of the picture's, which is tried each time.
            reason = error.reason if isinstance(error, ImageMemoryError) else "not enough memory to read it"
            return Reading(item, item.size, error=reason)
        except (ImageError, OSError) as error:
            cause = error.__cause__ if isinstance(error, ImageError) else error
            if isinstance(cause, FileNotFoundError) and not Path(item.location).is_symlink():
                return Reading(item, vanished=True)
            reason = error.reason if isinstance(error, ImageError) else f"cannot be read: {reason_of(error)}"
            # What the system refuses now it may grant later, without the file changing: tried each time.
            mtime_ns = UNKNOWN if isinstance(cause, OSError) else item.mtime_ns
            return Reading(item, item.size, mtime_ns, error=reason)

    def _read_open(self, item: Item, file: BinaryIO) -> Reading:
        if item.picture_digest is None:  # else it may be as it was, and needs no reader
            require_reader(file, item.location)
        status = os.fstat(file.fileno())
        if status.st_size > _WHOLE_BYTES:  # before all of it is read: there may be terabytes of nothing
            require_picture(file, item.location, self.max_megapixels)
        is_settled = time.time_ns() - status.st_mtime_ns > _SETTLED_NS
        content: BinaryIO = io.BytesIO(file.read()) if status.st_size <= _WHOLE_BYTES else file
        digest = self._digest(content)
        reading = Reading(
            item,
            status.st_size,
            status.st_mtime_ns if is_settled else UNKNOWN,
            digest,
            date=date_of_file(status.st_mtime_ns),
        )
        has_facts = self._has_facts(item, digest)
        if has_facts:
            return reading
        is_embedded = has_facts is not None
        notes: list[str] = []
        try:
            pixels, facts = load_picture(
                content, self.rules, max_megapixels=self.max_megapixels, name=item.location, notes=notes
            )
        except (ReaderMissingError, ImageMemoryError, MemoryError):
            if is_embedded:
                return reading  # its facts wait for a run that can read it
            raise
        except ImageError as error:
            if is_embedded:  # by an earlier version, perhaps, that took more
                return reading._replace(facts=dated(Facts(0, 0), reading.date))
            return reading._replace(error=error.reason)
        after = os.fstat(file.fileno())
        if (after.st_size, after.st_mtime_ns) != (status.st_size, status.st_mtime_ns):
            return Reading(
                item, after.st_size, error="changed while it was read: run again when it is complete"
            )
        return reading._replace(
            pixels=None if is_embedded else pixels,
            facts=dated(facts, reading.date),
            note=notes[0] if notes and not is_embedded else None,
        )

    def _has_facts(self, item: Item, digest: bytes) -> bool | None:
        """Whether nothing need be decoded; None: not even the embedding is known."""
        if digest == item.picture_digest:
            return not item.needs_facts
        return digest == item.failure_digest or self.knows(digest)

    def _digest(self, file: BinaryIO) -> bytes:
        """The content hash that the index keeps."""
        digest = hashlib.blake2b(digest_size=16)
        if isinstance(file, io.BytesIO):
            digest.update(file.getbuffer())
        else:
            while block := file.read(_HASHED_BYTES):
                self._go_on()
                digest.update(block)
        self._go_on()  # before the index is asked, which is closed soon
        return digest.digest()

    def _go_on(self) -> None:
        if self.stopped.is_set():
            raise OSError("interrupted")


def dated(facts: Facts, date: datetime | None) -> Facts:
    """With the date of the file, where the picture has none of its own."""
    if facts.taken is not None and not facts.is_file_date:
        return facts
    return replace(facts, taken=date, is_file_date=date is not None)
