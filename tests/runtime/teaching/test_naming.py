"""What may be a name, and which names stand in a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itl_infer.errors import TeachError
from itl_infer.teaching import key_of, require_name
from itl_infer.teaching.naming import NameFinder

NAMES = ["Rex", "Rex Junior", "Villa Rosa", "A12-7", "Zoë", "C++"]
FINDER = NameFinder(map(key_of, NAMES))


@pytest.mark.parametrize(
    ("text", "found", "rest"),
    [
        ("Rex on the beach", ["rex"], "on the beach"),
        ("the beach with REX", ["rex"], "the beach with"),
        ("rex junior and Rex", ["rex junior", "rex"], "and"),
        ("Rex's ball", ["rex"], "ball"),
        ("Rex's", ["rex"], ""),
        ("villa  rosa at night", ["villa rosa"], "at night"),
        ("a12-7 in flight", ["a12 - 7"], "in flight"),
        ("Zoe and zoë", ["zoe"], "and"),
        ("a book on c++", ["c + +"], "a book on"),
        ("rexes, a villa", [], "rexes, a villa"),
        ("", [], ""),
    ],
)
def test_names_are_found_in_texts(text: str, found: list[str], rest: str) -> None:
    named = FINDER.split(text)
    assert (list(named.keys), named.rest) == (found, rest)


@given(st.text(max_size=60))
def test_any_text_without_names_stays_as_it_is(text: str) -> None:
    named = FINDER.split(text)
    assert named.keys or named.rest == text


@given(st.text(min_size=1, max_size=100))
def test_every_name_that_is_allowed_is_found(name: str) -> None:
    try:
        name = require_name(name)
    except TeachError:
        return
    assert NameFinder([key_of(name)]).split(name) == ("", (key_of(name),))


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101, "--not", "-d", "!?", "\ud800", "a\x00b"])
def test_what_nobody_could_ask_for_is_no_name(name: str) -> None:
    with pytest.raises(TeachError, match="give one or a few words"):
        require_name(name)


def test_ten_thousand_names_that_begin_alike_are_found_as_fast() -> None:
    finder = NameFinder(f"bird {number}" for number in range(10_000))
    assert finder.split("bird 9999 on a branch").keys == ("bird 9999",)
