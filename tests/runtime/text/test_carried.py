"""Words that no caption had, read as known ones: the table, line by line, and what a text becomes by it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itl_infer.errors import BundleError
from itl_infer.text import NLTK_TEXT_RULES, TextProcessor, format_carried, weigh
from tests.carried_bundle import TABLE

STEMS = ["red", "green", "blue", "bright"]
WORDS = [["red", "reds"], ["green"], ["blues", "blue"], ["brightly", "bright"]]


def processor(table: str | bytes = TABLE) -> TextProcessor:
    content = table if isinstance(table, bytes) else table.encode()
    return TextProcessor(NLTK_TEXT_RULES, STEMS, WORDS, (lambda: content, "carried.tsv"))


def refusal(table: str | bytes, word: str) -> str:
    """What is said of a table when a word of it is used; `check` says the same of the whole."""
    reading = processor(table)
    with pytest.raises(BundleError) as used:
        reading.parse(word)
    assert reading.carried is not None
    with pytest.raises(BundleError) as checked:
        reading.carried.check()
    assert str(used.value) == str(checked.value)
    return str(used.value)


def test_a_carried_word_is_the_weighted_sum_of_its_stems() -> None:
    parsed = processor().parse("a Maroon car, in red")
    assert (parsed.ids, parsed.used_words, parsed.unknown_words) == ((1,), ("red",), ("car",))
    [word] = parsed.carried
    assert (word.word, word.stem, word.read_as) == ("maroon", "maroon", ("red", "blue"))
    assert word.stems == (("red", 0.6), ("blue", 0.2))
    assert str(word) == "maroon: read as red, blue"
    assert parsed.weighted_ids == {1: 1.6, 3: 0.2}


def test_stems_that_are_read_together_are_shown_together() -> None:
    [word] = processor().parse("turquoise").carried
    assert word.read_as == ("green blue", "brightly")
    assert word.stems == (("green", 0.5), ("blue", 0.5), ("bright", 0.25))


def test_forms_of_a_word_are_carried_once() -> None:
    parsed = processor().parse("crimson and crimsons")
    assert [word.word for word in parsed.carried] == ["crimson", "crimsons"]
    assert parsed.weighted_ids == {1: 1.0}


def test_known_words_alone_have_no_weights() -> None:
    assert processor().parse("red and green").weighted_ids == (1, 2)
    assert processor().parse("zyzzyva").weighted_ids == ()


def test_the_file_is_read_at_the_first_unknown_word() -> None:
    reads: list[str] = []

    def read() -> bytes:
        reads.append("read")
        return TABLE.encode()

    reading = TextProcessor(NLTK_TEXT_RULES, STEMS, WORDS, (read, "carried.tsv"))
    assert reading.parse("the reds and a green").carried == ()
    assert reads == []
    reading.parse("crimson"), reading.parse("zyzzyva"), reading.parse("maroon")
    assert reads == ["read"]


def test_only_lines_that_are_used_are_understood() -> None:
    table = TABLE + "zinc\t\tnonsense 1\n"
    assert processor(table).parse("crimson").carried
    assert "line 5" in refusal(table, "zinc")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("zinc\t\tgray 1", "'gray' is no stem of the vocabulary"),
        ("zinc\t\tred nan", "the weight of 'red' is nan, expected a number above 0"),
        ("zinc\t\tred inf", "the weight of 'red' is inf"),
        ("zinc\t\tred -0.5", "the weight of 'red' is -0.5"),
        ("zinc\t\tred 0", "the weight of 'red' is 0"),
        ("zinc\t\tmaroon 1", "'zinc' is carried to 'maroon', which is carried itself"),
        ("zinc\t\tzinc 1", "'zinc' is carried to 'zinc', which is carried itself"),
        ("zinc\t\tred", "is not a stem, a word, and stems with weights"),
        ("zinc\t\tred much", "is not a stem, a word, and stems with weights"),
        ("zinc\t", "'zinc' has 0 stems, expected 1 to 5"),
        ("zinc\t\tred+green+blue 1\tred+green+blue .5", "'zinc' has 6 stems, expected 1 to 5"),
    ],
)
def test_a_line_that_is_wrong_is_named(line: str, said: str) -> None:
    message = refusal(f"{TABLE}{line}\n", "zinc")
    assert message.startswith("carried.tsv, line 5: ")
    assert said in message
    assert message.endswith("; fetch the bundle again, or write the table anew with `python -m export carry`")


def test_a_table_that_is_no_text() -> None:
    assert "line 5: 'zinc\\t" in refusal(TABLE.encode() + b"zinc\t\t\xff\xfe 1\n", "zinc")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("green\t\tred 1\n", "line 1: 'green' is a stem of the vocabulary: nothing is to be carried"),
        (TABLE + "crimson\t\tblue 1\n", "line 5: 'crimson' is there twice, or not in its place"),
    ],
)
def test_the_whole_table_is_checked(table: str, said: str) -> None:
    carried = processor(table).carried
    assert carried is not None
    with pytest.raises(BundleError, match=re.escape(said)):
        carried.check()


def test_completion_offers_carried_words_below_known_ones() -> None:
    reading = processor(TABLE + "redwood\t\tbright 1\n")
    assert reading.complete("re") == ("red", "redwood")
    assert reading.complete("tur") == ("turquoise",)
    assert reading.complete("re", 1) == ("red",)


def test_words_that_have_letters_in_them() -> None:
    carried = processor().carried
    assert carried is not None
    assert [word.described for word in carried.containing("oise")] == [
        "turquoise (read as green blue, brightly)"
    ]


WEIGHTS = st.floats(0.01, 2).map(lambda weight: float(f"{weight:.2g}"))
MEANINGS = st.lists(
    st.tuples(st.sampled_from(STEMS).map(lambda stem: (stem,)), WEIGHTS), min_size=1, max_size=5
)
TABLES = st.dictionaries(
    st.text("abcdefgxyz\N{LATIN SMALL LETTER E WITH ACUTE}", min_size=1).filter(
        lambda stem: stem not in STEMS
    ),
    st.tuples(st.text("abcde", min_size=1), MEANINGS),
    max_size=20,
)


@given(TABLES)
def test_what_is_written_is_read(words: dict[str, tuple[str, list[tuple[tuple[str, ...], float]]]]) -> None:
    carried = processor(format_carried(words, "One line.\nAnother.")).carried
    assert carried is not None
    carried.check()
    assert [word.word for word in carried.containing("")] == [
        words[stem][0] for stem in sorted(words, key=str.encode)
    ]
    for stem, (word, meanings) in words.items():
        found = carried.find(stem)
        assert found is not None
        assert (found.word, found.stem) == (word, stem)
        assert found.stems == tuple((known, weight) for (known,), weight in meanings)
    assert carried.find("nowhere") is None


@given(st.lists(st.sampled_from(["red", "green", "crimson", "maroon", "turquoise", "zyzzyva", "the"])))
def test_weights_do_not_depend_on_the_order(words: list[str]) -> None:
    parsed, other = (processor().parse(" ".join(order)) for order in (words, words[::-1]))
    assert weigh(parsed.ids, parsed.carried) == pytest.approx(weigh(other.ids, other.carried))
