"""The engine in a real browser: its own Unicode, workers and fetches, below a strict policy, over `http.server`.

Marked `browser`, and skipped where Playwright or a Chromium of the system's is missing.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("playwright.sync_api")

from itl_infer import Bundle, Index, rank
from itl_infer.publish.index_data import write_vectors
from itl_infer.search import Searcher
from tests.chromium import visiting
from tests.runtime.publish.helpers import serving_engine
from tests.runtime.publish.test_search_in_the_browser import QUERIES, as_the_page_has_it, assert_alike
from tests.runtime.publish.test_text_in_the_browser import MARKS, WORDS

pytestmark = pytest.mark.browser
ROWS = 8_000  # in two files, of two workers


@pytest.fixture(scope="module")
def pictures(gallery: Index) -> npt.NDArray[np.float32]:
    """The gallery, and what lies between its pictures."""
    generator = np.random.default_rng(0)
    mixed = generator.dirichlet(np.ones(len(gallery)) / 20, ROWS - len(gallery)) @ gallery.embeddings
    rows = np.concatenate([gallery.embeddings, mixed])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def page(
    browser: Any, tmp_path_factory: pytest.TempPathFactory, data: Path, pictures: npt.NDArray[np.float32]
) -> Iterator[Any]:
    """A page on which `engine` is open over these pictures, and `small` over the gallery alone."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(data, folder / "small")
    for name in ("text.json", "text.bin", "carried.tsv", "languages.txt"):
        shutil.copy(data / name, folder / name)
    write_vectors(pictures, folder)
    with serving_engine(folder) as url, visiting(browser, url) as page:
        page.evaluate(
            "async () => { globalThis.engine = await open(); globalThis.small = await open('small/'); }"
        )
        yield page


def test_answers_are_those_of_query(page: Any, gallery: Index) -> None:
    rows = {path: row for row, path in enumerate(gallery.paths)}
    ask = "(texts) => Promise.all(texts.map((text) => small.search(text, { k: 10, explain: true })))"
    for text, answer in zip(QUERIES, page.evaluate(ask, QUERIES), strict=True):
        expected = Searcher(gallery, explain=True).answer(text).to_json()
        assert_alike(answer, as_the_page_has_it(expected, rows))


def test_two_workers_find_what_python_finds(
    page: Any, bundle: Bundle, pictures: npt.NDArray[np.float32]
) -> None:
    assert page.evaluate("engine.vectors.workers.length") == 2
    ask = "(texts) => Promise.all(texts.map((text) => engine.search(text, { k: 30 })))"
    order, scores = rank(bundle.embed_texts(QUERIES[:8]), pictures, 10)
    answers = page.evaluate(ask, QUERIES[:8])
    for answer, rows, cosines in zip(answers, order, scores, strict=True):
        assert [found["row"] for found in answer["results"]][:10] == rows.tolist()
        told = [found["score"] for found in answer["results"]][:10]
        np.testing.assert_allclose(told, cosines, atol=2e-5)


def test_a_mask_and_what_stands_out(page: Any, bundle: Bundle, pictures: npt.NDArray[np.float32]) -> None:
    ask = """() => {
      const mask = new Uint8Array(8000).map((_, row) => row % 3 === 1);
      return Promise.all([engine.search("a dog", { mask }), engine.search("a dog", { relevant: true, k: 8000 })]);
    }"""
    masked, relevant = page.evaluate(ask)
    rows = np.arange(ROWS)[1::3]
    [vector] = bundle.embed_texts(["a dog"])
    order, _ = rank(vector[None], pictures[rows], 10)
    assert [found["row"] for found in masked["results"]][:10] == rows[order[0]].tolist()
    scores = pictures @ vector
    first, third = np.percentile(scores, [25, 75])
    line = max(third + 1.5 * (third - first), 0.85 * scores.max())
    assert relevant["relevant_from"] == pytest.approx(line, abs=2e-4)
    assert abs(len(relevant["results"]) - (scores >= line).sum()) <= 3


def test_more_like_this_and_completion(page: Any, bundle: Bundle, pictures: npt.NDArray[np.float32]) -> None:
    order, _ = rank(pictures[[77]], pictures, 10)
    found = page.evaluate("() => engine.similar(77, { k: 10 })")
    assert [one["row"] for one in found["results"]] == order[0].tolist()
    for prefix in ("sur", "bons", "zzz"):
        assert page.evaluate("(prefix) => engine.complete(prefix)", prefix) == [*bundle.complete_word(prefix)]


def test_text_is_read_by_this_browser_as_by_python(page: Any, bundle: Bundle) -> None:
    """Whichever version of Unicode it has: all marks of the tests in node, and letters of new versions."""
    generator = random.Random(0)
    letters = [chr(code) for code in (0xA7CB, 0xA7DC, 0x10D50, 0x1C89, 0x1E4D0, 0x16EA0, 0x2EBF0, 0x1FAE9)]
    texts = [
        "".join(generator.choices([*WORDS, *MARKS, *letters, " "], k=generator.randint(1, 12)))
        for _ in range(400)
    ]
    ask = """(texts) => Promise.all(texts.map(async (text) => {
      const { used, ignored, unknown, carried } = await engine.reader.parse(text);
      return [[...used], ignored, unknown, carried.map(({ word, stem }) => [word, stem])];
    }))"""
    for text, found in zip(texts, page.evaluate(ask, texts), strict=True):
        parsed = bundle.parse_text(text)
        assert found == [
            [[*one] for one in zip(parsed.used_words, parsed.used_ids, strict=True)],
            [*parsed.ignored_words],
            [*parsed.unknown_words],
            [[one.word, one.stem] for one in parsed.carried],
        ], text


def test_a_wrong_query_rejects_with_the_sentence_of_python(page: Any) -> None:
    told = page.evaluate("() => engine.search('la voiture rouge').catch((error) => error.message)")
    assert told.endswith("it reads English, and the query looks like French")


def test_a_page_that_can_start_no_worker_ranks_itself(page: Any) -> None:
    ask = """async () => {
      const results = [];
      for (const worker of ["worker.js", "nowhere.js", null]) {
        const engine = await open("small/", () => new Worker(worker ?? null.none, { type: "module" }));
        results.push((await engine.search("a dog", { k: 5 })).results);
      }
      return results;
    }"""
    by_worker, by_page, by_page_too = page.evaluate(ask)
    assert len(by_worker) == 5
    assert by_worker == by_page == by_page_too
