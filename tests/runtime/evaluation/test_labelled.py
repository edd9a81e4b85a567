"""`itl-infer evaluate --labelled`: which names meet which pictures, what is said of the rest, and the figures."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

import itl_infer
from itl_infer.captions import PictureNames
from itl_infer.cli import main
from itl_infer.evaluation.labels import read_labels
from tests.places import ROOT, SHARED, STARTER
from tests.terminal import run_with_terminal
from tests.tiny_bundle import save_colours

PHOTOS = SHARED / "photos" / "objects.json"


@pytest.fixture(autouse=True)
def _tiny_bundle_is_the_default(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITL_BUNDLE", str(tiny_bundle))
    monkeypatch.delenv("ITL_INDEX", raising=False)


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def evaluate(labelled: Path, *args: str | Path) -> dict[str, Any]:
    result = run("evaluate", "--labelled", labelled, *args, "--format", "json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def error_of(*args: str | Path, exit_code: int = 1) -> str:
    result = run("evaluate", *args)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == exit_code
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five plain pictures; a query of a colour scores 1 with its own, and less with others."""
    save_colours(tmp_path / "photos", ["red", "green", "blue", "white", "black"])
    return tmp_path / "photos"


def write_labels(photos: Path, labels: object, name: str = "objects.json") -> Path:
    path = photos / name
    path.write_text(json.dumps(labels), encoding="utf-8")
    return path


def first_ranks(found: dict[str, Any]) -> dict[str, int | None]:
    return {row["name"]: row["first_rank"] for row in found["names"]}


# --- figures ------------------------------------------------------------------------------------------------


def test_figures_by_hand(photos: Path) -> None:
    """ "red" finds red, then white; "wave" (0, 0.5, 1) finds blue, white, then green, which it means."""
    labels = {"red": ["red.png", "white.png"], "wave": ["green.png"], "zebra": ["blue.png"]}
    found = evaluate(write_labels(photos, labels))
    assert (found["data"], found["pictures"], found["queries"], found["unknown"]) == ("objects.json", 4, 3, 1)
    assert found["names"] == [
        {
            "name": "red",
            "pictures": 2,
            "known_words": ["red"],
            "unknown_words": [],
            "average_precision": 1.0,
            "first_rank": 1,
        },
        {
            "name": "wave",
            "pictures": 1,
            "known_words": ["wave"],
            "unknown_words": [],
            "average_precision": 0.3333,
            "first_rank": 3,
        },
        {
            "name": "zebra",
            "pictures": 1,
            "known_words": [],
            "unknown_words": ["zebra"],
            "average_precision": 0.0,
            "first_rank": None,
        },
    ]
    assert found["mean_average_precision"] == round((1 + 1 / 3) / 3, 4)
    assert found["r_precision"] == round(1 / 3, 4)
    assert found["precision_at_10"] == round((0.2 + 0.1) / 3, 4)
    assert found["recall_at_1"] == round(1 / 3, 4)
    assert found["recall_at_10"] == round(2 / 3, 4)
    assert found["chance"]["recall_at_1"] == pytest.approx((2 / 4 + 1 / 4 + 1 / 4) / 3, abs=1e-6)
    assert found["chance"]["recall_at_10"] == 1
    assert found["faults"] == {"picture without a name": 1}  # black, which is not ranked either


def test_ties_count_against_the_bundle(photos: Path) -> None:
    shutil.copy(photos / "red.png", photos / "same.png")
    found = evaluate(write_labels(photos, {"red": ["red.png"], "wave": ["same.png", "blue.png"]}))
    assert first_ranks(found) == {"red": 2, "wave": 1}


def test_one_picture_may_have_several_names(photos: Path) -> None:
    labels = {"wave": ["blue.png"], "surfer": ["blue.png", "blue.png"], "red": ["red.png"]}
    found = evaluate(write_labels(photos, labels))
    assert first_ranks(found) == {"wave": 1, "surfer": 1, "red": 1}
    assert found["pictures"] == 2
    assert [row["pictures"] for row in found["names"]] == [1, 1, 1]


def test_only_some_words_of_a_name_are_known(photos: Path) -> None:
    found = evaluate(write_labels(photos, {"red_zebra of the": ["red.png"], "the": ["blue.png"]}))
    first, second = found["names"]
    assert (first["known_words"], first["unknown_words"], first["first_rank"]) == (["red"], ["zebra"], 1)
    assert (second["known_words"], second["unknown_words"], second["first_rank"]) == ([], [], None)


def test_a_folder_for_each_class_is_the_same_as_a_file(photos: Path, tmp_path: Path) -> None:
    labels = {
        "red": ["red/red.png", "red/deeper/white.png"],
        "wave": ["wave/blue.png"],
        "no_word": ["no_word/green.png"],
    }
    folder = tmp_path / "classes"
    for files in labels.values():
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(photos / Path(file).name, folder / file)
    of_folder, of_file = evaluate(folder), evaluate(write_labels(folder, labels))
    assert of_folder["data"] == "classes"
    for found in (of_folder, of_file):
        found["names"].sort(key=lambda row: row["name"])
        del found["data"], found["labelled"], found["confidence_95"]  # of another order of names
    assert of_folder == of_file
    shutil.copy(photos / "red.png", folder / "loose.png")
    assert evaluate(folder)["faults"] == {"in no folder of a class": 1}


def test_the_table(photos: Path) -> None:
    labels = {"red": ["red.png"], **{f"zebra {i}": ["blue.png"] for i in range(24)}}
    result = run("evaluate", "--labelled", write_labels(photos, labels))
    lines = result.stdout.splitlines()
    assert lines[0].startswith("bundle tiny (")
    assert lines[0].endswith(") on objects.json: 2 pictures, 25 names (24 unknown, counted as misses)")
    assert lines[1].split() == ["mAP", "R-precision", "P@10", "R@1", "R@10"]
    assert lines[2].split()[3] == "4.0"
    assert lines[4].startswith("unknown: zebra 0, zebra 1, ")
    assert lines[4].endswith(", zebra 19 and 4 more")


def test_from_python(photos: Path, tiny_bundle: Path) -> None:
    labels = write_labels(photos, {"red": ["red.png"], "zebra": ["blue.png"]})
    found = itl_infer.evaluate_labelled(labels, itl_infer.load_bundle(tiny_bundle))
    assert found.figures["mean_average_precision"] == 0.5
    assert found.unknown_names == ["zebra"]
    assert found.names[0].first_rank == 1
    assert found.to_json() == evaluate(labels)
    assert "labelled" not in found.summary()  # no path


# --- an index -----------------------------------------------------------------------------------------------


def test_an_index_gives_the_same_and_no_picture_is_read(photos: Path, tmp_path: Path) -> None:
    labels = write_labels(photos, {"red": ["red.png", "white.png"], "wave": ["green.png"]})
    of_pictures = evaluate(labels)
    index = tmp_path / "photos.itl"
    assert run("embed-images", photos, "-d", index).exit_code == 0
    for picture in photos.glob("*.png"):
        picture.unlink()
    of_index = evaluate(labels, "-d", index)
    assert of_index == of_pictures


def test_pictures_that_are_not_in_the_index_are_counted(photos: Path, tmp_path: Path) -> None:
    index = tmp_path / "red.itl"
    assert run("embed-images", photos / "red.png", "-d", index).exit_code == 0
    labels = write_labels(photos, {"red": ["red.png"], "wave": ["blue.png"]})
    assert evaluate(labels, "-d", index)["faults"] == {"not in the index": 1, "name without a picture": 1}
    labels = write_labels(photos, {"wave": ["blue.png"]})
    line = error_of("--labelled", labels, "-d", index)
    assert f"none of its 1 pictures is in {index}: first, {labels}: wave: blue.png: not in the index" in line
    assert line.endswith(f"embed them: itl-infer embed-images PICTURES -d {index}, or name no index")


def test_a_folder_of_classes_and_an_index(photos: Path, tmp_path: Path) -> None:
    folder, index = tmp_path / "classes", tmp_path / "photos.itl"
    for name in ("red", "blue"):
        (folder / name).mkdir(parents=True)
        shutil.copy(photos / f"{name}.png", folder / name / "1.png")
    assert run("embed-images", tmp_path, "-d", index).exit_code == 0
    assert evaluate(folder, "-d", index) == evaluate(folder)


# --- what cannot be used ------------------------------------------------------------------------------------


def test_missing_and_unreadable_pictures_are_named_and_left_out(photos: Path) -> None:
    (photos / "green.png").write_bytes(b"not a picture")
    labels = {"red": ["red.png", "gone.png"], "wave": ["green.png"], "blue": ["blue.png", "green.png"]}
    path = write_labels(photos, labels)
    result = run("evaluate", "--labelled", path)
    assert "2 pictures, 2 names" in result.stdout
    notes = result.stderr.splitlines()
    assert "  1: no such picture" in notes
    assert f"    {path}: red: gone.png" in notes
    assert f"    {path}: green.png" in notes
    assert "  1: name without a picture" in notes
    assert f"    {path}: wave" in notes


def test_none_can_be_read(photos: Path) -> None:
    (photos / "red.png").write_bytes(b"not a picture")
    line = error_of("--labelled", write_labels(photos, {"red": ["red.png"]}))
    assert f"none of the 1 pictures can be read: first, {photos}/red.png: " in line


def test_the_folder_of_the_pictures_can_be_another(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    labels = write_labels(tmp_path / "labels", {"red": ["photos/red.png"], "blue": ["blue.png"]})
    assert "has no pictures" in error_of("--labelled", labels)
    found = evaluate(labels, "--images", photos)
    assert first_ranks(found) == {"red": 1, "blue": 1}
    assert evaluate(labels, "--images", tmp_path)["pictures"] == 2
    line = error_of("--labelled", photos.parent, "--images", photos)
    assert f"a folder of classes holds its pictures: leave --images {photos} out" in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "objects.json:1: not JSON"),
        ('{"red": ["red.png"', "objects.json:1: not JSON"),
        ('{"red": ["red.png"], "red": []}', "objects.json:1: red is there twice"),
        ("[]", "objects.json: not names and their pictures: expected a folder with a folder for each class"),
        ("{}", "objects.json: not names and their pictures"),
        ('{"red": "red.png"}', "red has 'red.png' and no list of file names"),
        ('{"red": ["red.png", 3]}', "red has ['red.png', 3] and no list of file names"),
        ('{"red": ["../red.png"]}', "red: ../red.png leads out of the pictures' folder"),
        ('{"red": ["/red.png"]}', "red: /red.png leads out of the pictures' folder"),
        ('{"red": [" "]}', "red: the picture's name is empty"),
        ('{"red": ["a.png", "b.png"]}', "none of its 2 pictures is in"),
        ('{"red": []}', "objects.json: not names and their pictures"),
    ],
)
def test_labels_that_cannot_be_used(photos: Path, content: str, message: str) -> None:
    path = photos / "objects.json"
    path.write_text(content, encoding="utf-8")
    assert message in error_of("--labelled", path)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["red.png", "a/red.png", "", "..", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(content=st.dictionaries(st.text(max_size=5), st.lists(st.just("red.png"), max_size=2)) | _JSON)
def test_any_json_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with contextlib.suppress(itl_infer.CaptionsError):
        labels = read_labels(path, PictureNames(path.parent, ["red.png", "b/blue.png"]))
        assert labels.pictures == ["red.png"]
        assert all(labels.pictures_of.values())


def test_labels_that_are_not_utf_8(photos: Path) -> None:
    (photos / "objects.json").write_bytes(b'{"caf\xe9": []}')
    assert "objects.json:1: not UTF-8" in error_of("--labelled", photos / "objects.json")


def test_folders_that_hold_no_classes(photos: Path, tmp_path: Path) -> None:
    assert "no labelled pictures at" in error_of("--labelled", tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "has no pictures" in error_of("--labelled", tmp_path / "empty")
    line = error_of("--labelled", photos)
    assert f"{photos}: it has no folders with pictures: give one that holds a folder for each class" in line
    for split in ("train", "val"):
        shutil.copytree(photos, tmp_path / "split" / split / "red")
    line = error_of("--labelled", tmp_path / "split")
    assert "split: its folders are called train, val: give one that holds a folder for each class" in line
    assert evaluate(tmp_path / "split" / "val")["queries"] == 1


def test_an_empty_class_is_left_out(photos: Path) -> None:
    labels = write_labels(photos, {"red": ["red.png"], "blue": []})
    found = evaluate(labels)
    assert found["faults"]["name without a picture"] == 1
    assert first_ranks(found) == {"red": 1}


def test_either_captions_or_labels(photos: Path) -> None:
    labels = write_labels(photos, {"red": ["red.png"]})
    both = "Give either --captions FILE or --labelled PATH."
    assert both in error_of(exit_code=2)
    assert both in error_of("--labelled", labels, "--captions", labels, exit_code=2)
    for option in (["--split", "all"], ["--splits", photos], ["--seed", "1"], ["--ranks", photos / "r.csv"]):
        assert f"{option[0]} goes with --captions." in error_of("--labelled", labels, *option, exit_code=2)


# --- for real -----------------------------------------------------------------------------------------------


def test_in_a_process_of_its_own_progress_is_drawn_on_a_terminal_and_not_elsewhere(photos: Path) -> None:
    labels = write_labels(photos, {"red": ["red.png"], "blue": ["blue.png"]})
    (photos / "white.png").unlink()
    (photos / "green.png").unlink()
    (photos / "black.png").unlink()
    command = [sys.executable, "-m", "itl_infer", "evaluate", "--labelled", str(labels)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60)
    assert result.stderr == b""
    stdout, drawn = run_with_terminal(command)
    assert stdout == result.stdout
    assert b"2/2 pictures" in drawn


@pytest.mark.skipif(not PHOTOS.is_file(), reason=f"no photographs at {PHOTOS}")
def test_the_shipped_bundle_on_photographs_as_people_have_them() -> None:
    bundle = itl_infer.load_bundle(STARTER)
    found = itl_infer.evaluate_labelled(PHOTOS, bundle)
    assert (len(found.names), len(found.labels.pictures), len(found.unknown_names)) == (71, 126, 0)
    assert found.figures["mean_average_precision"] >= 0.57
    head, _, figures, chance = found.to_table().splitlines()
    for page in ("docs/quality.md", "docs/evaluating.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert chance in text
        said = re.search(r"^name to pictures +([0-9.]+) ", text, re.MULTILINE)
        assert said is not None
        assert float(said[1]) == pytest.approx(float(figures.split()[3]), abs=1)  # int8 differs by processor
    assert head in text
