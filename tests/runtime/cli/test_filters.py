"""Filters of `query`, `similar` and `batch`: what they leave, how they are refused, and the order by date."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from itl_infer import Index, Searcher, Where, embed_directory, load_bundle
from tests.runtime.cli.helpers import error_of, run

COLOURS = {"red": "2021:05:01 10:00:00", "purple": "2019:07:03 14:05:06", "blue": "2019:08:31 23:59:59"}


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Path:
    """Three dated photographs in folders of their own, and one that only its file dates."""
    folder = tmp_path_factory.mktemp("filters")
    for colour, date in COLOURS.items():
        exif = Image.Exif()
        exif[0x010F], exif[0x0110] = "NIKON CORPORATION", f"NIKON {colour}"
        exif.get_ifd(0x8769)[0x9003] = date
        content = io.BytesIO()
        Image.new("RGB", (20, 10) if colour == "red" else (10, 20), colour).save(content, "PNG", exif=exif)
        path = folder / "album" / f"Caf\u00e9 {colour}" / f"{colour}.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(content.getvalue())
    Image.new("RGB", (9, 9), "red").save(folder / "album" / "plain.png")
    os.utime(folder / "album" / "plain.png", (10**9, 10**9))  # in 2001
    embed_directory(folder / "album", Index.open(folder / "photos.itl", load_bundle(tiny_bundle)))
    return folder / "photos.itl"


@pytest.fixture
def ask(album: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("ITL_BUNDLE", str(tiny_bundle))

    def names(*options: str) -> list[str]:
        paths = run("query", "red", "-d", album, "--format", "paths", *options).stdout.splitlines()
        return [Path(path).stem for path in paths]

    return names


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--taken", "2019"], {"purple", "blue"}),
        (["--taken", "2019-07..2019-08"], {"purple", "blue"}),
        (["--taken", "..2019-07"], {"purple", "plain"}),
        (["--newer", "2019-08"], {"blue", "red"}),
        (["--older", "2019-08"], {"purple", "plain"}),
        (["--newer", "2019", "--older", "2020"], {"purple", "blue"}),
        (["--camera", "nikon"], {"red", "purple", "blue"}),
        (["--camera", "blue NIKON", "--camera", "red"], {"red", "blue"}),
        (["--orientation", "landscape"], {"red"}),
        (["--orientation", "square"], {"plain"}),
        (["--under", "Cafe\u0301 red"], {"red"}),
        (["--under", "Caf\u00e9 red", "--under", "Caf\u00e9 blue"], {"red", "blue"}),
        (["--name", "*l*"], {"purple", "blue", "plain"}),
        (["--name", "red.png", "--name", "blue.*"], {"red", "blue"}),
        (["--no-gps"], {"red", "purple", "blue", "plain"}),
        (["--gps"], set()),
        (["--under", "Cafe\u0301 red", "--taken", "2019"], set()),
    ],
)
def test_only_those_that_fit(ask: object, options: list[str], left: set[str]) -> None:
    found = ask(*options)  # type: ignore[operator]
    assert len(found) == len(left)
    assert set(found) == left


def test_in_order_of_date(ask: object) -> None:
    assert ask("--sort", "taken") == ["plain", "purple", "blue", "red"]  # type: ignore[operator]
    assert ask("--sort", "taken", "-k", "2") == ["plain", "red"]  # type: ignore[operator]


def test_json_has_the_facts(album: Path, tiny_bundle: Path) -> None:
    answer = json.loads(
        run("query", "red", "-d", album, "-m", tiny_bundle, "--camera", "red", "--format", "json").stdout
    )
    [found] = answer["results"]
    assert (found["rank"], found["width"], found["height"]) == (1, 20, 10)
    assert (found["taken"], found["camera"]) == ("2021-05-01T10:00:00", "NIKON red")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--taken", "2019-13"], "--taken is '2019-13', expected 2019, 2019-07, 2019-07-03"),
        (["--taken", "2020..2019"], "the earlier date first"),
        (["--newer", "soon"], "--newer is 'soon', expected 2019, 2019-07"),
        (["--older", "2019-07..2019-08"], "--older is"),
        (["--orientation", "flat"], "'flat' is not one of 'landscape', 'portrait', 'square'"),
        (["--name", "a/b"], "folders go with under"),
        (["--camera", ""], "--camera is empty"),
        (["--sort", "name"], "'name' is not one of 'score', 'taken'"),
    ],
)
def test_what_means_nothing_is_wrong_usage(album: Path, options: list[str], message: str) -> None:
    for command in (["query", "red"], ["similar", "red.png"], ["batch", "-"]):
        assert message in error_of(run(*command, "-d", album, *options), 2)


def test_batch_and_similar(album: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("red\nblue\n")
    lines = run(
        "batch", tmp_path / "queries.txt", "-d", album, "-m", tiny_bundle, "--taken", "2019", "-k", "1"
    ).stdout.splitlines()
    assert [Path(json.loads(line)["results"][0]["path"]).stem for line in lines] == ["purple", "blue"]
    plain = album.parent / "album" / "plain.png"
    found = run("similar", plain, "-d", album, "-m", tiny_bundle, "--newer", "2019", "--format", "paths")
    assert [Path(path).stem for path in found.stdout.splitlines()][:1] == ["red"]


def test_relevance_folding_and_places_within_a_filter(album: Path, tiny_bundle: Path) -> None:
    index = Index.open(album, load_bundle(tiny_bundle), mode="r")
    where = Where(newer="2019")
    folded = Searcher(index, dedupe=0.999, where=where).answer("red")
    assert Path(folded.results[0].path).stem == "red"
    assert all(not found.duplicates for found in folded.results)
    assert folded.pictures == 3
    placed = Searcher(index, truth="blue.png", where=where).answer("red").truth
    assert placed is not None
    assert placed.pictures == 3
    for all_of_them, some in zip(
        Searcher(index, relevant=True).answer_many(["red", "blue"]),
        Searcher(index, relevant=True, where=where).answer_many(["red", "blue"]),
        strict=True,
    ):
        kept = [found.path for found in all_of_them.results if "plain" not in found.path]  # type: ignore[union-attr]
        assert [found.path for found in some.results] == kept  # type: ignore[union-attr]
    assert "not among the pictures that the filter leaves" in error_of(
        run("query", "red", "-d", album, "-m", tiny_bundle, "--newer", "2019", "--truth", "plain.png"), 1
    )


def test_a_filter_that_leaves_nothing_is_named(album: Path, tiny_bundle: Path) -> None:
    result = run(
        "query", "red", "-d", album, "-m", tiny_bundle, "--taken", "1999", "--camera", "leica", "--no-gps"
    )
    assert result.exit_code == 0
    assert result.stderr == "Nothing found: no picture fits --taken, --camera, --gps.\n"
