"""The forms of words that are in fixtures/word_forms.tsv, and a vocabulary that knows them."""

from __future__ import annotations

from export.data.forms import text_rules
from itl_infer.text import TextProcessor, TextRules, build_vocabulary, collect_spellings
from tests.places import FIXTURES

RULES = text_rules()
PAIRS = [
    tuple(line.split("\t")) for line in (FIXTURES / "word_forms.tsv").read_text(encoding="utf-8").splitlines()
]
"""Forms that people write, the irregular ones by how often captions have them, and the word that they are forms of."""


def vocabulary_of(texts: list[str], rules: TextRules = RULES) -> TextProcessor:
    stems = build_vocabulary(texts, rules)
    return TextProcessor(rules, stems, collect_spellings(texts, rules, stems))


KNOWING = vocabulary_of([word for pair in PAIRS for word in pair])
WORDS = sorted(
    {word for pair in PAIRS for word in pair if word.isascii() and word.isalpha() and len(word) > 2}
)
