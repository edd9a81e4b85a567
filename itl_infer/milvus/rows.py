"""What a picture is in a collection: a key made of its path, its path as text, its embedding, a digest of that."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from itl_infer.errors import ClusterError

KEY, PATH, DIGEST, EMBEDDING = "id", "path", "digest", "embedding"
KEY_LENGTH = 32  # hexadecimal digits of 128 bits: a thousand million paths share none
LONGEST_PATH = 2**16 - 1  # bytes, as long as Milvus' texts are

# Bytes of a name that are no text stand as private characters, and so do the bytes of these characters themselves.
_FIRST_PRIVATE = 0x10FF00
_NOT_TEXT = re.compile("[\ud800-\udfff\U0010ff00-\U0010ffff]")
_PRIVATE = re.compile("[\U0010ff00-\U0010ffff]+")


def key_of(path: str) -> str:
    """The primary key of a path."""
    return hashlib.blake2b(os.fsencode(path), digest_size=KEY_LENGTH // 2).hexdigest()


def digest_of(embedding: npt.NDArray[np.float32]) -> int:
    """64 bits that change with an embedding (D,)."""
    content = np.ascontiguousarray(embedding, "<f4").tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)


def row_of(path: str, embedding: npt.NDArray[np.float32]) -> dict[str, Any]:
    """A picture as pymilvus takes it. Raises ClusterError for a path that is too long."""
    text = path_to_text(path)
    if len(text.encode()) > LONGEST_PATH:
        raise ClusterError(
            f"{path[:100]}...: a path of more than {LONGEST_PATH} bytes: no collection takes it"
        )
    return {KEY: key_of(path), PATH: text, DIGEST: digest_of(embedding), EMBEDDING: embedding}


def path_to_text(path: str) -> str:
    """A path as text that any database takes; `text_to_path` turns it back."""
    return _NOT_TEXT.sub(
        lambda found: "".join(chr(_FIRST_PRIVATE + byte) for byte in os.fsencode(found[0])), path
    )


def text_to_path(text: str) -> str:
    """The path that was made a text."""
    return _PRIVATE.sub(
        lambda found: os.fsdecode(bytes(ord(character) - _FIRST_PRIVATE for character in found[0])), text
    )
