"""The table of carried words: what a word is read as, by a WordNet and vectors that can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.data.carried import Carrier, Sources, is_misspelled, make_carried
from export.data.vectors import WordVectors
from export.data.wordnet import FOLDER, WordNet
from export.errors import ExportError
from itl_infer.text import NLTK_TEXT_RULES, TextProcessor

# Of each noun its synsets; a synset is its key, its words, what it is a kind of, and its category (17: an object).
SYNSETS = {
    "n0": (["object"], [], 17),
    "n1": (["animal"], ["n0"], 5),
    "n2": (["bird"], ["n1"], 5),
    "n3": (["wading_bird"], ["n2"], 5),
    "n4": (["stork"], ["n3"], 5),
    "n5": (["ibis"], ["n3"], 5),
    "n6": (["fish"], ["n1"], 5),
    "n7": (["rooster", "cock"], ["n2"], 5),
    "n8": (["machine"], ["n0"], 6),
    "n9": (["record_player", "phonograph"], ["n8"], 6),
    "n10": (["gramophone"], ["n9"], 6),
    "n11": (["thought"], [], 9),
    "n12": (["Ciconia_ciconia"], ["n3"], 5),
}
STEMS = ["bird", "stork", "fish", "cock", "wade", "record", "player", "machin", "ciconia", "street"]
WORDS = [
    *(["bird", "birds"], ["stork"], ["fish"], ["cock"], ["wading"], ["record"], ["player"], ["machine"]),
    *(["ciconia"], ["street"]),
]


@pytest.fixture(scope="module")
def carrier() -> Carrier:
    return Carrier(TextProcessor(NLTK_TEXT_RULES, STEMS, WORDS), ["stork", "cock"], sources())


def sources() -> Sources:
    words = {key: [word.lower() for word in names] for key, (names, _, _) in SYNSETS.items()}
    senses: dict[str, list[str]] = {}
    for key, names in words.items():
        for name in names:
            senses.setdefault(name, []).append(key)
    wordnet = WordNet(
        irregular={},
        words=words,
        kinds={key: kinds for key, (_, kinds, _) in SYNSETS.items()},
        glosses={},
        synsets=senses,
        counts={},
        senses=senses,
        categories={key: category for key, (_, _, category) in SYNSETS.items()},
        instances=frozenset(),
        adverbs=frozenset(),
        names=frozenset(["ciconia_ciconia"]),
    )
    known = ["street", "bird", "avenue", "stork", "ibis"]
    vectors = np.eye(5, dtype=np.float32)
    vectors[2] = vectors[0]  # an avenue is what a street is
    return Sources(wordnet, WordVectors({word: row for row, word in enumerate(known)}, vectors))


def test_synonyms_come_first(carrier: Carrier) -> None:
    assert carrier.meanings("rooster")[0] == (("cock",), pytest.approx(1, abs=0.3))


def test_then_the_kind_and_others_of_it(carrier: Carrier) -> None:
    assert carrier.meanings("ibis") == [(("wade", "bird"), pytest.approx(1))]
    wade = carrier.known_ids("wading")
    assert carrier.meanings("ibis", without=wade)[0][0] in [("stork",), ("bird",)]
    assert ("ciconia",) not in [stems for stems, _ in carrier.meanings("ibis", without=wade)]


def test_the_squares_of_weights_sum_to_one(carrier: Carrier) -> None:
    for word in ("rooster", "ibis", "gramophone"):
        assert sum(weight**2 for _, weight in carrier.meanings(word)) == pytest.approx(1)


def test_words_of_several_parts_give_all_of_them(carrier: Carrier) -> None:
    assert ("record", "player") in [stems for stems, _ in carrier.meanings("gramophone")]


def test_vectors_come_second(carrier: Carrier) -> None:
    assert carrier.meanings("avenue") == []  # nothing to be seen is near
    pictured = Carrier(TextProcessor(NLTK_TEXT_RULES, STEMS, WORDS), ["street"], sources())
    assert pictured.meanings("avenue") == [(("street",), pytest.approx(1))]


def test_nothing_where_nothing_is_near(carrier: Carrier) -> None:
    assert carrier.meanings("thought") == []
    assert carrier.meanings("zyzzyva") == []


def test_stems_that_are_taken_out_are_not_used(carrier: Carrier) -> None:
    [stork] = carrier.known_ids("stork")
    assert all("stork" not in stems for stems, _ in carrier.meanings("ibis", without={stork}))


@pytest.mark.parametrize("word", ["surfr", "sufrer", "surfeer", "surfex", "xsurfer", "urfer"])
def test_one_edit_from_a_known_word(word: str) -> None:
    assert is_misspelled(word, {"surfer"})
    assert not is_misspelled(word, {"swimmer", "wave"})


def test_the_table_of_real_words() -> None:
    pytest.importorskip("wordfreq")
    made = make_carried(TextProcessor(NLTK_TEXT_RULES, STEMS, WORDS), ["stork", "cock"], sources())
    assert {made[stem][0] for stem in ("ibi", "rooster", "gramophon")} == {"ibis", "rooster", "gramophone"}
    assert made["ibis"][0] == "ibises"  # of another stem than its singular
    assert not {*made} & {*STEMS}
    assert "storm" not in made  # no noun of this WordNet


def test_a_typing_mistake_is_not_carried() -> None:
    pytest.importorskip("wordfreq")
    with_mistake = sources()
    with_mistake.wordnet.senses["storkk"] = ["n4"]
    with_mistake.wordnet.senses["quagga"] = ["n2"]
    made = make_carried(TextProcessor(NLTK_TEXT_RULES, STEMS, WORDS), [], with_mistake)
    assert "storkk" not in made
    assert "quagga" in made


def test_wordnet_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"has no verb.exc: give the folder of WordNet 3.0"):
        WordNet.read(tmp_path)


def test_wordnet_as_it_is() -> None:
    if not (FOLDER / "index.noun").exists():
        pytest.skip(f"no WordNet in {FOLDER}: apt-get install wordnet-base")
    wordnet = WordNet.read(FOLDER)
    first = wordnet.senses["dog"][0]
    assert "domestic_dog" in wordnet.words[first]
    assert wordnet.categories[first] == 5
    assert "canis_familiaris" in wordnet.names
    assert "briefly" in wordnet.adverbs
    assert "fast" not in wordnet.adverbs
    assert wordnet.instances >= {*wordnet.senses["paris"][:1]}
