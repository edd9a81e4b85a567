"""`itl-infer evaluate`: which captions meet which pictures of an index, what is said of the rest, and the figures."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import itl_infer
from itl_infer.bundle.manifest import write_manifest
from itl_infer.cli import main
from tests.tiny_bundle import make_tiny_bundle, save_colours

CAPTIONS = {"red": ["red", "a red red"], "green": ["green"], "blue": ["blue", "wave", "surfer"]}


@pytest.fixture(autouse=True)
def _tiny_bundle_is_the_default(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITL_BUNDLE", str(tiny_bundle))
    monkeypatch.delenv("ITL_INDEX", raising=False)


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def write_captions(path: Path, captions: dict[str, list[str]], **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"image": name, "captions": texts, **more} for name, texts in captions.items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with three captioned pictures, two others, captions.jsonl (all test), and an index beside it."""
    folder = tmp_path / "photos"
    save_colours(folder / "images", ["red", "green", "blue", "white", "purple"])
    write_captions(
        folder / "captions.jsonl", {f"images/{k}.png": v for k, v in CAPTIONS.items()}, split="test"
    )
    assert run("embed-images", folder, "-d", tmp_path / "photos.itl").exit_code == 0
    return folder


def evaluate(photos: Path, *args: str | Path) -> dict[str, Any]:
    command = ["evaluate", "--captions", photos / "captions.jsonl", "-d", photos.parent / "photos.itl"]
    result = run(*command, *args, "--format", "json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def error_of(result: Result) -> str:
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def test_figures_by_hand(photos: Path) -> None:
    """Every caption finds its picture first, of the three that have captions, whatever else the index holds."""
    found = evaluate(photos)
    assert (found["pictures"], found["captions"], found["split"]) == (3, 6, "test")
    assert found["rsum"] == 600
    assert found["t2i"] == {
        "recall_at_1": 1.0,
        "recall_at_5": 1.0,
        "recall_at_10": 1.0,
        "median_rank": 1,
        "mean_rank": 1.0,
    }
    assert found["chance"]["t2i"]["recall_at_1"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["chance"]["i2t"]["recall_at_1"] == pytest.approx((2 + 1 + 3) / 6 / 3, abs=1e-6)
    assert found["confidence_95"]["rsum"] == [600, 600]
    assert found["faults"] == {"picture without captions": 2}
    assert found["ranks"][1] == {"rank": 1, "image": "images/red.png", "caption": "a red red"}


def test_ties_and_wrong_captions_count_against_the_bundle(photos: Path) -> None:
    (photos / "images" / "same.png").write_bytes((photos / "images" / "red.png").read_bytes())
    assert run("embed-images", photos, "-d", photos.parent / "photos.itl").exit_code == 0
    captions = {"images/red.png": ["red"], "images/same.png": ["red"], "images/blue.png": ["green"]}
    write_captions(photos / "captions.jsonl", captions, split="test")
    found = evaluate(photos)
    assert [row["rank"] for row in found["ranks"]] == [2, 2, 3]
    assert found["t2i"]["recall_at_1"] == 0


def test_table_and_ranks(photos: Path, tmp_path: Path) -> None:
    command = ["evaluate", "--captions", photos / "captions.jsonl", "-d", tmp_path / "photos.itl"]
    result = run(*command, "--ranks", tmp_path / "ranks.csv")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("bundle tiny (")
    assert lines[0].endswith("): 3 pictures, 6 captions")
    labels = ["text to image", "  by chance", "image to text", "  by chance", "rsum", "  by chance"]
    assert [line[:13].rstrip() for line in lines[2:]] == labels
    with (tmp_path / "ranks.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1"] * 6
    assert rows[5] == {"rank": "1", "image": "images/blue.png", "caption": "surfer"}
    assert not list(tmp_path.glob("*.part"))


def test_from_python(photos: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    index = itl_infer.Index.open(tmp_path / "photos.itl", itl_infer.load_bundle(tiny_bundle))
    found = itl_infer.evaluate_index(photos / "captions.jsonl", index)
    assert found.figures["rsum"] == 600
    assert len(found.dataset) == 3
    assert found.ranks[0].rank == 1
    assert found.to_json() == evaluate(photos)
    with pytest.raises(itl_infer.IndexStoreError, match="opened without a bundle"):
        itl_infer.evaluate_index(photos / "captions.jsonl", itl_infer.Index.open(index.path, mode="r"))


def test_from_python_without_an_index(photos: Path, tiny_bundle: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = itl_infer.evaluate_bundle(
        photos / "captions.jsonl",
        itl_infer.load_bundle(tiny_bundle),
        progress=lambda state: seen.append((state.done, state.total)),
    )
    assert seen == [(3, 3)]
    assert found.to_json() == evaluate(photos)
    assert found.summary()["rsum"] == 600


def test_no_picture_is_read(photos: Path) -> None:
    """The index has what is needed; the pictures may be elsewhere by now."""
    before = evaluate(photos)
    shutil.rmtree(photos / "images")
    assert evaluate(photos) == before


# --- which pictures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["images/{}.png", "{}.png", "photos/images/{}.png", "val2014/{}.png", ".\\images\\{}.png"]
)
def test_pictures_are_found_by_their_paths(photos: Path, tmp_path: Path, name: str) -> None:
    """Captions that lie elsewhere: names with more folders than the index has, or with fewer."""
    index = tmp_path / "images.itl"
    assert run("embed-images", photos / "images", "-d", index).exit_code == 0
    captions = write_captions(
        tmp_path / "elsewhere" / "c.jsonl", {name.format(k): v for k, v in CAPTIONS.items()}, split="test"
    )
    result = run("evaluate", "--captions", captions, "-d", index, "--format", "json")
    assert result.exit_code == 0, result.output
    assert (json.loads(result.stdout)["pictures"], json.loads(result.stdout)["rsum"]) == (3, 600)


def test_a_name_that_is_there_twice_is_told_apart_by_the_folder(photos: Path, tmp_path: Path) -> None:
    save_colours(tmp_path / "other" / "images", ["blue"])
    (tmp_path / "other" / "images" / "blue.png").replace(tmp_path / "other" / "images" / "red.png")
    index = tmp_path / "photos.itl"
    assert run("embed-images", photos, tmp_path / "other", "-d", index).exit_code == 0
    assert evaluate(photos)["pictures"] == 3  # those that lie with the captions
    captions = shutil.copy(
        photos / "captions.jsonl", tmp_path / "captions" if False else tmp_path / "c.jsonl"
    )
    command = ["evaluate", "--captions", captions, "-d", index]
    result = run(*command)
    assert "1: more than one picture of that name" in result.stderr
    assert "2 pictures, 4 captions" in result.stdout
    assert "3 pictures, 6 captions" in run(*command, "--images", photos).stdout


def test_captions_of_pictures_that_are_not_in_the_index_are_counted(photos: Path, tmp_path: Path) -> None:
    captions = {"images/red.png": ["red"], "images/gone.png": ["green"], "images/lost.png": ["blue", "wave"]}
    path = write_captions(photos / "captions.jsonl", captions, split="test")
    result = run("evaluate", "--captions", path, "-d", tmp_path / "photos.itl")
    assert "  2: not in the index" in result.stderr.splitlines()
    assert f"    {path}:2: images/gone.png" in result.stderr.splitlines()
    assert "1 pictures, 1 captions" in result.stdout


def test_only_what_is_missing_of_the_split_is_said(photos: Path) -> None:
    rows = [
        {"image": "images/red.png", "captions": ["red"], "split": "test"},
        {"image": "images/gone.png", "captions": ["green"], "split": "train"},
        {"image": "images/lost.png", "captions": ["green"], "split": "test"},
    ]
    (photos / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert evaluate(photos)["faults"] == {"not in the index": 1, "picture without captions": 4}
    assert evaluate(photos, "--split", "all")["faults"] == {
        "not in the index": 2,
        "picture without captions": 4,
    }


@pytest.mark.parametrize("images", [False, True])
@pytest.mark.usefixtures("photos")
def test_none_of_the_pictures_in_the_index(tmp_path: Path, images: bool) -> None:
    captions = write_captions(tmp_path / "c.jsonl", {"other.jpg": ["red"]}, split="test")
    more = ["--images", tmp_path / "elsewhere"] if images else []
    line = error_of(run("evaluate", "--captions", captions, "-d", tmp_path / "photos.itl", *more))
    where = "elsewhere" if images else "PICTURES"
    assert "itl-infer embed-images" in line
    assert where in line
    assert (
        images
        or f"none of its 1 pictures is in {tmp_path}/photos.itl: first, {captions}:1: other.jpg" in line
    )


def test_an_index_without_pictures(photos: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    save_colours(empty, ["red"])
    index = tmp_path / "empty.itl"
    assert run("embed-images", empty, "-d", index).exit_code == 0
    (empty / "red.png").unlink()
    assert run("embed-images", empty, "-d", index, "--prune").exit_code == 0
    line = error_of(run("evaluate", "--captions", photos / "captions.jsonl", "-d", index))
    assert "no pictures there; embed them: itl-infer embed-images" in line


def test_without_an_index_pictures_are_embedded(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_index = evaluate(photos)
    result = run("evaluate", "--captions", photos / "captions.jsonl", "--format", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == of_index
    shutil.rmtree(photos / "images")
    monkeypatch.setenv("ITL_INDEX", str(photos.parent / "photos.itl"))
    assert run("evaluate", "--captions", photos / "captions.jsonl").exit_code == 0


def test_without_an_index_unreadable_pictures_are_named_and_left_out(photos: Path) -> None:
    (photos / "images" / "green.png").write_bytes(b"not a picture")
    command = ["evaluate", "--captions", photos / "captions.jsonl"]
    result = run(*command)
    assert "2 pictures, 5 captions" in result.stdout
    assert f"    {photos}/images/green.png: images/green.png" in result.stderr.splitlines()
    for name in ("red", "blue"):
        (photos / "images" / f"{name}.png").write_bytes(b"nor this")
    line = error_of(run(*command))
    assert f"none of the 3 pictures can be read: first, {photos}/images/red.png: " in line


# --- splits -------------------------------------------------------------------------------------------------


def test_splits(photos: Path, tmp_path: Path) -> None:
    splits = tmp_path / "s.json"
    splits.write_text('{"train": ["red"], "val": ["green"], "test": ["blue"]}', encoding="utf-8")
    assert [row["image"] for row in evaluate(photos, "--splits", splits)["ranks"]] == ["images/blue.png"] * 3
    assert evaluate(photos, "--splits", splits, "--split", "val")["captions"] == 1
    assert evaluate(photos, "--splits", splits, "--split", "all")["pictures"] == 3
    whole = evaluate(photos)
    assert whole["split_sha256"] != evaluate(photos, "--splits", splits)["split_sha256"]
    command = ["evaluate", "--captions", photos / "captions.jsonl", "-d", tmp_path / "photos.itl"]
    line = error_of(run(*command, "--split", "val"))
    assert "has no val pictures among the 3 found: choose another --split, or --split all" in line


def test_pictures_that_the_bundle_was_trained_on_are_named_as_such(photos: Path, tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "trained")
    index = tmp_path / "photos.itl"
    command = ["evaluate", "--captions", photos / "captions.jsonl", "-d", index, "-m", bundle]
    assert "trained on" not in run(*command).stderr
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    sha256 = evaluate(photos)["split_sha256"]
    write_manifest(bundle, {**manifest, "training": {"data": {"splits": {"train": {"ids_sha256": sha256}}}}})
    assert "note: these are the pictures that the bundle was trained on" in run(*command).stderr


# --- bad captions -------------------------------------------------------------------------------------------


def test_captions_without_a_known_word_are_counted_and_not_left_out(photos: Path, tmp_path: Path) -> None:
    captions = {"images/red.png": ["red", "xyzzy", "the"], "images/blue.png": ["blue"]}
    path = write_captions(photos / "captions.jsonl", captions, split="test")
    result = run("evaluate", "--captions", path, "-d", tmp_path / "photos.itl")
    assert "  2: caption without a known word" in result.stderr.splitlines()
    assert f"    {path}:1: images/red.png: xyzzy" in result.stderr.splitlines()
    assert "2 pictures, 4 captions" in result.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"image": "images/red.png", "captions": ["caf\xe9"]}\n', r"captions.jsonl:1: not UTF-8"),
        (
            b'{"image": "images/red.png", "captions": [""]}\n',
            "captions.jsonl:1: images/red.png: empty caption",
        ),
        (
            b'{"image": "images/red.png", "captions": ["a"]}\n' * 2,
            "captions.jsonl:2: images/red.png is listed before",
        ),
        (b'{"image": "../red.png", "captions": ["a"]}\n', "captions.jsonl:1: ../red.png leads out of"),
        (b"no captions", "unknown format, it begins"),
    ],
    ids=["encoding", "empty", "twice", "outside", "foreign"],
)
def test_captions_that_cannot_be_used(photos: Path, content: bytes, message: str) -> None:
    path = photos / "captions.jsonl"
    path.write_bytes(content)
    assert message in error_of(run("evaluate", "--captions", path, "-d", photos.parent / "photos.itl"))


def test_missing_captions(photos: Path) -> None:
    line = error_of(run("evaluate", "--captions", photos / "no.csv", "-d", photos.parent / "photos.itl"))
    assert "no captions at" in line


def test_ranks_that_cannot_be_written(photos: Path, tmp_path: Path) -> None:
    command = ["evaluate", "--captions", photos / "captions.jsonl", "-d", tmp_path / "photos.itl"]
    assert "No such file" in error_of(run(*command, "--ranks", tmp_path / "none" / "r.csv"))


# --- against the definition ---------------------------------------------------------------------------------


def test_ranks_are_those_that_a_search_over_the_split_gives(photos: Path, tiny_bundle: Path) -> None:
    """Position in the results, as the original counts it, of each caption put as a query."""
    captions = {
        f"images/{name}.png": [f"{name} wave", "bright red", "green surfer"]
        for name in ("red", "green", "blue")
    }
    write_captions(photos / "captions.jsonl", captions, split="test")
    found = evaluate(photos)
    bundle = itl_infer.load_bundle(tiny_bundle)
    names = list(captions)
    embeddings = bundle.embed_images([photos / name for name in names])
    for row in found["ranks"]:
        scores = (bundle.embed_texts([row["caption"]])[0] @ embeddings.T).astype(np.float64)
        own = scores[names.index(row["image"])]
        assert row["rank"] == sum(score > own - 1e-6 for score in scores), row
