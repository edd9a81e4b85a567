"""Forms of one word are one word, whatever else stays apart, and the rules of it live in the bundle."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from export.data.forms import TABLE, WordNet, make_forms, read_forms, text_rules
from export.data.words import LearnedWords
from itl_infer import Bundle, BundleError, Index, Searcher, embed_directory, load_bundle
from itl_infer.bundle import manifest as manifest_module
from itl_infer.bundle.manifest import describe_text
from itl_infer.cli import main
from itl_infer.text import (
    NLTK_TEXT_RULES,
    ORIGINAL_TEXT_RULES,
    TextProcessor,
    TextRules,
    WordForms,
    build_vocabulary,
    collect_spellings,
    format_spellings,
    parse_spellings,
    stem_text,
)
from tests.tiny_bundle import make_tiny_bundle, save_colours

RULES = text_rules()
FIXTURES = Path(__file__).parent / "fixtures"
WORDNET = Path("/usr/share/wordnet")

PAIRS = [
    tuple(line.split("\t")) for line in (FIXTURES / "word_forms.tsv").read_text(encoding="utf-8").splitlines()
]
"""Forms that people write, the irregular ones by how often captions have them, and the word that they are forms of."""

APART = """
    glasses glass; jeans jean; news new; shorts short; tights tight; pants pant; blinds blind; briefs brief
    leggings leg
    rose rise; saw see; ground grind; left leave; felt feel; dove dive; spoke speak; bore bear; born bear; wound wind
    lit light; fed feed; led lead; shot shoot; stuck stick; found find; bit bite; thought think; drunk drink; rung ring
    range ring; carpet car; carpet pet; mango man; season sea; season son; fortune tune; notable table; hotdog dog
    father fat; lay lie; data date; improvise improve; timber timbre; advertise advert; people person
    graffiti graffito; dice die; surfer wave; one first; two second; stove stave; media medium; story store; us use
    """
"""Words that no table may make one; the stemmer alone makes one of some."""


def vocabulary_of(texts: list[str], rules: TextRules = RULES) -> TextProcessor:
    stems = build_vocabulary(texts, rules)
    return TextProcessor(rules, stems, collect_spellings(texts, rules, stems))


KNOWING = vocabulary_of([word for pair in PAIRS for word in pair])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A real one that knows the words of `PAIRS`, each by a colour of its own."""
    rng = np.random.default_rng(0)
    colours = {stem: tuple(rng.uniform(0, 1, 3).tolist()) for stem in KNOWING.stems}
    folder = tmp_path_factory.mktemp("forms") / "bundle"
    folder.mkdir()
    (folder / "words.txt").write_bytes(format_spellings(KNOWING.spellings))
    captions = ("two feet", "a grey t-shirt")
    return load_bundle(make_tiny_bundle(folder, rules=RULES, colours=colours, captions=captions))


def test_forms_of_one_word_have_one_embedding(bundle: Bundle) -> None:
    assert len(PAIRS) >= 300
    forms, words = (bundle.embed_texts([pair[i] for pair in PAIRS]) for i in (0, 1))
    cosines = (forms * words).sum(axis=1)
    assert [pair for pair, cosine in zip(PAIRS, cosines, strict=True) if cosine < 1 - 1e-6] == []
    different = (forms[1:] * words[:-1]).sum(axis=1)
    assert np.median(different) < 0.95  # words are told apart after all


def test_what_must_stay_apart() -> None:
    pairs = [pair.split() for line in APART.strip().splitlines() for pair in line.split(";")]
    assert len(pairs) >= 50
    processor = vocabulary_of([word for pair in pairs for word in pair])
    assert [
        pair for pair in pairs if set(processor.parse(pair[0]).ids) & set(processor.parse(pair[1]).ids)
    ] == []


def test_what_the_stemmer_makes_one_stays_one() -> None:
    assert stem_text("universe university", RULES) == stem_text("universe university", NLTK_TEXT_RULES)


@pytest.mark.parametrize(
    ("text", "stems"),
    [
        ("Dogs playing, with each other!", ["dog", "play"]),
        ("\u201cDogs\u201d \u2013 playing\u2026 --- ...", ["dog", "play"]),
        ("the dog\u2019s wave, the dogs' wave", ["dog", "wave", "dog", "wave"]),
        ("they're don't won't it's 's n't", []),
        ("a hot dog, hot-dogs; hotdog", ["hotdog", "hotdog", "hotdog"]),
        ("it was hot. Dogs slept", ["hot", "dog", "sleep"]),
        ("a t, shirt", ["shirt"]),
        ("a baby sitting, a man go", ["babi", "sit", "man", "go"]),
        ("brown-haired, long-sleeved, black-and-white", ["brown", "hair", "long", "sleev", "black", "white"]),
        ("in-between", ["inbetween"]),
        ("10,000 people and 3.5", ["10000", "peopl", "three", "five"]),
        ("black/white red_dog", ["black", "white", "red", "dog"]),
        ("U.S. flag; L.A.", ["us", "flag", "la"]),
        ("\U0001f3c4 in a wave", ["\U0001f3c4", "wave"]),
        ("\u00bd pizza", ["one", "two", "pizza"]),
        ("", []),
        ("the in a", []),
        ("?! -- ' _", []),
    ],
)
def test_own_sentences(text: str, stems: list[str]) -> None:
    assert [stem for _, stem in stem_text(text, RULES) if stem is not None] == stems


def test_what_was_typed_is_what_is_told() -> None:
    parsed = KNOWING.parse(
        "The CHILDREN\u2019s Caf\u00e9, \uff44\uff4f\uff47, hot dogs and a Sky-Diver zyzzyvas"
    )
    assert parsed.used_words == (
        "children\u2019s",
        "caf\u00e9",
        "\uff44\uff4f\uff47",
        "hot dogs",
        "sky-diver",
    )
    assert parsed.ignored_words == ("the", "and", "a")
    assert parsed.unknown_words == ("zyzzyvas",)


def test_a_compound_that_is_not_known_is_its_parts() -> None:
    processor = vocabulary_of(["a blue sky", "the diver", "a dog", "it is hot"])
    ids = processor.parse("sky diver").ids
    assert len(ids) == 2
    for text in ("skydiver", "skydivers", "sky-diver", "sky divers", "Sky Diver's"):
        assert processor.parse(text).ids == ids, text
    assert processor.parse("hotdog").used_words == ("hot", "dog")
    assert vocabulary_of(["a hotdog", "hot", "dog"]).parse("hot dogs").used_words == ("hot dogs",)


def test_a_hyphen_makes_one_word_of_what_somebody_wrote_as_one() -> None:
    processor = vocabulary_of(["a mohawk", "a mo-hawk", "brown-haired", "hair"])
    assert processor.parse("mo-hawks").ids == processor.parse("mohawk").ids
    assert processor.parse("brown-haired").used_words == ("brown", "haired")
    assert processor.words == ("mohawk", "haired", "brown")
    assert processor.spellings[0] == ("mohawk", "mo-hawk")


WORDS = sorted(
    {word for pair in PAIRS for word in pair if word.isascii() and word.isalpha() and len(word) > 2}
)
ACCENTS = "\u0300\u0301\u0302\u0303\u0308\u030a"


@given(st.sampled_from(WORDS), st.data())
def test_the_same_id_whatever_case_accents_hyphen_or_apostrophe(word: str, data: st.DataObject) -> None:
    ids = KNOWING.parse(word).ids
    typed = "".join(
        data.draw(st.sampled_from([c, c.upper(), chr(ord(c) + 0xFEE0), c + "\u00ad"])) for c in word
    )
    if data.draw(st.booleans()):
        place = data.draw(st.integers(1, len(typed)))
        typed = typed[:place] + data.draw(st.sampled_from(ACCENTS)) + typed[place:]
    typed += data.draw(st.sampled_from(["", "'s", "\u2019s", "'", "\u2019", "!", "\u2026", "\u2122"]))
    assert KNOWING.parse(typed).ids == ids
    assert KNOWING.parse(typed).used_words == (typed.lower().rstrip("'\u2019!\u2026"),)


@given(st.sampled_from(WORDS), st.data())
def test_the_same_id_wherever_a_hyphen_stands(word: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(1, len(word) - 1))
    hyphen = data.draw(st.sampled_from("-\u2010\u2011\u2013\uff0d"))
    assert KNOWING.parse(word[:place] + hyphen + word[place:]).ids == KNOWING.parse(word).ids


@given(st.text(st.characters(exclude_categories=())))
@example(
    "\u0130\u2100b \u00c5\u030a e\u0301\u00ad\u2122\U0001f468\u200d\U0001f469 \ud800 \u0928\u092e\u0938\u094d"
)
def test_any_text_is_parsed(text: str) -> None:
    parsed = KNOWING.parse(text)
    assert len(set(parsed.ids)) == len(parsed.ids)
    words = parsed.used_words + parsed.ignored_words + parsed.unknown_words
    assert all(word and not word.isspace() and word == word.lower() for word in words)
    assert len(parsed.used_words) == len(parsed.used_ids)


@given(
    st.lists(
        st.lists(
            st.sampled_from(
                [
                    "t",
                    "shirt",
                    "hot",
                    "dogs",
                    "hotdog",
                    "sky-diver",
                    "sky",
                    "divers",
                    "feet",
                    "grey",
                    "two",
                    "2",
                    "mo-hawk",
                    "mohawk",
                    "cafe\u0301",
                    "the",
                    "don't",
                    ",",
                    "x",
                ]
            ),
            max_size=6,
        ).map(" ".join),
        max_size=6,
    )
)
def test_words_that_are_known_have_the_stems_that_the_rules_give_them(texts: list[str]) -> None:
    stems = build_vocabulary(texts, RULES)
    spellings = parse_spellings(format_spellings(collect_spellings(texts, RULES, stems)))
    knowing, stemming = TextProcessor(RULES, stems, spellings), TextProcessor(RULES, stems)
    for text in texts:
        assert knowing.parse(text) == stemming.parse(text)
        assert not knowing.parse(text).unknown_words
    for min_count in (1, 2):  # ids that were found when the vocabulary was, and by reading again
        learned = LearnedWords(texts, RULES, min_count=min_count)
        again = TextProcessor(RULES, learned.stems)
        assert [learned.ids_of(text) for text in texts] == [again.parse(text).ids for text in texts]


def test_nothing_that_was_known_becomes_unknown(shared: Path) -> None:
    counts = json.loads((shared / "seed" / "raw_word_counts.json").read_text(encoding="utf-8"))
    assert len(counts) == 20_324
    before = TextProcessor(NLTK_TEXT_RULES, build_vocabulary(counts, NLTK_TEXT_RULES))
    now = TextProcessor(RULES, build_vocabulary(counts, RULES))
    assert [word for word in counts if now.parse(word).unknown_words] == []
    lost = [word for word in counts if before.parse(word).ids and not now.parse(word).ids]
    assert lost == ["they\u2019re", ".a", "+is", ".an", ".d"]  # stop words, now that they are read as such
    assert len(now.stems) < len(before.stems)


def test_a_short_list_of_words_reads_clitics_as_words() -> None:
    assert build_vocabulary({"'s": 3, "n't": 2, "dog": 1}, RULES) == ["'s", "n't", "dog"]


# In the bundle


def test_the_manifest_names_the_rules_and_the_hash_of_their_table(bundle: Bundle) -> None:
    assert bundle.manifest["format_version"] == 2
    assert bundle.manifest["text"] == describe_text(RULES)
    assert bundle.manifest["text"]["forms"]["sha256"] == bundle.manifest["files"]["forms.txt"]["sha256"]
    assert bundle.text_rules == RULES
    assert (bundle.path / "forms.txt").read_bytes() == TABLE.read_bytes()
    assert b"Princeton" in TABLE.read_bytes()  # the licence goes along


def test_other_rules_are_another_bundle(tmp_path: Path) -> None:
    forms = WordForms.parse(TABLE.read_bytes().replace(b"\nfeet foot\n", b"\n"))
    changed = make_tiny_bundle(tmp_path / "a", rules=TextRules(forms=forms))
    assert (
        load_bundle(changed).fingerprint
        != load_bundle(make_tiny_bundle(tmp_path / "b", rules=RULES)).fingerprint
    )


def test_a_table_that_is_not_the_bundles_is_refused(tmp_path: Path) -> None:
    for change, message in (
        (
            lambda m: m["text"]["forms"].update(sha256="0" * 64),
            "'forms' of 'text' is not the forms.txt of 'files'",
        ),
        (lambda m: m["text"].pop("forms"), "'forms' is missing, expected an object"),
        (lambda m: m["files"].pop("forms.txt"), "'forms' of 'text' is not the forms.txt of 'files'"),
        (lambda m: m["text"].update(tokenizer="bpe"), "unknown tokenizer 'bpe', expected 'words' or"),
    ):
        folder = make_tiny_bundle(tmp_path / "changed", rules=RULES)
        found = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        change(found)
        (folder / "bundle.json").write_text(json.dumps(found), encoding="utf-8")
        with pytest.raises(BundleError, match=re.escape(message)):
            load_bundle(folder).parse_text("feet")
    folder = make_tiny_bundle(tmp_path / "damaged", rules=RULES)
    (folder / "forms.txt").write_text("[words]\n", encoding="utf-8")
    with pytest.raises(BundleError, match=r"forms\.txt: damaged or replaced"):
        load_bundle(folder).parse_text("feet")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[words]\n[stems]\n[apart]\n",
        b"[stems]\n[words]\n[apart]\n[compounds]\n",
        b"[words]\nfeet\n[stems]\n[apart]\n[compounds]\n",
    ],
)
def test_what_is_no_table(content: bytes) -> None:
    with pytest.raises(ValueError):
        WordForms.parse(content)


@given(st.dictionaries(st.sampled_from(WORDS), st.sampled_from(WORDS)), st.frozensets(st.sampled_from(WORDS)))
def test_any_table_survives_its_file(pairs: dict[str, str], apart: frozenset[str]) -> None:
    content = WordForms(words=pairs, stems=pairs, apart=apart, compounds=pairs).format("about\n\nlicence")
    table = WordForms.parse(content)
    assert (table.words, table.stems, table.apart, table.compounds) == (pairs, pairs, apart, pairs)
    assert table.content == content


def test_bundles_of_format_1_keep_their_rules(tmp_path: Path) -> None:
    text = {key: value for key, value in describe_text(NLTK_TEXT_RULES).items() if key != "forms"}
    old = load_bundle(make_tiny_bundle(tmp_path / "old", format_version=1, text=text))
    assert old.text_rules == NLTK_TEXT_RULES
    assert old.parse_text("surfer's waves").used_words == ("surfer", "waves")
    assert old.parse_text("surfer's waves").unknown_words == ("'s",)


def test_an_older_program_says_so_in_one_line(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_module, "FORMAT_VERSION", 1)
    result = CliRunner().invoke(main, ["bundle", "show", str(bundle.path)])
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {bundle.path / 'bundle.json'}: format 2, this itl-infer reads up to 1: update it with"
        " `pip install --upgrade itl-infer`\n"
    )


def test_only_words_have_forms() -> None:
    assert not ORIGINAL_TEXT_RULES.forms
    with pytest.raises(
        ValueError, match="a table of forms goes with the tokenizer 'words', not with 'whitespace'"
    ):
        TextRules(tokenizer="whitespace", forms=read_forms())


# Shown


@pytest.mark.parametrize(
    ("typed", "plain"),
    [("feet", "foot"), ("Grey", "gray"), ("t shirts", "tshirt"), ("SWAM", "swim"), ("caf\u00e9", "cafe")],
)
def test_bundle_show_says_how_a_word_is_read(bundle: Bundle, typed: str, plain: str) -> None:
    result = CliRunner().invoke(main, ["bundle", "show", str(bundle.path), f"--words={typed}"])
    assert result.exit_code == 0, result.output
    assert f"{typed.lower()} is read as {plain}\n" in result.stderr
    assert plain in result.stdout.splitlines()


def test_a_word_that_is_plain_is_only_listed(bundle: Bundle) -> None:
    result = CliRunner().invoke(main, ["bundle", "show", str(bundle.path), "--words=surfer"])
    assert (result.stdout, result.stderr) == ("surfer\n", "")


def test_answers_give_what_was_typed(bundle: Bundle, tmp_path: Path) -> None:
    save_colours(tmp_path / "pictures", ["red", "blue"])
    index = Index.open(tmp_path / "photos.itl", bundle)
    embed_directory(tmp_path / "pictures", index)
    answer = Searcher(index, k=1, explain=True).answer("Children\u2019s FEET, hot dogs")
    assert [word.word for word in answer.words] == ["children\u2019s", "feet", "hot dogs"]
    assert {share.term for share in answer.results[0].shares} == {"children\u2019s", "feet", "hot dogs"}
    arguments = ["query", "feet zyzzyvas", "-d", str(index.path), "-m", str(bundle.path), "--format", "json"]
    result = CliRunner().invoke(main, arguments)
    assert json.loads(result.stdout)["query"] == "feet zyzzyvas"
    assert json.loads(result.stdout)["unknown_words"] == ["zyzzyvas"]


def test_completion_reads_a_prefix_as_words_are_read(bundle: Bundle) -> None:
    assert "cafe" in bundle.complete_word("CAF\u00c9")
    assert bundle.suggest_words("caf\u00e9s\u00e9")[:1] == ("cafe",)


# The table


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


def test_known_words_need_no_stemmer(bundle: Bundle) -> None:
    """It takes a third of a second to be imported."""
    code = (
        "import sys, itl_infer\n"
        f"bundle = itl_infer.load_bundle({str(bundle.path)!r})\n"
        'assert len(bundle.parse_text("the children\'s FEET, in a hot-dog and a grey t shirt").ids) == 5\n'
        "assert 'nltk' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
