"""The table of forms: made of WordNet, and leading nowhere twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.data.forms import WordNet, make_forms, read_forms

WORDNET = Path("/usr/share/wordnet")


def test_the_table_is_made_of_wordnet() -> None:
    if not (WORDNET / "noun.exc").exists():
        pytest.skip(f"no WordNet in {WORDNET}: apt-get install wordnet-base")
    made = make_forms(WordNet.read(WORDNET))
    kept = read_forms()
    assert (made.words, made.stems, made.apart, made.compounds) == (
        kept.words,
        kept.stems,
        kept.apart,
        kept.compounds,
    )


def test_the_table_leads_nowhere_twice() -> None:
    forms = read_forms()
    assert not {*forms.words} & {*forms.words.values()}
    assert not {*forms.stems} & {*forms.stems.values()}
    assert not {*forms.apart} & {*forms.words}
