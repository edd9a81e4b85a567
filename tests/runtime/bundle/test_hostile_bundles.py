"""Bundles from anywhere: only plain files within limits are read, and numbers and names are checked."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from itl_infer.bundle import load_bundle, verify_bundle
from itl_infer.errors import BundleError
from tests.runtime.bundle.helpers import change_manifest, refusal, rehash
from tests.tiny_bundle import EMBED_DIM, SIDE

EVERY_FILE = ("bundle.json", "vocabulary.txt", "text_encoder.onnx", "image_encoder.onnx", "golden.npz")


def problems_of(folder: Path) -> str:
    """What opening and verifying it says; one line for each."""
    try:
        report = verify_bundle(folder)
    except BundleError as error:
        return str(error)
    assert not report.ok
    return "\n".join(report.problems)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes in folders")
@pytest.mark.parametrize("name", EVERY_FILE)
def test_pipes_devices_folders_and_links_out_are_refused(copied: Path, tmp_path: Path, name: str) -> None:
    path = copied / name
    outside = tmp_path / "outside"
    outside.write_bytes(path.read_bytes())
    path.unlink()
    os.mkfifo(path)
    assert f"{path}: not a regular file" in problems_of(copied)
    path.unlink()
    path.mkdir()
    assert f"{path}: not a regular file" in problems_of(copied)
    path.rmdir()
    for target in (outside, Path("/dev/zero")):
        path.symlink_to(target)
        assert f"{path}: a link that leads out of the bundle's folder" in problems_of(copied)
        path.unlink()
    path.symlink_to(path)
    assert f"{path}: cannot be read" in problems_of(copied)
    path.unlink()
    (copied / "kept").write_bytes(outside.read_bytes())
    path.symlink_to("kept")  # a link inside it is as good as a file
    assert verify_bundle(copied).ok


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_a_folder_that_leads_out_is_refused(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"secret")
    (copied / "gallery").mkdir()
    (copied / "gallery" / "a.png").write_bytes(b"secret")
    rehash(copied)
    (copied / "gallery" / "a.png").unlink()
    (copied / "gallery").rmdir()
    (copied / "gallery").symlink_to(tmp_path / "pictures")
    (copied / "index").symlink_to(tmp_path)
    assert "leads out of the bundle's folder" in problems_of(copied)
    assert load_bundle(copied).gallery_index_path is None


def test_a_file_that_grew_is_not_read(copied: Path) -> None:
    with (copied / "vocabulary.txt").open("r+b") as file:
        file.truncate(2**40)
    message = refusal(lambda: load_bundle(copied).parse_text("red"))
    assert message.startswith(f"{copied / 'vocabulary.txt'}: damaged or replaced: {2**40} bytes")
    (copied / "bundle.json").write_bytes(b" " * (2**24 + 1))
    assert "16777217 bytes, expected 16777216 at most" in refusal(lambda: load_bundle(copied))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m.update(embed_dim=-1), "'embed_dim' is -1, expected 1 to"),
        (lambda m: m.update(embed_dim=10**30), "beyond all sizes, 1000000"),
        (lambda m: m.update(embed_dim=10**6), "'embed_dim' is 1000000, expected 1 to"),
        (lambda m: m["image"].update(side=10**9), "image side is 1000000000, expected 2048 at most"),
        (lambda m: m["image"].update(side=-5), "image side is -5"),
        (lambda m: m["golden"].update(image_min_cosine=10**400), "beyond all sizes"),
        (lambda m: m["golden"].update(text_min_cosine=2), "'text_min_cosine' is 2, expected -1 to 1"),
        (lambda m: m["golden"].update(text_min_cosine=float("nan")), "NaN is no number"),
        (lambda m: m["golden"].update(text_min_cosine=float("inf")), "Infinity is no number"),
        (lambda m: m["files"]["golden.npz"].update(bytes=-1), "golden.npz: 'bytes' is -1"),
        (lambda m: m["files"]["golden.npz"].update(bytes=2**40), "golden.npz: 'bytes' is 1099511627776"),
        (lambda m: m["files"].update({"a\nb": {}}), "leaves the bundle's folder"),
        (lambda m: m["files"].update({"x" * 10**5: {}}), "is missing, expected a text"),
        (lambda m: m["files"].update({str(n): {} for n in range(10**4)}), "files are listed"),
        (lambda m: m.update(name="half \ud83d"), "half a character in it"),
        (lambda m: m.update({"\udc00": 1}), "half a character in it"),
        (lambda m: m.update(training={"deep": [{"down": "\ud800"}]}), "half a character in it"),
        (lambda m: m.update(name="x" * 10**6), "'name' is longer than"),
        (lambda m: m["text"].update(stop_words=[{}]), "holds what is no text"),
        (lambda m: m["text"].update(tokenizer="x" * 10**6), "tokenizer"),
        (lambda m: m["image"].update(mean=[0] * 10**5, std=[1] * 3, pixel_scaling=None), "pixel_scaling"),
    ],
)
def test_numbers_and_names_of_a_manifest(copied: Path, change: Callable[[Any], Any], says: str) -> None:
    change_manifest(copied, change)
    message = refusal(lambda: load_bundle(copied))
    assert says in message
    assert len(message) < 1000 + len(str(copied))


@pytest.mark.parametrize("content", [b"[" * 10**6, b"1" * 10**5, b"\xff\xfe", b'"' + b"\xed\xa0\x80" + b'"'])
def test_what_is_no_manifest_is_refused_in_one_line(copied: Path, content: bytes) -> None:
    (copied / "bundle.json").write_bytes(content)
    assert len(refusal(lambda: load_bundle(copied))) < 1000


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_anywhere_in_a_manifest_is_taken_or_refused(
    tiny_bundle: Path, tmp_path: Path, data: st.DataObject
) -> None:
    manifest = json.loads((tiny_bundle / "bundle.json").read_text(encoding="utf-8"))
    table = manifest
    while True:
        key = data.draw(st.sampled_from(sorted(table)))
        if not isinstance(table[key], dict) or data.draw(st.booleans()):
            break
        table = table[key]
    table[key] = data.draw(VALUES)
    (tmp_path / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    with contextlib.suppress(BundleError):
        repr(load_bundle(tmp_path)).encode()


def write_golden(folder: Path, name: str, header: dict[str, Any], body: bytes, packing: int = 8) -> None:
    """Lay another array over one of golden.npz, which says of itself what `header` does."""
    old = zipfile.ZipFile(io.BytesIO((folder / "golden.npz").read_bytes()))
    with zipfile.ZipFile(folder / "golden.npz", "w", packing) as new:
        for entry in old.namelist():
            if entry != f"{name}.npy":
                new.writestr(entry, old.read(entry))
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, header)
        new.writestr(f"{name}.npy", head.getvalue() + body)
    rehash(folder)


@pytest.mark.parametrize(
    ("name", "kind", "shape", "says"),
    [
        ("pixel_values", "|u1", (4 * 10**9,), "pixel_values is uint8 (4000000000,), expected"),
        ("pixel_values", "|u1", (5, 10**5, 10**5, 3), "pixel_values is uint8 (5, 100000, 100000, 3)"),
        ("image_embeddings", "<f4", (10**9, EMBED_DIM), "image_embeddings takes 512000000000 bytes"),
        ("input_ids", "<i8", (3, 10**12), "input_ids takes 24000000000000 bytes"),
        ("captions", "<U100000000", (3,), "captions takes 1200000000 bytes"),
        ("captions", "|O", (3,), "allow_pickle"),
        ("text_embeddings", "<f4", (3, EMBED_DIM), "text_embeddings is cut short"),
    ],
)
def test_golden_arrays_are_read_within_limits(
    copied: Path, name: str, kind: str, shape: tuple[int, ...], says: str
) -> None:
    write_golden(copied, name, {"descr": kind, "fortran_order": False, "shape": shape}, bytes(10))
    [problem] = verify_bundle(copied).problems
    assert says in problem


def test_golden_files_are_zip_files_of_numpys(copied: Path) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (5, SIDE, SIDE, 3)}
    write_golden(copied, "pixel_values", header, bytes(5 * SIDE * SIDE * 3), zipfile.ZIP_LZMA)
    assert "packed in another way" in problems_of(copied)
    with zipfile.ZipFile(copied / "golden.npz", "a") as archive:
        for number in range(2000):
            archive.writestr(f"a-name-of-some-length-{number}", b"")
    rehash(copied)
    assert "more is in it than golden embeddings" in problems_of(copied)
    (copied / "golden.npz").write_bytes(b"PK\5\6")
    rehash(copied)
    assert "not a file of numpy's" in problems_of(copied)
