"""The text rules reproduce the original vocabulary, and survive whatever people type."""

from __future__ import annotations

import json
import string
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itl_infer.text import (
    ENGLISH_STOP_WORDS,
    NLTK_TEXT_RULES,
    TextProcessor,
    TextRules,
    build_vocabulary,
    collect_spellings,
    count_stems,
    format_spellings,
    format_vocabulary,
    parse_spellings,
    parse_vocabulary,
    stem_text,
)

WHITESPACE = TextRules(tokenizer="whitespace")
SURF = TextProcessor(NLTK_TEXT_RULES, ["surfer", "wave", "dog", "play", "u.s."])


def stems_of(text: str, rules: TextRules) -> set[str]:
    return {stem for _, stem in stem_text(text, rules) if stem is not None}


def original_vocabulary(shared: Path) -> list[str]:
    counts = json.loads((shared / "seed" / "raw_word_counts.json").read_text(encoding="utf-8"))
    return build_vocabulary(counts, WHITESPACE)


def test_original_vocabulary_is_rebuilt_to_the_last_index(shared: Path) -> None:
    expected = json.loads((shared / "seed" / "vocabulary.json").read_text(encoding="utf-8"))
    assert len(expected) == 13_387
    assert {stem: index for index, stem in enumerate(original_vocabulary(shared), start=1)} == expected


def test_tokenizers_agree_on_the_original_captions(shared: Path) -> None:
    captions = [
        caption
        for split in ("val", "test")
        for entries in json.loads(
            (shared / "seed" / f"flickr30k_{split}_captions.json").read_text(encoding="utf-8")
        ).values()
        for caption in entries[:-1]  # the last entry is the picture's path
    ]
    assert len(captions) == 10_000
    original = TextProcessor(WHITESPACE, original_vocabulary(shared))
    own = TextProcessor(NLTK_TEXT_RULES, original.stems)
    assert not any(original.parse(caption).unknown_words for caption in captions)
    same = sum(set(own.parse(caption).ids) == set(original.parse(caption).ids) for caption in captions)
    assert same >= 9_993  # NLTK's releases differ in a caption or two


def test_stop_words_are_the_179_of_nltk() -> None:
    assert len(ENGLISH_STOP_WORDS) == len(set(ENGLISH_STOP_WORDS)) == 179


def test_words_are_sorted_into_used_ignored_and_unknown() -> None:
    parsed = SURF.parse("The SURFERS in the wave, surfers & zyzzyva!")
    assert parsed.ids == (1, 2)
    assert parsed.used_words == ("surfers", "wave")
    assert parsed.ignored_words == ("the", "in")
    assert parsed.unknown_words == ("zyzzyva",)


@pytest.mark.parametrize(
    ("text", "stems"),
    [
        ("Dogs playing, with each other!", {"dog", "play"}),
        ('a "dog" plays', {"dog", "play"}),
        ("\u201cDogs\u201d \u2013 playing\u2026 --- ...", {"dog", "play"}),
        ("A dog plays. A wave.", {"dog", "play", "wave"}),
        ("the u.s. wave", {"u.s.", "wave"}),
        ("the dog\u2019s wave", {"dog", "'s", "wave"}),
        ("  \t\n dog\x00wave\x85surfer ", {"dog\x00wav", "surfer"}),
        ("", set()),
        ("the in a", set()),
        ("?!", set()),
    ],
)
def test_own_sentences(text: str, stems: set[str]) -> None:
    assert stems_of(text, NLTK_TEXT_RULES) == stems


def test_whitespace_rules_drop_single_ascii_marks_only() -> None:
    assert stems_of('a dog , " ... ” .` -', WHITESPACE) == {"dog", "...", "”", ".`"}


def test_vocabulary_is_ordered_by_count_then_first_appearance() -> None:
    captions = ["a wave and a dog", "dogs playing", "a surfer plays", "surfer"]
    assert count_stems(captions, NLTK_TEXT_RULES) == {"wave": 1, "dog": 2, "play": 2, "surfer": 2}
    assert build_vocabulary(captions, NLTK_TEXT_RULES) == ["dog", "play", "surfer", "wave"]
    assert build_vocabulary(captions, NLTK_TEXT_RULES, min_count=2) == ["dog", "play", "surfer"]
    assert build_vocabulary({"wave": 3, "dogs": 1, "dog": 2}, NLTK_TEXT_RULES) == ["wave", "dog"]


def test_input_ids_are_padded_with_zero() -> None:
    ids = SURF.input_ids(["dog", "a wave and a surfer", "zyzzyva"])
    assert ids.dtype == np.int64
    assert ids.tolist() == [[3, 0], [2, 1], [0, 0]]
    assert SURF.input_ids([]).shape == (0, 1)
    assert SURF.input_ids(["the"]).tolist() == [[0]]


def test_rules_and_vocabulary_are_checked() -> None:
    with pytest.raises(ValueError, match="unknown tokenizer 'bpe'"):
        TextRules(tokenizer="bpe")
    with pytest.raises(ValueError, match="unknown stemmer 'porter'"):
        TextRules(stemmer="porter")
    with pytest.raises(ValueError, match="1 stems of the vocabulary are repeated"):
        TextProcessor(NLTK_TEXT_RULES, ["dog", "dog"])


def test_vocabulary_file_is_one_stem_a_line() -> None:
    assert format_vocabulary(["dog", "wave"]) == b"dog\nwave\n"
    assert parse_vocabulary(b"dog\nwave\n") == ["dog", "wave"]
    assert parse_vocabulary(b"") == []


def test_words_file_is_the_words_of_a_stem_on_a_line() -> None:
    forms = [("dogs", "dog"), ("wave",)]
    assert format_spellings(forms) == b"dogs dog\nwave\n"
    assert [tuple(words) for words in parse_spellings(b"dogs dog\nwave\n")] == forms
    for damaged in (b"dogs  dog\n", b"dog\n\nwave\n"):
        with pytest.raises(ValueError, match="a line without a word"):
            parse_spellings(damaged)


TRICKY = (
    "dog surfers the cannot gonna wanna wannabe t-shirt x-- -x 3 3.5 3,5 u.s. end. , . a,b -- 's don't d'ye more'n"
    " 'tis gimme \" ' ( ; Dogs \u00e9tat \u2013 \u2019s"
)


@given(
    st.lists(st.sampled_from(TRICKY.split()) | st.text("ab1-,. '", max_size=6), max_size=8),
    st.sampled_from([" ", "  ", ", ", ". "]),
    st.sampled_from(["", ".", " .", " . ", "!", ","]),
)
def test_the_short_way_to_words_is_nltks(words: list[str], between: str, end: str) -> None:
    """Plain captions are split without NLTK; by stems, the result must be what NLTK makes of them."""
    from nltk.stem.snowball import SnowballStemmer
    from nltk.tokenize import NLTKWordTokenizer

    text = between.join(words) + end
    typewritten = text.lower()
    for written, typed in {"\u2019": "'", "\u2013": " - "}.items():
        typewritten = typewritten.replace(written, typed)
    expected = [
        word[:-1] if word.endswith(".") and word.count(".") == 1 else word
        for word in NLTKWordTokenizer().tokenize(typewritten)
    ]
    stem = SnowballStemmer("english").stem
    stops = set(NLTK_TEXT_RULES.stop_words)
    found = stem_text(text, NLTK_TEXT_RULES)
    assert found == [
        (word, None if word in stops else stem(word))
        for word in expected
        if not all(char in string.punctuation or unicodedata.category(char).startswith("P") for char in word)
    ]


@given(st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12), max_size=30))
def test_words_that_are_known_have_the_stems_that_the_stemmer_gives_them(words: list[str]) -> None:
    stems = build_vocabulary(words, NLTK_TEXT_RULES)
    forms = parse_spellings(format_spellings(collect_spellings(words, NLTK_TEXT_RULES, stems)))
    knowing = TextProcessor(NLTK_TEXT_RULES, stems, forms)
    text = " ".join(words)
    assert knowing.parse(text) == TextProcessor(NLTK_TEXT_RULES, stems).parse(text)


ANY_CHARACTER = st.characters(
    exclude_categories=()
)  # lone surrogates too: undecodable bytes of a command line


@given(st.text(ANY_CHARACTER), st.sampled_from([NLTK_TEXT_RULES, WHITESPACE]))
def test_any_text_is_parsed(text: str, rules: TextRules) -> None:
    parsed = TextProcessor(rules, SURF.stems).parse(text)
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert all(1 <= number <= len(SURF.stems) for number in parsed.ids)
    words = parsed.used_words + parsed.ignored_words + parsed.unknown_words
    assert len(set(words)) == len(words)
    assert all(word and not word.isspace() and word == word.lower() for word in words)


@given(st.lists(st.text()), st.sampled_from([NLTK_TEXT_RULES, WHITESPACE]))
def test_any_vocabulary_survives_its_file(captions: list[str], rules: TextRules) -> None:
    stems = build_vocabulary(captions, rules)
    assert parse_vocabulary(format_vocabulary(stems)) == stems
    assert all(not TextProcessor(rules, stems).parse(caption).unknown_words for caption in captions)


def test_a_monstrous_word_takes_no_time() -> None:
    word = "ay" * 500_000  # hours, if it were stemmed
    assert SURF.parse(word).unknown_words == (word,)
