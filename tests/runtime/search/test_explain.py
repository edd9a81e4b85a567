"""Why a picture was found: which words counted, what each did for the score, and what a typing error meant."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from itl_infer import (
    Answer,
    Bundle,
    BundleError,
    Index,
    Query,
    Searcher,
    embed_directory,
    load_bundle,
    write_sheet,
)
from itl_infer.cli import main
from itl_infer.text import NLTK_TEXT_RULES, TextProcessor, collect_spellings
from tests.tiny_bundle import COLOURS, make_tiny_bundle, save_colours

WORDS = ["reds", "green", "blue", "brightly", "surfers", "wave"]


@pytest.fixture
def index(tmp_path: Path, tiny_bundle: Path) -> Index:
    save_colours(tmp_path / "pictures", ["red", "green", "blue", "white", "purple", "yellow"])
    index = Index.open(tmp_path / "photos.itl", load_bundle(tiny_bundle))
    embed_directory(tmp_path / "pictures", index)
    return index


@pytest.fixture
def bundle_with_words(tmp_path: Path) -> Bundle:
    folder = tmp_path / "with_words"
    folder.mkdir()
    (folder / "words.txt").write_text("".join(f"{word}\n" for word in WORDS), encoding="utf-8")
    return load_bundle(make_tiny_bundle(folder))


def explain(index: Index, query: str | Query) -> Answer:
    return Searcher(index, k=6, explain=True).answer(query)


def score(index: Index, query: Query | None, path: str) -> float:
    """Of one picture for a query; 0 for none at all."""
    if query is None:
        return 0.0
    return float(query.embed(index.require_bundle()).vector @ index.embeddings[index.paths[:].index(path)])


def test_what_became_of_each_word(index: Index) -> None:
    answer = explain(index, "The reds waved in surfrs and zyzzyva, red")
    assert [(word.word, word.use, word.did_you_mean) for word in answer.words] == [
        ("reds", "used", ()),
        ("waved", "used", ()),
        ("red", "used", ()),
        ("the", "dropped", ()),
        ("in", "dropped", ()),
        ("and", "dropped", ()),
        ("surfrs", "unknown", ("surfer",)),
        ("zyzzyva", "unknown", ()),
    ]
    assert Searcher(index).answer("red").words == ()


def test_shares_are_exact(index: Index, tmp_path: Path) -> None:
    picture = str(tmp_path / "pictures" / "purple.png")
    for query, without in (
        ("red wave", {"red": Query("wave"), "wave": Query("red")}),
        ("red", {"red": None}),
        ("reds and red surfers", {"reds": Query("surfers"), "surfers": Query("reds")}),  # one stem, one term
        (
            Query("red wave", [picture], subtract=["green"], weighted=[(0.5, "blue")]),
            {
                "red": Query("wave", [picture], subtract=["green"], weighted=[(0.5, "blue")]),
                "wave": Query("red", [picture], subtract=["green"], weighted=[(0.5, "blue")]),
                "green": Query("red wave", [picture], weighted=[(0.5, "blue")]),
                "blue": Query("red wave", [picture], subtract=["green"]),
                picture: Query("red wave", subtract=["green"], weighted=[(0.5, "blue")]),
            },
        ),
        (Query("red", subtract=["blue"]), {"red": Query(subtract=["blue"]), "blue": Query("red")}),
    ):
        answer = explain(index, query)
        assert len(answer.results) == 6
        for found in answer.results:
            assert {share.term for share in found.shares} == set(without)
            for share in found.shares:
                left = score(index, without[share.term], found.path)
                assert share.share == pytest.approx(found.score - left, abs=2e-6)


def test_what_is_left_may_be_nothing(index: Index) -> None:
    [found, *_] = explain(index, Query("red", add=["blue"], subtract=["red wave"])).results
    assert all(np.isfinite(share.share) for share in found.shares)
    query = Query(weighted=[(2.0, "red"), (-1.0, "red"), (-1.0, "red")], add=["blue"])
    for found in explain(index, query).results:
        blue = next(share for share in found.shares if share.term == "blue")
        assert blue.share == pytest.approx(found.score)  # the rest is nothing


def test_the_words_of_a_text_share_one_call(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = index.require_bundle()
    embedded = Query("red green wave", subtract=["blue"]).embed(bundle)
    asked: list[int] = []
    embed_ids = bundle.embed_ids
    monkeypatch.setattr(bundle, "embed_ids", lambda rows: asked.append(len(rows)) or embed_ids(rows))
    red, green, wave, blue = embedded.terms(bundle)
    assert asked == [3]
    for term, rest in ((red, "green wave"), (green, "red wave"), (wave, "red green")):
        alone = Query(rest, subtract=["blue"]).embed(bundle).vector
        np.testing.assert_array_equal(term.rest, alone)  # to the last bit
    np.testing.assert_array_equal(blue.rest, Query("red green wave").embed(bundle).vector)


def test_no_pictures_are_embedded_for_a_text(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = index.require_bundle()
    monkeypatch.setattr(bundle, "embed_images", lambda _: pytest.fail("there are none"))
    assert len(Searcher(index, k=2).answer(Query("red", add=["wave"])).results) == 2


def test_labels(index: Index, tmp_path: Path) -> None:
    picture = str(tmp_path / "pictures" / "red.png")
    query = Query("red", [picture], subtract=["wave"], weighted=[(-0.5, "blue")], image_weight=2)
    [found, *_] = explain(index, query).results
    assert [share.label for share in found.shares] == ["red", "- wave", "- 0.5 blue", "2 red.png"]


def test_on_sheets(index: Index, tmp_path: Path) -> None:
    answer = explain(index, Query("red <wave>", subtract=["blue"]))
    write_sheet([answer], tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "used: red, wave, blue" in text
    assert text.count("<dt>- blue</dt>") == 6
    widths = [float(width) for width in re.findall(r"width:([0-9.]+)%", text)]
    assert len(widths) == 18
    assert max(widths) == 100
    heights = []
    for name, one in (("plain.png", Searcher(index, k=6).answer(answer.query)), ("explained.png", answer)):
        write_sheet([one], tmp_path / name)
        heights.append((tmp_path / name).stat().st_size)
    assert heights[0] < heights[1]


# Suggestions


@pytest.mark.parametrize(
    ("word", "suggested"),
    [
        ("surfr", ("surfer",)),
        ("SURFFER", ("surfer",)),
        ("bleu", ("blue",)),
        ("geren", ("green",)),
        ("zyzzyva", ()),
        ("x" * 10_000, ()),
        ("", ()),
    ],
)
def test_suggestions(tiny_bundle: Path, word: str, suggested: tuple[str, ...]) -> None:
    assert load_bundle(tiny_bundle).suggest_words(word)[:1] == suggested


def test_completion(tiny_bundle: Path, bundle_with_words: Bundle) -> None:
    assert load_bundle(tiny_bundle).complete_word("b") == ("blue", "bright")
    assert bundle_with_words.complete_word("BRI") == ("brightly",)
    assert bundle_with_words.complete_word("q") == ()


def test_words_instead_of_stems(bundle_with_words: Bundle, tiny_bundle: Path, tmp_path: Path) -> None:
    assert bundle_with_words.suggest_words("surfrs") == ("surfers",)
    assert bundle_with_words.fingerprint == load_bundle(tiny_bundle).fingerprint  # embeddings are the same
    (bundle_with_words.path / "words.txt").write_text("x\n" * 6)
    with pytest.raises(BundleError, match=r"words.txt: damaged or replaced"):
        load_bundle(bundle_with_words.path).suggest_words("red")
    folder = tmp_path / "too_few"
    folder.mkdir()
    (folder / "words.txt").write_text("red\n")
    with pytest.raises(BundleError, match="1 words for 6 stems"):
        load_bundle(make_tiny_bundle(folder)).suggest_words("red")


def test_the_words_of_each_stem_the_commonest_first() -> None:
    captions = ["Surfing a wave", "he surfs the waves", "surfing waves", "a motorcycle"]
    stems = ["surf", "wave", "motorcycl", "quokka"]
    forms = collect_spellings(captions, NLTK_TEXT_RULES, stems)
    assert forms == [("surfing", "surfs"), ("waves", "wave"), ("motorcycle",), ("quokka",)]
    processor = TextProcessor(NLTK_TEXT_RULES, stems, forms)
    assert processor.words == ("surfing", "waves", "motorcycle", "quokka")
    assert processor.suggest("motorcicle") == ("motorcycle",)
    assert TextProcessor(NLTK_TEXT_RULES, list(COLOURS)).words == tuple(COLOURS)


# Commands


@pytest.fixture
def run(index: Index, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("ITL_BUNDLE", str(tiny_bundle))
    monkeypatch.setenv("ITL_INDEX", str(index.path))

    def invoke(*args: str) -> Result:
        return CliRunner().invoke(main, list(args))

    return invoke


def test_explained_in_a_table(run: Any, tmp_path: Path) -> None:
    result = run("query", "the red surfr", "-s", "green", "--explain", "-k", "1")
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "used: red, green",
        "dropped: the",
        "unknown: surfr (did you mean surfer?)",
        "",
        "rank   score  path",
        f"   1  0.7071  {tmp_path / 'pictures' / 'red.png'}",
        "              red      +0.7072  " + "█" * 24,
        "              - green  -0.2929  " + "░" * 10,
    ]


def test_explained_in_json(run: Any) -> None:
    answer = json.loads(
        run("query", "red surfr", "-w", "-0.5", "green", "--explain", "--format", "json").stdout
    )
    assert answer["words"] == [
        {"word": "red", "use": "used"},
        {"word": "green", "use": "used"},
        {"word": "surfr", "use": "unknown", "did_you_mean": ["surfer"]},
    ]
    first = answer["results"][0]["shares"]
    assert [(share["term"], share.get("weight")) for share in first] == [("red", None), ("green", -0.5)]
    lines = run("query", "red wave", "--explain", "--format", "jsonl").stdout.splitlines()
    assert all(len(json.loads(line)["shares"]) == 2 for line in lines)
    assert "words" not in json.loads(run("query", "red", "--format", "json").stdout)


def test_unknown_words_are_told_with_suggestions(run: Any) -> None:
    assert run("query", "red surfr").stderr == "The bundle does not know: surfr (did you mean surfer?).\n"
    error = run("query", "surfr").stderr
    assert error == "Error: bundle 'tiny' knows no word of the query: surfr (did you mean surfer?)\n"


def test_explain_needs_room(run: Any) -> None:
    for options in (["--format", "csv"], ["-0"], ["--format", "paths"]):
        result = run("query", "red", "--explain", *options)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "--explain goes with table, json and jsonl" in result.stderr
