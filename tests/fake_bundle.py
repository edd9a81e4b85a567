"""Embeddings without onnxruntime, for tests of what becomes of them and not of how they are made."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from itl_infer.errors import QueryError
from itl_infer.image import ImageRules, load_pixels
from itl_infer.index import Index

EMBED_DIM = 8
WORDS = ("red", "green", "blue")
LONG_AGO_NS = 10**18  # a time that files have when no test has changed them


class FakeBundle:
    """Embeds a picture as its mean colour and some marks of its own, a text as a colour."""

    embed_dim = EMBED_DIM
    image_rules = ImageRules(side=4)

    def __init__(self, name: str = "fake") -> None:
        self.name = name
        self.fingerprint = hashlib.sha256(name.encode()).hexdigest()
        self.embedded = 0  # pictures, since it was made

    def embed_pixels(self, pixel_values: np.ndarray, *, batch_size: int = 32) -> np.ndarray:  # noqa: ARG002
        self.embedded += len(pixel_values)
        return np.array([embed(pixels) for pixels in pixel_values], np.float32).reshape(-1, EMBED_DIM)

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), EMBED_DIM), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            if text not in WORDS:
                raise QueryError(f"unknown: {text}")
            vector[WORDS.index(text)] = 1
        return vectors


def embed(pixels: np.ndarray) -> np.ndarray:
    """(side, side, 3) uint8 to (EMBED_DIM,): three columns of colour, five that tell pictures apart."""
    colour = pixels.reshape(-1, 3).mean(axis=0) / 255
    marks = np.frombuffer(hashlib.sha256(pixels.tobytes()).digest()[:5], np.uint8) / 2560
    vector = np.concatenate([colour, marks])
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def write_picture(path: Path | str, seed: int, mtime_ns: int = LONG_AGO_NS) -> None:
    """A 4 x 4 BMP file (102 bytes) of pixels that the seed decides."""
    pixels = np.random.default_rng(seed).integers(0, 256, 48, np.uint8)
    header = b"BM" + np.array([102, 0, 54, 40, 4, 4], "<u4").tobytes() + np.array([1, 24], "<u2").tobytes()
    header += np.array([0, 48, 0, 0, 0, 0], "<u4").tobytes()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + pixels.tobytes())
    os.utime(path, ns=(mtime_ns, mtime_ns))


def write_pictures(folder: Path, count: int, seed: int = 0) -> list[str]:
    """Pictures 000.bmp, 001.bmp, ... in a folder, all different; their paths."""
    paths = [folder / f"{i:03}.bmp" for i in range(count)]
    for i, path in enumerate(paths):
        write_picture(path, seed + i)
    return [str(path) for path in paths]


def assert_whole(index: Index, expected: list[str] | None = None) -> None:
    """The index holds each expected path once, and with each path the embedding that its file has now."""
    paths = index.paths[:]
    assert len(paths) == len(set(paths)) == len(index.embeddings)
    if expected is not None:
        assert sorted(paths) == sorted(expected)
    for path, embedding in zip(paths, index.embeddings, strict=True):
        np.testing.assert_array_equal(embedding, embed(load_pixels(path, FakeBundle.image_rules)), path)
