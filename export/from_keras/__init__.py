"""The original project's Keras models as torch modules; no code that their files carry is ever run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from export.errors import ExportError
from export.from_keras.inception import keras_trunk, official_weights
from export.from_keras.stack import input_width, output_width, read_branch, text_encoder
from export.from_keras.tokenizer import read_stems
from export.model import FEATURE_DIM, ImageEncoder, TextEncoder
from itl_infer.image import ImageRules
from itl_infer.text import DEFAULT_TEXT_RULES, TextRules

SIDE = 256


@dataclass(frozen=True)
class KerasModel:
    """Both encoders, in eval mode, and the rules they were trained with; `stems[i]` has id i + 1."""

    image_encoder: ImageEncoder
    text_encoder: TextEncoder
    stems: tuple[str, ...]
    image_rules: ImageRules
    text_rules: TextRules
    embed_dim: int


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
    inception: str,
    *,
    pixel_scaling: str = "unit",
    progress: Callable[[int, int], None] | None = None,
) -> KerasModel:
    """The model that the three files and InceptionV3's weights make up; ExportError for what is not one.

    `inception` is "keras" for Keras' own file, fetched with `progress(bytes, total)`, or the path of a no-top
    .h5 file.
    Pictures are 256 x 256, resized without antialiasing; queries are split as a person writes them.
    """
    stems = read_stems(tokenizer)
    image_branch, text_branch = read_branch(image_model), read_branch(text_model)
    if input_width(image_branch) != FEATURE_DIM:
        raise ExportError(
            f"{image_model} takes {input_width(image_branch)} values, "
            f"expected the {FEATURE_DIM} features of InceptionV3"
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
    trunk = keras_trunk(official_weights(progress) if inception == "keras" else Path(inception))
    return KerasModel(
        ImageEncoder(trunk, nn.Sequential(*image_branch), pixel_scaling).eval().requires_grad_(False),
        text_encoder(text_branch).eval().requires_grad_(False),
        tuple(stems),
        ImageRules(side=SIDE, resize="bilinear", pixel_scaling=pixel_scaling),
        DEFAULT_TEXT_RULES,
        output_width(text_branch),
    )


def find_keras_files(folder: Path) -> KerasFiles:
    """The three files in a clone of the original repository. ExportError where there is not one of each."""
    if not folder.is_dir():
        raise ExportError(
            f"no folder at {folder}: give a clone of the original repository, or the three files"
        )
    return KerasFiles(
        _only(folder, "image_model*.h5"), _only(folder, "text_model*.h5"), _only(folder, "tokenizer*.pickle")
    )


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(path for path in folder.rglob(pattern) if ".git" not in path.parts)
    if not found:
        raise ExportError(f"{folder} has no {pattern}: give the three files by name")
    if len(found) > 1:
        names = ", ".join(path.relative_to(folder).as_posix() for path in found)
        raise ExportError(f"{folder} has more than one {pattern} ({names}): give the three files by name")
    return found[0]
