"""Files that are not what the manifest says are refused before they are used."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from itl_infer.bundle import Bundle, load_bundle
from tests.runtime.bundle.helpers import change_manifest, refusal, rehash
from tests.tiny_bundle import COLOURS, EMBED_DIM, SIDE, image_graph, text_graph, word_table


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("image_encoder.onnx", lambda bundle: bundle.embed_images([np.zeros((4, 4, 3), np.uint8)])),
        ("text_encoder.onnx", lambda bundle: bundle.embed_texts(["red"])),
        ("vocabulary.txt", lambda bundle: bundle.parse_query("red")),
    ],
)
def test_hashes_fail_closed(copied: Path, name: str, use: Callable[[Bundle], object]) -> None:
    path = copied / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    message = refusal(lambda: use(load_bundle(copied)))
    assert message.startswith(f"{path}: damaged or replaced")
    assert message.endswith("fetch or export the bundle again")
    path.unlink()
    assert refusal(lambda: use(load_bundle(copied))).startswith(f"{path}: cannot be read: No such file")


def test_graph_of_another_width_is_refused(copied: Path) -> None:
    onnx.save(image_graph(64), copied / "image_encoder.onnx")
    onnx.save(text_graph(64, word_table()), copied / "text_encoder.onnx")
    rehash(copied)
    bundle = load_bundle(copied)
    message = "the graph's output is embeddings tensor(float) [any, 64], the manifest says"
    assert message in refusal(lambda: bundle.embed_texts(["red"]))
    assert message in refusal(lambda: bundle.embed_images([np.zeros((4, 4, 3), np.uint8)]))


def test_graph_of_another_side_or_name_is_refused(copied: Path) -> None:
    change_manifest(copied, lambda manifest: manifest["image"].update(side=SIDE * 2))
    shutil.copy(copied / "image_encoder.onnx", copied / "text_encoder.onnx")
    rehash(copied)
    bundle = load_bundle(copied)
    pixels = np.zeros((1, SIDE * 2, SIDE * 2, 3), np.uint8)
    assert "the graph's input is pixel_values" in refusal(lambda: bundle.embed_pixels(pixels))
    assert "the manifest says input_ids" in refusal(lambda: bundle.embed_texts(["red"]))


def test_graph_that_hides_its_width_is_caught_when_it_runs(copied: Path) -> None:
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["N", "T"])
    echo = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["N", "T"])
    cast = helper.make_node("Cast", ["input_ids"], ["embeddings"], to=TensorProto.FLOAT)
    model = helper.make_model(
        helper.make_graph([cast], "echo", [ids], [echo]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, copied / "text_encoder.onnx")
    rehash(copied)
    assert "the graph gave (2, 1)" in refusal(lambda: load_bundle(copied).embed_texts(["red"]))


def test_graph_that_fails_or_is_none(copied: Path) -> None:
    (copied / "vocabulary.txt").write_text("".join(f"{stem}\n" for stem in [*COLOURS, "zyzzyva"]))
    rehash(copied)  # the table of the text graph is now a row too short
    assert "the graph failed: " in refusal(lambda: load_bundle(copied).embed_texts(["zyzzyva"]))
    (copied / "text_encoder.onnx").write_bytes(b"no graph")
    rehash(copied)
    assert "not a graph that onnxruntime" in refusal(lambda: load_bundle(copied).embed_texts(["red"]))
    (copied / "vocabulary.txt").write_bytes(b"\xff\n")
    rehash(copied)
    assert "can't decode" in refusal(lambda: load_bundle(copied).embed_texts(["red"]))


@pytest.mark.parametrize("name", ["image_encoder.onnx", "text_encoder.onnx"])
def test_external_data_is_refused(copied: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = image_graph() if name.startswith("image") else text_graph(EMBED_DIM, word_table())
    onnx.save(model, copied / name, save_as_external_data=True, location="weights.bin", size_threshold=0)
    rehash(copied)
    monkeypatch.chdir(copied)  # from where onnxruntime would take the weights
    bundle = load_bundle(copied)
    if name.startswith("text"):
        message = refusal(lambda: bundle.embed_texts(["red"]))
    else:
        message = refusal(lambda: bundle.embed_pixels(np.zeros((1, SIDE, SIDE, 3), np.uint8)))
    assert "external data" in message


def test_external_data_inside_a_node_is_refused(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(np.zeros(EMBED_DIM, np.float32).tobytes())
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[EMBED_DIM])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    model = text_graph(EMBED_DIM, word_table())
    model.graph.node.insert(0, helper.make_node("Constant", [], ["hidden"], value=tensor))
    (copied / "text_encoder.onnx").write_bytes(model.SerializeToString())
    rehash(copied)
    assert "external data" in refusal(lambda: load_bundle(copied).embed_texts(["red"]))
