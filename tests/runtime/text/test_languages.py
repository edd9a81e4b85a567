"""Queries that are not in English: told by lists of common words, and by letters."""

from __future__ import annotations

import pytest

from itl_infer.text.languages import ANOTHER_SCRIPT, guess_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("un chien dans la rue", "French"),
        ("ein hund im schnee", "German"),
        ("un perro en la playa", "Spanish"),
        ("un cane sulla spiaggia", "Italian"),
        ("um cachorro na praia", "Portuguese"),
        ("een hond op het strand", "Dutch"),
        ("niño", "Spanish"),
        ("собака на улице", ANOTHER_SCRIPT),
        ("犬", ANOTHER_SCRIPT),
        ("σκύλος", ANOTHER_SCRIPT),
        ("surfr", None),
        ("zyzzyva qwrt", None),
        ("café", None),
        ("", None),
        ("\N{SURFER}", None),
        ("42 1,000", None),
        ("\N{LATIN SMALL LIGATURE FI}sh \N{FULLWIDTH LATIN SMALL LETTER D}og", None),
    ],
)
def test_the_language_of_unknown_words(text: str, language: str | None) -> None:
    assert guess_language(text.split()) == language


def test_names_between_common_words_do_not_hide_the_language() -> None:
    assert guess_language(["chien", "zyzzyva"]) == "French"
    assert guess_language(["chien", "zyzzyva", "qwrt"]) is None


def test_known_words_that_are_english_make_a_text_english() -> None:
    assert guess_language(["chien"], ["la"]) == "French"
    assert guess_language(["chien"], ["dog"]) is None
    assert guess_language(["собака"], ["dog"]) is None
