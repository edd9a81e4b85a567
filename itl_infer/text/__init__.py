"""A caption or a query becomes the ids of its stems, by rules that travel with the bundle.

    text -> tokens (words as people write them) -> reading (their stems, by the rules) -> processor (ids)

`rules` says which; `forms` is the table by which forms of one word are one word; `vocabulary` makes and writes what a
bundle knows, `carried` is the table of words that are read as known ones, and `languages` says what is not English.
Training, queries, the listing of words and their completion all read text here.
"""

from itl_infer.text.carried import CarriedWord, CarriedWords, format_carried
from itl_infer.text.forms import WordForms
from itl_infer.text.processor import ParsedText, TextProcessor, pad_ids, weigh
from itl_infer.text.reading import stem_text
from itl_infer.text.rules import ENGLISH_STOP_WORDS, NLTK_TEXT_RULES, ORIGINAL_TEXT_RULES, TextRules
from itl_infer.text.vocabulary import (
    ReadTexts,
    build_vocabulary,
    collect_spellings,
    count_stems,
    format_spellings,
    format_vocabulary,
    parse_spellings,
    parse_vocabulary,
)

__all__ = [
    "ENGLISH_STOP_WORDS",
    "NLTK_TEXT_RULES",
    "ORIGINAL_TEXT_RULES",
    "CarriedWord",
    "CarriedWords",
    "ParsedText",
    "ReadTexts",
    "TextProcessor",
    "TextRules",
    "WordForms",
    "build_vocabulary",
    "collect_spellings",
    "count_stems",
    "format_carried",
    "format_spellings",
    "format_vocabulary",
    "pad_ids",
    "parse_spellings",
    "parse_vocabulary",
    "stem_text",
    "weigh",
]
