"""Which bundle is taken, and what a manifest may say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from itl_infer.bundle import bundle as bundle_module
from itl_infer.bundle import load_bundle
from itl_infer.bundle.manifest import write_manifest
from itl_infer.errors import BundleError
from tests.runtime.bundle.helpers import change_manifest, refusal
from tests.tiny_bundle import make_tiny_bundle


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
