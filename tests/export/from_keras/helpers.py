"""Models of the original project, as they are and edited."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from export.errors import ExportError
from tests.places import FIXTURES, TESTS

KERAS = FIXTURES / "keras"
IMAGE_MODEL = KERAS / "keras2" / "image_model_1h_v1.h5"
FOUND = TESTS / "fuzz" / "corpus" / "keras"
TEXT_MODEL = KERAS / "keras2" / "text_model_1h_v1.h5"
TOKENIZER = KERAS / "keras2" / "tokenizer_one_hot.pickle"
TEXT_MODELS = ["keras2/text_model_1h_v1", "keras2/functional", "keras3/sequential", "keras3/functional"]
STEMS = ["man", "dog", "surfer", "wave", "red", "two", "children"]
TOLERANCE = 1e-5

Config = dict[str, Any]

# torch's exporter uses what torch itself has deprecated.
torch_export_warns = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")


def edited(source: Path, folder: Path, edit: Callable[[Config], object]) -> Path:
    """A copy of a saved model whose model_config went through `edit`."""
    copy = folder / "edited.h5"
    shutil.copyfile(source, copy)
    copy.chmod(0o644)
    with h5py.File(copy, "r+") as file:
        model = json.loads(file.attrs["model_config"])
        edit(model)
        file.attrs["model_config"] = json.dumps(model)
    return copy


def layers_of(model: Config) -> list[Config]:
    return model["config"]["layers"]  # type: ignore[no-any-return]


def one_line(error: pytest.ExceptionInfo[ExportError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


# What the pickle of a tokenizer begins with, and how it ends: protocol 3, the class, no arguments, a new object.
TOKENIZER_CLASS = b"ckeras_preprocessing.text\nTokenizer\n"
NEW_TOKENIZER = b"\x80\x03" + TOKENIZER_CLASS + b")\x81"


def tokenizer_pickle(folder: Path, **state: object) -> Path:
    path = folder / "tokenizer.pickle"
    path.write_bytes(NEW_TOKENIZER + pickle.dumps(state, protocol=3)[2:-1] + b"b.")
    return path
