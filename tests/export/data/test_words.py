"""The words of training captions: counted, and some left out."""

from __future__ import annotations

from export.data.words import LearnedWords
from itl_infer.text import NLTK_TEXT_RULES

CAPTIONS = ["two red dogs", "a red wave", "dogs in a wave", "a hawksbill turtle"]


def test_words_that_are_left_out_are_unknown() -> None:
    learned = LearnedWords(CAPTIONS, NLTK_TEXT_RULES, without=["Dog", "hawksbills"])
    assert {"dog", "hawksbil"}.isdisjoint(learned.stems)
    assert learned.ids_of("two red dogs") == learned.ids_of("two red")
    assert len(learned.stems) + 2 == len(LearnedWords(CAPTIONS, NLTK_TEXT_RULES).stems)
