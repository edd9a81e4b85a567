"""What ImageNet's 1,000 classes are called, from the lists that come with timm."""

from __future__ import annotations

from functools import cache

from export.trunk.timm_library import timm_library

IMAGENET_CLASSES = 1000


@cache
def imagenet_names() -> tuple[tuple[str, ...], ...]:
    """For each class, in the order of the classifiers, its synonyms: ("tench", "Tinca tinca") is the first."""
    lemmas = timm_library().data.ImageNetInfo("imagenet-1k").label_descriptions()
    return tuple(tuple(dict.fromkeys(lemma.split(", "))) for lemma in lemmas)
