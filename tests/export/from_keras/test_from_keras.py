"""The files of a model are found together, and become a bundle that the runtime serves."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from click.testing import CliRunner
from torch import nn

from export.branches.encoders import ImageEncoder
from export.cli import main
from export.errors import ExportError
from export.from_keras import find_keras_files, read_keras
from export.from_keras.stack import read_branch
from export.report import Reporter
from export.runs.build import build
from export.runs.prepare import BuildSettings
from export.trunk import sources
from export.trunk.inception import inception_v3
from export.trunk.trunk import Trunk
from itl_infer.bundle import load_bundle, verify_bundle
from itl_infer.captions import CaptionDataset, CaptionedImage
from itl_infer.image import ImageRules, load_pixels
from tests.export.from_keras.helpers import (
    IMAGE_MODEL,
    KERAS,
    STEMS,
    TEXT_MODEL,
    TOKENIZER,
    TOLERANCE,
    edited,
    layers_of,
    one_line,
    tokenizer_pickle,
    torch_export_warns,
)


class TestFilesTogether:
    def test_another_vocabulary(self, tmp_path: Path) -> None:
        words = {word: number for number, word in enumerate(STEMS[:-1], 1)}
        tokenizer = tokenizer_pickle(tmp_path, word_index=words)
        with pytest.raises(ExportError) as error:
            read_keras(IMAGE_MODEL, TEXT_MODEL, tokenizer, "keras")
        assert f"{TEXT_MODEL} takes 8 columns, expected 7 for the 6 words of {tokenizer}" in one_line(error)

    def test_the_two_models_confused(self) -> None:
        with pytest.raises(ExportError, match="takes 8 values, expected the 2048 features of inception_v3"):
            read_keras(TEXT_MODEL, IMAGE_MODEL, TOKENIZER, "keras")

    def test_embeddings_of_different_widths(self, tmp_path: Path) -> None:
        text_model = edited(TEXT_MODEL, tmp_path, lambda model: layers_of(model).pop(3))
        with pytest.raises(ExportError) as error:
            read_keras(IMAGE_MODEL, text_model, TOKENIZER, "keras")
        assert f"{IMAGE_MODEL} gives 6 values, {text_model} 4: they are not of one" in one_line(error)

    def test_a_clone(self, tmp_path: Path) -> None:
        for name, source in [
            (".git/lfs/text_model_1h_v1.h5", TEXT_MODEL),
            ("models/image_model_1h_v1.h5", IMAGE_MODEL),
            ("models/text_model_1h_v1.h5", TEXT_MODEL),
        ]:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, tmp_path / name)
        with pytest.raises(
            ExportError, match=r"expected one tokenizer\*\.pickle, found none: name it with --tok"
        ):
            find_keras_files(tmp_path)
        shutil.copyfile(TOKENIZER, tmp_path / "tokenizer_one_hot.pickle")
        files = find_keras_files(tmp_path)
        assert files.text_model == tmp_path / "models" / "text_model_1h_v1.h5"
        assert files.tokenizer == tmp_path / "tokenizer_one_hot.pickle"
        shutil.copyfile(IMAGE_MODEL, tmp_path / "image_model_2h.h5")
        with pytest.raises(ExportError) as error:
            find_keras_files(tmp_path)
        assert "found image_model_2h.h5, models/image_model_1h_v1.h5: name it with --image-model" in one_line(
            error
        )
        files = find_keras_files(tmp_path, image_model=IMAGE_MODEL)
        assert files.image_model == IMAGE_MODEL
        with pytest.raises(ExportError, match="no folder at"):
            find_keras_files(tmp_path / "absent")


def tiny_trunk() -> Trunk:
    """2048 features of a picture's mean colour."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2048))
    return replace(inception_v3(), network=network)


@torch_export_warns
class TestCommand:
    def test_a_bundle_that_the_runtime_serves(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: dict[str, Any]
    ) -> None:
        weights = tmp_path / "notop.h5"
        weights.write_bytes(b"read by the trunk's own tests")
        monkeypatch.setattr(sources, "keras_trunk", lambda path: replace(tiny_trunk(), source=path.name))
        out = tmp_path / "artifacts" / "original"
        text_model = KERAS / "keras3" / "functional.h5"
        arguments = [str(KERAS / "keras2"), "--text-model", str(text_model), "--trunk-weights", str(weights)]
        arguments += ["--out", str(out)]
        result = CliRunner().invoke(main, ["from-keras", *arguments])
        assert result.exit_code == 0, result.stderr
        assert result.stdout == f"{out}\n"

        assert verify_bundle(out).ok
        manifest = json.loads((out / "bundle.json").read_text(encoding="utf-8"))
        scaling = {"mean": [0, 0, 0], "std": [255, 255, 255]}
        assert manifest["image"] == {"side": 256, "resize": "bilinear", **scaling}
        assert (manifest["trunk"]["network"], manifest["trunk"]["weights"]) == ("inception_v3", "notop.h5")
        assert manifest["precision"] == {"image_encoder": "float32", "text_encoder": "float32"}
        assert manifest["embed_dim"] == 6
        files = manifest["training"]["imported_from"]
        assert files["tokenizer"]["sha256"] == hashlib.sha256(TOKENIZER.read_bytes()).hexdigest()

        bundle = load_bundle(out)
        texts = bundle.embed_texts(["Two children!", "A man, in the waves: surfers"])
        expected = reference["keras3/functional"]
        assert np.abs(texts[0] - expected[2]).max() < TOLERANCE
        assert np.abs(texts[1] - expected[0]).max() < TOLERANCE
        picture = np.random.default_rng(1).integers(0, 256, (300, 200, 3), dtype=np.uint8)
        pixels = load_pixels(picture, ImageRules(side=256, resize="bilinear"))
        trunk = replace(tiny_trunk(), mean=(0.0,) * 3, std=(255.0,) * 3)
        encoder = ImageEncoder(trunk, nn.Sequential(*read_branch(IMAGE_MODEL)))
        with torch.inference_mode():
            embeddings = encoder(torch.from_numpy(pixels)[None]).numpy()
        assert np.abs(bundle.embed_images([picture]) - embeddings).max() < TOLERANCE

    def test_build_takes_a_trunk_from_keras_too(self, tmp_path: Path) -> None:
        examples = tuple(CaptionedImage("a.jpg", ("a dog",), split) for split in ("train", "val", "test"))
        settings = BuildSettings(name="n", domain="d", trunk_weights=str(tmp_path / "absent.h5"))
        with pytest.raises(ExportError, match=r"absent\.h5: give the path of a Keras"):
            build(CaptionDataset("x", tmp_path, examples), settings, tmp_path, tmp_path / "out", Reporter())

    def test_errors(self, tmp_path: Path) -> None:
        result = CliRunner().invoke(main, ["from-keras", "--image-model", str(IMAGE_MODEL)])
        assert result.exit_code == 2
        assert "Give CLONE, or --image-model, --text-model and --tokenizer." in result.stderr
        out = tmp_path / "out"
        arguments = [str(KERAS / "keras2"), "--text-model", str(IMAGE_MODEL), "--out", str(out)]
        result = CliRunner().invoke(main, ["from-keras", *arguments])
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1].startswith(
            f"Error: {IMAGE_MODEL} takes 2048 columns, expected 8"
        )
        assert result.stdout == ""
        assert not any(tmp_path.iterdir())
