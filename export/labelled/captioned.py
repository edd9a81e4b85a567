"""Labelled pictures as captioned ones: what a class is called, done and found with, in sentences."""

from __future__ import annotations

from export.labelled.compose import compose_captions
from export.labelled.folders import LabelledDataset
from export.labelled.lexicon import Lexicon
from itl_infer.captions import CaptionDataset, CaptionedImage

HELD_OUT_EVERY = 40
"""One training picture in so many chooses the best epoch of the branches."""


def captioned(dataset: LabelledDataset, lexicon: Lexicon, *, name: str, seed: int = 0) -> CaptionDataset:
    """The train pictures with five captions each, and `label` and `source` in `extra`.

    Every fortieth picture of them is val. The val pictures of `dataset` are left out: they measure what comes of it.
    """
    examples = []
    for number, picture in enumerate(dataset.split("train")):
        image = picture.path.relative_to(dataset.folder).as_posix()
        examples.append(
            CaptionedImage(
                image,
                compose_captions(lexicon.entry_for(picture.label), f"{seed}/{image}"),
                "train" if number % HELD_OUT_EVERY else "val",
                {"label": picture.label, "source": picture.source},
            )
        )
    return CaptionDataset(name, dataset.folder, tuple(examples))
