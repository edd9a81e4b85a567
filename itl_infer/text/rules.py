"""How text becomes stems: the choices that are written into a bundle, so that training and queries cannot differ."""

from __future__ import annotations

from dataclasses import dataclass, field

from itl_infer.text.forms import WordForms

# The English list of NLTK's stop-word corpus, which is a download: carried here, and in every bundle.
_ENGLISH_STOP_WORDS = """
    i me my myself we our ours ourselves you you're you've you'll you'd your yours yourself yourselves
    he him his himself she she's her hers herself it it's its itself they them their theirs themselves
    what which who whom this that that'll these those am is are was were be been being have has had having
    do does did doing a an the and but if or because as until while of at by for with about against between
    into through during before after above below to from up down in out on off over under again further
    then once here there when where why how all any both each few more most other some such no nor not only
    own same so than too very s t can will just don don't should should've now d ll m o re ve y
    ain aren aren't couldn couldn't didn didn't doesn doesn't hadn hadn't hasn hasn't haven haven't isn isn't
    ma mightn mightn't mustn mustn't needn needn't shan shan't shouldn shouldn't wasn wasn't weren weren't
    won won't wouldn wouldn't
"""
ENGLISH_STOP_WORDS: tuple[str, ...] = tuple(_ENGLISH_STOP_WORDS.split())

TOKENIZERS = ("words", "nltk-word", "whitespace")
STEMMERS = ("snowball-english",)


@dataclass(frozen=True)
class TextRules:
    """How text becomes stems. ValueError for what this version does not know.

    `tokenizer`: "words" makes letters plain (case, accents, width, curly quotes) and reads forms of one word as one, by
    the table `forms`; "nltk-word" and "whitespace" are those of bundles from before, and of the original project.
    """

    tokenizer: str = "words"
    stop_words: tuple[str, ...] = ENGLISH_STOP_WORDS
    stemmer: str = "snowball-english"
    forms: WordForms = field(default_factory=WordForms)

    def __post_init__(self) -> None:
        for what, found, expected in (
            ("tokenizer", self.tokenizer, TOKENIZERS),
            ("stemmer", self.stemmer, STEMMERS),
        ):
            if found not in expected:
                raise ValueError(f"unknown {what} {found!r}, expected {' or '.join(map(repr, expected))}")
        if self.forms and self.tokenizer != "words":
            raise ValueError(f"a table of forms goes with the tokenizer 'words', not with {self.tokenizer!r}")


ORIGINAL_TEXT_RULES = TextRules(tokenizer="whitespace")
"""The original project's, to the letter: 13,387 stems of Flickr30k's captions."""

NLTK_TEXT_RULES = TextRules(tokenizer="nltk-word")
"""The original's stems, of sentences as people type them; the rules of all bundles of format 1."""
