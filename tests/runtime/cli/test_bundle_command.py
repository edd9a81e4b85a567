"""`itl-infer bundle`, and bundles and indexes that do not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest

from itl_infer.bundle import load_bundle
from itl_infer.bundle.manifest import write_manifest
from tests.runtime.cli.helpers import error_of, run
from tests.tiny_bundle import image_graph, make_tiny_bundle, save_colours, text_graph, word_table

# Bundles and indexes that do not fit


def test_bundle_missing(tmp_path: Path) -> None:
    assert f"{tmp_path}: no bundle there" in error_of(run("query", "red", "-m", tmp_path))


def test_bundle_of_a_newer_format(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "newer")
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    (bundle / "bundle.json").write_text(json.dumps({**manifest, "format_version": 3}), encoding="utf-8")
    assert "format 3, this itl-infer reads up to 2" in error_of(run("query", "red", "-m", bundle))
    assert "format 3, this itl-infer reads up to 2" in error_of(run("bundle", "verify", bundle))
    assert "format 3, this itl-infer reads up to 2" in error_of(run("bundle", "show", bundle))


def test_bundle_with_one_byte_changed(tmp_path: Path, pictures: Path, index: Path, tiny_bundle: Path) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "damaged")
    for name in ("image_encoder.onnx", "text_encoder.onnx"):
        content = bytearray((bundle / name).read_bytes())
        content[100] ^= 1
        (bundle / name).write_bytes(content)
    query = error_of(run("query", "red", "-m", bundle, "-d", index))
    embed = error_of(run("embed-images", pictures, "-m", bundle, "-d", tmp_path / "new.itl"))
    verify = run("bundle", "verify", bundle)
    assert f"{bundle / 'text_encoder.onnx'}: damaged or replaced" in query
    assert f"{bundle / 'image_encoder.onnx'}: damaged or replaced" in embed
    assert verify.exit_code == 1
    assert [line.split(": ")[1] for line in verify.stderr.splitlines()] == [
        str(bundle / "image_encoder.onnx"),
        str(bundle / "text_encoder.onnx"),
    ]


def test_bundle_with_graphs_of_another_width(tmp_path: Path, pictures: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "wrong")
    onnx.save(image_graph(64), bundle / "image_encoder.onnx")
    onnx.save(text_graph(64, word_table()), bundle / "text_encoder.onnx")
    write_manifest(bundle, json.loads((bundle / "bundle.json").read_text(encoding="utf-8")))
    error = error_of(run("embed-images", pictures, "-m", bundle, "-d", tmp_path / "new.itl"))
    assert "[any, 64], the manifest says embeddings tensor(float) [any, 128]" in error
    assert "[any, 64], the manifest says" in error_of(run("bundle", "verify", bundle))


def test_index_made_with_another_bundle(tmp_path: Path, index: Path, pictures: Path) -> None:
    rules = {"side": 16, "resize": "bilinear", "pixel_scaling": "unit"}
    other = make_tiny_bundle(tmp_path / "other", name="other", image=rules)
    (tmp_path / "queries.txt").write_text("red\n")
    for args in (["query", "red"], ["embed-images", pictures], ["batch", tmp_path / "queries.txt"]):
        error = error_of(run(*args, "-d", index, "-m", other))
        assert str(index) in error
        assert "tiny" in error
    assert "1.0000" in run("query", "red", "-d", index).stdout  # nothing was lost


def test_missing_index(tmp_path: Path) -> None:
    error = error_of(run("query", "red", "-d", tmp_path / "none.itl"))
    assert f"{tmp_path / 'none.itl'}: no index here" in error


# bundle


def test_bundle_show(gallery_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("bundle", "show", gallery_bundle)
    assert result.exit_code == 0
    for line in ("name: tiny", "domain: plain colours", "embed_dim: 128", "  stop_words: 179 entries"):
        assert line in result.stdout.splitlines()
    monkeypatch.setenv("ITL_BUNDLE", str(gallery_bundle))
    assert run("bundle", "show").stdout == result.stdout


def test_bundle_verify(gallery_bundle: Path, tiny_bundle: Path) -> None:
    result = run("bundle", "verify", gallery_bundle)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0] == f"{gallery_bundle}: ok"
    assert "3 pictures" in result.stdout
    assert run("bundle", "verify").stdout.splitlines()[0] == f"{tiny_bundle}: ok"
    save_colours(gallery_bundle / "gallery", ["red", "blue"])  # the same again
    assert run("bundle", "verify", gallery_bundle).exit_code == 0
    (gallery_bundle / "gallery" / "red.png").write_bytes(b"pink")
    assert "gallery/red.png: damaged or replaced" in error_of(run("bundle", "verify", gallery_bundle))


def test_bundle_verify_opens_the_index_of_the_gallery(gallery_bundle: Path, index: Path) -> None:
    shutil.rmtree(gallery_bundle / "index")
    shutil.copytree(index, gallery_bundle / "index")
    assert "index: 5 pictures, the gallery has 3" in error_of(run("bundle", "verify", gallery_bundle))
    shutil.rmtree(gallery_bundle / "index")
    (gallery_bundle / "index").mkdir()
    assert "no index here" in error_of(run("bundle", "verify", gallery_bundle))


# The world outside


def test_bundle_show_words() -> None:
    """All, or those that have a text in them; one a line, so that grep and less take them."""
    shown = run("bundle", "show", "--words")
    every = shown.stdout.split("\n")
    assert every[-1] == ""
    assert every[:-1] == sorted(set(every[:-1]))
    some = run("bundle", "show", "--words=re").stdout.split()
    assert some == [word for word in every[:-1] if "re" in word]
    assert {"red", "green"} <= set(some)
    assert "knows no word with 'qqq' in it" in error_of(run("bundle", "show", "--words=qqq"))


def test_bundle_show_card(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "bundle")
    assert "has no CARD.md" in error_of(run("bundle", "show", folder, "--card"))
    content = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    before = load_bundle(folder).fingerprint
    (folder / "CARD.md").write_text("# Tiny\n\nFinds colours — and nothing else.\n", encoding="utf-8")
    write_manifest(folder, content)
    assert run("bundle", "show", folder, "--card").stdout == "# Tiny\n\nFinds colours — and nothing else.\n"
    assert load_bundle(folder).fingerprint == before  # it decides no embedding
    (folder / "CARD.md").write_text("# Forged\n", encoding="utf-8")
    assert "CARD.md" in error_of(run("bundle", "show", folder, "--card"))
