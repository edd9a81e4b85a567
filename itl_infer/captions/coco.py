"""COCO's captions_*.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from itl_infer.captions.listing import Gathering, Listing
from itl_infer.errors import CaptionsError


def is_coco(data: object) -> bool:
    return isinstance(data, dict) and "images" in data and "annotations" in data


def read_coco(path: Path, data: dict[str, Any]) -> Listing:
    """`{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}`, in any number."""
    gathering = Gathering("COCO JSON")
    where = f"{path}: annotations"
    captions: dict[object, list[str]] = {}
    places: dict[object, str] = {}
    try:
        for i, annotation in enumerate(data["annotations"]):
            where = f"{path}: annotations[{i}]"
            captions.setdefault(annotation["image_id"], []).append(annotation["caption"])
            places.setdefault(annotation["image_id"], where)
        for i, image in enumerate(data["images"]):
            where = f"{path}: images[{i}]"
            if image["id"] in captions or image["id"] not in places:
                gathering.add_picture(image["file_name"], captions.pop(image["id"], []), where)
            else:
                raise CaptionsError(f"{where}: id {image['id']} is listed before: name each picture once")
    except (KeyError, TypeError) as error:
        raise CaptionsError(
            f'{where}: expected images of {{"id", "file_name"}} and annotations of '
            '{"image_id", "caption"}: give COCO\'s captions_*.json'
        ) from error
    for image_id in captions:
        gathering.skip(places[image_id], f"image_id {image_id}", "caption of a picture that is not listed")
    return gathering.listing()
