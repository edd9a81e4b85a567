"""Models of the original project: what Keras computes from them is computed here, and nothing in them is run."""

from __future__ import annotations

import base64
import collections
import hashlib
import json
import marshal
import os
import pickle
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

import h5py
import onnxruntime
from click.testing import CliRunner
from torch import Tensor, nn

from export.branches.encoders import ImageEncoder
from export.cli import main
from export.errors import ExportError
from export.from_keras import find_keras_files, read_keras
from export.from_keras.stack import KerasTextEncoder, read_branch, text_encoder
from export.from_keras.tokenizer import read_stems
from export.graphs.to_onnx import export_image_encoder, export_text_encoder
from export.layers import l2_normalize
from export.report import Reporter
from export.runs.build import build
from export.runs.prepare import BuildSettings
from export.trunk import keras as inception_module
from export.trunk import sources
from export.trunk.fetch import fetch
from export.trunk.hdf5 import read_stack
from export.trunk.inception import inception_v3
from export.trunk.keras import keras_trunk, weights_file
from export.trunk.torchvision_models import torchvision_models
from export.trunk.trunk import Trunk
from itl_infer.bundle import load_bundle, verify_bundle
from itl_infer.captions import CaptionDataset, CaptionedImage
from itl_infer.image import ImageRules, load_pixels
from itl_infer.text import NLTK_TEXT_RULES
from tests.fixtures.keras.seeded import block_weights, pictures

KERAS = Path(__file__).parent / "fixtures" / "keras"
IMAGE_MODEL = KERAS / "keras2" / "image_model_1h_v1.h5"
TEXT_MODEL = KERAS / "keras2" / "text_model_1h_v1.h5"
TOKENIZER = KERAS / "keras2" / "tokenizer_one_hot.pickle"
TEXT_MODELS = ["keras2/text_model_1h_v1", "keras2/functional", "keras3/sequential", "keras3/functional"]
STEMS = ["man", "dog", "surfer", "wave", "red", "two", "children"]
TOLERANCE = 1e-5

Config = dict[str, Any]

# torch's exporter uses what torch itself has deprecated.
torch_export_warns = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    """What Keras computed, see fixtures/keras/make_fixture.py."""
    with np.load(KERAS / "reference.npz") as arrays:
        return dict(arrays)


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


def set_layer(position: int, **changes: Any) -> Callable[[Config], object]:
    return lambda model: layers_of(model)[position].update(changes)


def set_config(position: int, **changes: Any) -> Callable[[Config], object]:
    return lambda model: layers_of(model)[position]["config"].update(changes)


def swap_last_two(model: Config) -> None:
    layers = layers_of(model)
    layers[-2:] = layers[:-3:-1]


class TestRefusedStacks:
    @pytest.mark.parametrize(
        ("edit", "message"),
        [
            (set_layer(2, class_name="LSTM"), "is a LSTM: only Dense"),
            (set_layer(2, class_name="Sequential"), "is a Sequential: only Dense"),
            (set_layer(2, class_name="Shady>Dense"), "is a Shady>Dense: only"),
            (set_layer(2, registered_name="Shady>Dense"), "is a Shady>Dense: only"),
            (set_layer(2, module="os"), "is a os.Dense: only"),
            (set_layer(2, class_name="ReLU", config={"name": "r", "max_value": 6}), "r is a ReLU: only"),
            (set_config(2, activation="tanh"), "has activation tanh: only relu and linear"),
            (set_config(2, activation={"registered_name": "Shady>f"}), "has activation Shady>f"),
            (set_config(2, units=5), "expected {'kernel': (3, 5), 'bias': (5,)}"),
            (set_config(2, use_bias=False), "expected {'kernel': (3, 4)}"),
            (set_config(2, name="gone"), "layer gone has weights missing"),
            (swap_last_two, "is a Lambda before the end; its code is never run"),
            (lambda model: layers_of(model).pop(2), "takes 4 values, the layers before it give 3"),
            (lambda model: layers_of(model).clear(), "does not begin with Dense"),
            (
                lambda model: model.update(class_name="MyModel"),
                "holds a MyModel: only Sequential and functional",
            ),
            (lambda model: model.update(config=3), "is damaged or no Keras .h5 file"),
            (lambda model: model.pop("class_name"), "is damaged or no Keras .h5 file (KeyError"),
        ],
    )
    def test_sequential(self, edit: Callable[[Config], object], message: str, tmp_path: Path) -> None:
        path = edited(TEXT_MODEL, tmp_path, edit)
        with pytest.raises(ExportError) as error:
            read_branch(path)
        assert message in one_line(error)
        assert str(path) in str(error.value)

    def test_what_is_no_chain(self, tmp_path: Path) -> None:
        def second_input(model: Config) -> None:
            nodes = layers_of(model)[3]["inbound_nodes"]
            nodes[0].append([layers_of(model)[1]["name"], 0, 0, {}])

        def second_use(model: Config) -> None:
            layers_of(model)[1]["inbound_nodes"] = [[[layers_of(model)[4]["name"], 0, 0, {}]]]

        def second_output(model: Config) -> None:
            model["config"]["output_layers"].append([layers_of(model)[3]["name"], 0, 0])

        def side_branch(model: Config) -> None:
            layers_of(model)[-1]["inbound_nodes"] = layers_of(model)[-2]["inbound_nodes"]

        for edit, message in [
            (second_input, "has 2 inputs: only one chain"),
            (second_use, "is missing or used twice"),
            (second_output, "the model has 2 outputs"),
            (side_branch, "is not on the one chain"),
        ]:
            path = edited(KERAS / "keras2/functional.h5", tmp_path, edit)
            with pytest.raises(ExportError) as error:
                read_branch(path)
            assert message in one_line(error)

    def test_batch_norm_along_another_axis(self, tmp_path: Path) -> None:
        path = edited(KERAS / "keras3/sequential.h5", tmp_path, set_config(1, axis=0))
        with pytest.raises(ExportError, match="normalises along axis 0"):
            read_branch(path)


def marshalled(function: Callable[..., object]) -> str:
    return base64.encodebytes(marshal.dumps(function.__code__)).decode()


class TestLambda:
    def test_code_is_neither_run_nor_unmarshalled(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def l2_normalize_and_more(x: Any) -> Any:
            (tmp_path / "ran").touch()
            return x

        def refuse(*_: object) -> None:
            raise AssertionError("unmarshalled")

        monkeypatch.setattr(marshal, "loads", refuse)
        path = edited(
            TEXT_MODEL, tmp_path, set_config(4, function=[marshalled(l2_normalize_and_more), None, None])
        )
        with torch.inference_mode():
            text_encoder(read_branch(path))(torch.tensor([[1]]))
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        "changes",
        [
            {"function": "l2_normalize", "function_type": "function"},
            {"function": {"class_name": "function", "config": "l2_normalize", "module": "keras.backend"}},
            {"function": [marshalled(lambda x: x / x.norm()), None, None], "name": "L2_norm"},
        ],
    )
    def test_known_by_its_name(self, changes: Config, tmp_path: Path) -> None:
        assert len(read_branch(edited(TEXT_MODEL, tmp_path, set_config(4, **changes)))) == 5

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"function": [marshalled(lambda x: x * 2), None, None]}, "is a Lambda, accepted only as L2"),
            ({"function": "softmax", "function_type": "function"}, "is a Lambda, accepted only as L2"),
            ({"function": {"class_name": "__lambda__", "config": {"code": "AAAA"}}}, "accepted only as L2"),
            ({"arguments": {"axis": 0}}, "normalises along axis 0"),
        ],
    )
    def test_anything_else_is_refused(self, changes: Config, message: str, tmp_path: Path) -> None:
        path = edited(TEXT_MODEL, tmp_path, set_config(4, **changes))
        with pytest.raises(ExportError) as error:
            read_branch(path)
        assert message in one_line(error)


class TestDamagedFiles:
    @pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 0.999])
    def test_truncated(self, share: float, tmp_path: Path) -> None:
        content = TEXT_MODEL.read_bytes()
        path = tmp_path / "part.h5"
        path.write_bytes(content[: int(len(content) * share)])
        for read in (read_branch, keras_trunk):
            with pytest.raises(ExportError) as error:
                read(path)
            assert f"{path} is damaged or no Keras .h5 file" in one_line(error)

    def test_foreign(self, tmp_path: Path) -> None:
        path = tmp_path / "foreign.h5"
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
        with pytest.raises(ExportError, match="damaged or no Keras"):
            read_branch(path)
        with h5py.File(path, "w") as file:
            file["measurements"] = np.zeros(3)
        with pytest.raises(ExportError, match="has no model_config: save the whole model"):
            read_branch(path)
        with pytest.raises(ExportError, match="has weights for measurements, which InceptionV3"):
            keras_trunk(path)
        for missing in (tmp_path / "absent.h5", tmp_path):
            with pytest.raises(ExportError, match="no file at"):
                read_branch(missing)

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda kernel: kernel[()].astype(np.int8), "holds int8, expected floating point"),
            (lambda kernel: np.where(kernel[()] > 0, np.nan, kernel[()]), "has values that are no numbers"),
        ],
    )
    def test_weights_that_are_none(self, damage: Callable[[Any], Any], message: str, tmp_path: Path) -> None:
        path, name = self._kernel(tmp_path)
        with h5py.File(path, "r+") as file:
            array = damage(file[name])
            del file[name]
            file[name] = array
        with pytest.raises(ExportError) as error:
            read_branch(path)
        assert message in one_line(error)

    def test_weights_that_lie_elsewhere_are_not_read(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret.bin"
        secret.write_bytes(bytes(1000))
        with h5py.File(tmp_path / "other.h5", "w") as other:
            other["kernel"] = np.zeros((8, 3), np.float32)

        def external_storage(file: h5py.File, name: str) -> None:
            file.create_dataset(name, (8, 3), np.float32, external=[(str(secret), 0, 96)])

        def external_link(file: h5py.File, name: str) -> None:
            file[name] = h5py.ExternalLink(str(tmp_path / "other.h5"), "kernel")

        def virtual(file: h5py.File, name: str) -> None:
            layout = h5py.VirtualLayout((8, 3), np.float32)
            layout[...] = h5py.VirtualSource(tmp_path / "other.h5", "kernel", (8, 3))
            file.create_virtual_dataset(name, layout)

        for place, message in [
            (external_storage, "lies in another file"),
            (external_link, "has weights {'bias': (3,)}"),
            (virtual, "lies in another file"),
        ]:
            path, name = self._kernel(tmp_path)
            with h5py.File(path, "r+") as file:
                del file[name]
                place(file, name)
            with pytest.raises(ExportError) as error:
                read_branch(path)
            assert message in one_line(error)

    def test_an_array_larger_than_its_file(self, tmp_path: Path) -> None:
        path, name = self._kernel(tmp_path)
        with h5py.File(path, "r+") as file:
            del file[name]
            file.create_dataset(name, (10**7, 10**7), np.float32, chunks=(10, 10))  # 400 TB of fill value
        with pytest.raises(ExportError, match="claims 400000000000000 bytes in a smaller file"):
            read_branch(path)

    def _kernel(self, folder: Path) -> tuple[Path, str]:
        """A copy of the text model, and the name of its first kernel."""
        path = edited(TEXT_MODEL, folder, lambda _: None)
        with h5py.File(path) as file:
            layer = str(file["model_weights"].attrs["layer_names"][0])
        return path, f"/model_weights/{layer}/{layer}/kernel:0"

    def test_nested_json_without_end(self, tmp_path: Path) -> None:
        path = tmp_path / "deep.h5"
        with h5py.File(path, "w", libver="latest") as file:
            file.attrs["model_config"] = "[" * 100_000
        with pytest.raises(ExportError, match="damaged or no Keras"):
            read_branch(path)

    def test_inception_without_all_its_layers(self, tmp_path: Path) -> None:
        path = tmp_path / "few.h5"
        with h5py.File(path, "w") as file:
            file["conv2d/conv2d/kernel:0"] = np.zeros((3, 3, 3, 32), np.float32)
        with pytest.raises(
            ExportError, match="has 1 convolutions and 0 batch norms, InceptionV3 has 94 of each"
        ):
            keras_trunk(path)

    @pytest.mark.parametrize(
        ("name", "shape", "message"),
        [
            (None, (), "Conv2d_1a_3x3.conv.weight would be (1, 1, 1, 1), expected (32, 3, 3, 3)"),
            (
                "conv2d_5/kernel:0",
                (3,),
                "layer conv2d_5 has weights ['kernel'], expected one kernel of 4 axes",
            ),
            ("conv2d_5/bias:0", (1,), "layer conv2d_5 has weights ['bias', 'kernel']"),
            (
                "batch_normalization_5/gamma:0",
                (1,),
                "layer batch_normalization_5 has weights ['beta', 'gamma'",
            ),
            (
                "predictions/kernel:0",
                (1, 1),
                "has weights for predictions, which InceptionV3 without its top",
            ),
        ],
    )
    def test_inception_with_other_weights(
        self, name: str | None, shape: tuple[int, ...], message: str, tmp_path: Path
    ) -> None:
        arrays: dict[str, tuple[int, ...]] = {
            f"conv2d_{number}/kernel:0": (1, 1, 1, 1) for number in range(94)
        }
        for kind in ("beta", "moving_mean", "moving_variance"):
            arrays |= {f"batch_normalization_{number}/{kind}:0": (1,) for number in range(94)}
        if name:
            arrays[name] = shape
        path = tmp_path / "tiny.h5"
        with h5py.File(path, "w") as file:
            for key, size in arrays.items():
                file[key] = np.zeros(size, np.float32)
        with pytest.raises(ExportError) as error:
            keras_trunk(path)
        assert message in one_line(error)


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


# What the pickle of a tokenizer begins with, and how it ends: protocol 3, the class, no arguments, a new object.
TOKENIZER_CLASS = b"ckeras_preprocessing.text\nTokenizer\n"
NEW_TOKENIZER = b"\x80\x03" + TOKENIZER_CLASS + b")\x81"


def tokenizer_pickle(folder: Path, **state: object) -> Path:
    path = folder / "tokenizer.pickle"
    path.write_bytes(NEW_TOKENIZER + pickle.dumps(state, protocol=3)[2:-1] + b"b.")
    return path


class TestTokenizer:
    @pytest.mark.parametrize(
        ("thing", "message"),
        [
            (Call(os.system, "echo run > ran"), f"asks for {os.system.__module__}.system"),
            (Call(eval, "open('ran', 'w')"), "asks for builtins.eval"),
            (Call(getattr, {}, "keys"), "asks for builtins.getattr"),
            (Call(collections.OrderedDict.fromkeys, "ab"), "asks for builtins.getattr"),
            (collections.Counter("ab"), "asks for collections.Counter"),
            (np.float64(3), "asks for numpy"),
            (KERAS, "asks for pathlib"),
        ],
    )
    @pytest.mark.parametrize("protocol", [3, 5])
    def test_a_pickle_that_imports_or_calls(
        self, thing: object, message: str, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        path = tmp_path / "bad.pickle"
        path.write_bytes(pickle.dumps({"word_index": thing}, protocol=protocol))
        with pytest.raises(ExportError) as error:
            read_stems(path)
        assert message in one_line(error)
        assert not (tmp_path / "ran").exists()

    def test_dotted_names_lead_nowhere(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.pickle"
        path.write_bytes(b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93.")
        with pytest.raises(ExportError, match=r"asks for collections\.OrderedDict\.fromkeys"):
            read_stems(path)

    def test_what_one_pickle_does_to_a_class_no_other_sees(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.pickle"
        path.write_bytes(b"\x80\x03" + TOKENIZER_CLASS + b"(N}X\x0a\x00\x00\x00word_indexK\x01stb.")
        with pytest.raises(ExportError, match="holds a type, expected a Keras Tokenizer"):
            read_stems(path)
        path.write_bytes(NEW_TOKENIZER + b".")
        with pytest.raises(ExportError, match="no words in its word_index"):
            read_stems(path)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is damaged or no pickled Keras tokenizer (EOFError"),
            (TOKENIZER.read_bytes()[:300], "is damaged or no pickled Keras tokenizer ("),
            (b"version https://git-lfs.github.com/spec/v1\n", "is damaged or no pickled Keras tokenizer ("),
            (b"\x80\x03X\x01\x00\x00\x00aQ.", "is damaged or no pickled Keras tokenizer (UnpicklingError"),
            (pickle.dumps({"man": 1}), "holds a dict, expected a Keras Tokenizer"),
            (b"\x80\x03ccollections\nOrderedDict\n)R.", "holds a Words, expected a Keras Tokenizer"),
        ],
    )
    def test_damaged_and_foreign(self, content: bytes, message: str, tmp_path: Path) -> None:
        path = tmp_path / "bad.pickle"
        path.write_bytes(content)
        with pytest.raises(ExportError) as error:
            read_stems(path)
        assert f"{path} {message}" in one_line(error)

    @pytest.mark.parametrize(
        ("state", "message"),
        [
            ({"word_index": {}}, "has no words"),
            ({"word_index": ["man"]}, "has no words"),
            ({"word_index": {"man": 1, "dog": 3}}, "does not number its 2 words from 1 to 2"),
            ({"word_index": {"man": 0, "dog": 1}}, "does not number its 2 words from 1 to 2"),
            ({"word_index": {"man": 1, "dog": True}}, "does not number its 2 words from 1 to 2"),
            ({"word_index": {"man": 1, 7: 2}}, "does not number its 2 words from 1 to 2"),
            ({"word_index": {"man": 1, "a\nb": 2}}, "word 2 is 'a\\nb', expected a word without white space"),
            ({"word_index": {"<oov>": 1, "man": 2}, "oov_token": "<oov>"}, "has an oov_token"),
            ({"word_index": {"man": 1}, "num_words": 1}, "num_words is 1, expected a number above 1"),
        ],
    )
    def test_word_index(self, state: Config, message: str, tmp_path: Path) -> None:
        with pytest.raises(ExportError) as error:
            read_stems(tokenizer_pickle(tmp_path, **state))
        assert message in one_line(error)

    def test_num_words_counts_the_padding(self, tmp_path: Path) -> None:
        """Keras' matrix then has num_words columns, column 0 unused: words 1 to num_words - 1."""
        words = {"man": 1, "dog": 2, "wave": 3}
        assert read_stems(tokenizer_pickle(tmp_path, word_index=words, num_words=3)) == ["man", "dog"]
        assert read_stems(tokenizer_pickle(tmp_path, word_index=words, num_words=9)) == list(words)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(ExportError, match="no tokenizer at"):
            read_stems(tmp_path)


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


CONTENT = bytes(range(256)) * 40_000  # 10 MB, so that it takes several reads
MD5 = hashlib.md5(CONTENT).hexdigest()


class Storage:
    """A file behind HTTP on loopback, with what goes wrong with such: `breaks_at`, `status`, `knows_ranges`."""

    def __init__(self) -> None:
        self.breaks_at: int | None = None
        self.status = 200
        self.knows_ranges = True
        self.says_length = True
        self.content = CONTENT
        self.ranges: list[str | None] = []  # what was asked for
        storage = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                storage.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/weights.h5"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.ranges.append(wanted)
        if self.status != 200:
            request.send_error(self.status)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.knows_ranges else 0
        if start >= len(self.content):
            request.send_error(416)
            return
        body = self.content[start:]
        request.send_response(206 if wanted and self.knows_ranges else 200)
        if wanted and self.knows_ranges:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if self.says_length:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: self.breaks_at])


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    storage = Storage()
    with storage.server:
        thread = threading.Thread(target=storage.server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield storage
        storage.server.shutdown()
        thread.join()


class TestFetch:
    def test_fetch(self, storage: Storage, tmp_path: Path) -> None:
        path = tmp_path / "cache" / "weights.h5"
        seen: list[tuple[int, int]] = []
        assert fetch(storage.url, path, MD5, lambda done, total: seen.append((done, total))) == path
        assert path.read_bytes() == CONTENT
        assert list(path.parent.iterdir()) == [path]
        assert len(seen) > 1
        assert seen == sorted(seen)
        assert seen[-1] == (len(CONTENT), len(CONTENT))
        fetch(storage.url, path, MD5)
        assert storage.ranges == [None]  # what is there is not fetched again

    @pytest.mark.parametrize("knows_ranges", [True, False])
    def test_goes_on_where_it_stopped(self, storage: Storage, knows_ranges: bool, tmp_path: Path) -> None:
        path = tmp_path / "weights.h5"
        storage.breaks_at = 5_000_000
        with pytest.raises(ExportError) as error:
            fetch(storage.url, path, MD5)
        assert f"closed at 5000000 of {len(CONTENT)} bytes): run again to go on" in one_line(error)
        assert not path.exists()
        storage.breaks_at, storage.knows_ranges = None, knows_ranges
        fetch(storage.url, path, MD5)
        assert path.read_bytes() == CONTENT
        assert storage.ranges == [None, "bytes=5000000-"]

    def test_stopped_after_the_last_byte(self, storage: Storage, tmp_path: Path) -> None:
        path, part = tmp_path / "weights.h5", tmp_path / "weights.h5.part"
        part.write_bytes(CONTENT)
        fetch(storage.url, path, MD5)
        assert path.read_bytes() == CONTENT
        assert not part.exists()

    def test_a_server_that_does_not_say_how_much(self, storage: Storage, tmp_path: Path) -> None:
        storage.says_length = False
        seen: list[tuple[int, int]] = []
        fetch(storage.url, tmp_path / "weights.h5", MD5, lambda done, total: seen.append((done, total)))
        assert seen[-1] == (len(CONTENT), 0)

    def test_wrong_hash(self, storage: Storage, tmp_path: Path) -> None:
        path, part = tmp_path / "weights.h5", tmp_path / "weights.h5.part"
        storage.content = CONTENT[:-1] + b"x"
        with pytest.raises(ExportError) as error:
            fetch(storage.url, path, MD5)
        found = hashlib.md5(storage.content).hexdigest()
        assert f"gave a file with md5 {found}, expected {MD5}: run again" in one_line(error)
        assert list(tmp_path.iterdir()) == []
        part.write_bytes(b"of another file")
        storage.content = CONTENT
        with pytest.raises(ExportError, match="gave a file with md5"):
            fetch(storage.url, path, MD5)
        fetch(storage.url, path, MD5)  # nothing is left that could spoil the next one
        assert path.read_bytes() == CONTENT

    def test_a_cached_file_gone_bad_is_named_and_kept(self, storage: Storage, tmp_path: Path) -> None:
        path = tmp_path / "weights.h5"
        path.write_bytes(b"rotten")
        with pytest.raises(ExportError, match="has md5") as error:
            fetch(storage.url, path, MD5)
        assert f"expected {MD5}: delete it and run again" in one_line(error)
        assert path.read_bytes() == b"rotten"
        assert storage.ranges == []

    def test_server_errors(self, storage: Storage, tmp_path: Path) -> None:
        path = tmp_path / "weights.h5"
        for storage.status in (404, 416, 500, 503):
            with pytest.raises(ExportError) as error:
                fetch(storage.url, path, MD5)
            assert f"could not be fetched (HTTP Error {storage.status}" in one_line(error)
        with pytest.raises(ExportError, match="could not be fetched"):
            fetch("http://127.0.0.1:1/weights.h5", path, MD5)
        assert list(tmp_path.iterdir()) == []

    def test_keras_means_the_official_file(
        self, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert inception_module.OFFICIAL_MD5 == "bcbd6486424b2319ff4ef7d526e38f63"
        assert inception_module.OFFICIAL_URL.startswith("https://storage.googleapis.com/tensorflow/")
        monkeypatch.setattr(inception_module, "OFFICIAL_URL", storage.url)
        monkeypatch.setattr(inception_module, "OFFICIAL_MD5", MD5)
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
        assert weights_file("keras") == tmp_path / "checkpoints" / "weights.h5"
        with pytest.raises(ExportError, match="is damaged or no Keras"):
            read_keras(IMAGE_MODEL, TEXT_MODEL, TOKENIZER, "keras")
        assert storage.ranges == [None]
