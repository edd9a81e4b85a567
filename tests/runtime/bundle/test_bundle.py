"""A bundle embeds what its manifest promises, and refuses whatever is not what the manifest says."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from itl_infer import Index, embed_directory
from itl_infer.bundle import Bundle, load_bundle, verify_bundle
from itl_infer.bundle import bundle as bundle_module
from itl_infer.bundle.manifest import compute_fingerprint, write_manifest
from itl_infer.encoder import ImageEncoder
from itl_infer.errors import BundleError, ImageError, QueryError
from tests.tiny_bundle import (
    COLOURS,
    EMBED_DIM,
    SIDE,
    image_graph,
    make_tiny_bundle,
    save_colours,
    text_graph,
    unit_rows,
    word_table,
)


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture
def copied(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle, to be changed."""
    return shutil.copytree(tiny_bundle, tmp_path / "copied")


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "bundle.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def rehash(folder: Path) -> None:
    """Let the manifest agree with files that a test has changed."""
    write_manifest(folder, json.loads((folder / "bundle.json").read_text(encoding="utf-8")))


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(BundleError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_a_bundle_says(bundle: Bundle, tiny_bundle: Path) -> None:
    assert (bundle.name, bundle.domain, bundle.embed_dim) == ("tiny", "plain colours", EMBED_DIM)
    assert bundle.image_rules.side == SIDE
    assert bundle.text_rules.tokenizer == "nltk-word"
    assert bundle.manifest["precision"] == {"image_encoder": "float32", "text_encoder": "float32"}
    assert bundle.fingerprint == compute_fingerprint(bundle.manifest)
    assert (bundle.gallery_path, bundle.gallery_index_path) == (None, None)
    assert repr(bundle) == f"<Bundle 'tiny' at {str(tiny_bundle)!r}>"


def test_pictures_as_paths_pillow_images_and_arrays(bundle: Bundle, tmp_path: Path) -> None:
    (red,) = save_colours(tmp_path, ["red"])
    embeddings = bundle.embed_images(
        [str(red), red, Image.open(red), np.full((4, 4, 3), [255, 0, 0], np.uint8)]
    )
    assert embeddings.shape == (4, EMBED_DIM)
    assert embeddings.dtype == np.float32
    assert np.allclose(embeddings, unit_rows(np.array([[1.0, 0, 0]])), atol=1e-6)


def test_texts(bundle: Bundle) -> None:
    embeddings = bundle.embed_texts(["red", "The surfers, in a RED wave!"])
    assert np.allclose(embeddings, unit_rows(np.array([[1.0, 0, 0], [1, 0.5, 2]])), atol=1e-6)


def test_empty_input_gives_no_rows(bundle: Bundle) -> None:
    for embeddings in (
        bundle.embed_images([]),
        bundle.embed_texts([]),
        bundle.embed_pixels(np.empty((0, SIDE, SIDE, 3), np.uint8)),
    ):
        assert embeddings.shape == (0, EMBED_DIM)
        assert embeddings.dtype == np.float32


def test_many_pictures_are_embedded_in_order(bundle: Bundle) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (75, SIDE, SIDE, 3), dtype=np.uint8)
    expected = unit_rows(pixels.mean(axis=(1, 2)) / 255)
    assert np.allclose(bundle.embed_images(list(pixels)), expected, atol=1e-6)
    assert np.allclose(bundle.embed_pixels(pixels), expected, atol=1e-6)


def test_the_graph_takes_batches_of_the_size_that_is_asked_for(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sizes: list[int] = []
    embed = ImageEncoder.embed
    monkeypatch.setattr(
        ImageEncoder, "embed", lambda self, pixels: sizes.append(len(pixels)) or embed(self, pixels)
    )
    pixels = np.random.default_rng(3).integers(0, 256, (75, SIDE, SIDE, 3), dtype=np.uint8)
    bundle.embed_pixels(pixels)
    bundle.embed_pixels(pixels, batch_size=50)
    assert sizes == [32, 32, 11, 50, 25]
    (tmp_path / "photos").mkdir()
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / "photos" / f"{number}.png")
    embed_directory(tmp_path / "photos", Index.open(tmp_path / "photos.itl", bundle), batch_size=60)
    assert sizes[5:] == [60, 15]


def test_a_text_is_embedded_the_same_whatever_stands_beside_it(bundle: Bundle) -> None:
    alone = bundle.embed_texts(["red wave"])[0]
    assert np.array_equal(bundle.embed_texts(["a bright blue surfer", "wave, red!", "blue"])[1], alone)


def test_a_bad_picture_is_named(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "letter.jpg").write_text("not a picture")
    with pytest.raises(ImageError, match=r"letter\.jpg: not a JPEG"):
        bundle.embed_images([np.zeros((4, 4, 3), np.uint8), tmp_path / "letter.jpg"])
    with pytest.raises(ImageError, match=r"images\[1\]: float64"):
        bundle.embed_images([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3))])
    with pytest.raises(ImageError, match=r"images\[0\]: .*megapixels"):
        bundle.embed_images([Image.new("RGB", (40, 40))], max_megapixels=0.001)


def test_a_lone_text_or_picture_is_a_mistake(bundle: Bundle) -> None:
    with pytest.raises(TypeError, match=r"embed_texts\(\[text\]\)"):
        bundle.embed_texts("red")
    with pytest.raises(TypeError, match=r"embed_images\(\[picture\]\)"):
        bundle.embed_images("red.png")
    with pytest.raises(ValueError, match=r"uint8 \(N, 16, 16, 3\)"):
        bundle.embed_pixels(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="threads is 0"):
        load_bundle(bundle.path, threads=0)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "the query is empty"),
        (" \t\n", "the query is empty"),
        ("?!", "the query is empty"),
        ("in the", "too common to search for: in, the"),
        ("the zyzzyva and a quokka", "bundle 'tiny' knows no word of the query: zyzzyva, quokka"),
    ],
)
def test_queries_without_a_known_word(bundle: Bundle, query: str, message: str) -> None:
    for ask in (bundle.parse_query, lambda query: bundle.embed_texts([query])):
        with pytest.raises(QueryError) as caught:
            ask(query)
        assert message in str(caught.value)


def test_a_query_says_what_became_of_its_words(bundle: Bundle) -> None:
    parsed = bundle.parse_query("the red quokka")
    assert (parsed.used_words, parsed.ignored_words, parsed.unknown_words) == (
        ("red",),
        ("the",),
        ("quokka",),
    )


def test_error_about_an_endless_query_is_not_endless(bundle: Bundle) -> None:
    with pytest.raises(QueryError) as caught:
        bundle.parse_query(" ".join(f"{'x' * 1000}{number}" for number in range(1000)))
    assert len(str(caught.value)) < 600


def test_many_threads_open_each_graph_once(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load_bundle(tiny_bundle)
    opened: list[str] = []
    read_file = Bundle.read_file
    monkeypatch.setattr(Bundle, "read_file", lambda self, name: opened.append(name) or read_file(self, name))
    results: list[npt.NDArray[np.float32]] = []

    def work() -> None:
        pixels = np.full((3, SIDE, SIDE, 3), [255, 0, 0], np.uint8)
        results.append(bundle.embed_texts(["red"]) @ bundle.embed_pixels(pixels).T)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(opened) == ["image_encoder.onnx", "text_encoder.onnx", "vocabulary.txt"]
    assert len(results) == 8
    assert all(np.array_equal(result, results[0]) for result in results)


def test_a_text_query_does_not_open_the_image_graph(copied: Path) -> None:
    (copied / "image_encoder.onnx").unlink()
    assert load_bundle(copied).embed_texts(["red"]).shape == (1, EMBED_DIM)


def test_fingerprint_follows_all_that_decides_embeddings(tiny_bundle: Path, tmp_path: Path) -> None:
    original = load_bundle(tiny_bundle).fingerprint
    assert len(original) == 64
    assert load_bundle(make_tiny_bundle(tmp_path / "again")).fingerprint == original
    assert load_bundle(make_tiny_bundle(tmp_path / "named", name="other")).fingerprint == original
    assert load_bundle(make_tiny_bundle(tmp_path / "gallery", gallery=True)).fingerprint == original
    rules = {"side": SIDE, "resize": "bilinear", "pixel_scaling": "unit"}
    assert load_bundle(make_tiny_bundle(tmp_path / "rules", image=rules)).fingerprint != original
    rules = {"side": SIDE, "resize": "bilinear-antialias", "mean": [0, 0, 0], "std": [255, 255, 255]}
    new = load_bundle(make_tiny_bundle(tmp_path / "numbers", image=rules))
    assert new.image_rules == load_bundle(tiny_bundle).image_rules  # whose manifest says "unit"
    assert load_bundle(make_tiny_bundle(tmp_path / "width", embed_dim=64)).fingerprint != original


def test_gallery(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "tiny", gallery=True)
    bundle = load_bundle(folder)
    assert bundle.gallery_path == folder / "gallery"
    assert bundle.manifest["gallery"]["pictures"] == 3
    assert bundle.gallery_index_path is None
    (folder / "index").mkdir()
    assert bundle.gallery_index_path == folder / "index"


def test_default_bundle_is_the_shipped_one(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_module, "__file__", str(tmp_path / "itl_infer" / "bundle" / "bundle.py"))
    assert "no bundle comes with this itl_infer" in refusal(load_bundle)
    shutil.copytree(tiny_bundle, tmp_path / "artifacts" / "starter")
    assert load_bundle().path == tmp_path / "artifacts" / "starter"
    shutil.copytree(tiny_bundle, tmp_path / "itl_infer" / "starter")
    assert load_bundle().path == tmp_path / "itl_infer" / "starter"


def test_missing_bundle(tmp_path: Path) -> None:
    assert refusal(lambda: load_bundle(tmp_path / "none")).startswith(f"{tmp_path / 'none'}: no bundle there")
    (tmp_path / "file").write_text("hello")
    assert refusal(lambda: load_bundle(tmp_path / "file")).startswith(f"{tmp_path / 'file'}: no bundle there")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe{}", b"null", b"[" * 100_000])
def test_malformed_manifest(copied: Path, content: bytes) -> None:
    (copied / "bundle.json").write_bytes(content)
    assert refusal(lambda: load_bundle(copied)).startswith(f"{copied / 'bundle.json'}: not ")


def test_newer_format_is_refused(copied: Path) -> None:
    change_manifest(copied, lambda manifest: manifest.update(format_version=3, image="something new"))
    message = refusal(lambda: load_bundle(copied))
    assert "format 3, this itl-infer reads up to 2" in message
    assert "pip install --upgrade itl-infer" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("format_version"), "'format_version' is missing, expected a whole number"),
        (lambda m: m.update(format_version=0), "format 0, expected 1 to 2"),
        (lambda m: m.update(embed_dim="128"), "'embed_dim' is \"128\", expected a whole number"),
        (lambda m: m.update(embed_dim=True), "'embed_dim' is true, expected a whole number"),
        (lambda m: m.update(name=None), "'name' is null, expected a text"),
        (lambda m: m["image"].update(side=0), "image side is 0"),
        (lambda m: m["image"].update(resize="magic"), "unknown resize method 'magic'"),
        (lambda m: m["image"].update(pixel_scaling="z"), "unknown pixel scaling 'z'"),
        (lambda m: m["image"].pop("pixel_scaling"), "'mean' is missing, expected a list"),
        (lambda m: m["text"].update(stemmer="porter"), "unknown stemmer 'porter'"),
        (lambda m: m["text"].update(stop_words="the"), "'stop_words' is \"the\", expected a list"),
        (lambda m: m["golden"].pop("image_min_cosine"), "'image_min_cosine' is missing, expected a number"),
        (lambda m: m["files"].pop("golden.npz"), "'files' does not list golden.npz"),
        (lambda m: m["files"]["golden.npz"].update(sha256="12"), "'sha256' of golden.npz is '12'"),
        (lambda m: m.update(gallery=3), "'gallery' is 3, expected an object"),
    ],
)
def test_manifest_fields_are_checked(
    copied: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    change_manifest(copied, change)
    assert message in refusal(lambda: load_bundle(copied))


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/passwd", "a/../../b", "..", "", "C:\\secret", "..\\secret", "C:secret", "a\0b"],
)
@pytest.mark.parametrize("table", ["files", "gallery"])
def test_file_names_that_leave_the_folder_are_refused(copied: Path, name: str, table: str) -> None:
    def change(manifest: dict[str, Any]) -> None:
        record = manifest["files"]["golden.npz"]
        if table == "files":
            manifest["files"][name] = record
        else:
            manifest["gallery"] = {"pictures": 1, "files": {name: record}}

    change_manifest(copied, change)
    assert "leaves the bundle's folder: refused" in refusal(lambda: load_bundle(copied))


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


def test_verify_says_ok(tmp_path: Path) -> None:
    report = verify_bundle(make_tiny_bundle(tmp_path / "tiny", gallery=True))
    assert report.ok
    assert report.problems == ()
    assert (report.files, report.gallery_pictures) == (4, 3)
    assert report.image_min_cosine == pytest.approx(1)
    assert report.text_min_cosine == pytest.approx(1)


def test_verify_lists_every_damaged_file(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "tiny", gallery=True)
    (folder / "gallery" / "red.png").write_bytes(b"pink")
    (folder / "text_encoder.onnx").unlink()
    report = verify_bundle(folder)
    assert not report.ok
    assert [problem.split(": ")[:2] for problem in report.problems] == [
        [str(folder / "text_encoder.onnx"), "cannot be read"],
        [str(folder / "gallery/red.png"), "damaged or replaced"],
    ]
    assert report.text_min_cosine is None


@pytest.mark.parametrize(
    ("array", "value", "problem"),
    [
        ("image_embeddings", unit_rows(np.eye(3)[[0, 1, 2, 0, 1]]), "image_encoder.onnx: min cosine"),
        ("text_embeddings", unit_rows(np.eye(3)), "text_encoder.onnx: min cosine"),
        ("input_ids", np.array([[1, 5, 0], [4, 2, 5], [3, 0, 0]]), "'a bright green wave' has other ids"),
        ("input_ids", np.array([[1, 5], [4, 2]]), "input_ids is int64 (2, 2), expected int64 (3, 2)"),
        ("captions", np.array([], str), "no golden embeddings in it"),
        ("captions", np.array([{}], object), "allow_pickle"),
        ("pixel_values", np.zeros((5, 8, 8, 3), np.uint8), "pixel_values is uint8 (5, 8, 8, 3), expected"),
        (
            "pixel_values",
            np.zeros((5, SIDE, SIDE, 3), np.float32),
            "pixel_values is float32 (5, 16, 16, 3), expected uint8",
        ),
        ("text_embeddings", np.full((3, EMBED_DIM), np.nan, np.float32), "min cosine"),
    ],
)
def test_verify_recomputes_the_golden_embeddings(
    copied: Path, array: str, value: npt.NDArray[Any], problem: str
) -> None:
    with np.load(copied / "golden.npz") as golden:
        arrays = {**golden, array: value}
    np.savez(copied / "golden.npz", **arrays)
    rehash(copied)
    report = verify_bundle(copied)
    assert len(report.problems) == 1
    assert problem in report.problems[0]


def test_write_manifest_checks_before_it_writes(copied: Path) -> None:
    before = (copied / "bundle.json").read_bytes()
    with pytest.raises(BundleError, match="'image' is missing"):
        write_manifest(copied, {})
    (copied / "golden.npz").unlink()
    with pytest.raises(BundleError, match=r"golden\.npz: cannot be read"):
        write_manifest(copied, json.loads(before))
    assert (copied / "bundle.json").read_bytes() == before
    assert sorted(path.name for path in copied.iterdir()) == [
        "bundle.json",
        "image_encoder.onnx",
        "text_encoder.onnx",
        "vocabulary.txt",
    ]
