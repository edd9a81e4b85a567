"""Labelled pictures as captioned ones: what a class is called, done and found with, in sentences."""

from __future__ import annotations

from export.labelled.compose import compose_captions
from export.labelled.folders import LabelledDataset, LabelledPicture
from export.labelled.lexicon import Lexicon
from itl_infer.captions import CaptionDataset, CaptionedImage

HELD_OUT_EVERY = 40
"""One training picture in so many chooses the best epoch of the branches."""


def captioned(
    dataset: LabelledDataset, lexicon: Lexicon, *, name: str, per_class: int | None = None, seed: int = 0
) -> CaptionDataset:
    """The train pictures with five captions each, and `label` and `source` in `extra`; `per_class` at most.

    Every fortieth picture of them is val. The val pictures of `dataset` are left out: they measure what comes of it.
    """
    by_class: dict[str, list[LabelledPicture]] = {}
    for picture in dataset.split("train"):
        by_class.setdefault(picture.label, []).append(picture)
    chosen = [picture for pictures in by_class.values() for picture in _spread(pictures, per_class)]
    examples = []
    for number, picture in enumerate(chosen):
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


def _spread(pictures: list[LabelledPicture], count: int | None) -> list[LabelledPicture]:
    """So many of them, evenly spread; all where there are no more."""
    if count is None or len(pictures) <= count:
        return pictures
    return [pictures[i * len(pictures) // count] for i in range(count)]
