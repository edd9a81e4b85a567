"""The page reads text as Python does, to the letter: stems, forms, compounds, negations, suggestions, languages."""

from __future__ import annotations

import json
import sys
import tarfile
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itl_infer import Bundle
from itl_infer.search import split_negations
from itl_infer.text.languages import guess_language
from itl_infer.text.reading import stem
from itl_infer.text.tokens import is_symbol, plain_letters
from tests.runtime.publish.helpers import Node

# What people type around words, and what programs paste: hyphens, quotes, accents, widths, joiners, emoji, digits.
MARKS = (
    "-'\u2019\u2018`\u00b4\u2010\u2013\u2014\u2212.,;:!?()/&_ \t\n\u00a0\u3000\u00ad\u200b\u200d"
    "\ufeff\u2122\u00b2\u00bd\u2460\u0663\u00e9\u0301\u00c5\u00df\u00c6\u00f8\u0131\u0130\u017fK"
    "\u03a3\u03c2\ufb01\uff21\U0001f3c4\U0001f600\u4e2d\u3042\ud55c\U00010400\u1e9e"
)
_WORDS = """
    surfer surfing waves dogs glasses feet womens snow board snowboarding hot dog t shirt shirts no not
    without cars and or nor neither people bonsai minaret grey 2 10,000 1st u.s. o'clock don't isn't
    man's voiture rouge zyxx skies dying gently generous communication sky-diver in-between ice-cream n't 's
"""
WORDS = _WORDS.split()


def parsed(bundle: Bundle, text: str) -> dict[str, Any]:
    """What Python makes of a text, as `ask.mjs` says it."""
    found = bundle.parse_text(text)
    return {
        "ids": [*found.ids],
        "used": [[*one] for one in zip(found.used_words, found.used_ids, strict=True)],
        "ignored": [*found.ignored_words],
        "unknown": [*found.unknown_words],
        "carried": [
            [
                word.word,
                word.stem,
                [*word.read_as],
                [[*one] for one in word.stems],
                [[*one] for one in word.ids.items()],
            ]
            for word in found.carried
        ],
    }


def differences(node: Node, bundle: Bundle, texts: Sequence[str]) -> list[tuple[str, Any, Any]]:
    """The texts that are read otherwise, with what the page and what Python made of them."""
    expected = [parsed(bundle, text) for text in texts]
    found = node.ask_of_each("parse", texts)
    return [each for each in zip(texts, found, expected, strict=True) if each[1] != each[2]]


def some_and_all(step: int) -> pytest.MarkDecorator:
    """Every so many words or captions always, all of them where slow tests are asked for."""
    return pytest.mark.parametrize("step", [step, pytest.param(1, marks=pytest.mark.slow)])


def texts_with(alphabet: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(st.one_of(st.sampled_from(WORDS), alphabet), max_size=8).map("".join)


TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    texts_with(st.sampled_from(MARKS)),
    texts_with(st.text(st.characters(exclude_categories=["Cs"]), max_size=3)),
    st.lists(st.sampled_from([*WORDS, *MARKS]), max_size=12).map(" ".join),
    st.text("aeiouybdlgnstwxrz'", max_size=14),
)


@pytest.fixture(scope="module")
def raw_words(shared: Path) -> list[str]:
    """Every word that somebody wrote in Flickr30k's captions."""
    return [*json.loads((shared / "seed" / "raw_word_counts.json").read_text())]


@pytest.fixture(scope="module")
def captions(shared: Path) -> list[str]:
    """10,000 captions of Flickr8k."""
    with tarfile.open(shared / "captioned_photos" / "flickr8k.tar.gz") as archive:
        file = archive.extractfile("./Flickr8k.token.txt")
        assert file is not None
        return [line.split("\t")[1] for line in file.read().decode().splitlines()[:10_000]]


def test_each_word_of_the_vocabulary_is_read_alike(node: Node, bundle: Bundle) -> None:
    processor = bundle.text_processor()
    words = [word for words in processor.spellings for word in words]
    assert differences(node, bundle, [*words, *processor.stems]) == []


def test_each_word_that_people_wrote_has_the_same_stem(node: Node, raw_words: list[str]) -> None:
    assert len(raw_words) == 20_324
    assert node.ask("stem", raw_words) == [stem(word) for word in raw_words]


@some_and_all(25)
def test_each_word_that_people_wrote_is_read_alike(
    node: Node, bundle: Bundle, raw_words: list[str], step: int
) -> None:
    assert differences(node, bundle, raw_words[::step]) == []


@some_and_all(10)
def test_captions_are_read_alike(node: Node, bundle: Bundle, captions: list[str], step: int) -> None:
    assert differences(node, bundle, captions[::step]) == []


@settings(max_examples=25)
@given(st.lists(TEXTS, min_size=20, max_size=40))
def test_whatever_is_typed_is_read_alike(node: Node, bundle: Bundle, texts: list[str]) -> None:
    assert differences(node, bundle, texts) == []


@settings(max_examples=15)
@given(st.lists(st.one_of(TEXTS, st.text("aeiouyYsdlingtbzer'", min_size=3, max_size=20)), min_size=30))
def test_whatever_is_stemmed_is_stemmed_alike(node: Node, texts: list[str]) -> None:
    words = [plain_letters(text) for text in texts]
    assert node.ask("stem", words) == [stem(word) for word in words]


@settings(max_examples=15)
@given(st.lists(TEXTS, min_size=20, max_size=40))
def test_negations_are_read_alike(node: Node, texts: list[str]) -> None:
    texts += [f"a street without {text}" for text in texts]
    found = [asdict(split_negations(text)) | {"phrases": [*split_negations(text).phrases]} for text in texts]
    assert node.ask("negations", texts) == found


@settings(max_examples=10)
@given(st.lists(st.lists(TEXTS, max_size=12).map(" ".join), min_size=5, max_size=20))
def test_notes_are_shortened_alike(node: Node, texts: list[str]) -> None:
    for text, found in zip(texts, node.ask("shorten", texts), strict=True):
        short = [textwrap.shorten(text, width, placeholder=" ...") for width in (200, 20)]
        escaped = text.replace('"', r"\"")
        assert found == [*short, text if text.isalnum() else f'"{escaped}"']


@some_and_all(31)
def test_each_letter_is_what_python_makes_of_it(node: Node, step: int) -> None:
    """Of all that Unicode has or may have, but for halves of characters."""
    codes = [*range(0x500), *range(0x500, sys.maxunicode + 1, step)]
    letters = [char for char in map(chr, codes) if unicodedata.category(char) != "Cs"]
    for start in range(0, len(letters), 50_000):
        some = letters[start : start + 50_000]
        expected = [
            [
                plain_letters(char),
                char.lower(),
                char.isalnum(),
                char.isalpha(),
                char.isdigit(),
                char.isspace(),
                is_symbol(char),
            ]
            for char in some
        ]
        # Python asks it only of what is not ASCII.
        found = [
            one if not char.isascii() else [*one[:6], False]
            for char, one in zip(some, node.ask("letters", "".join(some)), strict=True)
        ]
        assert found == expected


def test_unknown_words_have_the_same_suggestions(node: Node, bundle: Bundle, raw_words: list[str]) -> None:
    unknown = [word for word in raw_words[-400:] if bundle.parse_text(word).unknown_words][:15]
    words = [
        *unknown,
        "surfr",
        "snowbord",
        "\uff33\uff55\uff52\uff46\uff45\uff52\uff52",
        "zyxxyz",
        "x" * 150,
        "",
        "😀surfer",
    ]
    assert node.ask("suggest", words) == [[*bundle.suggest_words(word)] for word in words]


@settings(max_examples=10)
@given(st.lists(st.tuples(st.lists(TEXTS, max_size=4), st.lists(TEXTS, max_size=2)), max_size=20))
def test_languages_are_guessed_alike(node: Node, pairs: list[tuple[list[str], list[str]]]) -> None:
    pairs += [
        (["voiture", "rouge"], []),
        (["la", "voiture", "rouge"], []),
        (["собака"], []),
        (["собака"], ["dog"]),
        (["ein", "hund"], []),
        (["perro", "negro"], ["la"]),
        (["zyxxy"], []),
        ([], []),
    ]
    assert node.ask("guess", pairs) == [guess_language(*pair) for pair in pairs]


@pytest.mark.parametrize(
    "prefix", ["sur", "Sur", "bons", "minar", "\uff33\uff2e", "é", "zzzz", "a", "x-", "constructor"]
)
def test_words_are_completed_alike(node: Node, bundle: Bundle, prefix: str) -> None:
    """Known ones first, carried ones below them."""
    assert node.ask("complete", [prefix]) == [[*bundle.complete_word(prefix)]]


def test_texts_are_embedded_alike(node: Node, bundle: Bundle) -> None:
    words = bundle.words
    texts = [
        *words[::40],
        *(" ".join(words[start : start + 9]) for start in range(0, 2000, 50)),
        "surfer in a wave",
        "a bonsai in a minaret",
        "a street without cars",
    ]
    expected = bundle.embed_texts(texts)
    cosines = (np.array(node.ask("embed", texts)) * expected).sum(axis=1)
    assert cosines.min() > 0.99999
