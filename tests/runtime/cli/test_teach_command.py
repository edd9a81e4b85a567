"""The commands `teach`, `names` and `forget`, and names in those that ask."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from itl_infer.bundle import load_bundle
from itl_infer.cli.group import main
from itl_infer.index import Index
from itl_infer.ingest import embed_directory
from tests.tiny_bundle import make_tiny_bundle, save_colours

COLOURS = ["red", "green", "blue"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, and an index of thirty plain pictures and their folder."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("teach")
    make_tiny_bundle(folder / "tiny")
    save_colours(folder / "photos", COLOURS)
    for number in range(30):
        colour = (number * 8, 255 - number * 8, number * 37 % 256)
        Image.new("RGB", (20, 20), colour).save(folder / "photos" / f"{number:02}.png")
    embed_directory(folder / "photos", Index.open(folder / "photos.itl", load_bundle(folder / "tiny")))
    return folder


def run(folder: Path, *args: str) -> Result:
    place = {"ITL_INDEX": str(folder / "photos.itl"), "ITL_BUNDLE": str(folder / "tiny")}
    return CliRunner().invoke(main, list(args), env=place)


@pytest.fixture
def taught(folder: Path) -> Path:
    photos = folder / "photos"
    assert (
        run(folder, "teach", "Rex", str(photos / "05.png"), "06.png", "--not", "20.png", "21.png").exit_code
        == 0
    )
    assert run(folder, "teach", "Red", "red.png", "--replace").exit_code == 0
    return folder


def test_a_name_is_asked_for_like_a_word(taught: Path) -> None:
    answer = json.loads(run(taught, "query", "rex", "-k", "5", "--format", "json").stdout)
    assert answer["taught"] == ["Rex"]
    assert "06.png" in [Path(found["path"]).name for found in answer["results"]]
    explained = run(taught, "query", "green Rex", "--explain", "-k", "1")
    assert "taught: Rex" in explained.stdout
    assert explained.stdout.count("\n              ") == 2
    (taught / "queries.txt").write_text("green\nRex on a bright green\n", encoding="utf-8")
    lines = run(taught, "batch", str(taught / "queries.txt"), "-k", "1").stdout.splitlines()
    assert [json.loads(line).get("taught") for line in lines] == [None, ["Rex"]]


def test_a_name_that_is_a_word_too_says_so(taught: Path) -> None:
    as_name = run(taught, "query", "red", "--format", "json")
    assert json.loads(as_name.stdout)["taught"] == ["Red"]
    assert "--as-word" in as_name.stderr
    as_word = run(taught, "query", "red", "--as-word", "--format", "json")
    assert "taught" not in json.loads(as_word.stdout)


def test_a_name_is_subtracted_and_understood(taught: Path) -> None:
    subtracted = json.loads(run(taught, "query", "green", "--subtract", "rex", "--format", "json").stdout)
    understood = json.loads(
        run(taught, "query", "green without rex", "--understand-not", "--format", "json").stdout
    )
    assert subtracted["taught"] == understood["taught"] == ["Rex"]
    assert subtracted["results"] == understood["results"]


def test_names_are_listed_moved_and_forgotten(taught: Path) -> None:
    listed = run(taught, "names").stdout.splitlines()
    assert listed[0] == "Red: 1 example"
    assert listed[1].startswith("Rex: 2 examples, 2 against, left out each is found at ")
    file = str(taught / "names.json")
    assert run(taught, "names", "export", file).exit_code == 0
    assert run(taught, "forget", "REX").exit_code == 0
    assert [one["name"] for one in json.loads(run(taught, "names", "--format", "json").stdout)] == ["Red"]
    with_file = run(taught, "query", "Rex", "--names", file, "--format", "json")
    assert json.loads(with_file.stdout)["taught"] == ["Rex"]
    assert run(taught, "names", "import", file).stdout == "2 names imported\n"
    assert len(run(taught, "names").stdout.splitlines()) == 2


def test_like_and_unlike_rank_anew(taught: Path) -> None:
    photos = taught / "photos"
    options = ["--like", str(photos / "05.png"), str(photos / "06.png"), "--unlike", "20.png", "-k", "3"]
    alone = json.loads(run(taught, "query", *options, "--format", "json").stdout)
    assert {"05.png", "06.png"} <= {Path(found["path"]).name for found in alone["results"]}
    beside = run(taught, "query", "green", *options, "--explain")
    assert "like 2 pictures, unlike 1" in beside.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["teach", "", "05.png"], "a name is empty"),
        (["teach", "a\nb", "05.png"], "line break"),
        (["teach", "x" * 101, "05.png"], "101 characters"),
        (["teach", "--", "--not", "05.png"], "begins like an option"),
        (["teach", "Bello", "nowhere.png"], "no such file or folder"),
        (["teach", "Bello", __file__], "none of the pictures can be read"),
        (["teach", "Bello", "05.png", "--not", "05.png"], "leave one of the two out"),
        (["teach", "Bello"], "no picture that shows it"),
        (["forget", "Bello"], "no such name"),
        (["names", "import", __file__], "damaged"),
        (["query", "red", "--names", __file__], "damaged"),
        (["query", "red", "--like", "nowhere.png"], "no such picture"),
    ],
)
def test_what_is_wrong_is_one_line(taught: Path, args: list[str], said: str) -> None:
    result = run(taught, *args)
    assert result.exit_code == 1
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert isinstance(result.exception, SystemExit)
