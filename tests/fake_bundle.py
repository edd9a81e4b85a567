"""Embeddings without onnxruntime, for tests of what becomes of them and not of how they are made."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from itl_infer.errors import QueryError
from itl_infer.image import ImageRules

EMBED_DIM = 8
WORDS = ("red", "green", "blue")


class FakeBundle:
    """Embeds a picture as the unit vector of its mean colour and a hash of its pixels, a text as a colour."""

    embed_dim = EMBED_DIM
    image_rules = ImageRules(side=4)

    def __init__(self, name: str = "fake") -> None:
        self.name = name
        self.fingerprint = hashlib.sha256(name.encode()).hexdigest()
        self.embedded = 0  # pictures, since it was made

    def embed_pixels(self, pixel_values: np.ndarray) -> np.ndarray:
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


def write_picture(path: Path, seed: int) -> None:
    """A 4 x 4 BMP file (102 bytes) of colours that the seed decides."""
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    header = b"BM" + (102).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    header += (40).to_bytes(4, "little") + (4).to_bytes(4, "little") * 2 + (1).to_bytes(2, "little")
    header += (24).to_bytes(2, "little") + bytes(4) + (48).to_bytes(4, "little") + bytes(16)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + pixels.tobytes())
