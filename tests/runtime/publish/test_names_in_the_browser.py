"""Names that were taught: the page finds and weighs them as `query` does, and has them only where it was asked to."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itl_infer import Bundle, Index, Publication, QueryError, Searcher
from itl_infer.publish.index_data import write_vectors
from itl_infer.publish.names_data import write_names
from itl_infer.publish.text_data import write_text_data
from itl_infer.search import Query
from tests.places import ROOT
from tests.runtime.publish.helpers import NODE, Node, running_node
from tests.runtime.publish.test_search_in_the_browser import as_the_page_has_it, assert_alike

# By name, the rows of its examples and of its counter-examples; "Daisy" is a word as well.
TAUGHT = {
    "Rex": ([3, 7], []),
    "Villa Rosa": ([10], [11, 12]),
    "Villa": ([20, 21, 22], []),
    "Daisy": ([30], []),
    "Zo\u00eb & co": ([40, 41], []),
    "Xqztl 77": ([50], []),
}
QUERIES = [
    "Rex",
    "REX on the beach",
    "rex's ball in the snow",
    "villa rosa and Rex at night",
    "villa  villa rosa",
    "a daisy",
    "zoe & Co. with a dog",
    "Rex without snow",
    "a beach without Rex",
    "Rex bonsai",
    "xqztl 77 at night",
    "surfr Rex",
    "surfer in a wave",
]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory, gallery: Index, bundle: Bundle) -> Index:
    """The pictures that come with the bundle, with names."""
    folder = tmp_path_factory.mktemp("named")
    shutil.copytree(bundle.path / "gallery", folder / "gallery")
    shutil.copytree(gallery.path, folder / "index")
    index = Index.open(folder / "index", bundle)
    for name, (wanted, unwanted) in TAUGHT.items():
        index.teach(name, [index.paths[row] for row in wanted], [index.paths[row] for row in unwanted])
    return index


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, named: Index, bundle: Bundle) -> Iterator[Node]:
    if NODE is None:
        pytest.skip("no node on this machine")
    folder = tmp_path_factory.mktemp("data")
    write_text_data(bundle, folder)
    write_vectors(named.embeddings, folder)
    write_names(named, folder)
    with running_node(tmp_path_factory.mktemp("node"), folder) as node:
        yield node


@pytest.mark.parametrize("explain", [False, True])
def test_answers_with_names_are_those_of_query(page: Node, named: Index, explain: bool) -> None:
    rows = {path: row for row, path in enumerate(named.paths)}
    found = page.ask("search", [[text, {"k": 10, "explain": explain}] for text in QUERIES])
    for text, answer in zip(QUERIES, found, strict=True):
        expected = Searcher(named, explain=explain).answer(text).to_json()
        assert_alike(answer, as_the_page_has_it(expected, rows))
    [apart] = page.ask("search", [["a dog", {"subtract": ["Rex in the snow"], "explain": explain, "k": 10}]])
    expected = Searcher(named, explain=explain).answer(Query("a dog", subtract=["Rex in the snow"])).to_json()
    assert_alike(apart, as_the_page_has_it(expected, rows))


def test_what_cannot_be_answered_says_so_as_query_does(page: Node, named: Index) -> None:
    with pytest.raises(QueryError) as error:
        Searcher(named).answer("Rex in la voiture rouge")
    assert page.ask("search", [["Rex in la voiture rouge", {}]]) == [{"error": str(error.value)}]


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(
        st.lists(
            st.one_of(
                st.sampled_from(
                    ["rex", "Villa", "rosa", "ZO\u00cb", "zoe\u0308", "&", "co", "'s", "'", " ", "-"]
                ),
                st.text(max_size=3).filter(lambda text: text.isprintable()),
            ),
            max_size=8,
        ).map("".join),
        min_size=1,
        max_size=50,
    )
)
def test_names_are_found_where_python_finds_them(page: Node, named: Index, texts: list[str]) -> None:
    found = page.ask("names", texts)
    for text, (rest, names) in zip(texts, found, strict=True):
        expected = named.names.finder.split(text)
        assert (rest, names) == (expected.rest, [named.names[key].name for key in expected.keys])


def test_a_page_has_names_only_where_they_were_asked_for(named: Index, tmp_path: Path) -> None:
    plain = Publication(named, tmp_path / "plain")
    assert "taught" not in plain.describe()
    plain.write()
    publication = Publication(named, tmp_path / "taught", taught=True)
    assert "the names that were taught, and what they mean: " in publication.describe()
    assert "Villa Rosa" in publication.describe()
    publication.write()
    sites = [json.loads((tmp_path / name / "site.json").read_bytes()) for name in ("plain", "taught")]
    assert ["names.json" in site["data"] for site in sites] == [False, True]
    assert [site["names"] for site in sites] == [0, 6]
    everything = b"".join(path.read_bytes() for path in (tmp_path / "plain").rglob("*.json"))
    assert b"Villa Rosa" not in everything


def test_notes_of_names_that_are_words(page: Node, named: Index) -> None:
    for text, notes in (("a daisy", 1), ("villa", 1), ("xqztl 77", 0), ("xqztl 77 and a daisy", 1)):
        answer = Searcher(named).answer(text)
        assert len(answer.embedded.notes) == notes, text
        assert page.ask("search", [[text, {"k": 1}]])[0]["notes"] == list(answer.embedded.notes)


def test_a_name_that_is_no_word_needs_no_stemmer(named: Index) -> None:
    """To import it takes as long as a query."""
    check = (
        "import sys\nfrom itl_infer.cli import main\n"
        f"main(['query', 'Xqztl 77 on the beach', '-d', {str(named.path)!r}], standalone_mode=False)\n"
        "assert 'nltk' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT, capture_output=True)
