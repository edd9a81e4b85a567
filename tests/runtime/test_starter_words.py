"""What the shipped bundle reads words as that no caption had."""

from __future__ import annotations

import pytest

from itl_infer import Bundle, QueryError, load_bundle
from tests.places import STARTER


@pytest.fixture(scope="module")
def starter() -> Bundle:
    return load_bundle(STARTER)


def test_the_table_is_whole_and_small(starter: Bundle) -> None:
    starter.check_carried()
    assert (STARTER / "carried.tsv").stat().st_size <= 1_500_000
    assert len(starter.carried_words()) > 30_000


@pytest.mark.parametrize(
    ("word", "read_as"),
    [
        ("gramophone", "record player"),
        ("minarets", "tower"),
        ("ibis", "wading bird"),
        ("ibises", "wading bird"),
        ("hawksbill", "sea turtle"),
        ("euphonium", "brass instrument"),
        ("stegosaurus", "triceratops"),
        ("bonsai", "tree"),
        ("okapi", "giraffe"),
    ],
)
def test_words_are_read_as_what_is_near(starter: Bundle, word: str, read_as: str) -> None:
    parsed = starter.parse_query(f"a {word} in the morning")
    [carried] = parsed.carried
    assert read_as in carried.read_as
    assert parsed.unknown_words == ()


@pytest.mark.parametrize("word", ["surfr", "zebbra", "elefant", "gitar", "umbrela", "zyzzyva"])
def test_typing_mistakes_are_not_read_as_other_things(starter: Bundle, word: str) -> None:
    parsed = starter.parse_text(word)
    assert (parsed.carried, parsed.unknown_words) == ((), (word,))


def test_words_that_say_nothing_of_a_picture_are_not_read_as_others(starter: Bundle) -> None:
    assert starter.parse_text("never although everything briefly whether").carried == ()


@pytest.mark.parametrize(
    ("query", "language"),
    [
        ("un chien dans la rue", "French"),
        ("ein hund im schnee", "German"),
        ("un perro en la playa", "Spanish"),
    ],
)
def test_queries_in_other_languages(starter: Bundle, query: str, language: str) -> None:
    with pytest.raises(QueryError, match=f"it reads English, and the query looks like {language}$"):
        starter.parse_query(query)
