"""The words of training captions, read once."""

from __future__ import annotations

from collections.abc import Iterable

from itl_infer.text import ReadTexts, TextProcessor, TextRules, stem_text
from itl_infer.text.vocabulary import Texts


class LearnedWords(TextProcessor):
    """A processor for the words of some texts; it remembers the ids of every text that it was asked for.

    Training asks for those of a caption again and again: for its words, for what the trunk names, for the branches.
    """

    def __init__(
        self, texts: Texts, rules: TextRules, *, min_count: int = 1, without: Iterable[str] = ()
    ) -> None:
        """Of the stems that occur at least `min_count` times in `texts`, which may be counted; not of these words."""
        read = ReadTexts(texts, rules)
        left_out = {stem for word in without for _, stem in stem_text(word, rules)}
        stems = [stem for stem in read.vocabulary(min_count=min_count) if stem not in left_out]
        super().__init__(rules, stems, read.spellings(stems))
        self._ids_of_text = read.ids(stems)

    def ids_of(self, text: str) -> tuple[int, ...]:
        found = self._ids_of_text.get(text)
        if found is None:
            found = self._ids_of_text[text] = super().ids_of(text)
        return found
