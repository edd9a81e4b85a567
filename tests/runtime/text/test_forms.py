"""Forms of one word are one word, whatever else stays apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from export.data.words import LearnedWords
from itl_infer import Bundle
from itl_infer.text import (
    NLTK_TEXT_RULES,
    TextProcessor,
    build_vocabulary,
    collect_spellings,
    format_spellings,
    parse_spellings,
    stem_text,
)
from tests.runtime.text.helpers import KNOWING, PAIRS, RULES, WORDS, vocabulary_of

APART = """
    glasses glass; jeans jean; news new; shorts short; tights tight; pants pant; blinds blind; briefs brief
    leggings leg
    rose rise; saw see; ground grind; left leave; felt feel; dove dive; spoke speak; bore bear; born bear; wound wind
    lit light; fed feed; led lead; shot shoot; stuck stick; found find; bit bite; thought think; drunk drink; rung ring
    range ring; carpet car; carpet pet; mango man; season sea; season son; fortune tune; notable table; hotdog dog
    father fat; lay lie; data date; improvise improve; timber timbre; advertise advert; people person
    graffiti graffito; dice die; surfer wave; one first; two second; stove stave; media medium; story store; us use
    """
"""Words that no table may make one; the stemmer alone makes one of some."""


def test_forms_of_one_word_have_one_embedding(bundle: Bundle) -> None:
    assert len(PAIRS) >= 300
    forms, words = (bundle.embed_texts([pair[i] for pair in PAIRS]) for i in (0, 1))
    cosines = (forms * words).sum(axis=1)
    assert [pair for pair, cosine in zip(PAIRS, cosines, strict=True) if cosine < 1 - 1e-6] == []
    different = (forms[1:] * words[:-1]).sum(axis=1)
    assert np.median(different) < 0.95  # words are told apart after all


def test_what_must_stay_apart() -> None:
    pairs = [pair.split() for line in APART.strip().splitlines() for pair in line.split(";")]
    assert len(pairs) >= 50
    processor = vocabulary_of([word for pair in pairs for word in pair])
    assert [
        pair for pair in pairs if set(processor.parse(pair[0]).ids) & set(processor.parse(pair[1]).ids)
    ] == []


def test_what_the_stemmer_makes_one_stays_one() -> None:
    assert stem_text("universe university", RULES) == stem_text("universe university", NLTK_TEXT_RULES)


@pytest.mark.parametrize(
    ("text", "stems"),
    [
        ("Dogs playing, with each other!", ["dog", "play"]),
        ("\u201cDogs\u201d \u2013 playing\u2026 --- ...", ["dog", "play"]),
        ("the dog\u2019s wave, the dogs' wave", ["dog", "wave", "dog", "wave"]),
        ("they're don't won't it's 's n't", []),
        ("a hot dog, hot-dogs; hotdog", ["hotdog", "hotdog", "hotdog"]),
        ("it was hot. Dogs slept", ["hot", "dog", "sleep"]),
        ("a t, shirt", ["shirt"]),
        ("a baby sitting, a man go", ["babi", "sit", "man", "go"]),
        ("brown-haired, long-sleeved, black-and-white", ["brown", "hair", "long", "sleev", "black", "white"]),
        ("in-between", ["inbetween"]),
        ("10,000 people and 3.5", ["10000", "peopl", "three", "five"]),
        ("black/white red_dog", ["black", "white", "red", "dog"]),
        ("U.S. flag; L.A.", ["us", "flag", "la"]),
        ("\U0001f3c4 in a wave", ["\U0001f3c4", "wave"]),
        ("\u00bd pizza", ["one", "two", "pizza"]),
        ("", []),
        ("the in a", []),
        ("?! -- ' _", []),
    ],
)
def test_own_sentences(text: str, stems: list[str]) -> None:
    assert [stem for _, stem in stem_text(text, RULES) if stem is not None] == stems


def test_what_was_typed_is_what_is_told() -> None:
    parsed = KNOWING.parse(
        "The CHILDREN\u2019s Caf\u00e9, \uff44\uff4f\uff47, hot dogs and a Sky-Diver zyzzyvas"
    )
    assert parsed.used_words == (
        "children\u2019s",
        "caf\u00e9",
        "\uff44\uff4f\uff47",
        "hot dogs",
        "sky-diver",
    )
    assert parsed.ignored_words == ("the", "and", "a")
    assert parsed.unknown_words == ("zyzzyvas",)


def test_a_compound_that_is_not_known_is_its_parts() -> None:
    processor = vocabulary_of(["a blue sky", "the diver", "a dog", "it is hot"])
    ids = processor.parse("sky diver").ids
    assert len(ids) == 2
    for text in ("skydiver", "skydivers", "sky-diver", "sky divers", "Sky Diver's"):
        assert processor.parse(text).ids == ids, text
    assert processor.parse("hotdog").used_words == ("hot", "dog")
    assert vocabulary_of(["a hotdog", "hot", "dog"]).parse("hot dogs").used_words == ("hot dogs",)


def test_a_hyphen_makes_one_word_of_what_somebody_wrote_as_one() -> None:
    processor = vocabulary_of(["a mohawk", "a mo-hawk", "brown-haired", "hair"])
    assert processor.parse("mo-hawks").ids == processor.parse("mohawk").ids
    assert processor.parse("brown-haired").used_words == ("brown", "haired")
    assert processor.words == ("mohawk", "haired", "brown")
    assert processor.spellings[0] == ("mohawk", "mo-hawk")


ACCENTS = "\u0300\u0301\u0302\u0303\u0308\u030a"


@given(st.sampled_from(WORDS), st.data())
def test_the_same_id_whatever_case_accents_hyphen_or_apostrophe(word: str, data: st.DataObject) -> None:
    ids = KNOWING.parse(word).ids
    typed = "".join(
        data.draw(st.sampled_from([c, c.upper(), chr(ord(c) + 0xFEE0), c + "\u00ad"])) for c in word
    )
    if data.draw(st.booleans()):
        place = data.draw(st.integers(1, len(typed)))
        typed = typed[:place] + data.draw(st.sampled_from(ACCENTS)) + typed[place:]
    typed += data.draw(st.sampled_from(["", "'s", "\u2019s", "'", "\u2019", "!", "\u2026", "\u2122"]))
    assert KNOWING.parse(typed).ids == ids
    assert KNOWING.parse(typed).used_words == (typed.lower().rstrip("'\u2019!\u2026"),)


@given(st.sampled_from(WORDS), st.data())
def test_the_same_id_wherever_a_hyphen_stands(word: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(1, len(word) - 1))
    hyphen = data.draw(st.sampled_from("-\u2010\u2011\u2013\uff0d"))
    assert KNOWING.parse(word[:place] + hyphen + word[place:]).ids == KNOWING.parse(word).ids


@given(st.text(st.characters(exclude_categories=())))
@example(
    "\u0130\u2100b \u00c5\u030a e\u0301\u00ad\u2122\U0001f468\u200d\U0001f469 \ud800 \u0928\u092e\u0938\u094d"
)
def test_any_text_is_parsed(text: str) -> None:
    parsed = KNOWING.parse(text)
    assert len(set(parsed.ids)) == len(parsed.ids)
    words = parsed.used_words + parsed.ignored_words + parsed.unknown_words
    assert all(word and not word.isspace() and word == word.lower() for word in words)
    assert len(parsed.used_words) == len(parsed.used_ids)


@given(
    st.lists(
        st.lists(
            st.sampled_from(
                [
                    "t",
                    "shirt",
                    "hot",
                    "dogs",
                    "hotdog",
                    "sky-diver",
                    "sky",
                    "divers",
                    "feet",
                    "grey",
                    "two",
                    "2",
                    "mo-hawk",
                    "mohawk",
                    "cafe\u0301",
                    "the",
                    "don't",
                    ",",
                    "x",
                ]
            ),
            max_size=6,
        ).map(" ".join),
        max_size=6,
    )
)
def test_words_that_are_known_have_the_stems_that_the_rules_give_them(texts: list[str]) -> None:
    stems = build_vocabulary(texts, RULES)
    spellings = parse_spellings(format_spellings(collect_spellings(texts, RULES, stems)))
    knowing, stemming = TextProcessor(RULES, stems, spellings), TextProcessor(RULES, stems)
    for text in texts:
        assert knowing.parse(text) == stemming.parse(text)
        assert not knowing.parse(text).unknown_words
    for min_count in (1, 2):  # ids that were found when the vocabulary was, and by reading again
        learned = LearnedWords(texts, RULES, min_count=min_count)
        again = TextProcessor(RULES, learned.stems)
        assert [learned.ids_of(text) for text in texts] == [again.parse(text).ids for text in texts]


def test_nothing_that_was_known_becomes_unknown(shared: Path) -> None:
    counts = json.loads((shared / "seed" / "raw_word_counts.json").read_text(encoding="utf-8"))
    assert len(counts) == 20_324
    before = TextProcessor(NLTK_TEXT_RULES, build_vocabulary(counts, NLTK_TEXT_RULES))
    now = TextProcessor(RULES, build_vocabulary(counts, RULES))
    assert [word for word in counts if now.parse(word).unknown_words] == []
    lost = [word for word in counts if before.parse(word).ids and not now.parse(word).ids]
    assert lost == ["they\u2019re", ".a", "+is", ".an", ".d"]  # stop words, now that they are read as such
    assert len(now.stems) < len(before.stems)


def test_a_short_list_of_words_reads_clitics_as_words() -> None:
    assert build_vocabulary({"'s": 3, "n't": 2, "dog": 1}, RULES) == ["'s", "n't", "dog"]
