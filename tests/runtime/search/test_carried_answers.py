"""Words that are read as others: said in every answer, and explained as one term."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from itl_infer import Index, Query, Searcher, embed_directory, load_bundle, write_sheet
from itl_infer.cli import main
from itl_infer.evaluation import evaluate_labelled
from tests.carried_bundle import with_carried
from tests.tiny_bundle import save_colours

LINE = "maroon: read as red, blue"


@pytest.fixture
def index(tmp_path: Path, tiny_bundle: Path) -> Index:
    bundle = load_bundle(with_carried(tiny_bundle, tmp_path / "carrying"))
    save_colours(tmp_path / "pictures", ["red", "green", "blue", "purple"])
    index = Index.open(tmp_path / "photos.itl", bundle)
    embed_directory(tmp_path / "pictures", index)
    return index


@pytest.fixture
def run(index: Index) -> Any:
    index.close()
    environment = {"ITL_BUNDLE": str(index.require_bundle().path), "ITL_INDEX": str(index.path)}

    def run(*args: str) -> Result:
        return CliRunner().invoke(main, args, env=environment)

    return run


def test_a_carried_word_is_one_term_with_all_its_weight(index: Index) -> None:
    answer = Searcher(index, explain=True).answer("a maroon wave, maroons")
    bundle = index.require_bundle()
    assert [(word.word, word.use) for word in answer.words] == [
        ("wave", "used"),
        ("maroon", "carried"),
        ("maroons", "carried"),
        ("a", "dropped"),
    ]
    rows = {Path(path).name: index.embeddings[row] for row, path in enumerate(index.paths)}
    rest = bundle.embed_texts(["maroon", "wave"])  # without the wave, without the maroon
    for found in answer.results:
        assert [share.term for share in found.shares] == ["wave", "maroon"]
        shares = [found.score - float(one @ rows[Path(found.path).name]) for one in rest]
        np.testing.assert_allclose([share.share for share in found.shares], shares, atol=1e-6)


def test_every_answer_says_what_a_word_is_read_as(run: Any) -> None:
    result = run("query", "a maroon zyzzyva")
    assert result.stderr.splitlines() == [LINE, "The bundle does not know: zyzzyva."]
    assert run("query", "red").stderr == ""
    explained = run("query", "red maroon", "--explain")
    assert explained.stdout.splitlines()[:3] == ["used: red", LINE, ""]
    assert explained.stderr == ""


def test_json_has_the_stems_and_their_weights(run: Any) -> None:
    answer = json.loads(run("query", "a maroon turquoise zyzzyva", "--format", "json").stdout)
    assert answer["read_as"] == {
        "maroon": [["red", 0.6], ["blue", 0.2]],
        "turquoise": [["green", 0.5], ["blue", 0.5], ["bright", 0.25]],
    }
    assert answer["unknown_words"] == ["zyzzyva"]
    known = json.loads(run("query", "red", "--format", "json").stdout)
    assert {"read_as", "notes"}.isdisjoint(known)
    explained = json.loads(run("query", "maroon", "--explain", "--format", "json").stdout)
    assert explained["words"] == [{"word": "maroon", "use": "carried", "read_as": ["red", "blue"]}]


def test_batch_says_the_same(run: Any, tmp_path: Path) -> None:
    queries = tmp_path / "queries.txt"
    queries.write_text("maroon\nzyzzyva\nred, no maroon\n", encoding="utf-8")
    first, second, third = map(json.loads, run("batch", str(queries)).stdout.splitlines())
    assert first["read_as"] == {"maroon": [["red", 0.6], ["blue", 0.2]]}
    assert second["error"] == "bundle 'tiny' knows no word of the query: zyzzyva"
    assert third["notes"] == [
        "counts as wanted: maroon; to leave it out: query red --subtract maroon, or --understand-not"
    ]
    *_, understood = map(json.loads, run("batch", str(queries), "--understand-not").stdout.splitlines())
    asked = json.loads(run("query", "red", "--subtract", "maroon", "--format", "json").stdout)
    assert understood == {**asked, "notes": ["read as query red --subtract maroon"]}


def test_query_says_what_counts_as_wanted(run: Any) -> None:
    plain = run("query", "red, no green", "--format", "paths")
    assert plain.stderr == (
        "counts as wanted: green; to leave it out: query red --subtract green, or --understand-not\n"
    )
    understood = run("query", "red, no green", "--understand-not", "--format", "paths")
    assert understood.stderr == "read as query red --subtract green\n"
    assert understood.stdout == run("query", "red", "--subtract", "green", "--format", "paths").stdout
    assert "No such option '--understand-not'" in run("similar", "a.jpg", "--understand-not").stderr


def test_sheets_say_it_too(index: Index, tmp_path: Path) -> None:
    answers = [
        Searcher(index).answer("maroon"),
        Searcher(index, explain=True).answer(Query("maroon without green")),
    ]
    write_sheet(answers, tmp_path / "sheet.html")
    page = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert page.count(LINE) == 2
    assert page.count("counts as wanted: green") == 1
    write_sheet(answers[:1], tmp_path / "sheet.png")


def test_words_are_listed_with_what_they_are_read_as(run: Any) -> None:
    assert run("bundle", "show", "--words=maro").stdout == "maroon (read as red, blue)\n"
    assert run("bundle", "show", "--words=r").stdout.splitlines() == [
        *("bright", "green", "red", "surfer"),
        *("crimson (read as red)", LINE.replace(": ", " (") + ")", "turquoise (read as green blue, bright)"),
    ]
    assert "knows no word with 'zyzzyva' in it" in run("bundle", "show", "--words=zyzzyva").stderr


def test_names_that_are_carried_are_measured(index: Index, tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text('{"crimson": ["red.png"], "zyzzyva": ["blue.png"]}', encoding="utf-8")
    found = evaluate_labelled(labels, index, images=tmp_path / "pictures")
    assert [(name.name, name.first_rank) for name in found.names] == [("crimson", 1), ("zyzzyva", None)]
    assert found.unknown_names == ["zyzzyva"]
    crimson, zyzzyva = found.to_json()["names"]
    assert crimson["read_as"] == {"crimson": (("red", 1.0),)}
    assert "read_as" not in zyzzyva
