"""golden.npz: inputs, and the embeddings that the training side computed from them, read within limits."""

from __future__ import annotations

import io
import math
import struct
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from itl_infer.bundle.bundle import Bundle
from itl_infer.bundle.files import RESTORE
from itl_infer.bundle.manifest import GOLDEN
from itl_infer.errors import BundleError, reason_of

_MOST_BYTES = 2**27  # of an array that is unpacked
_LONGEST_DIRECTORY = 2**16  # bytes: a list of what is in the file
_LONGEST_HEADER = 2**12  # bytes, of an array
_END_OF_DIRECTORY, _END_BYTES, _LONGEST_COMMENT = b"PK\5\6", 22, 2**16
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True)
class Golden:
    """Inputs, and the embeddings that the training side computed from them."""

    pixel_values: npt.NDArray[np.uint8]  # (n, side, side, 3)
    image_embeddings: npt.NDArray[np.float32]  # (n, embed_dim)
    captions: list[str]  # m
    input_ids: npt.NDArray[np.int64]  # (m, T)
    text_embeddings: npt.NDArray[np.float32]  # (m, embed_dim)


def read_golden(bundle: Bundle) -> Golden:
    """Raises BundleError for what is missing, of another shape, or too large."""
    content = bundle.read_file(GOLDEN)
    side, width = bundle.image_rules.side, bundle.embed_dim
    try:
        _require_short_directory(content)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            captions = _read(archive, "captions", "U", (None,))
            image_embeddings = _read(archive, "image_embeddings", "float32", (None, width))
            pictures, texts = len(image_embeddings), len(captions)
            if not pictures or not texts:
                raise ValueError("no golden embeddings in it")
            text_embeddings = _read(archive, "text_embeddings", "float32", (texts, width))
            input_ids = _read(archive, "input_ids", "int64", (texts, None))
            pixels = _read(archive, "pixel_values", "uint8", (pictures, side, side, 3))
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        raise BundleError(f"{bundle.path / GOLDEN}: {reason_of(error)}; {RESTORE}") from error
    return Golden(
        pixels, image_embeddings, [str(caption) for caption in captions], input_ids, text_embeddings
    )


def _require_short_directory(content: bytes) -> None:
    """zipfile makes an object of each entry, before it says how many there are."""
    at = content.rfind(_END_OF_DIRECTORY, -_END_BYTES - _LONGEST_COMMENT)
    if at < 0 or len(content) < at + _END_BYTES:
        raise ValueError("not a file of numpy's (.npz)")
    (size,) = struct.unpack_from("<I", content, at + 12)
    if size > _LONGEST_DIRECTORY:
        raise ValueError("more is in it than golden embeddings")


def _read(archive: zipfile.ZipFile, name: str, kind: str, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
    """An array of a dtype (U: texts) and a shape, in which None stands for any size."""
    entry = archive.getinfo(f"{name}.npy")
    if entry.compress_type not in _PACKED:
        raise ValueError(f"{name} is packed in another way than numpy's")
    with archive.open(entry) as file:
        head = io.BytesIO(file.read(_LONGEST_HEADER))
        version = np.lib.format.read_magic(head)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"{name} is of numpy's format {version}")
        found, in_columns, dtype = read_header(head, max_header_size=_LONGEST_HEADER)
        if dtype.hasobject:
            raise ValueError(
                f"{name} holds objects of Python's, which nothing here unpacks (allow_pickle=False)"
            )
        is_kind = dtype.kind == "U" if kind == "U" else dtype == np.dtype(kind)
        fits = len(found) == len(shape) and all(
            wanted in (None, size) for size, wanted in zip(found, shape, strict=True)
        )
        if not is_kind or not fits or in_columns:
            known = [*found, *shape[len(found) :]]
            expected = tuple(known[place] if size is None else size for place, size in enumerate(shape))
            raise ValueError(f"{name} is {dtype} {found}, expected {kind} {expected}")
        wanted_bytes = math.prod(found) * dtype.itemsize
        if wanted_bytes > _MOST_BYTES:
            raise ValueError(f"{name} takes {wanted_bytes} bytes, {_MOST_BYTES} at most are read")
        rest = head.read()
        body = rest + file.read(max(0, wanted_bytes - len(rest)))
    if len(body) < wanted_bytes:
        raise ValueError(f"{name} is cut short")
    return np.frombuffer(body, dtype, math.prod(found)).reshape(found)
