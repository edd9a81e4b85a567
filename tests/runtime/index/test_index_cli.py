"""The commands for the upkeep of an index."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from itl_infer.cli import main
from tests.fake_bundle import FakeBundle, write_picture, write_pictures


@pytest.fixture(autouse=True)
def _fake_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ITL_INDEX", raising=False)
    monkeypatch.setattr(
        "itl_infer.bundle.load_bundle", lambda path=None, **_: FakeBundle(str(path or "fake"))
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight pictures and a bad one."""
    write_pictures(tmp_path / "photos", 8)
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"bad")
    return tmp_path / "photos"


@pytest.fixture
def index(tmp_path: Path, photos: Path) -> Path:
    """An index of them."""
    run("embed-images", photos, "-d", tmp_path / "photos.itl")
    return tmp_path / "photos.itl"


def run(*args: str | Path, exit_code: int = 0, **options: Any) -> Result:
    result = CliRunner().invoke(main, [str(arg) for arg in args], **options)
    assert result.exit_code == exit_code, result.output
    return result


@pytest.mark.parametrize("command", [["status"], ["check"], ["prune"], ["export-index", "out.npy"]])
def test_an_index_must_be_named_and_exist(tmp_path: Path, command: list[str]) -> None:
    assert "-d photos.itl, or set ITL_INDEX" in run(*command, exit_code=2).stderr
    result = run(*command, "-d", tmp_path / "none.itl", exit_code=1)
    assert result.stderr.startswith(f"Error: {tmp_path / 'none.itl'}: no index here: itl-infer embed-images")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "none.itl").exists()


def test_status(index: Path, photos: Path) -> None:
    text = run("status", "-d", index).stdout
    assert "pictures     8\n" in text
    assert f"folder       {photos}: 8 pictures\n" in text
    assert f"failure      {photos / 'bad.jpg'}: not a JPEG" in text
    status = json.loads(run("status", "-d", index, "--format", "json").stdout)
    assert status.pop("bytes") > 0
    assert status == {
        "path": str(index),
        "bundle": {"name": "fake", "fingerprint": FakeBundle().fingerprint},
        "pictures": 8,
        "set_aside": 0,
        "gone": 0,
        "folders": [{"folder": str(photos), "pictures": 8, "is_missing": False, "is_empty": False}],
        "failures": [
            {
                "path": str(photos / "bad.jpg"),
                "error": "not a JPEG, PNG, WebP, GIF, TIFF, BMP, JPEG 2000, AVIF, HEIC, JPEG XL or RAW picture",
            }
        ],
        "left_out": {},
        "exclusions": [],
        "system_files": {},
    }


def test_check_and_repair(index: Path) -> None:
    assert run("check", "-d", index).stdout == f"{index}: ok, 8 rows\n"
    with (index / "vectors-000001.f32").open("r+b") as file:
        file.write(b"damage")
    result = run("check", "-d", index, exit_code=1)
    assert result.stdout == ""
    assert result.stderr.startswith("row 0 (000.bmp) does not match its checksum")
    assert f"itl-infer check -d {index} --repair" in result.stderr
    repaired = run("check", "-d", index, "--repair")
    assert repaired.stdout == f"{index}: repaired, damaged rows dropped: 1; embed-images fills the gaps\n"
    assert run("check", "-d", index).stdout == f"{index}: ok, 7 rows\n"


def test_prune(index: Path, photos: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "more", 2, seed=50)
    run("embed-images", tmp_path / "more", "-d", index)
    (photos / "000.bmp").unlink()
    shutil.rmtree(tmp_path / "more")
    result = run("prune", "-d", index)
    assert result.stdout == "removed 3\n"
    assert result.stderr == f"Forgotten, as nothing is left of it: {tmp_path / 'more'}\n"


@pytest.mark.parametrize("name", ["out.npy", "out.jsonl"])
def test_export_index(index: Path, tmp_path: Path, name: str) -> None:
    assert run("export-index", tmp_path / name, "-d", index).stdout.startswith(
        f"{tmp_path / name}: 8 pictures\n"
    )
    assert (tmp_path / name).stat().st_size > 0


def test_export_index_by_format(index: Path, tmp_path: Path) -> None:
    run("export-index", tmp_path / "vectors", "-d", index, "--format", "npy")
    assert np.load(tmp_path / "vectors").shape == (8, 8)
    assert "--format npy|parquet|jsonl" in run("export-index", "out.txt", "-d", index, exit_code=2).stderr


def test_without_a_path_all_that_is_remembered_is_embedded(index: Path, photos: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "more", 2, seed=50)
    run("embed-images", tmp_path / "more", "-d", index)
    write_picture(photos / "new.bmp", 60)
    write_picture(tmp_path / "more" / "new.bmp", 61)
    assert run("embed-images", "-d", index).stdout.startswith("embedded 2, unchanged 10, removed 0")
    shutil.rmtree(tmp_path / "more")
    result = run("embed-images", "-d", index, exit_code=1)
    assert result.stdout.startswith("embedded 0, unchanged 9, removed 0, known failures 1, failed 0, kept 3")
    assert f"kept 3 of {tmp_path / 'more'}: no such file or folder (--prune drops" in result.stdout
    assert f"Error: not seen, or not whole: {tmp_path / 'more'}; what the index has" in result.stderr
    assert run("embed-images", "-d", index, "--prune").stdout.startswith("embedded 0, unchanged 9, removed 3")
    shutil.rmtree(photos)
    assert (
        "no such file or folder, nothing was removed" in run("embed-images", "-d", index, exit_code=1).stderr
    )


def test_rebuild(index: Path, photos: Path) -> None:
    other = ("-d", index, "-m", "other")
    assert "--rebuild" in run("embed-images", photos, *other, exit_code=1).stderr
    assert run("embed-images", *other, "--rebuild").stdout.startswith("embedded 8, unchanged 0, removed 0")
    assert json.loads(run("status", "-d", index, "--format", "json").stdout)["bundle"]["name"] == "other"


def test_names_that_are_not_text(index: Path, photos: Path) -> None:
    name = os.fsdecode(b"\xff\n.jpg")
    (photos / name).write_bytes(b"bad")
    run("embed-images", photos, "-d", index)
    assert b"/\xff\\n.jpg: not a JPEG" in run("status", "-d", index).stdout_bytes
    assert "\\udcff\\n.jpg" in run("status", "-d", index, "--format", "json").stdout
