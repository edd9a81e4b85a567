"""What a page reads is written whole, with its hashes, and only of bundles that the page knows to read."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from itl_infer import Bundle, BundleError, load_bundle
from itl_infer.bundle.manifest import write_manifest
from itl_infer.publish.caption_graph import read_caption_branch
from itl_infer.publish.index_data import write_vectors
from itl_infer.publish.text_data import write_text_data
from itl_infer.text import ORIGINAL_TEXT_RULES, TextRules
from tests.runtime.publish.helpers import BROWSER
from tests.tiny_bundle import make_tiny_bundle


def unit_rows(rows: int, dim: int = 128, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_every_file_is_told_with_its_hash(bundle: Bundle, tmp_path: Path) -> None:
    written = write_text_data(bundle, tmp_path) | write_vectors(unit_rows(300), tmp_path)
    assert {*written} == {path.name for path in tmp_path.iterdir()}
    for name, told in written.items():
        content = (tmp_path / name).read_bytes()
        assert told == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def test_code_and_weights_are_at_most_7_mb_compressed(data: Path) -> None:
    apart = ("carried.tsv", "vectors", "fine")  # carried words are fetched when one is asked for
    files = [
        *BROWSER.iterdir(),
        *(path for path in data.iterdir() if not path.name.startswith(apart)),
    ]
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) < 7_000_000 * 0.6


def test_the_same_again_is_the_same_to_the_byte(bundle: Bundle, tmp_path: Path) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    first, second = (write_text_data(bundle, folder) for folder in folders)
    assert first == second


def test_10_000_pictures_are_1_3_mb_of_vectors(tmp_path: Path) -> None:
    written = write_vectors(unit_rows(10_000), tmp_path)
    assert sum(told["bytes"] for name, told in written.items() if name.startswith("vectors")) < 1.33e6


def test_files_of_vectors_are_at_most_4_mb_and_stay_as_rows_are_added(tmp_path: Path) -> None:
    rows = unit_rows(12_000)
    before, after = write_vectors(rows[:10_000], tmp_path), write_vectors(rows, tmp_path)
    assert max(told["bytes"] for told in after.values()) <= 4_000_000
    changed = {name for name, told in before.items() if after[name] != told}
    assert changed == {"vectors-001.bin", "fine-00039.bin", "vectors.json"}


def test_codes_and_fine_codes_are_the_rows_to_16_bits(tmp_path: Path) -> None:
    rows = unit_rows(200)
    write_vectors(rows, tmp_path)
    content = (tmp_path / "vectors-000.bin").read_bytes()
    scales = np.frombuffer(content, "<f4", 200)[:, None]
    codes = np.frombuffer(content, np.int8, offset=800).reshape(200, 128)
    fine = (tmp_path / "fine-00000.bin").read_bytes()
    fines = np.frombuffer(fine, np.int8).reshape(200, 128)
    assert np.abs(scales * codes - rows).max() < 0.0025
    assert np.abs(scales * (codes + fines / 254) - rows).max() < 1e-5


def test_an_index_without_pictures_is_published_too(tmp_path: Path) -> None:
    assert {*write_vectors(unit_rows(0), tmp_path)} == {"vectors.json"}
    assert json.loads((tmp_path / "vectors.json").read_text())["rows"] == 0


def test_a_bundle_that_reads_text_otherwise_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    original = make_tiny_bundle(tmp_path / "original", rules=ORIGINAL_TEXT_RULES)
    for path, tokenizer in ((tiny_bundle, "nltk-word"), (original, "whitespace")):
        with pytest.raises(BundleError, match=rf"'words'.*this bundle has '{tokenizer}'"):
            write_text_data(load_bundle(path), tmp_path)


def test_a_bundle_without_forms_and_carried_words_can_be_published(tmp_path: Path) -> None:
    bundle = load_bundle(make_tiny_bundle(tmp_path / "tiny", rules=TextRules()))
    assert "carried.tsv" not in write_text_data(bundle, tmp_path)


@pytest.mark.parametrize(
    ("op_type", "told"),
    [
        ("Sigmoid", "a page cannot compute this graph: Sigmoid behind its layers"),
        ("Mul", "the graph gave what is no unit vector"),
    ],
)
def test_a_graph_that_the_page_cannot_compute_is_refused(tmp_path: Path, op_type: str, told: str) -> None:
    folder = make_tiny_bundle(tmp_path / "tiny", rules=TextRules())
    put_before_the_end(folder / "text_encoder.onnx", op_type)
    content = json.loads((folder / "bundle.json").read_text())
    write_manifest(folder, {name: value for name, value in content.items() if name != "files"})
    with pytest.raises(BundleError, match=told):
        write_text_data(load_bundle(folder), tmp_path)


def put_before_the_end(path: Path, op_type: str) -> None:
    """One node more before the last one of a graph: it stretches some numbers more than others."""
    model = onnx.load(path)
    skew = numpy_helper.from_array(np.linspace(0, 1, 128).astype(np.float32), "skew")
    model.graph.initializer.append(skew)
    last = model.graph.node.pop()
    inputs = [last.input[0], "skew"] if op_type == "Mul" else [last.input[0]]
    model.graph.node.append(helper.make_node(op_type, inputs, ["changed"]))
    model.graph.node.append(helper.make_node(last.op_type, ["changed", last.input[1]], [*last.output]))
    onnx.save(model, path)


def test_what_is_no_graph_is_refused() -> None:
    for content in (b"", b"garbage", onnx.ModelProto().SerializeToString()):
        with pytest.raises(ValueError):
            read_caption_branch(content)


@pytest.mark.parametrize("transposed", [False, True])
def test_layers_are_read_however_they_are_written(transposed: bool) -> None:
    """Gemm with or without a transposed weight, int8 weights that are widened, numbers as raw bytes or not."""
    random = np.random.default_rng(3)
    rows = random.integers(-127, 128, (5, 4)).astype(np.int8)
    rows[:, 0] = 127
    weights = random.normal(size=(4, 3)).astype(np.float32)
    biases = random.normal(size=3).astype(np.float32)
    whole = weights.T if transposed else weights
    nodes = [
        helper.make_node("Gather", ["rows", "input_ids"], ["gathered"]),
        helper.make_node("DequantizeLinear", ["gathered", "scale"], ["words"]),
        helper.make_node("Constant", [], ["axis"], value=numpy_helper.from_array(np.array([1]))),
        helper.make_node("ReduceSum", ["words", "axis"], ["sum"], keepdims=0),
        helper.make_node("Gemm", ["sum", "weights", "biases"], ["wide"], transB=int(transposed)),
        helper.make_node("Relu", ["wide"], ["positive"]),
        helper.make_node("LpNormalization", ["positive"], ["embeddings"], axis=1, p=2),
    ]
    constants = [
        numpy_helper.from_array(rows, "rows"),
        helper.make_tensor("scale", TensorProto.FLOAT, [], [0.5]),
        numpy_helper.from_array(np.ascontiguousarray(whole), "weights"),
        helper.make_tensor("biases", TensorProto.FLOAT, [3], biases),
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["N", "T"])
    embeddings = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["N", 3])
    model = helper.make_model(helper.make_graph(nodes, "other", [ids], [embeddings], constants))
    branch = read_caption_branch(model.SerializeToString())
    assert (branch.codes == rows).all()
    expected = np.maximum((rows[[1, 2]] * 0.5).sum(axis=0) @ weights + biases, 0)
    np.testing.assert_allclose(branch.embed([1, 2]), expected / np.linalg.norm(expected), rtol=1e-5)
