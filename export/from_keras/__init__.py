"""The original project's Keras models as torch modules; no code that their files carry is ever run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from export.branches.encoders import ImageEncoder, TextEncoder
from export.errors import ExportError
from export.from_keras.stack import input_width, output_width, read_branch, text_encoder
from export.from_keras.tokenizer import read_stems
from export.trunk.names import INCEPTION
from export.trunk.networks import find_network
from export.trunk.sources import open_trunk
from export.trunk.trunk import Trunk
from itl_infer.text import NLTK_TEXT_RULES, TextRules

SIDE = 256
_SCALINGS = {"unit": (0.0, 255.0), "inception": (127.5, 127.5)}  # mean and std of pixels from 0 to 255


@dataclass(frozen=True)
class KerasModel:
    """Both encoders, in eval mode, and the rules they were trained with; `stems[i]` has id i + 1."""

    image_encoder: ImageEncoder
    text_encoder: TextEncoder
    stems: tuple[str, ...]
    trunk: Trunk
    text_rules: TextRules
    embed_dim: int
    sources: dict[str, dict[str, str]]  # of each file read, its name and sha256: goes into the manifest


@dataclass(frozen=True)
class KerasFiles:
    """What a user of the original project has."""

    image_model: Path
    text_model: Path
    tokenizer: Path


def read_keras(
    image_model: Path,
    text_model: Path,
    tokenizer: Path,
    trunk_weights: str = "keras",
    *,
    trunk: str = INCEPTION,
    pixel_scaling: str = "unit",
    progress: Callable[[float, float], None] | None = None,
) -> KerasModel:
    """The model that the three files and a trunk make up; ExportError for what is not one.

    `trunk` and `trunk_weights` are as `open_trunk` takes them, and so is `progress`; the original's features are of
    InceptionV3 with the weights of Keras, in [0, 1] ("unit") or [-1, 1] ("inception").
    Pictures are 256 x 256, resized without antialiasing; queries are split as a person writes them.
    """
    stems = read_stems(tokenizer)
    image_branch, text_branch = read_branch(image_model), read_branch(text_model)
    if input_width(image_branch) != (features := find_network(trunk).untrained().feature_dim):
        raise ExportError(
            f"{image_model} takes {input_width(image_branch)} values, expected the {features} features of {trunk}"
        )
    if input_width(text_branch) != len(stems) + 1:
        raise ExportError(
            f"{text_model} takes {input_width(text_branch)} columns, expected {len(stems) + 1} for the "
            f"{len(stems)} words of {tokenizer}: they are not of one training run"
        )
    if output_width(image_branch) != output_width(text_branch):
        raise ExportError(
            f"{image_model} gives {output_width(image_branch)} values, {text_model} "
            f"{output_width(text_branch)}: they are not of one training run"
        )
    mean, std = _SCALINGS[pixel_scaling]
    opened = replace(
        open_trunk(trunk, trunk_weights, progress, side=SIDE),
        resize="bilinear",
        mean=(mean, mean, mean),
        std=(std, std, std),
    )
    return KerasModel(
        ImageEncoder(opened, nn.Sequential(*image_branch)).eval().requires_grad_(False),
        text_encoder(text_branch).eval().requires_grad_(False),
        tuple(stems),
        opened,
        NLTK_TEXT_RULES,
        output_width(text_branch),
        {
            "image_model": _source(image_model),
            "text_model": _source(text_model),
            "tokenizer": _source(tokenizer),
        },
    )


def find_keras_files(
    clone: Path,
    *,
    image_model: Path | None = None,
    text_model: Path | None = None,
    tokenizer: Path | None = None,
) -> KerasFiles:
    """The three files in a clone of the original repository, but for those given.

    ExportError where there is none or more than one.
    """
    if not clone.is_dir():
        raise ExportError(
            f"no folder at {clone}: give a clone of the original repository, or the three files"
        )
    return KerasFiles(
        image_model or _only(clone, "image_model*.h5", "--image-model"),
        text_model or _only(clone, "text_model*.h5", "--text-model"),
        tokenizer or _only(clone, "tokenizer*.pickle", "--tokenizer"),
    )


def _source(path: Path) -> dict[str, str]:
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _only(clone: Path, pattern: str, option: str) -> Path:
    found = sorted(path for path in clone.rglob(pattern) if ".git" not in path.relative_to(clone).parts)
    if len(found) != 1:
        names = ", ".join(path.relative_to(clone).as_posix() for path in found) or "none"
        raise ExportError(f"{clone}: expected one {pattern}, found {names}: name it with {option}")
    return found[0]
