"""Beside the vectors, their codes: derived, made as rows are added, and never needed for a right answer.

A file of blocks, each with a head (rows, checksum of the codes, a stamp of the vectors, what bounds the errors of each
group of rows) and the codes of up to 2^15 rows. Only whole groups are in it, and what is in it is never changed, only
added to; the few rows behind are quantised by who reads. Nothing waits for the disk: a head that does not fit what
follows it, or the vectors, says that the file is to be made again.
"""

from __future__ import annotations

import dataclasses
import logging
import mmap
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from itl_infer.encoder import products_are_fast
from itl_infer.errors import IndexStoreError
from itl_infer.files import replacing
from itl_infer.index.disk import map_file
from itl_infer.index.plain import open_plain, require_plain, size_of
from itl_infer.index.schema import State
from itl_infer.ranking import Codes
from itl_infer.ranking.codes import (
    BLOCK,
    GROUP,
    CodeBlock,
    Quantized,
    checksum,
    coded,
    quantized,
    quantized_blocks,
)

_VERSION = 1
_MAGIC = b"itlcodes"
_HEAD = struct.Struct("<8sIIIIQ")  # magic, version, dimensions, rows, stamp, checksum
_GROUPS = BLOCK // GROUP
_HEAD_BYTES = 2**14  # of a block: the head, 3 floats for each group, and at the end a CRC-32 of all that
_STAMPED = 4  # rows of a block whose vectors make its stamp

Floats = npt.NDArray[np.float32]
_log = logging.getLogger(__name__)


def codes_file(folder: Path, state: State) -> Path:
    """Where the codes of a generation are."""
    return folder / f"codes-{state.generation:06}.u8"


class _Head(NamedTuple):
    """What stands before the codes of a block."""

    rows: int
    stamp: int
    checksum: int
    bounds: Floats  # (3, groups): scales, lengths and errors

    @classmethod
    def parse(cls, content: bytes, dim: int) -> _Head | None:
        """None for one of another version or width, cut off or damaged."""
        if len(content) < _HEAD_BYTES:
            return None
        magic, version, found_dim, rows, stamp, found = _HEAD.unpack_from(content)
        if (magic, version, found_dim) != (_MAGIC, _VERSION, dim) or not 0 < rows <= BLOCK or rows % GROUP:
            return None
        if zlib.crc32(content[: _HEAD_BYTES - 4]) != int.from_bytes(
            content[_HEAD_BYTES - 4 : _HEAD_BYTES], "little"
        ):
            return None
        bounds = np.frombuffer(content, "<f4", 3 * _GROUPS, _HEAD.size).reshape(3, _GROUPS)
        return cls(rows, stamp, found, bounds[:, : rows // GROUP].copy())

    def to_bytes(self, dim: int) -> bytes:
        bounds = np.zeros((3, _GROUPS), "<f4")
        bounds[:, : self.bounds.shape[1]] = self.bounds
        content = _HEAD.pack(_MAGIC, _VERSION, dim, self.rows, self.stamp, self.checksum) + bounds.tobytes()
        content = content.ljust(_HEAD_BYTES - 4, b"\0")
        return content + zlib.crc32(content).to_bytes(4, "little")


def _place(number: int, dim: int) -> int:
    """Where a block begins."""
    return number * (_HEAD_BYTES + BLOCK * dim)


def _stamp(vectors: Floats, first: int, rows: int) -> int:
    """Of the vectors that a block of codes was made of: a few of them are compared, all when they are scored."""
    places = first + np.linspace(0, rows - 1, _STAMPED).astype(np.int64)
    return zlib.crc32(vectors[places].tobytes())


def _vectors(folder: Path, state: State) -> Floats:
    """All rows as they are on the disk, (n, D): with those that a writer may have added since."""
    path, width = state.vectors_file(folder), state.embed_dim * 4
    rows = size_of(path) // width
    return np.frombuffer(map_file(path, rows * width), "<f4").reshape(rows, state.embed_dim)


def _heads(file: IO[bytes], vectors: Floats) -> Iterator[_Head]:
    """The heads of blocks that are there and those of these vectors, up to the first that is not."""
    dim = vectors.shape[1]
    for number in range(-(-len(vectors) // BLOCK)):
        file.seek(_place(number, dim))
        head = _Head.parse(file.read(_HEAD_BYTES), dim)
        first = number * BLOCK
        if (
            head is None
            or first + head.rows > len(vectors)
            or _stamp(vectors, first, head.rows) != head.stamp
        ):
            return
        if os.fstat(file.fileno()).st_size < _place(number, dim) + _HEAD_BYTES + head.rows * dim:
            return
        yield head
        if head.rows < BLOCK:
            return


def _covered(heads: list[_Head]) -> int:
    return sum(head.rows for head in heads)


def _are_whole(heads: list[_Head], state: State) -> bool:
    return _covered(heads) == state.rows // GROUP * GROUP


# Writing, by whoever holds the writer's lock.


def write_codes(folder: Path, state: State) -> None:
    """Make the codes of all rows anew, in place of what is there; nothing for an index that is too small for them."""
    path = codes_file(folder, state)
    for name in (path.name, f"{path.name}.part"):
        require_plain(folder / name, to_write=True)
    if not state.has_codes:
        path.unlink(missing_ok=True)
        return
    vectors = _vectors(folder, state)[: state.rows // GROUP * GROUP]
    with replacing(path) as file:
        for block in quantized_blocks(vectors):
            codes, *bounds = block.quantized
            stamp = _stamp(vectors, block.first, block.rows)
            head = _Head(block.rows, stamp, checksum(codes), np.stack(bounds))
            file.write(head.to_bytes(state.embed_dim) + codes.tobytes())


def extend_codes(folder: Path, state: State) -> None:
    """Add the codes of rows that were added since. What goes wrong here costs nothing that was committed."""
    if not state.has_codes:
        return
    try:
        path = codes_file(folder, state)
        if not path.exists():
            write_codes(folder, state)
            return
        vectors = _vectors(folder, state)[: state.rows]
        with open_plain(path, to_write=True) as file:
            heads = list(_heads(file, vectors))
            for first in range(_covered(heads) // BLOCK * BLOCK, state.rows // GROUP * GROUP, BLOCK):
                _extend_block(file, vectors, first, next(iter(heads[first // BLOCK :]), None))
    except (OSError, IndexStoreError, ValueError) as error:
        _log.info("%s: codes were not written: %s", folder, error)


def _extend_block(file: IO[bytes], vectors: Floats, first: int, head: _Head | None) -> None:
    dim = vectors.shape[1]
    before = 0 if head is None else head.rows
    rows = min(BLOCK, (len(vectors) - first) // GROUP * GROUP)
    if rows == before:
        return
    codes, *added = quantized(vectors[first + before : first + rows])
    place = _place(first // BLOCK, dim)
    file.seek(place + _HEAD_BYTES + before * dim)
    _write(file, codes.tobytes())
    bounds = np.stack(added)
    total = checksum(codes, before)
    if head is not None:
        bounds, total = np.concatenate([head.bounds, bounds], axis=1), (total + head.checksum) % 2**64
    file.seek(place)
    _write(file, _Head(rows, _stamp(vectors, first, rows), total, bounds).to_bytes(dim))


def _write(file: IO[bytes], content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def problem_of_codes(folder: Path, state: State) -> str | None:
    """What is wrong with the codes, all of which are compared with their checksums; None where they are not there."""
    path = codes_file(folder, state)
    if not path.exists() or not state.has_codes:
        return None
    with open_plain(path) as file:
        heads = list(_heads(file, _vectors(folder, state)))
        if not _are_whole(heads, state):
            return f"{path.name}: not the codes of these vectors"
        for number, head in enumerate(heads):
            file.seek(_place(number, state.embed_dim) + _HEAD_BYTES)
            codes = np.frombuffer(file.read(head.rows * state.embed_dim), np.uint8)
            if checksum(codes.reshape(-1, state.embed_dim)) != head.checksum:
                return f"{path.name}: codes of row {number * BLOCK} and on do not match their checksum"
    return None


# Reading.


class DerivedCodes:
    """The codes of a view of `live` rows, others at `holes` than in the file; read when first asked for."""

    def __init__(self, folder: Path, state: State, holes: npt.NDArray[np.int64]) -> None:
        self._folder, self._state, self._holes = folder, state, holes
        self._lock = threading.Lock()
        self._codes: Codes | None = None
        self._is_read = self._was_given_up = False

    def of(self, embeddings: Floats) -> Codes | None:
        """The codes of the view's (N, D) embeddings; None where it has none, or floats are read as fast.

        A file that is missing or not that of these vectors is made anew first, where it may be written.
        """
        if not self._state.has_codes or not products_are_fast():
            return None
        with self._lock:
            if not self._is_read:
                self._codes = self._read(embeddings)
                if self._codes is None and self._write():
                    self._codes = self._read(embeddings)
                self._is_read = True
            return self._codes

    def give_up(self, reason: object) -> None:
        """Do without them, and make the file anew; what is wrong again then is not tried a third time."""
        with self._lock:
            self._codes, self._is_read = None, self._was_given_up
            self._was_given_up = True
            _log.warning("%s: %s: ranked without them", codes_file(self._folder, self._state), reason)
            self._write()

    def _write(self) -> bool:
        """Make the file anew, where it may be written. Nobody is kept out meanwhile: what does not fit will be seen."""
        path = codes_file(self._folder, self._state)
        existed = path.exists()
        try:
            write_codes(self._folder, self._state)
        except (IndexStoreError, OSError, ValueError) as error:
            _log.info("%s: not made: %s", path, error)
            return False
        if existed:
            _log.warning("%s: was damaged or that of other vectors, made again", path)
        return True

    def _read(self, embeddings: Floats) -> Codes | None:
        path, dim = codes_file(self._folder, self._state), self._state.embed_dim
        try:
            with open_plain(path) as file:
                heads = list(_heads(file, _vectors(self._folder, self._state)))
                if _covered(heads) < len(embeddings) // GROUP * GROUP:
                    return None
            mapped = map_file(path, size_of(path), private=len(self._holes) > 0)
            blocks = self._blocks(mapped, heads, embeddings)
        except (OSError, IndexStoreError):
            return None
        end = blocks[-1].first + blocks[-1].rows
        if end < len(embeddings):
            blocks.append(CodeBlock(end, len(embeddings) - end, quantized(embeddings[end:])))
        return Codes(blocks, dim)

    def _blocks(
        self, mapped: mmap.mmap | bytearray, heads: list[_Head], embeddings: Floats
    ) -> list[CodeBlock]:
        """The blocks of the rows that the view has. Raises IndexStoreError where one that is changed is damaged."""
        blocks, dim = [], self._state.embed_dim
        for number, head in enumerate(heads):
            first = number * BLOCK
            if first >= len(embeddings):
                break
            start = _place(number, dim) + _HEAD_BYTES
            codes = np.frombuffer(mapped, np.uint8, head.rows * dim, start).reshape(head.rows, dim)
            rows = min(head.rows, len(embeddings) - first)
            block = CodeBlock(first, rows, Quantized(codes, *head.bounds), head.checksum)
            blocks.append(self._filled(block, embeddings))
        return blocks

    def _filled(self, block: CodeBlock, embeddings: Floats) -> CodeBlock:
        """The block with codes of the rows that stand at its holes, at the scales of the groups there."""
        here = self._holes[(self._holes >= block.first) & (self._holes < block.first + block.rows)]
        if not len(here):
            return block
        codes, scales, lengths, errors = block.quantized
        if checksum(codes) != block.checksum:  # as it will not be when it is read
            raise IndexStoreError("codes do not match their checksum")
        groups = (here - block.first) // GROUP
        codes[here - block.first], long, far = coded(embeddings[here], scales[groups])
        np.maximum.at(lengths, groups, long)
        np.maximum.at(errors, groups, far)
        return dataclasses.replace(block, checksum=None)
