"""The rules of forms live in the bundle, and what is shown is what was typed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from export.data.forms import TABLE, read_forms
from itl_infer import Bundle, BundleError, Index, Searcher, embed_directory, load_bundle
from itl_infer.bundle import manifest as manifest_module
from itl_infer.bundle.manifest import describe_text
from itl_infer.cli import main
from itl_infer.text import NLTK_TEXT_RULES, ORIGINAL_TEXT_RULES, TextRules, WordForms
from tests.runtime.text.helpers import RULES, WORDS
from tests.tiny_bundle import make_tiny_bundle, save_colours


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


def test_known_words_need_no_stemmer(bundle: Bundle) -> None:
    """It takes a third of a second to be imported."""
    code = (
        "import sys, itl_infer\n"
        f"bundle = itl_infer.load_bundle({str(bundle.path)!r})\n"
        'assert len(bundle.parse_text("the children\'s FEET, in a hot-dog and a grey t shirt").ids) == 5\n'
        "assert 'nltk' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
