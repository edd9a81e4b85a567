"""A bundle with a table of carried words: what it embeds, what stays as it was, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itl_infer import Index, QueryError, embed_directory, load_bundle, verify_bundle
from itl_infer.bundle import Bundle
from tests.carried_bundle import TABLE, with_carried
from tests.runtime.bundle.helpers import refusal
from tests.tiny_bundle import COLOURS, save_colours, unit_rows

KNOWN = ["red", "the surfers in a wave", "bright green", "blue blue"]


@pytest.fixture
def carrying(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    return load_bundle(with_carried(tiny_bundle, tmp_path / "carrying"))


def colour(**weights: float) -> np.ndarray:
    """The embedding of a sum of colours."""
    return unit_rows(sum(weight * np.array([COLOURS[name]]) for name, weight in weights.items()))[0]


def test_a_carried_word_is_the_sum_of_its_stems_by_weight(carrying: Bundle) -> None:
    texts = ["maroon", "turquoise surfers", "crimson"]
    expected = [
        colour(red=0.6, blue=0.2),
        colour(green=0.5, blue=0.5, bright=0.25, surfer=1),
        colour(red=1),
    ]
    np.testing.assert_allclose(carrying.embed_texts(texts), expected, atol=1e-5)


def test_known_words_keep_their_bits(carrying: Bundle, tiny_bundle: Path) -> None:
    before = load_bundle(tiny_bundle).embed_texts(KNOWN)
    np.testing.assert_array_equal(carrying.embed_texts(KNOWN), before)
    np.testing.assert_array_equal(carrying.embed_texts([*KNOWN, "maroon"])[: len(KNOWN)], before)


def test_an_embedding_depends_on_nothing_beside_it(carrying: Bundle) -> None:
    texts = ["maroon", "a turquoise wave", "maroon surfer", "red maroon", "green"]
    together = carrying.embed_texts(texts)
    for row, text in zip(together, texts, strict=True):
        np.testing.assert_array_equal(carrying.embed_texts([text])[0], row)
    np.testing.assert_array_equal(carrying.embed_texts(["surfer maroon"])[0], together[2])


def test_the_graph_with_weights_is_opened_when_it_is_needed(
    carrying: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("itl_infer.bundle.bundle.WeightedTextEncoder", None)
    carrying.embed_texts(KNOWN)
    with pytest.raises(TypeError):
        carrying.embed_texts(["maroon"])


def test_an_index_does_not_depend_on_the_table(carrying: Bundle, tiny_bundle: Path, tmp_path: Path) -> None:
    save_colours(tmp_path / "pictures", ["red", "green", "blue"])
    before = load_bundle(tiny_bundle)
    embed_directory(tmp_path / "pictures", Index.open(tmp_path / "photos.itl", before))
    assert carrying.fingerprint == before.fingerprint
    index = Index.open(tmp_path / "photos.itl", carrying, mode="r")
    assert Path(index.search("crimson", k=1)[0].path).name == "red.png"
    assert "carried.tsv" in carrying.manifest["files"]


def test_a_bundle_with_a_table_verifies(carrying: Bundle) -> None:
    report = verify_bundle(carrying.path)
    assert report.ok
    assert report.files == len(carrying.manifest["files"])


@pytest.mark.parametrize("line", ["zinc\t\tgray 1", "zinc\t\tred nan", "zinc\t\tmaroon 1", "zinc\t\tred"])
def test_a_wrong_line_is_refused_by_file_and_line(tiny_bundle: Path, tmp_path: Path, line: str) -> None:
    folder = with_carried(tiny_bundle, tmp_path / "wrong", f"{TABLE}{line}\n")
    message = refusal(lambda: load_bundle(folder).embed_texts(["a zinc wave"]))
    assert message.startswith(f"{folder / 'carried.tsv'}, line 5: ")
    assert verify_bundle(folder).problems == (message,)


def test_a_damaged_table_is_refused(carrying: Bundle) -> None:
    (carrying.path / "carried.tsv").write_text(TABLE.replace("red", "blue"), encoding="utf-8")
    bundle = load_bundle(carrying.path)
    bundle.embed_texts(KNOWN)
    message = refusal(lambda: bundle.parse_query("maroon"))
    assert message.startswith(f"{carrying.path / 'carried.tsv'}: damaged or replaced: ")
    assert verify_bundle(carrying.path).problems == (message,)


def test_a_query_of_unknown_words_is_the_error_that_it_was(carrying: Bundle) -> None:
    with pytest.raises(QueryError, match=r"^bundle 'tiny' knows no word of the query: zyzzyva$"):
        carrying.parse_query("zyzzyva")
    parsed = carrying.parse_query("a maroon zyzzyva")
    assert (parsed.used_words, parsed.unknown_words) == ((), ("zyzzyva",))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("ein hund", "; it reads English, and the query looks like German"),
        ("собака", "; it reads English, and the query is in another script"),
    ],
)
def test_a_query_in_another_language_is_told_so(carrying: Bundle, query: str, said: str) -> None:
    with pytest.raises(QueryError) as caught:
        carrying.parse_query(query)
    assert str(caught.value).startswith("bundle 'tiny' knows no word of the query: ")
    assert str(caught.value).endswith(said)


def test_words_that_it_carries(carrying: Bundle, tiny_bundle: Path) -> None:
    assert [word.word for word in carrying.carried_words()] == ["crimson", "maroon", "turquoise"]
    assert carrying.complete_word("tur") == ("turquoise",)
    assert load_bundle(tiny_bundle).carried_words() == []
