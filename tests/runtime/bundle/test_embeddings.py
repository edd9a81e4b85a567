"""A bundle embeds what its manifest promises, and says so of texts that it does not know."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from itl_infer import Index, embed_directory
from itl_infer.bundle import Bundle, load_bundle
from itl_infer.bundle.manifest import compute_fingerprint
from itl_infer.encoder import ImageEncoder
from itl_infer.errors import ImageError, QueryError
from tests.tiny_bundle import EMBED_DIM, SIDE, make_tiny_bundle, save_colours, unit_rows


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
