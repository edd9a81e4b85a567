"""`itl-infer embed-images`: what it reports, where, and what it refuses."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from itl_infer.image import describe_formats
from tests.runtime.cli.helpers import command, error_of, names, process, run
from tests.terminal import run_with_terminal
from tests.tiny_bundle import save_colours


def test_embed_images_reports_what_changed(pictures: Path, tmp_path: Path) -> None:
    index = tmp_path / "photos.itl"
    first = json.loads(run("embed-images", pictures, "-d", index, "--format", "json").stdout)
    assert (first["embedded"], first["unchanged"], first["removed"], first["failed"]) == (5, 0, 0, [])
    assert first["seconds"] > 0
    assert first["images_per_second"] > 0
    second = json.loads(run("embed-images", pictures, "-d", index, "--format", "json").stdout)
    assert (second["embedded"], second["unchanged"], second["removed"], second["failed"]) == (0, 5, 0, [])
    (pictures / "red.png").write_bytes(b"garbage")
    (pictures / "blue.png").unlink()
    result = run("embed-images", pictures, "-d", index, "--format", "json")
    third = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (third["embedded"], third["unchanged"]) == (0, 3)
    assert third["failed"] == [
        {"path": str(pictures / "red.png"), "error": f"not a {describe_formats()} picture"}
    ]
    assert third["removed"] >= 1
    assert (
        names(json.loads(run("query", "red", "-d", index, "--format", "json").stdout)["results"])[0]
        == "purple"
    )


def test_embed_images_as_text(pictures: Path, tmp_path: Path) -> None:
    (pictures / "letter.jpg").write_text("Dear all")
    (pictures / "nothing.gif").write_bytes(b"")
    (pictures / "round.jpg").symlink_to("round.jpg")
    Image.effect_noise((99, 99), 50).save(pictures / "cut.png")
    os.truncate(pictures / "cut.png", 2000)
    result = run("embed-images", pictures, "-d", tmp_path / "photos.itl")
    assert result.exit_code == 0
    assert result.stdout.startswith("embedded 5, unchanged 0, removed 0, failed 4 (")
    reasons = dict(line.split(": ", 1) for line in result.stderr.splitlines())
    assert {Path(name).name: reason.split(": ")[0] for name, reason in reasons.items()} == {
        "cut.png": "truncated or damaged",
        "letter.jpg": f"not a {describe_formats()} picture",
        "nothing.gif": "empty file (0 bytes)",
        "round.jpg": "cannot be read",
    }


def test_embed_images_options(pictures: Path, tmp_path: Path) -> None:
    save_colours(pictures / ".hidden", ["red"])
    Image.new("RGB", (200, 200)).save(pictures / "large.png")
    options = ["--include-hidden", "--exclude", "gr*", "--exclude", "white.png", "--max-megapixels", "0.01"]
    options += ["-j", "1", "--batch-size", "2", "--format", "json"]
    report = json.loads(run("embed-images", pictures, "-d", tmp_path / "photos.itl", *options).stdout)
    assert report["embedded"] == 4
    [failure] = report["failed"]
    assert failure["error"].startswith("200 x 200 is 0.04 megapixels, more than the limit of 0.01")


def test_what_is_excluded_is_remembered_shown_and_taken_back(pictures: Path, tmp_path: Path) -> None:
    index = tmp_path / "photos.itl"
    run("embed-images", pictures, "-d", index, "--exclude", "gr*", "--exclude", "red*")
    assert run("embed-images", "-d", index).stdout.startswith("embedded 0, unchanged 3, ")
    shown = run("status", "-d", index).stdout
    assert f"excluded     gr* in {pictures}\nexcluded     red* in {pictures}\n" in shown
    error = error_of(run("embed-images", "-d", index, "--no-exclude", "blu*"))
    assert error == f"Error: {index}: does not exclude blu* there, but gr*, red*"
    assert run("embed-images", "-d", index, "--no-exclude", "red*").stdout.startswith(
        "embedded 1, unchanged 3"
    )
    status = json.loads(run("status", "-d", index, "--format", "json").stdout)
    assert status["exclusions"] == [{"folder": str(pictures), "glob": "gr*"}]
    for all_of_it in (["--no-exclude"], ["--no-exclude", pictures]):  # what follows it may be a PATH
        run("embed-images", "-d", index, "--exclude", "gr*")
        assert "excluded" in run("status", "-d", index).stdout.replace("(excluded, ", "")
        assert run("embed-images", "-d", index, *all_of_it).exit_code == 0
        assert "unchanged 5" in run("embed-images", "-d", index).stdout


def test_what_is_away_is_kept_and_told_with_exit_code_1(pictures: Path, tmp_path: Path) -> None:
    index, more = tmp_path / "photos.itl", tmp_path / "more"
    save_colours(more / "@eaDir", ["red"])
    save_colours(more, ["red", "blue"])
    run("embed-images", pictures, more, "-d", index)
    pictures.rename(tmp_path / "unplugged")
    Image.new("RGB", (8, 8), (255, 255, 0)).save(more / "new.png")
    result = run("embed-images", "-d", index)
    assert result.exit_code == 1
    first, *others = result.stdout.splitlines()
    assert first.startswith("embedded 1, unchanged 2, removed 0, failed 0, kept 5 (")
    assert others == [
        f"kept 5 of {pictures}: no such file or folder (--prune drops what is gone for good)",
        "left out 1 @eaDir (of systems and programs; --include-system takes them)",
    ]
    assert "left out     1 @eaDir (of systems" in run("status", "-d", index).stdout
    report = json.loads(run("embed-images", "-d", index, "--format", "json").stdout)
    assert report["kept"] == [{"path": str(pictures), "pictures": 5, "reason": "no such file or folder"}]
    assert report["system_files"] == {"@eaDir": 1}
    assert run("embed-images", "-d", index, "--prune").exit_code == 0


@pytest.mark.parametrize("option", ["-j 0", "--threads 0", "--batch-size 0", "--batch-size 513"])
def test_settings_that_cannot_be_are_refused(pictures: Path, tmp_path: Path, option: str) -> None:
    message = error_of(run("embed-images", pictures, "-d", tmp_path / "photos.itl", *option.split()), 2)
    assert "is not in the range" in message
    assert not (tmp_path / "photos.itl").exists()


def test_a_limit_above_pillows_own_is_kept(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    result = run("embed-images", pictures, "-d", tmp_path / "photos.itl")
    assert result.stdout.startswith("embedded 5")


def test_embed_images_needs_an_index(pictures: Path) -> None:
    assert "-d photos.itl, or set ITL_INDEX" in error_of(run("embed-images", pictures), 2)


def test_missing_or_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in ("none", "empty"):
        error = error_of(run("embed-images", tmp_path / folder, "-d", tmp_path / "photos.itl"))
        assert error.startswith(f"Error: {tmp_path / folder}: no ")
    assert not (tmp_path / "photos.itl").exists()


def test_nothing_but_bad_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "letter.jpg").write_text("Dear all")
    result = run("embed-images", tmp_path, "-d", tmp_path / "photos.itl", "--format", "json")
    assert result.exit_code == 1
    assert len(json.loads(result.stdout)["failed"]) == 1
    assert result.stderr == "Error: none of the 1 pictures could be embedded\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_progress_is_for_terminals_only(pictures: Path, tmp_path: Path) -> None:
    quiet = process("embed-images", pictures, "-d", tmp_path / "quiet.itl")
    assert quiet.stderr == b""
    stdout, drawn = run_with_terminal(command("embed-images", pictures, "-d", tmp_path / "shown.itl"))
    assert stdout.startswith(b"embedded 5")
    assert b"/5 pictures  " in drawn
    assert b"/s" in drawn
    assert b" left" in drawn
    assert drawn.endswith(b"\r")  # wiped away


def test_what_nothing_reads_is_told_with_its_mend(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IMG_1.HEIC", "IMG_2.HEIC", "IMG_3.hif", "called.jpg"):
        (pictures / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (pictures / "_DSC1.ARW").write_bytes(b"II*\0")
    (pictures / "clip.mov").write_bytes(b"\0\0\0\x14ftypqt  ")
    for module in ("pillow_heif", "rawpy"):
        monkeypatch.setitem(sys.modules, module, None)
    index = tmp_path / "photos.itl"
    first, *others = run("embed-images", pictures, "-d", index).stdout.splitlines()
    assert first.startswith("embedded 5, unchanged 0, removed 0, failed 0 (")
    assert others == [
        "left out 3 .heic, 1 .hif (pip install 'itl-infer[heif]')",
        "left out 1 .arw (pip install 'itl-infer[raw]')",
    ]
    report = json.loads(run("embed-images", pictures, "-d", index, "--format", "json").stdout)
    assert report["left_out"] == {
        ".heic": {"files": 3, "extra": "heif"},
        ".arw": {"files": 1, "extra": "raw"},
        ".hif": {"files": 1, "extra": "heif"},
    }
    status = run("status", "-d", index).stdout
    assert "left out     3 .heic, 1 .hif (pip install 'itl-infer[heif]')\n" in status
    message = error_of(run("similar", pictures / "IMG_1.HEIC", "-d", index))
    assert message.endswith("IMG_1.HEIC: reading HEIC needs pillow-heif: pip install 'itl-infer[heif]'")
    for picture in pictures.glob("*.png"):
        picture.unlink()
    alone = run("embed-images", pictures, "-d", tmp_path / "new.itl")
    assert alone.exit_code == 1
    assert alone.stderr == "Error: none of the 5 pictures could be embedded\n"
    assert "left out 3 .heic" in alone.stdout


def test_a_cut_file_is_embedded_with_a_note(pictures: Path, tmp_path: Path) -> None:
    Image.effect_noise((320, 240), 60).convert("RGB").save(pictures / "cut.jpg")
    os.truncate(pictures / "cut.jpg", (pictures / "cut.jpg").stat().st_size - 60)
    result = run("embed-images", pictures, "-d", tmp_path / "photos.itl")
    assert result.stdout.startswith("embedded 6, unchanged 0, removed 0, failed 0, incomplete 1 (")
    assert result.stderr.startswith(f"{pictures / 'cut.jpg'}: cut at the end: 9")
