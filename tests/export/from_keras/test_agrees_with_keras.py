"""What Keras computes from models of the original project is computed here."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

import h5py
import onnxruntime
from torch import Tensor, nn

from export.from_keras import find_keras_files, read_keras
from export.from_keras.stack import KerasTextEncoder, read_branch, text_encoder
from export.from_keras.tokenizer import read_stems
from export.graphs.to_onnx import export_image_encoder, export_text_encoder
from export.layers import l2_normalize
from export.trunk import sources
from export.trunk.hdf5 import read_stack
from export.trunk.inception import inception_v3
from export.trunk.keras import keras_trunk
from export.trunk.torchvision_models import torchvision_models
from itl_infer.text import NLTK_TEXT_RULES
from tests.export.from_keras.helpers import (
    IMAGE_MODEL,
    KERAS,
    STEMS,
    TEXT_MODEL,
    TEXT_MODELS,
    TOKENIZER,
    TOLERANCE,
    Config,
    edited,
    layers_of,
    torch_export_warns,
)
from tests.fixtures.keras.seeded import block_weights, pictures


@pytest.fixture(scope="module")
def inception_files() -> Iterator[dict[str, Path]]:
    """InceptionV3 with the weights of fixtures/keras/seeded.py, as Keras 2 and Keras 3 save weights."""
    block = torchvision_models().inception.BasicConv2d
    with torch.device("meta"):
        network = inception_v3().network
    shapes = [
        tuple(module.conv.weight.shape[axis] for axis in (2, 3, 1, 0))
        for module in network.modules()
        if isinstance(module, block)
    ]
    with tempfile.TemporaryDirectory() as folder:
        files = {
            "keras2": Path(folder, "inception_v3_notop.h5"),
            "keras3": Path(folder, "inception.weights.h5"),
        }
        with h5py.File(files["keras2"], "w") as keras2, h5py.File(files["keras3"], "w") as keras3:
            for number, shape in enumerate(shapes):
                weights = block_weights(number, shape)
                # The official file counts from 1. Keras 3 counts groups from 0, in another order than the names.
                conv, norm = f"conv2d_{number + 1}", f"batch_normalization_{number + 1}"
                keras2[f"{conv}/{conv}/kernel:0"] = weights["kernel"]
                suffix = f"_{len(shapes) - number}"
                keras3[f"layers/conv2d{suffix}/vars/0"] = weights["kernel"]
                keras3[f"layers/conv2d{suffix}/vars"].attrs["name"] = conv
                keras3[f"layers/batch_normalization{suffix}/vars/0"] = weights["beta"]
                keras3[f"layers/batch_normalization{suffix}/vars"].attrs["name"] = norm
                for position, name in enumerate(("beta", "moving_mean", "moving_variance")):
                    keras2[f"{norm}/{norm}/{name}:0"] = weights[name]
                    if position:
                        keras3[f"layers/batch_normalization{suffix}/vars/{position}"] = weights[name]
        yield files


class TestAgreesWithKeras:
    @pytest.mark.parametrize("name", TEXT_MODELS)
    def test_texts(self, name: str, reference: dict[str, Any]) -> None:
        encoder = text_encoder(read_branch(KERAS / f"{name}.h5")).eval()
        with torch.inference_mode():
            found = encoder(torch.from_numpy(reference["input_ids"])).numpy()
        assert np.abs(found - reference[name]).max() < TOLERANCE

    def test_features_and_images(self, reference: dict[str, Any], inception_files: dict[str, Path]) -> None:
        files = find_keras_files(KERAS / "keras2")
        model = read_keras(
            files.image_model, files.text_model, files.tokenizer, str(inception_files["keras2"])
        )
        with torch.inference_mode():
            pixels = torch.from_numpy(pictures(2))
            features = model.image_encoder.features(pixels).numpy()
            embeddings = model.image_encoder(pixels).numpy()
            texts = model.text_encoder(torch.from_numpy(reference["input_ids"])).numpy()
        assert np.abs(features - reference["features"]).max() < TOLERANCE
        assert np.abs(embeddings - reference["image"]).max() < TOLERANCE
        assert np.abs(texts - reference["keras2/text_model_1h_v1"]).max() < TOLERANCE
        assert model.stems == tuple(STEMS)
        assert model.embed_dim == 6
        assert model.text_rules == NLTK_TEXT_RULES
        rules = model.trunk.image_rules
        assert (rules.side, rules.resize, rules.mean, rules.std) == (
            256,
            "bilinear",
            (0, 0, 0),
            (255, 255, 255),
        )
        assert not model.image_encoder.training
        assert not any(parameter.requires_grad for parameter in model.text_encoder.parameters())

    def test_keras_3_weights_go_by_the_names_not_the_groups(self, inception_files: dict[str, Path]) -> None:
        keras2, keras3 = (
            keras_trunk(inception_files[layout]).network.state_dict() for layout in ("keras2", "keras3")
        )
        assert list(keras2) == list(keras3)
        assert all(torch.equal(keras2[key], keras3[key]) for key in keras2)

    def test_the_same_files_with_the_other_pixel_scaling(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sources, "keras_trunk", lambda _: replace(inception_v3(), network=nn.Identity()))
        model = read_keras(IMAGE_MODEL, TEXT_MODEL, TOKENIZER, str(IMAGE_MODEL), pixel_scaling="inception")
        assert model.trunk.mean == model.trunk.std == (127.5, 127.5, 127.5)
        black = torch.zeros((1, 1, 1, 3), dtype=torch.uint8)
        assert model.image_encoder.scale_pixels(black).unique().tolist() == [-1]

    @torch_export_warns
    def test_full_size(self, shared: Path, tmp_path: Path) -> None:
        """Files written by make_reference.py; a minute, most of it for the image graph."""
        folder = os.environ.get("ITL_KERAS_REFERENCE")
        if not folder:
            pytest.skip(
                "ITL_KERAS_REFERENCE does not name a folder with the files of ../shared/keras/make_reference.py, "
                "which needs an environment with: pip install tensorflow-cpu tf_keras"
            )
        files = Path(folder)
        model = read_keras(
            files / "image_model_1h_v1.h5",
            files / "text_model_1h_v1.h5",
            shared / "seed" / "tokenizer_one_hot.pickle",
            str(files / "inception_v3_notop.h5"),
        )
        with np.load(files / "reference.npz") as arrays:
            expected = dict(arrays)
        pixels = torch.from_numpy(expected["pixels"])  # floats already in [0, 1]: scaling is left out here
        with torch.inference_mode():
            features = model.image_encoder.trunk(pixels.permute(0, 3, 1, 2)).numpy()
            embeddings = l2_normalize(
                model.image_encoder.branch(torch.from_numpy(expected["features"]))
            ).numpy()
        assert np.abs(features - expected["features"]).max() < TOLERANCE
        assert np.abs(embeddings - expected["image"]).max() < TOLERANCE

        ids = np.zeros((2, 3), np.int64)
        for caption in range(2):
            columns = [column for owner, column in expected["token_rows"] if owner == caption]
            ids[caption, : len(columns)] = columns
        export_text_encoder(model.text_encoder, np.tile(ids, (3, 1)), tmp_path / "text.onnx")
        assert np.abs(run_graph(tmp_path / "text.onnx", ids) - expected["text"]).max() < TOLERANCE

        model.image_encoder.scale_pixels = ChannelsFirst()  # type: ignore[assignment]
        five = expected["pixels"][[0, 1, 0, 1, 0]]
        export_image_encoder(model.image_encoder, five, tmp_path / "image.onnx")
        found = run_graph(tmp_path / "image.onnx", expected["pixels"])
        assert np.abs(found - expected["image"]).max() < TOLERANCE


class ChannelsFirst(nn.Module):
    def forward(self, pixel_values: Tensor) -> Tensor:
        return pixel_values.permute(0, 3, 1, 2)


def run_graph(path: Path, inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (embeddings,) = session.run(None, {session.get_inputs()[0].name: inputs})
    return embeddings  # type: ignore[no-any-return]


class TestLayouts:
    def test_a_stack_as_keras_2_2_wrote_it(self, tmp_path: Path, reference: dict[str, Any]) -> None:
        """Before 2.2.3: a bare list of layers; bytes instead of text; no InputLayer."""
        path = tmp_path / "old.h5"
        shutil.copyfile(TEXT_MODEL, path)
        with h5py.File(path, "r+") as file:
            model = json.loads(file.attrs["model_config"])
            model["config"] = layers_of(model)[1:]
            del file.attrs["model_config"]
            file.attrs["model_config"] = np.bytes_(json.dumps(model))
            file["optimizer_weights/training/Adam/kernel:0"] = np.zeros((8, 3))
        encoder = text_encoder(read_branch(path))
        with torch.inference_mode():
            found = encoder(torch.from_numpy(reference["input_ids"])).numpy()
        assert np.abs(found - reference["keras2/text_model_1h_v1"]).max() < TOLERANCE

    def test_a_functional_model_is_followed_not_listed(self, tmp_path: Path) -> None:
        path = edited(KERAS / "keras2/functional.h5", tmp_path, lambda model: layers_of(model).reverse())
        names = [layer.name for layer in read_stack(KERAS / "keras2/functional.h5")]
        assert [layer.name for layer in read_stack(path)] == names

    def test_a_linear_text_branch(self, tmp_path: Path, reference: dict[str, Any]) -> None:
        """One Dense layer and nothing else: no ReLU may slip in."""

        def only_first(model: Config) -> None:
            layers_of(model)[1]["config"]["activation"] = "linear"
            del layers_of(model)[2:]

        encoder = text_encoder(read_branch(edited(TEXT_MODEL, tmp_path, only_first)))
        assert isinstance(encoder, KerasTextEncoder)
        with h5py.File(TEXT_MODEL) as file:
            name = next(name for name in file["model_weights"] if name.startswith("dense"))
            kernel, bias = (file[f"model_weights/{name}/{name}/{kind}:0"][()] for kind in ("kernel", "bias"))
        expected = kernel[[1, 2, 7]] + kernel[[3, 5, 6]] + bias
        expected[0] += kernel[4]
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        with torch.inference_mode():
            found = encoder(torch.from_numpy(reference["input_ids"])).numpy()
        assert np.abs(found - expected).max() < TOLERANCE

    def test_the_real_tokenizer(self, shared: Path) -> None:
        stems = read_stems(shared / "seed" / "tokenizer_one_hot.pickle")
        vocabulary = json.loads((shared / "seed" / "vocabulary.json").read_text(encoding="utf-8"))
        assert {stem: number for number, stem in enumerate(stems, 1)} == vocabulary

    @pytest.mark.parametrize("name", ["keras2/tokenizer_one_hot", "keras3/tokenizer"])
    def test_tokenizers(self, name: str) -> None:
        assert read_stems(KERAS / f"{name}.pickle") == STEMS
