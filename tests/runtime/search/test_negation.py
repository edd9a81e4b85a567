"""What a text says is not to be seen: a table of texts, and what becomes of a query."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itl_infer import Query, load_bundle
from itl_infer.search.negation import split_negations

SAID = [
    ("a street without cars", "a street", ("cars",)),
    ("no people", "", ("people",)),
    ("not a dog", "", ("dog",)),
    ("A Street WITHOUT Cars.", "A Street.", ("Cars",)),
    ("a street without cars at night", "a street at night", ("cars",)),
    ("a beach with no people and no dogs", "a beach", ("people", "dogs")),
    ("a kitchen, without any people, in the morning", "a kitchen, in the morning", ("people",)),
    ("without cars or people", "", ("cars", "people")),
    ("a street without cars, people or bikes at night", "a street at night", ("cars", "people", "bikes")),
    ("no dogs, no cats, or birds", "", ("dogs", "cats", "birds")),
    ("a beach without people, umbrellas, or any dogs", "a beach", ("people", "umbrellas", "dogs")),
    ("a street without cars, people walking", "a street, people walking", ("cars",)),
    ("a man without a hat, a dog and a cat", "a man, a dog and a cat", ("hat",)),
    ("a house without windows and doors", "a house", ("windows", "doors")),
    ("a man without a hat and a dog", "a man and a dog", ("hat",)),
    ("no dogs and a cat", "a cat", ("dogs",)),
    ("not a dog but a cat", "a cat", ("dog",)),
    ("a dog (not a cat)", "a dog", ("cat",)),
    ("a car, not red", "a car", ("red",)),
    ("not in a city", "", ("city",)),
    ("a man not wearing a hat", "a man", ("wearing a hat",)),
    ("neither dogs nor cats", "", ("dogs", "cats")),
    ("no piece of paper on a desk", "on a desk", ("piece of paper",)),
    ("a road with no signs", "a road", ("signs",)),
]
NOT_SAID = [
    *("no smoking sign", "a no smoking sign", "no parking", "a door with no entry sign", "no dogs sign"),
    *("a street without", "doing without", "without", "no", "not", "whether or not", "without a doubt"),
    *(
        "not only a dog",
        "not far from the sea",
        "no one on the beach",
        "no longer young",
        "No. 5",
        "no 1 jersey",
    ),
    *("notebook", "northern lights", "a knot", "", "a dog in the snow"),
]


@pytest.mark.parametrize(("text", "rest", "phrases"), SAID)
def test_what_is_not_to_be_seen(text: str, rest: str, phrases: tuple[str, ...]) -> None:
    negated = split_negations(text)
    assert (negated.rest, negated.phrases) == (rest, phrases)


@pytest.mark.parametrize("text", NOT_SAID)
def test_what_denies_nothing_stays_as_it_is(text: str) -> None:
    negated = split_negations(text)
    assert (negated.rest, negated.phrases) == (text, ())


WORDS = [
    "no",
    "not",
    "without",
    "nor",
    "a",
    "the",
    "and",
    "or",
    "with",
    "in",
    "dog",
    "sign",
    ",",
    "(",
    ")",
    "42",
    "\u2019",
]


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=3)).map(" ".join))
def test_any_text_is_split(text: str) -> None:
    negated = split_negations(text)
    assert all(phrase and phrase in text for phrase in negated.phrases)
    assert negated.phrases or negated.rest == text


def test_a_negation_is_said_and_searched_for_as_before(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    embedded = Query("a green wave without surfers").embed(bundle)
    np.testing.assert_array_equal(embedded.vector, bundle.embed_texts(["green wave surfers"])[0])
    [note] = embedded.notes
    assert note == (
        'counts as wanted: surfers; to leave it out: query "a green wave" --subtract surfers, or --understand-not'
    )
    assert Query("a green wave").embed(bundle).notes == ()


def test_understood_it_is_the_query_that_subtracts(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    embedded = Query("a green wave without surfers", add=["blue"], understand_not=True).embed(bundle)
    expected = Query("a green wave", add=["blue"], subtract=("surfers",))
    assert embedded.query == expected
    np.testing.assert_array_equal(embedded.vector, expected.embed(bundle).vector)
    assert embedded.notes == ('read as query "a green wave" --subtract surfers',)
    assert expected.embed(bundle).notes == ()


def test_nothing_but_a_negation_is_a_query(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    embedded = Query("there is no red", understand_not=True).embed(bundle)
    assert embedded.query == Query(None, subtract=("red",))
    np.testing.assert_allclose(embedded.vector, -bundle.embed_texts(["red"])[0], atol=1e-6)


def test_words_that_cannot_be_subtracted_are_left_where_they_are(tiny_bundle: Path) -> None:
    embedded = Query("red, no zyzzyvas", understand_not=True).embed(load_bundle(tiny_bundle))
    assert (embedded.query.subtract, embedded.notes, embedded.unknown_words) == ((), (), ("zyzzyvas",))
