"""Makes the lists by which a query is seen not to be English: `python -m export.data.languages`.

They lie beside the module of itl-infer that reads them, itl_infer/text/languages.py. Needs the package wordfreq.
"""

from __future__ import annotations

from export.data.frequencies import is_foreign, most_frequent
from itl_infer.text import languages
from itl_infer.text.tokens import plain_letters

LANGUAGES = {
    "fr": "French",
    "de": "German",
    "es": "Spanish",
    "it": "Italian",
    "pt": "Portuguese",
    "nl": "Dutch",
}
WORDS = 4_000  # of each, of which those that are English too are left out
_COMMENT = """Common words of languages that are not English, for itl-infer, in plain letters.

From wordfreq 3 (Robyn Speer, https://doi.org/10.5281/zenodo.7199437), whose data are under CC BY-SA 4.0, and so are
these lists. Made by `python -m export.data.languages`."""


def make_lists() -> dict[str, list[str]]:
    """By the English name of each language its commonest words, without those that are as common in English."""
    return {
        name: list(
            dict.fromkeys(
                plain_letters(word)
                for word in most_frequent(code, WORDS)
                if word.isalpha() and is_foreign(word, code)
            )
        )
        for code, name in LANGUAGES.items()
    }


if __name__ == "__main__":
    languages.LISTS.write_text(languages.format_languages(make_lists(), _COMMENT), encoding="utf-8")
