"""Composes captions for the pictures of a class, in the manner in which people describe what they see."""

from __future__ import annotations

import random
from collections.abc import Callable

from export.labelled.lexicon import Activity, Thing

CAPTIONS = 5
_WATCHED = ("A picture of", "A photograph of", "A view of", "Close-up of", "There is", "We see", "Here is")
_ANYBODY = ("man", "woman", "person", "young man", "young woman")
_PEOPLE = ("people", "men and women", "a group of people", "several people")
_POSES = ("sitting", "standing", "lying", "resting", "looking around")
_AN = ("a", "e", "i", "o", "u", "8", "11")
_NO_AN = ("u.", "uni", "use", "euc", "eur", "one", "ut")


def compose_captions(entry: Thing, seed: str) -> tuple[str, ...]:
    """Five different captions for a picture of a class; the same for the same seed.

    The first has the plain name, the second a kind of thing where there is one; never the bare name alone.
    """
    rng = random.Random(seed)  # of a text: the same on every machine
    compose = _activity if isinstance(entry, Activity) else _thing
    bare = {form for name in entry.names for form in (name.lstrip("~"), with_article(name))}
    captions: list[str] = []
    while len(captions) < CAPTIONS:
        name = rng.choice(entry.names) if captions else entry.names[0]
        of_kind = bool(entry.kinds) and (len(captions) == 1 or (len(captions) > 1 and rng.random() < 0.2))
        said = compose(entry, name, of_kind, rng)
        caption = f"{said[0].upper()}{said[1:]} ."
        if said not in bare and (
            caption not in captions or rng.random() < 0.1
        ):  # some have few ways to be said
            captions.append(caption)
    return tuple(captions)


def _thing(entry: Thing, name: str, of_kind: bool, rng: random.Random) -> str:
    looks = [
        look for look in entry.looks if look.split()[-1] != name.lstrip("~").split()[0]
    ]  # no "black black stork"
    look = f"{rng.choice(looks)} " if looks and rng.random() < 0.3 else ""
    noun = with_article(f"~{look}{name[1:]}" if name.startswith("~") else f"{look}{name}")
    place = f" {rng.choice(entry.places)}" if entry.places and rng.random() < 0.55 else ""
    kinds = [kind for kind in entry.kinds if kind.lstrip("~") != name.lstrip("~")]
    if of_kind and kinds:
        kind = rng.choice(kinds)
        said: list[Callable[[], str]] = [
            lambda: f"{with_article(kind)}{place}: {noun}",
            lambda: f"{noun}, {with_article(kind)}, {place.strip() or 'close up'}",
            lambda: f"{noun} is {with_article(kind)}",
            lambda: f"{with_article(kind)}{place or ' seen from near'}",
            lambda: f"a picture of {with_article(kind)}{place}",
        ]
        return rng.choice(said)()
    if "animal" in entry.kinds and rng.random() < 0.35:
        return f"{noun} {rng.choice(_POSES)}{place}"
    if place and rng.random() < 0.6:
        return f"{noun}{place}"
    return f"{rng.choice(_WATCHED)} {noun}{place}"


def _activity(entry: Activity, name: str, of_kind: bool, rng: random.Random) -> str:
    place = f" {rng.choice(entry.places)}" if entry.places and rng.random() < 0.45 else ""
    doing = rng.choice(entry.doing)
    who = with_article(rng.choice(entry.people if rng.random() < 0.6 else _ANYBODY))
    tool = rng.choice(entry.tools) if entry.tools else ""
    if of_kind:
        kind = rng.choice(entry.kinds)
        said = [
            f"{name.lstrip('~')}{place}, {with_article(kind)}",
            f"{who} {doing}: {with_article(kind)}",
            f"{rng.choice(_PEOPLE)} at {with_article(kind)}{place}",
            f"a picture of {with_article(kind)}{place}",
        ]
        return rng.choice(said)
    if name == entry.names[0] and rng.random() < 0.5:
        return f"{name.lstrip('~')}{place or ' with ' + with_article(tool or 'friends')}"
    said = [
        f"{who} {doing}{place}",
        f"{who} is {doing}{place}",
        f"{rng.choice(_PEOPLE)} {doing}{place}",
        f"{who} with {with_article(tool)}{place}" if tool else f"{who} {doing}",
        f"{who}{place} at {name.lstrip('~')}" if place else f"{who} {doing}",
        f"{name.lstrip('~')}: {who} {doing}{place}",
    ]
    return rng.choice(said)


def with_article(noun: str) -> str:
    """ "dog" -> "a dog", "~dogs" -> "dogs"; nouns that have an article keep it."""
    if noun.startswith("~"):
        return noun[1:]
    word = noun.lower()
    if word.startswith(("a ", "an ", "the ")):
        return noun
    return f"{'an' if word.startswith(_AN) and not word.startswith(_NO_AN) else 'a'} {noun}"
