"""Scenes in English: five captions each, as different people would write them."""

from __future__ import annotations

import random
from dataclasses import dataclass

from export.data.postcards.catalogue import (
    DOUBLING_VERBS,
    IRREGULAR_PLURALS,
    MASS_NOUNS,
    PROPER_NAMES,
    SETTINGS,
    SKIES,
)
from export.data.postcards.scenes import Look, Subject

CAPTIONS_PER_SCENE = 5


@dataclass(frozen=True)
class Group:
    """Figures of one subject in one picture, alike in looks and size."""

    subject: Subject
    number: int
    look: Look
    size: str  # a key of _SIZES


def plural(noun: str) -> str:
    """Plural of a noun phrase; its head is the last word before "of" or "in"."""
    for link in (" of ", " in "):
        head, found, rest = noun.partition(link)
        if found:
            return plural(head) + link + rest
    stem, space, last = noun.rpartition(" ")
    if last in IRREGULAR_PLURALS:
        return stem + space + IRREGULAR_PLURALS[last]
    if last.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if last.endswith("y") and last[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def third_person(action: str) -> str:
    verb, space, rest = action.partition(" ")
    if verb.endswith(("s", "x", "ch", "sh", "z", "o")):
        verb += "es"
    elif verb.endswith("y") and verb[-2] not in "aeiou":
        verb = verb[:-1] + "ies"
    else:
        verb += "s"
    return verb + space + rest


def participle(action: str) -> str:
    verb, space, rest = action.partition(" ")
    if verb in DOUBLING_VERBS:
        verb += verb[-1]
    elif verb.endswith("ie"):
        verb = verb[:-2] + "y"
    elif verb.endswith("e") and not verb.endswith(("ee", "ye", "oe")):
        verb = verb[:-1]
    return verb + "ing" + space + rest


def with_article(noun: str) -> str:
    if noun in PROPER_NAMES:
        return noun
    if noun.split(" of ")[0] in MASS_NOUNS:
        return f"some {noun}"
    sounds_vowel = noun[0] in "aeiouAEIO" and not noun.startswith(("uni", "one", "eu"))
    return f"{'an' if sounds_vowel else 'a'} {noun}"


def _noun_phrase(group: Group, rng: random.Random, noun: str | None = None) -> str:
    if noun is None:
        countable = [noun for noun in group.subject.nouns if noun not in MASS_NOUNS]
        noun = rng.choice(countable if group.number > 1 else group.subject.nouns)
    if (
        group.size != "medium"
        and group.subject.kind != "people"
        and noun not in MASS_NOUNS
        and rng.random() < 0.3
    ):
        words = ("big", "large", "huge") if group.size in ("large", "close") else ("small", "little", "tiny")
        noun = f"{rng.choice(words)} {noun}"
    if group.number == 1:
        return with_article(noun)
    words = ("two", "two", "a pair of", "a couple of") if group.number == 2 else ("three", "three", "several")
    return f"{rng.choice(words)} {plural(noun)}"


def _clause(group: Group, rng: random.Random) -> tuple[str, str]:
    """(who, does what): "two surfers", "ride a wave"."""
    noun = None
    if group.look.gender and rng.random() < 0.2:
        noun = group.look.gender
    who, action = _noun_phrase(group, rng, noun), rng.choice(group.subject.actions)
    form = rng.randrange(3)
    if form == 0:
        return who, action if group.number > 1 else third_person(action)
    if form == 1:
        return who, ("are " if group.number > 1 else "is ") + participle(action)
    return who, participle(action)


def _caption(setting: str, sky: str | None, groups: list[Group], rng: random.Random) -> str:
    groups = rng.sample(groups, k=len(groups))
    if len(groups) == 3 and rng.random() < 0.15:
        groups = groups[:2]  # people do not name everything they see
    where = rng.choice(SETTINGS[setting])
    if sky and rng.random() < 0.2:
        where = f"{where} {rng.choice(SKIES[sky])}"
    first, *others = groups
    rest = [_noun_phrase(group, rng) for group in others]
    if not rest:
        who, does = _clause(first, rng)
        form = rng.random()
        if form < 0.70:
            text = f"{who} {does} {where}"
        elif form < 0.80:
            text = f"{where} , {who} {does}"
        elif form < 0.90:
            text = f"{_noun_phrase(first, rng)} {where}"
        else:
            text = f"{who} {does}"
    elif rng.random() < 0.6:
        who, does = _clause(first, rng)
        link = rng.choice(("next to", "beside", "near", "close to", "not far from"))
        text = f"{who} {does} {link} {' and '.join(rest)}"
        text = f"{text} {where}" if rng.random() < 0.9 else text
    else:
        named = [_noun_phrase(first, rng), *rest]
        text = f"{' , '.join(named[:-1])} and {named[-1]} {where}"
        if rng.random() < 0.2:
            text = f"there {'are' if first.number > 1 else 'is'} {text}"
    return text[0].upper() + text[1:] + " ."


def write_captions(setting: str, sky: str | None, groups: list[Group], rng: random.Random) -> list[str]:
    captions: list[str] = []
    while len(captions) < CAPTIONS_PER_SCENE:
        caption = _caption(setting, sky, groups, rng)
        if caption not in captions:
            captions.append(caption)
    return captions
