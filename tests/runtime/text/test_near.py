"""Words that are spelled alike are those that difflib finds, which compares a word with each."""

from __future__ import annotations

from difflib import get_close_matches

from hypothesis import given
from hypothesis import strategies as st

from itl_infer.text.near import NearWords

SPELLED = st.text("aeinrsté日\ud800", max_size=8)


@given(st.lists(SPELLED, max_size=30, unique=True), SPELLED, st.integers(1, 5))
def test_what_is_near_is_what_difflib_finds(words: list[str], word: str, n: int) -> None:
    assert NearWords(words).find(word, n) == get_close_matches(word, words, n, 0.75)


def test_letters_in_another_order_are_not_near() -> None:
    near = NearWords(["surfer", "waves", "dog"])
    assert near.find("surfr", 3) == ["surfer"]
    assert near.find("sevaw", 3) == []
    assert NearWords([]).find("surfr", 3) == []
