"""Labelled pictures as captioned ones: what a class is called, done and found with, in sentences."""

from __future__ import annotations

from export.labelled.compose import compose_captions
from export.labelled.folders import LabelledDataset, LabelledPicture
from export.labelled.lexicon import Lexicon
from itl_infer.captions import CaptionDataset, CaptionedImage

HELD_OUT_EVERY = 40
"""One training picture in so many chooses the best epoch of the branches."""


def captioned(dataset: LabelledDataset, lexicon: Lexicon, *, name: str, seed: int = 0) -> CaptionDataset:
    """The train pictures with five captions each, and in `extra` their `label`, its `names`, `kinds` and `source`.

    Every fortieth picture of them is val. The val pictures of `dataset` are left out: they measure what comes of it.
    """
    by_class: dict[str, list[LabelledPicture]] = {}
    for picture in dataset.split("train"):
        by_class.setdefault(picture.label, []).append(picture)
    examples = []
    for number, picture in enumerate(picture for pictures in by_class.values() for picture in pictures):
        image = picture.path.relative_to(dataset.folder).as_posix()
        entry = lexicon.entry_for(picture.label)
        names, kinds = (tuple(word.lstrip("~") for word in words) for words in (entry.names, entry.kinds))
        examples.append(
            CaptionedImage(
                image,
                compose_captions(entry, f"{seed}/{image}"),
                "train" if number % HELD_OUT_EVERY else "val",
                {"label": picture.label, "names": names, "kinds": kinds, "source": picture.source},
            )
        )
    return CaptionDataset(name, dataset.folder, tuple(examples))
