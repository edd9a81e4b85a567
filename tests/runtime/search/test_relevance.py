"""Where an answer stops: a lowest score, scores that stand out, and one of several copies of a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from itl_infer import Index, Searcher, embed_directory, load_bundle, write_sheet
from itl_infer.cli import main
from itl_infer.search.relevance import relevant_from


def save(folder: Path, colours: dict[str, tuple[int, int, int]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, colour in colours.items():
        Image.new("RGB", (8, 8), colour).save(folder / f"{name}.png")


@pytest.fixture
def index(tmp_path: Path, tiny_bundle: Path) -> Index:
    """Three reds that are nearly the same, two greens, and many blues."""
    save(tmp_path / "pictures", {"red": (255, 0, 0), "red2": (255, 9, 0), "red3": (255, 18, 0)})
    save(tmp_path / "pictures", {"green": (0, 255, 0), "green2": (9, 255, 0)})
    save(tmp_path / "pictures", {f"blue{i:02}": (30 + i, 30 - i, 255) for i in range(20)})
    index = Index.open(tmp_path / "photos.itl", load_bundle(tiny_bundle))
    embed_directory(tmp_path / "pictures", index)
    return index


@pytest.fixture
def run(index: Index, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("ITL_BUNDLE", str(tiny_bundle))
    monkeypatch.setenv("ITL_INDEX", str(index.path))

    def invoke(*args: str, **options: Any) -> Result:
        return CliRunner().invoke(main, list(args), **options)

    return invoke


def names(searcher: Searcher, query: str) -> list[str]:
    return [Path(found.path).stem for found in searcher.answer(query).results]


def test_the_lowest_score(index: Index) -> None:
    everything = Searcher(index, k=25).answer("red").results
    for lowest in (-1.0, 0.5, everything[2].score, 0.9999, 1.1):
        answer = Searcher(index, k=25, min_score=lowest).answer("red")
        assert answer.results == tuple(found for found in everything if found.score >= lowest)
        assert answer.relevant_from is None


def test_what_stands_out(index: Index) -> None:
    assert sorted(names(Searcher(index, k=25, relevant=True), "red")) == ["red", "red2", "red3"]
    assert names(Searcher(index, k=2, relevant=True), "red") == ["red", "red2"]
    assert names(Searcher(index, k=25, relevant=True, min_score=0.9999), "red") == ["red"]
    answer = Searcher(index, k=25, relevant=True).answer("blue wave")
    assert answer.results == ()  # what most pictures have does not stand out
    assert answer.relevant_from is not None


def test_the_rule() -> None:
    background = np.linspace(0, 0.4, 101, dtype=np.float32)  # quartiles 0.1 and 0.3: the fence is at 0.6
    assert relevant_from(np.append(background, np.float32(0.5))) > 0.5
    assert relevant_from(np.append(background, np.float32(0.65))) == pytest.approx(0.606)
    assert relevant_from(np.append(background, np.float32(0.9))) == pytest.approx(0.765)  # 85 % of the best
    assert relevant_from(np.array([], np.float32)) == np.inf
    assert relevant_from(np.array([0.5], np.float32)) == 0.5
    assert relevant_from(np.array([-0.5, -0.4], np.float32)) > -0.4


def test_near_duplicates_are_folded_under_the_best(index: Index) -> None:
    answer = Searcher(index, k=3, dedupe=0.99).answer("red")
    first, second, _ = answer.results
    assert Path(first.path).stem == "red"
    assert [Path(same.path).stem for same in first.duplicates] == ["red2", "red3"]
    assert [found.rank for found in answer.results] == [1, 2, 3]
    assert Path(second.path).stem.startswith("blue")
    scores = [first.score, *(same.score for same in first.duplicates)]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 25])
@pytest.mark.parametrize("threshold", [0.9, 0.99, 0.9999, 1.1])
def test_folding_agrees_with_the_definition(index: Index, k: int, threshold: float) -> None:
    rows = dict(zip(index.paths, index.embeddings, strict=True))
    expected: list[list[str]] = []
    for found in Searcher(index, k=25).answer("red wave").results:
        for group in expected:
            if rows[group[0]] @ rows[found.path] >= threshold:
                group.append(found.path)
                break
        else:
            expected.append([found.path])
    answer = Searcher(index, k=k, dedupe=threshold).answer("red wave")
    groups = [[found.path, *(same.path for same in found.duplicates)] for found in answer.results]
    assert [group[0] for group in groups] == [group[0] for group in expected][:k]
    for group, whole in zip(groups, expected, strict=False):
        assert group == whole[: len(group)]  # what is far behind the last one shown is not looked for
    if k == 25:
        assert groups == expected


def test_the_commands(run: Any) -> None:
    result = run("query", "red", "-k", "25", "--relevant", "--dedupe", "--format", "json")
    answer = json.loads(result.stdout)
    [found] = answer["results"]
    assert [Path(same["path"]).stem for same in found["duplicates"]] == ["red2", "red3"]
    assert found["score"] > answer["relevant_from"]
    assert result.stderr == f"Relevant from a score of {answer['relevant_from']:.4f} on: 1 shown.\n"
    plain = json.loads(run("query", "red", "--format", "json").stdout)
    assert "relevant_from" not in plain
    assert all("duplicates" not in found for found in plain["results"])
    assert len(run("query", "red", "--min-score", "0.9999").stdout.splitlines()) == 1 + 1
    assert len(run("query", "red", "--min-score", "0.99", "--format", "paths").stdout.splitlines()) == 3
    table = run("query", "red", "-k", "1", "--dedupe-from", "0.99").stdout.splitlines()
    assert [line.split()[0] for line in table] == ["rank", "1", "=", "="]
    assert json.loads(run("query", "red", "--min-score", "2", "--format", "json").stdout)["results"] == []
    for options in (["--dedupe-from", "2"], ["--min-score", "high"]):
        assert run("query", "red", *options).exit_code == 2


def test_batch_does_the_same(run: Any) -> None:
    options = ["--relevant", "--dedupe", "--explain", "-k", "5"]
    lines = run("batch", "-", *options, input="red\nquokka\ngreen\n").stdout.splitlines()
    for line, text in ((lines[0], "red"), (lines[2], "green")):
        assert json.loads(line) == json.loads(run("query", text, *options, "--format", "json").stdout)
    assert "error" in json.loads(lines[1])


def test_on_sheets(index: Index, tmp_path: Path) -> None:
    folded = Searcher(index, k=3, dedupe=0.99).answer("red")
    nothing = Searcher(index, min_score=2).answer("red")
    write_sheet([folded, nothing], tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "+2 like it" in text
    assert "<li>red3.png</li>" in text
    assert "No picture passed." in text
    for answer in (folded, nothing):
        write_sheet([answer], tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as sheet:
            assert sheet.width > 400
