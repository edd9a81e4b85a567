"""What a text says is not to be seen: the "cars" of "a street without cars", by a small table of words.

An embedding has no "not": without this a text that names a thing finds it, however it is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from itl_infer.text import ENGLISH_STOP_WORDS
from itl_infer.text.tokens import plain_letters

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*|[^\w\s]")
_EMPTY = re.compile(r"\(\s*\)")
_SPACE_BEFORE_MARK = re.compile(r" (?=[,;.])")
_LOOSE_START = re.compile(r"^(?:(?:and|but|or)\b|[,;.\s])+", re.IGNORECASE)
_LOOSE_END = re.compile(r"[,;\s]+$")


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


_MARKERS = _set_of("without no not neither nor")
_MARKER = re.compile("|".join(_MARKERS), re.IGNORECASE)
_BEFORE = _set_of("with and but or having has have , ;")  # they go with the marker
_DETERMINERS = _set_of("a an any the some many other single")
_CONJUNCTIONS = _set_of("and or nor")
_PLACES = _set_of("in on at near by under inside with")  # "not in a city"
# Where that which is not to be seen ends, if no mark ends it. "Of" is part of it: "no piece of paper".
_ENDS = _PLACES | _MARKERS
_ENDS |= _set_of("""
    and or but over above below behind beside before after between through across around against along during from into
    onto outside for to while when where who that which whose is are was were as
""")
# What "no" and "without" say of nothing that can be seen.
_SAYINGS = _set_of("""
    one longer matter doubt question way problem idea end more wonder exception less need other reason sense good man's
    mans
""")
# What a sign forbids: "no smoking" is something to be seen.
_FORBIDDEN = _set_of("""
    smoking parking swimming fishing diving trespassing entry entering exit littering loitering camping hunting stopping
    standing waiting feeding photography vaping dumping cycling skateboarding overtaking running jumping climbing access
""")
_SIGNS = _set_of("sign signs zone zones symbol symbols notice notices sticker stickers signage area areas")
# What follows a "not" that denies nothing that can be seen.
_AFTER_NOT = _set_of("""
    only just so very too yet even quite much always all enough really necessarily far sure bad long to be been being
    that this there here well
""")

WORD_TABLES = {
    "markers": _MARKERS,
    "before": _BEFORE,
    "determiners": _DETERMINERS,
    "conjunctions": _CONJUNCTIONS,
    "places": _PLACES,
    "ends": _ENDS,
    "sayings": _SAYINGS,
    "forbidden": _FORBIDDEN,
    "signs": _SIGNS,
    "after_not": _AFTER_NOT,
    "stop_words": frozenset(ENGLISH_STOP_WORDS),
}
"""All of these words by what they are, for what reads negations elsewhere, as a published page does in a browser."""


@dataclass(frozen=True)
class Negated:
    """A text without what it says is not to be seen, and that: "a street", and "cars"."""

    rest: str
    phrases: tuple[str, ...]


def split_negations(text: str) -> Negated:
    """What a text says is not to be seen, and what is left of it; no phrases where it says nothing of the kind."""
    if not _MARKER.search(text):
        return Negated(text, ())
    tokens = list(_WORD.finditer(text))
    words = [plain_letters(token[0]) for token in tokens]
    phrases, spans = [], []
    place = left_from = 0
    while place < len(words):
        begin = _begin_of_phrase(words, place)
        ends = [] if begin is None else _ends_of_phrases(words, begin)
        if not ends:
            place += 1
            continue
        first = place
        while first > left_from and words[first - 1] in _BEFORE:
            first -= 1
        for start, end in ends:
            phrases.append(text[tokens[start].start() : tokens[end - 1].end()])
        place = left_from = ends[-1][1]
        spans.append((tokens[first].start(), tokens[place - 1].end()))
    return Negated(_without(text, spans) if spans else text, tuple(phrases))


def _begin_of_phrase(words: list[str], place: int) -> int | None:
    """Where that begins which the word at `place` denies; None where it denies nothing."""
    marker, begin = words[place], place + 1
    if marker not in _MARKERS or begin == len(words) or words[begin].isdigit():
        return None
    if marker == "not":
        if words[begin] in _AFTER_NOT:
            return None
        if words[begin] in _PLACES:
            begin += 1
    while begin < len(words) and words[begin] in _DETERMINERS:
        begin += 1
    return begin


def _ends_of_phrases(words: list[str], begin: int) -> list[tuple[int, int]]:
    """From where to where each thing is named that is not to be seen, from `begin` on: "cars or people" are two."""
    found: list[tuple[int, int]] = []
    while True:
        end = begin
        while end < len(words) and words[end] not in _ENDS and words[end][:1].isalnum():
            end += 1
        if not _names_something(words[begin:end]):
            return found
        if not found and words[begin - 1] == "no" and _is_on_a_sign(words[begin:end]):
            return found
        found.append((begin, end))
        # "Without cars or people", "without cars and people"; but "no dogs and a cat" wants the cat.
        if end + 1 >= len(words) or not (words[end] in _CONJUNCTIONS or _is_listed(words, end)):
            return found
        begin = end + 1
        if words[end] == "," and words[begin] in _CONJUNCTIONS:
            begin += 1
        if words[end] == "and" and words[begin] in _DETERMINERS - {"any"}:
            return found
        while begin < len(words) and words[begin] in _DETERMINERS:
            begin += 1


def _is_listed(words: list[str], comma: int) -> bool:
    """Whether what follows a comma is denied, too: "cars, people or bikes"; "cars, people walking" is not."""
    while comma < len(words) and words[comma] == ",":
        begin = comma + 1
        if begin < len(words) and words[begin] in ("or", "nor"):
            return True
        end = begin
        while end < len(words) and words[end] not in _ENDS and words[end][:1].isalnum():
            end += 1
        if end == begin:
            return False
        comma = end
    return comma < len(words) and words[comma] in ("or", "nor")


def _names_something(phrase: list[str]) -> bool:
    is_saying = bool(phrase) and phrase[0] in _SAYINGS
    return not is_saying and any(word not in ENGLISH_STOP_WORDS and not word.isdigit() for word in phrase)


def _is_on_a_sign(phrase: list[str]) -> bool:
    return phrase[0] in _FORBIDDEN or (len(phrase) > 1 and phrase[-1] in _SIGNS)


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """A text without these spans, and without the marks and the "and" that they leave at its ends."""
    kept, place = [], 0
    for start, end in spans:
        kept.append(text[place:start])
        place = end
    rest = " ".join(_EMPTY.sub(" ", "".join([*kept, text[place:]])).split())
    return _LOOSE_END.sub("", _LOOSE_START.sub("", _SPACE_BEFORE_MARK.sub("", rest)))
