"""From captioned pictures to a bundle that the runtime serves, with real parts throughout (small ones)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from click.testing import CliRunner

from export.branches.data import TrainingData
from export.branches.encoders import ImageEncoder, TextEncoder, image_branch
from export.branches.recipe import Recipe
from export.bundle.gallery import Gallery
from export.cli import main
from export.data.forms import text_rules
from export.data.pixels import pixels_of
from export.data.postcards.draw import draw_postcards, find_font
from export.errors import ExportError
from export.features.features import features_of
from export.graphs.quantize import embed_with, measure_drift, quantize_image_encoder
from export.graphs.to_onnx import check_parity, export_image_encoder, export_text_encoder, fold_batch_norms
from export.report import Reporter
from export.runs.build import build
from export.runs.prepare import BuildSettings
from export.runs.refresh import refresh_bundle
from export.runs.study import TRIED, format_study, short_query_map, study
from export.trunk.inception import inception_v3
from export.trunk.sources import open_trunk
from export.trunk.state import save_network
from export.trunk.trunk import Trunk
from itl_infer.bundle import load_bundle, verify_bundle
from itl_infer.bundle.manifest import describe_text, write_manifest
from itl_infer.captions import CaptionDataset, CaptionedImage, read_captions, read_json_lines
from itl_infer.cli import main as itl_infer_main
from itl_infer.errors import ImageError
from itl_infer.evaluation import evaluate_labelled
from itl_infer.image import ImageRules, load_pixels
from itl_infer.image.batches import decode_ahead
from itl_infer.index import Index
from itl_infer.text import ORIGINAL_TEXT_RULES

SIDE, FEATURE_DIM = 80, 2048
RULES = ImageRules(side=SIDE)
SETTINGS = BuildSettings(
    name="small",
    domain="a test",
    side=SIDE,
    recipe=Recipe(batch_size=16, epochs=2),
    gallery=Gallery(pictures=5, featuring=("two",)),
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> CaptionDataset:
    try:
        font = find_font()
    except ExportError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("postcards")
    return read_json_lines(draw_postcards(folder, train=70, val=8, test=10, seed=1, font=font))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, dataset: CaptionDataset) -> Path:
    """An untrained trunk whose batch norms know the data's statistics, as those of a trained one do."""
    torch.manual_seed(0)
    network = inception_v3().network.train()
    pixels = np.stack([load_pixels(path, RULES) for path in dataset.paths[:32]])
    with torch.no_grad():
        for _ in range(20):
            network(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1)
    path = tmp_path_factory.mktemp("weights") / "trunk.pth"
    save_network(network, path)
    return path


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory, dataset: CaptionDataset, weights: Path
) -> tuple[Path, dict[str, dict[str, float]]]:
    folder = tmp_path_factory.mktemp("build")
    settings = replace(SETTINGS, trunk_weights=str(weights))
    labelled = folder / "labels.json"
    labelled.write_text(json.dumps({"street": [example.image for example in dataset][:3]}), encoding="utf-8")
    figures = build(
        dataset,
        settings,
        folder / "work",
        folder / "bundle",
        Reporter(),
        also_measure=lambda bundle: evaluate_labelled(labelled, bundle, images=dataset.folder).summary(),
        card=lambda manifest: f"# {manifest['name']}\n",
    )
    return folder / "bundle", figures


def test_the_bundle_verifies_and_says_what_was_measured(
    built: tuple[Path, dict[str, dict[str, float]]],
) -> None:
    folder, figures = built
    report = verify_bundle(folder)
    assert report.ok, report.problems
    manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    assert manifest["precision"] == {"image_encoder": "int8", "text_encoder": "float32"}
    for graph in ("image_encoder", "text_encoder"):
        assert manifest["parity"][graph]["max_abs_diff"] <= 1e-4
    assert manifest["recall"]["t2i"] == figures["t2i"]
    assert (manifest["recall"]["pictures"], manifest["recall"]["captions"]) == (10, 50)
    assert set(manifest["quantization"]["recall"]) == {"float32", "int8"}
    assert manifest["quantization"]["mean_cosine"] > 0.9
    assert set(manifest["measured"]) == {"float32", "int8"}
    assert manifest["measured"]["int8"]["data"] == "labels.json"
    assert manifest["measured"]["int8"]["chance"]["precision_at_10"] == 0.3
    assert load_bundle(folder).card == "# small\n"
    assert manifest["training"]["recipe"]["margin"] == 0.5
    assert manifest["text"] == describe_text(text_rules())  # unless asked otherwise
    assert not [name for name in folder.parent.iterdir() if "building" in name.name or "old" in name.name]


def test_the_bundle_answers_queries_over_its_gallery(built: tuple[Path, dict[str, dict[str, float]]]) -> None:
    bundle = load_bundle(built[0])
    assert bundle.gallery_path is not None
    assert bundle.gallery_index_path is not None
    index = Index.open(bundle.gallery_index_path, bundle, mode="r")
    word = next(word for word in ("street", "kitchen", "beach", "two") if bundle.parse_query(word).ids)
    results = index.search(word, k=3)
    assert [Path(result.path).parent for result in results] == [bundle.gallery_path] * 3
    assert len(index) == len(list(bundle.gallery_path.iterdir())) == 5


def test_no_graph_says_where_it_was_made(built: tuple[Path, dict[str, dict[str, float]]]) -> None:
    home = str(Path(__file__).parents[1]).encode()
    for name in ("image_encoder.onnx", "text_encoder.onnx", "bundle.json"):
        content = (built[0] / name).read_bytes()
        assert home not in content
        assert b"site-packages" not in content


def test_a_second_build_trains_nothing_and_gives_the_same_bundle(
    built: tuple[Path, dict[str, dict[str, float]]],
    dataset: CaptionDataset,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = load_bundle(built[0]).fingerprint

    def never(*computed: object) -> None:
        raise AssertionError(f"computed again: {computed}")

    monkeypatch.setattr("export.loop.Loop._save", never)
    monkeypatch.setattr("export.data.pixels.decode_ahead", never)
    settings = replace(SETTINGS, trunk_weights=str(weights))
    figures = build(dataset, settings, built[0].parent / "work", built[0], Reporter())
    assert figures == built[1]
    assert load_bundle(built[0]).fingerprint == before


def test_evaluate_command_prints_recalls_and_chance(
    built: tuple[Path, dict[str, dict[str, float]]], dataset: CaptionDataset
) -> None:
    captions = dataset.folder / "captions.jsonl"
    result = CliRunner().invoke(
        itl_infer_main, ["evaluate", "-m", str(built[0]), "--captions", str(captions)]
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0].endswith(": 10 pictures, 50 captions")
    chance = [line.split() for line in result.stdout.splitlines() if line.startswith("  by chance")]
    assert chance[0] == ["by", "chance", "10.0", "50.0", "100.0", "5", "5.5"]
    t2i = next(line.split() for line in result.stdout.splitlines() if line.startswith("text to image"))
    assert float(t2i[3]) == pytest.approx(100 * built[1]["t2i"]["recall_at_1"], abs=0.05)


def test_flickr30k_as_kaggle_has_it_becomes_a_bundle_that_is_served(
    dataset: CaptionDataset, weights: Path, tmp_path: Path
) -> None:
    """results.csv with its bars, the row without its second one, and pictures in two folders of one name.

    Read as the original project read them.
    """
    images = tmp_path / "flickr30k_images"
    (images / "flickr30k_images").mkdir(parents=True)
    rows = ["image_name| comment_number| comment"]
    for example, path in zip(dataset, dataset.paths, strict=True):
        shutil.copyfile(path, images / "flickr30k_images" / path.name)
        rows += [f"{path.name}| {i}| {caption}" for i, caption in enumerate(example.captions)]
    rows[5] = rows[5].replace("| 4| ", "| 4   ")
    captions = tmp_path / "results.csv"
    captions.write_text("\n".join(rows) + "\n", encoding="utf-8")
    out, work = tmp_path / "bundle", tmp_path / "work"
    options = ["--trunk-weights", weights, "--side", SIDE, "--epochs", 1, "--work", work, "--out", out]
    command = ["build", "--captions", captions, "--images", images, "--text", "original", *options]
    result = CliRunner().invoke(main, [str(argument) for argument in command])
    assert result.exit_code == 0, result.output
    assert f"note: {captions}:6: second bar missing, read as caption 4" in result.stderr
    assert "88 pictures, 440 captions, Flickr30k table" in result.stderr

    def itl_infer(*args: object) -> str:
        answer = CliRunner().invoke(itl_infer_main, [str(arg) for arg in args])
        assert answer.exit_code == 0, answer.output
        return answer.stdout

    index = tmp_path / "photos.itl"
    itl_infer("embed-images", images, "-d", index, "-m", out)
    word = load_bundle(out).parse_text(dataset.captions[0]).used_words[0]
    found = json.loads(itl_infer("query", word, "-d", index, "-m", out, "-k", 3, "--format", "json"))
    assert len(found["results"]) == 3
    figures = json.loads(
        itl_infer("evaluate", "--captions", captions, "-d", index, "-m", out, "--format", "json")
    )
    bundle = load_bundle(out)
    assert bundle.manifest["text"] == describe_text(ORIGINAL_TEXT_RULES)
    assert bundle.text_rules == ORIGINAL_TEXT_RULES
    recall = bundle.manifest["recall"]
    same = ("split_sha256", "pictures", "captions", "t2i", "i2t", "rsum", "chance", "confidence_95")
    assert {name: figures[name] for name in same} == {name: recall[name] for name in same}


# --- graphs -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder(weights: Path) -> ImageEncoder:
    torch.manual_seed(1)
    return ImageEncoder(open_trunk("inception_v3", str(weights)), image_branch(FEATURE_DIM)).eval()


@pytest.fixture(scope="module")
def pixels(dataset: CaptionDataset) -> np.ndarray:
    return np.stack([load_pixels(path, RULES) for path in dataset.paths])


@pytest.fixture(scope="module")
def float_graph(encoder: ImageEncoder, pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graphs") / "image_encoder.onnx"
    parity = export_image_encoder(encoder, pixels[:8], path)
    assert parity.max_abs_diff <= 1e-4
    assert parity.rows >= 8
    return path


def test_folding_batch_norms_changes_nothing(encoder: ImageEncoder, pixels: np.ndarray) -> None:
    folded = fold_batch_norms(encoder, torch.from_numpy(pixels[:1]))
    assert not [m for m in folded.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    batch = torch.from_numpy(pixels[:2])
    with torch.inference_mode():
        assert torch.allclose(folded(batch), encoder(batch), atol=1e-5)


def test_image_graph_is_what_the_design_says(float_graph: Path) -> None:
    graph = onnx.load(float_graph).graph
    (given,), (result,) = graph.input, graph.output
    assert (given.name, given.type.tensor_type.elem_type) == ("pixel_values", onnx.TensorProto.UINT8)
    assert [d.dim_value for d in given.type.tensor_type.shape.dim][1:] == [SIDE, SIDE, 3]
    assert given.type.tensor_type.shape.dim[0].dim_param
    assert (result.name, result.type.tensor_type.shape.dim[1].dim_value) == ("embeddings", 128)
    assert not any("Aux" in tensor.name for tensor in graph.initializer)
    assert not any(tensor.external_data for tensor in graph.initializer)
    assert "BatchNormalization" not in {node.op_type for node in graph.node}


def test_a_graph_that_differs_from_torch_is_refused(
    encoder: ImageEncoder, float_graph: Path, pixels: np.ndarray, tmp_path: Path
) -> None:
    model = onnx.load(float_graph)
    bias = next(t for t in model.graph.initializer if t.name.endswith("branch.4.bias"))
    values = onnx.numpy_helper.to_array(bias).copy()
    values[0] += 0.5
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    onnx.save(model, tmp_path / "bent.onnx")
    with pytest.raises(ExportError, match=r"bent\.onnx: the graph differs from torch by .*, more than 1e-04"):
        check_parity(encoder, torch.from_numpy(pixels[:5]), tmp_path / "bent.onnx")


def test_text_graph_gathers_and_sums_at_any_length(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(300)
    ids = np.random.default_rng(0).integers(0, 300, (9, 7))
    assert export_text_encoder(encoder, ids, tmp_path / "text.onnx").max_abs_diff <= 1e-4
    model = onnx.load(tmp_path / "text.onnx")
    kinds = [node.op_type for node in model.graph.node]
    assert "Gather" in kinds
    assert {"OneHot", "ScatterND", "ScatterElements"}.isdisjoint(kinds)
    for length in (1, 3, 40):
        check_parity(
            encoder,
            torch.from_numpy(np.random.default_rng(1).integers(0, 300, (6, length))),
            tmp_path / "text.onnx",
        )


def test_too_few_inputs_to_compare_with_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="2 inputs to compare with, expected 5 or more"):
        export_text_encoder(TextEncoder(9), np.ones((2, 3), np.int64), tmp_path / "t.onnx")


def test_int8_is_a_quarter_of_the_size_and_close(
    float_graph: Path, pixels: np.ndarray, tmp_path: Path
) -> None:
    quantize_image_encoder(float_graph, tmp_path / "int8.onnx", pixels[:32])
    assert (tmp_path / "int8.onnx").stat().st_size < 0.28 * float_graph.stat().st_size
    exact, rough = embed_with(float_graph, pixels[40:]), embed_with(tmp_path / "int8.onnx", pixels[40:])
    drift = measure_drift(exact, rough)
    assert 0.9 < drift.min_cosine <= drift.mean_cosine < 1
    graph = onnx.load(tmp_path / "int8.onnx").graph
    kinds = {node.op_type for node in graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert "AveragePool" not in kinds  # slow in int8
    writer = {name: node for node in graph.node for name in node.output}
    reader = {name: node for node in graph.node for name in node.input}
    for concat in (node for node in graph.node if node.op_type == "Concat"):
        scale = reader[concat.output[0]].input[1]
        assert scale in [writer[name].input[1] for name in concat.input]


def test_drift_by_hand() -> None:
    exact = np.array([[1, 0], [0, 1]], np.float32)
    rough = np.array([[0.6, 0.8], [0, 1]], np.float32)
    drift = measure_drift(exact, rough)
    assert drift.min_cosine == pytest.approx(0.6)
    assert drift.mean_cosine == pytest.approx(0.8)


# --- caches -------------------------------------------------------------------------------------------------


def test_features_are_computed_once_and_again_for_other_pixels(
    dataset: CaptionDataset, weights: Path, tmp_path: Path
) -> None:
    part, trunk = dataset.split("test"), open_trunk("inception_v3", str(weights))
    calls: list[tuple[float, float]] = []

    def compute(side: int = SIDE) -> np.ndarray:
        found = features_of(part, trunk.at(side), tmp_path, lambda done, total: calls.append((done, total)))
        assert found.failed == {}
        return found.array

    first = compute()
    assert first.shape == (10, FEATURE_DIM)
    assert calls[-1] == (10, 10)
    calls.clear()
    assert np.array_equal(compute(), first)
    assert calls == []
    assert not np.array_equal(compute(side=96), first)
    with torch.inference_mode():
        pixels = torch.from_numpy(np.stack([load_pixels(path, RULES) for path in part.paths]))
        expected = trunk.network.eval()(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1).numpy()
    assert np.abs(first - expected).max() < 1e-4


class Toy(torch.nn.Module):
    """As fast as can be: a feature is a pixel's value."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :FEATURE_DIM] * self.weight


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> CaptionDataset:
    """300 pictures of noise, which need no font."""
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    for i in range(300):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / f"{i:03}.bmp")
    return noise_pictures(folder)


def noise_pictures(folder: Path) -> CaptionDataset:
    return CaptionDataset(
        "many", folder, tuple(CaptionedImage(f"{i:03}.bmp", ("noise",), "train") for i in range(300))
    )


def toy_features(
    dataset: CaptionDataset,
    cache: Path,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    network: torch.nn.Module | None = None,
) -> np.ndarray:
    return features_of(dataset, toy_trunk(network), cache, progress).array


def toy_trunk(network: torch.nn.Module | None = None) -> Trunk:
    grey = (127.5, 127.5, 127.5)
    return Trunk("toy", network or Toy(), FEATURE_DIM, 30, 1, "bilinear-antialias", mean=grey, std=grey)


def test_a_pass_that_was_killed_goes_on_behind_the_last_row_that_counts(
    many: CaptionDataset, tmp_path: Path
) -> None:
    """A process is killed (SIGKILL) in the middle of it, and half a row is left behind what it wrote."""
    expected = np.array(toy_features(many, tmp_path / "whole"))
    code = f"""
import os
from pathlib import Path
import export.data.cached
from tests.test_build import noise_pictures, toy_features
export.data.cached._SYNC_SECONDS = 0
many = noise_pictures(Path({str(many.folder)!r}))
toy_features(many, Path({str(tmp_path)!r}), lambda done, _: os.kill(os.getpid(), 9) if done >= 160 else None)
"""
    killed = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=False)
    assert killed.returncode == -9
    (part,) = tmp_path.glob("features-*.part")
    with part.open("ab") as file:
        file.write(b"\xff" * 9000)

    calls: list[int] = []
    found = toy_features(many, tmp_path, lambda done, _total: calls.append(done))
    assert calls[0] == 160  # what counted when it was killed
    assert np.array_equal(found, expected)
    assert [path.suffix for path in tmp_path.iterdir() if path.name.startswith("features")] == [".npy"]


@pytest.mark.parametrize("counter", ["", "9999", "40"])
def test_rows_that_are_not_known_to_be_whole_are_computed_again(
    many: CaptionDataset, tmp_path: Path, counter: str
) -> None:
    """Whatever the counter says, no more rows are taken than there are, and none where it cannot be read."""
    expected = np.array(toy_features(many, tmp_path))
    (path,) = tmp_path.glob("features-*.npy")
    content = path.read_bytes()
    path.unlink()
    path.with_suffix(".part").write_bytes(content[: len(content) // 2])
    path.with_suffix(".rows").write_text(counter and json.dumps({"rows": int(counter), "failed": {}}))
    calls: list[int] = []
    assert np.array_equal(toy_features(many, tmp_path, lambda done, _total: calls.append(done)), expected)
    assert calls[0] == {"": 0, "9999": 149, "40": 40}[counter]


def test_features_alone_keep_no_pixels(many: CaptionDataset, tmp_path: Path) -> None:
    toy_features(many, tmp_path)
    assert [path.name.partition("-")[0] for path in tmp_path.iterdir()] == ["features"]


def test_the_cache_knows_pictures_pixels_weights_and_pooling(
    many: CaptionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever changes what a row would be, or which picture it belongs to, is computed anew."""

    def key(dataset: CaptionDataset, network: torch.nn.Module | None = None, **others: object) -> str:
        made: list[str] = []
        monkeypatch.setattr(
            "export.features.features.cached_rows", lambda path, *_rest: made.append(path.name)
        )
        features_of(dataset, replace(toy_trunk(network), **others), tmp_path, lambda _done, _total: None)
        return made[0]

    class Mean(Toy):
        def __init__(self, count_include_pad: bool) -> None:
            super().__init__()
            self.count_include_pad = count_include_pad

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mean = torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=self.count_include_pad)
            return super().forward(mean)

    first = replace(many, examples=many.examples[:2])
    touched = replace(many, folder=tmp_path, examples=many.examples[:2])
    for example in touched:
        (tmp_path / example.image).write_bytes((many.folder / example.image).read_bytes())
    keys = [
        key(first),
        key(touched),
        key(replace(first, examples=first.examples[::-1])),
        key(first, side=31),
        key(first, resize="bilinear"),
        key(first, resize="bicubic-antialias"),
        key(first, mean=(0.0, 0.0, 0.0)),
        key(first, std=(255.0, 255.0, 255.0)),
        key(first, Toy(2.0)),
        key(first, torch.fx.symbolic_trace(Mean(True))),
        key(first, torch.fx.symbolic_trace(Mean(False))),
    ]
    assert len(set(keys)) == len(keys)
    assert key(first) == keys[0]


def test_decoding_goes_on_while_the_network_works_and_not_far_ahead(
    many: CaptionDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []

    def load(path: Path, rules: ImageRules) -> np.ndarray:
        decoded.append(path)
        return load_pixels(path, rules)

    monkeypatch.setattr("itl_infer.image.batches.load_pixels", load)
    batches = decode_ahead(many.paths, ImageRules(side=30))
    next(batches)
    for _ in range(500):  # the consumer is busy: five seconds at most
        if len(decoded) == 32 * 5:
            break
        time.sleep(0.01)
    assert len(decoded) == 32 * 5  # the batch in hand, and four ahead
    batches.close()
    assert len(decoded) == 32 * 5


def test_pictures_that_cannot_be_read_have_no_row_and_are_named(many: CaptionDataset, tmp_path: Path) -> None:
    for name in ("000.bmp", "001.bmp", "002.bmp", "003.bmp"):
        (tmp_path / name).write_bytes((many.folder / name).read_bytes())
    (tmp_path / "001.bmp").write_bytes(b"BM and no more")
    (tmp_path / "003.bmp").unlink()
    dataset = replace(many, folder=tmp_path, examples=many.examples[:4])
    expected = toy_features(replace(many, examples=(many.examples[0], many.examples[2])), tmp_path / "two")
    for cache in (
        "cache",
        "cache",
        "pixels",
    ):  # the second time from the file, the third from pixels that were kept
        if cache == "pixels":
            rules = toy_trunk().image_rules
            assert len(pixels_of(dataset, rules, tmp_path / cache, lambda _done, _total: None).array) == 2
        rows = features_of(dataset, toy_trunk(), tmp_path / cache, lambda _done, _total: None)
        assert list(rows.failed) == [str(tmp_path / "001.bmp"), str(tmp_path / "003.bmp")]
        assert np.array_equal(rows.array, expected)
    rest = dataset.without(rows.failed)
    assert [example.image for example in rest] == ["000.bmp", "002.bmp"]
    assert "001.bmp" in rest.describe()
    with pytest.raises(ImageError, match=r"001\.bmp"):
        list(decode_ahead(dataset.paths, toy_trunk().image_rules))


def test_a_pass_that_was_killed_knows_what_it_passed_over(many: CaptionDataset, tmp_path: Path) -> None:
    for example in many:
        shutil.copyfile(many.folder / example.image, tmp_path / example.image)
    for name in ("010.bmp", "200.bmp"):
        (tmp_path / name).write_bytes(b"BM and no more")
    dataset = replace(many, folder=tmp_path)
    expected = features_of(dataset, toy_trunk(), tmp_path / "whole", lambda _done, _total: None)
    calls: list[int] = []

    def stop(done: int, _total: int) -> None:
        calls.append(done)
        if done >= 100:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.data.cached._SYNC_SECONDS", 0)
        with pytest.raises(KeyboardInterrupt):
            features_of(dataset, toy_trunk(), tmp_path / "parts", stop)
    resumed: list[int] = []
    found = features_of(dataset, toy_trunk(), tmp_path / "parts", lambda done, _total: resumed.append(done))
    assert resumed[0] == calls[-1]
    assert list(found.failed) == list(expected.failed) == [str(tmp_path / n) for n in ("010.bmp", "200.bmp")]
    assert np.array_equal(found.array, expected.array)


# --- bad input ----------------------------------------------------------------------------------------------


def test_a_missing_split_is_named(dataset: CaptionDataset, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no val pictures: give it train, val and test splits"):
        build(
            CaptionDataset("half", dataset.folder, dataset.split("train").examples),
            SETTINGS,
            tmp_path,
            tmp_path,
            Reporter(),
        )


def test_a_side_too_small_for_inception_is_refused(dataset: CaptionDataset, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="side 64 is too small for inception_v3: 75 pixels at least"):
        build(dataset, replace(SETTINGS, trunk_weights="none", side=64), tmp_path, tmp_path, Reporter())


class Lines(Reporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said += line.splitlines()


def test_build_says_which_captions_have_no_known_word_and_which_pictures_are_left_out(
    many: CaptionDataset, weights: Path, tmp_path: Path
) -> None:
    """Before training begins, with file and line."""
    rows = []
    for i, split in enumerate(["train", "train", "val", "test", "test"]):
        shutil.copyfile(many.paths[i], tmp_path / f"{i}.bmp")
        rows.append({"image": f"{i}.bmp", "captions": ["a dog", "a cat"], "split": split})
    rows[1]["captions"] = ["a dog", "the"]
    rows[2]["captions"] = ["a xyzzy", "two dogs", " "]
    (tmp_path / "4.bmp").write_bytes(b"no picture")
    (tmp_path / "5.bmp").write_bytes(b"nobody said anything of this one")
    rows.append({"image": "6.bmp", "captions": ["a dog"], "split": "train"})
    captions = tmp_path / "c.jsonl"
    captions.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    class UntilWork(Lines):
        def say(self, line: str) -> None:
            if line.startswith("Training"):
                raise InterruptedError
            super().say(line)

    reporter, settings = UntilWork(), replace(SETTINGS, trunk_weights=str(weights))
    with pytest.raises(InterruptedError):
        build(read_captions(captions), settings, tmp_path / "work", tmp_path / "out", reporter)
    for reason, place in (
        ("skipped 1: empty caption", f"{captions}:3: 2.bmp"),
        ("skipped 1: no such picture", f"{captions}:6: 6.bmp"),
        ("skipped 1: picture without captions", f"{tmp_path}: 5.bmp"),
        ("skipped 1: not a JPEG, PNG, WebP, GIF, TIFF or BMP picture", f"{tmp_path}/4.bmp: 4.bmp"),
        ("2: caption without a known word", f"{captions}:2: 1.bmp: the"),
    ):
        assert reporter.said[reporter.said.index(f"  {reason}") + 1] == f"    {place}"
    assert f"    {captions}:3: 2.bmp: a xyzzy" in reporter.said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1.jpg#0\tA caf\xe9 .\n", "c.token:1: not UTF-8 (byte 0xe9): save the file as UTF-8"),
        (b"1.jpg#0\t \n", "no captions found: first, {}:1: 1.jpg: empty caption"),
        (b"2.jpg#0\tA dog .\n", "none of its 1 pictures is in"),
        (b'{"image": "1.jpg", "captions": ["A"]}\n' * 2, "c.token:2: 1.jpg is listed before, at {}:1"),
    ],
    ids=["encoding", "empty", "missing pictures", "duplicate"],
)
def test_build_with_captions_that_cannot_be_used_ends_in_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "1.jpg").touch()
    captions = tmp_path / "c.token"
    captions.write_bytes(content)
    options = ["--captions", str(captions), "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    result = CliRunner().invoke(main, ["build", *options])
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message.format(captions) in line
    assert [path.name for path in tmp_path.iterdir()] in (["1.jpg", "c.token"], ["c.token", "1.jpg"])


def test_a_trunk_gets_its_name_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later build takes trunk.pth for a trained one."""

    def killed(_state: object, path: Path) -> None:
        Path(path).write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr("torch.save", killed)
    with pytest.raises(KeyboardInterrupt):
        save_network(Toy(), tmp_path / "trunk.pth")
    assert not (tmp_path / "trunk.pth").exists()


def test_a_failed_build_leaves_the_old_bundle(
    built: tuple[Path, dict[str, dict[str, float]]],
    dataset: CaptionDataset,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = load_bundle(built[0]).fingerprint
    monkeypatch.setattr("export.graphs.to_onnx.MAX_ABS_DIFF", -1.0)
    with pytest.raises(ExportError, match="differs from torch"):
        build(
            dataset,
            replace(SETTINGS, trunk_weights=str(weights)),
            built[0].parent / "work",
            built[0],
            Reporter(),
        )
    assert load_bundle(built[0]).fingerprint == before
    assert verify_bundle(built[0]).ok


def test_refresh_writes_the_graph_anew_from_the_same_weights(
    built: tuple[Path, dict[str, dict[str, float]]], dataset: CaptionDataset, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(built[0], bundle)
    graph = onnx.load(str(bundle / "image_encoder.onnx"))
    graph.producer_name = "an older exporter"
    onnx.save(graph, str(bundle / "image_encoder.onnx"))
    write_manifest(bundle, json.loads((bundle / "bundle.json").read_text(encoding="utf-8")))
    fingerprint = load_bundle(bundle).fingerprint
    captions = str(dataset.folder / "captions.jsonl")
    result = CliRunner().invoke(main, ["refresh", str(bundle), "--captions", captions])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{bundle}: cosines to the embeddings of before 0.99")
    assert verify_bundle(bundle).ok
    assert load_bundle(bundle).fingerprint != fingerprint
    pixels = np.stack([load_pixels(path, RULES) for path in dataset.paths[:8]])
    cosines = (load_bundle(bundle).embed_pixels(pixels) * load_bundle(built[0]).embed_pixels(pixels)).sum(
        axis=1
    )
    assert cosines.min() > 0.99
    assert load_bundle(bundle).manifest["quantization"]["refreshed"]["pictures"] == 10
    assert len(Index.open(bundle / "index", load_bundle(bundle), mode="r")) == 5


def test_refresh_leaves_a_bundle_alone_whose_embeddings_would_move_too_far(
    built: tuple[Path, dict[str, dict[str, float]]], dataset: CaptionDataset, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(built[0], bundle)
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    manifest["quantization"]["min_cosine"] = 1 + 1e-9
    write_manifest(bundle, manifest)
    fingerprint = load_bundle(bundle).fingerprint
    with pytest.raises(ExportError, match="more than two int8 graphs differ: not replaced"):
        refresh_bundle(bundle, dataset, Reporter())
    assert load_bundle(bundle).fingerprint == fingerprint
    assert verify_bundle(bundle).ok
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    write_manifest(bundle, manifest | {"quantization": None})
    with pytest.raises(ExportError, match="is float32"):
        refresh_bundle(bundle, dataset, Reporter())


@pytest.mark.parametrize("command", [[], ["postcards"], ["pretrain"], ["build"], ["refresh"], ["recipes"]])
def test_every_command_has_help(command: list[str]) -> None:
    result = CliRunner().invoke(main, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_errors_of_the_command_line_are_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["postcards", str(tmp_path), "--font", str(tmp_path / "no.ttf")])
    assert result.exit_code == 1
    assert result.stderr.strip().splitlines()[-1].startswith("Error: no emoji font at ")
    assert "Traceback" not in result.output


def test_recipes_are_compared_over_seeds(
    dataset: CaptionDataset, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SETTINGS, trunk_weights=str(weights))
    names = ("original", "+ cosine schedule = best")
    monkeypatch.setattr("export.runs.study.TRIED", {name: replace(TRIED[name], epochs=3) for name in names})
    found = study(dataset, settings, tmp_path, Reporter(), seeds=2, names=names)
    assert {name: len(runs) for name, runs in found.items()} == dict.fromkeys(names, 2)
    first, second = found["original"]
    assert first != second
    header, _, row, best = format_study(found).splitlines()
    assert header.startswith("| recipe | t2i R@1 | R@5 | R@10 | i2t R@1 |")
    mean, half_range = (first["rsum"] + second["rsum"]) / 2, abs(first["rsum"] - second["rsum"]) / 2
    assert (
        f"| {mean:.1f} ± {half_range * 2**0.5:.1f} |" in row
    )  # of two values, that is the standard deviation
    assert best.startswith("| + cosine schedule = best |")
    again = study(dataset, settings, tmp_path, Reporter(), seeds=2, names=names)
    assert again == found  # from the checkpoints


class Words(torch.nn.Module):
    """Query (a, b) -> the sum of the two stems' directions."""

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return torch.eye(4)[input_ids].sum(dim=1)


def test_short_query_precision_by_hand() -> None:
    data = TrainingData(
        images=np.eye(4, dtype=np.float32)[:3],
        input_ids=np.array([[1, 2], [1, 2], [3, 0]]),  # the third caption has one stem only
        owners=np.array([0, 1, 2]),
        ids_sha256="by hand",
    )
    model = SimpleNamespace(text_encoder=Words(), parameters=lambda: iter([torch.zeros(1)]))
    images = np.eye(4, dtype=np.float32)[[1, 3, 0]]
    # "1 2" finds pictures 0 (score 1), then 1 and 2 (score 0, the wrong one first): places 1 and 3, asked twice.
    # "3" with padding finds 1 and 2 (scores 1, 1; the wrong one first) before 0: the relevant one at place 2, 1/2.
    assert short_query_map(model, data, images) == pytest.approx((5 / 6 + 5 / 6 + 1 / 2) / 3)
