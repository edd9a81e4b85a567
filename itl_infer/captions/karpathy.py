"""Karpathy's dataset_flickr8k.json, dataset_flickr30k.json and dataset_coco.json."""

from __future__ import annotations

from pathlib import Path

from itl_infer.captions.listing import Gathering, Listing
from itl_infer.errors import CaptionsError


def is_karpathy(data: object) -> bool:
    return isinstance(data, dict) and isinstance(data.get("images"), list) and "annotations" not in data


def read_karpathy(path: Path, data: dict[str, list[dict[str, object]]]) -> Listing:
    """`{"images": [{"filename", "filepath"?, "split", "sentences": [{"raw", "tokens"}]}]}`.

    `raw` is what people wrote; `tokens` have lost their punctuation. `restval` is a part of train.
    """
    gathering = Gathering("Karpathy JSON")
    restval = 0
    for i, image in enumerate(data["images"]):
        where = f"{path}: images[{i}]"
        try:
            name, captions = image["filename"], [sentence["raw"] for sentence in image["sentences"]]  # type: ignore[attr-defined]
            folder, split = image.get("filepath"), image.get("split")
        except (KeyError, TypeError, AttributeError) as error:
            raise CaptionsError(
                f'{where}: expected {{"filename", "split", "sentences": [{{"raw"}}]}}, found {image!r:.60}'
            ) from error
        gathering.add_picture(f"{folder}/{name}" if folder else name, captions, where, split)
        restval += split == "restval"
    if restval:
        gathering.notes.append(f"pictures marked restval, taken for train: {restval:,}")
    return gathering.listing()
