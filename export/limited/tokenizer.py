"""A process that reads pickled Keras tokenizers for another one: its unpickler makes nothing but dictionaries."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

from export.errors import ExportError
from export.limited.reader import answer_with

_TOKENIZERS = frozenset(
    f"{package}.Tokenizer"
    for package in (
        "keras_preprocessing.text",  # the original file: Keras 2.2 to TensorFlow 2.8
        "keras.preprocessing.text",
        "keras.src.preprocessing.text",
        "keras.src.legacy.preprocessing.text",  # Keras 3
        "tf_keras.preprocessing.text",
        "tf_keras.src.preprocessing.text",
    )
)
_LONGEST_NAME = 200  # characters of what a pickle asks for; those that may be had are shorter


def main() -> None:
    """What it does all its life."""
    answer_with(lambda _, path: ({}, [json.dumps(read(path)).encode()]))


def read(path: Path) -> list[str]:
    """What `tokenizer.read_stems` gives."""
    reader = None
    try:
        with path.open("rb") as file:
            reader = _TokenizerUnpickler(file, path)
            tokenizer = reader.load()
    except ExportError:
        raise
    except Exception as error:  # a damaged pickle can raise almost anything
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".removesuffix(": ")
        raise ExportError(
            f"{path} is damaged or no pickled Keras tokenizer ({said}): copy it again"
        ) from error
    if type(tokenizer) is not reader.tokenizer:
        name = type(tokenizer).__name__
        name = name if name.isidentifier() else "class"  # which a pickle may name as it likes
        raise ExportError(f"{path} holds a {name}, expected a Keras Tokenizer")
    return _stems(vars(tokenizer), path)


class _TokenizerUnpickler(pickle.Unpickler):
    """Has a harmless class of its own for each name it knows: no class or function outside is ever touched.

    The classes are made anew for each file, as a pickle may set attributes on what it gets.
    """

    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file)
        self._path = path
        self.tokenizer = type("Tokenizer", (), {})
        self._stand_ins = {
            "collections.OrderedDict": type("Words", (dict,), {"__init__": lambda *_: None}),
            "collections.defaultdict": type("Counts", (dict,), {"__init__": lambda *_: None}),
            "builtins.int": type("Number", (), {}),  # the factory of a defaultdict
            "__builtin__.int": type("Number", (), {}),  # the same, up to pickle protocol 2
        }

    def find_class(self, module: str, name: str) -> Any:
        wanted = f"{module}.{name}"[:_LONGEST_NAME]
        if wanted in _TOKENIZERS:
            return self.tokenizer
        if wanted in self._stand_ins:
            return self._stand_ins[wanted]
        raise ExportError(
            f"{self._path} asks for {wanted}, which is no part of a Keras tokenizer: not loaded"
        )


def _stems(state: dict[str, Any], path: Path) -> list[str]:
    index = state.get("word_index")
    if type(index) is not dict or not index:
        raise ExportError(f"{path} has no words in its word_index: the tokenizer was never fitted")
    if state.get("oov_token") is not None:
        raise ExportError(
            f"{path} has an oov_token, a column for unknown words: the runtime leaves unknown words out"
        )
    words = sorted(
        (number, word) for word, number in index.items() if type(number) is int and type(word) is str
    )
    if [number for number, _ in words] != list(range(1, len(index) + 1)):
        raise ExportError(f"{path}: word_index does not number its {len(index)} words from 1 to {len(index)}")
    stems = [word for _, word in words]
    for number, stem in enumerate(stems, 1):
        if stem.split() != [stem]:
            raise ExportError(f"{path}: word {number} is {stem!r}, expected a word without white space")
    if (limit := state.get("num_words")) is not None:
        if type(limit) is not int or limit < 2:
            raise ExportError(f"{path}: num_words is {limit!r}, expected a number above 1")
        stems = stems[: limit - 1]  # Keras leaves out words from that number on
    return stems
