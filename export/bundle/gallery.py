"""The pictures that come along with a bundle, and their index."""

from __future__ import annotations

import re
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.errors import ExportError
from itl_infer.bundle import Bundle
from itl_infer.bundle.manifest import (
    GALLERY_INDEX,
)
from itl_infer.captions import CaptionDataset
from itl_infer.index import Index
from itl_infer.ingest import embed_directory


@dataclass(frozen=True)
class Gallery:
    """Test pictures that go along with a bundle: how many, and the words of captions that bring a picture in."""

    pictures: int = 0
    featuring: tuple[str, ...] = ()


def copy_gallery(dataset: CaptionDataset, gallery: Gallery, folder: Path) -> None:
    """Copy pictures of `dataset` into the new `folder`, named after what they show.

    Every picture whose captions have one of the featured words, then others, evenly spread over the set.
    """
    folder.mkdir(parents=True)
    words = [set(" ".join(example.captions).lower().split()) for example in dataset]
    chosen = [i for i in range(len(dataset)) if words[i] & set(gallery.featuring)][: gallery.pictures]
    others = [i for i in range(len(dataset)) if i not in set(chosen)]
    room = min(gallery.pictures - len(chosen), len(others))
    chosen += [others[i * len(others) // room] for i in range(room)]
    for i in chosen:
        example = dataset.examples[i]
        source = dataset.folder / example.image
        name = _slug(example.image, example.captions, example.extra)
        shutil.copyfile(source, folder / f"{name}{source.suffix.lower()}")


def _slug(image: str, captions: tuple[str, ...], extra: dict[str, Any]) -> str:
    """A file name that tells people what they see: what the data say is shown, or the first caption."""
    shown = [*extra["subjects"], extra["setting"]] if "subjects" in extra else [captions[0]]
    text = unicodedata.normalize("NFKD", " ".join(shown)).encode("ascii", "ignore").decode().lower()
    words = re.sub("[^a-z0-9]+", "-", text).strip("-")[:80].strip("-")
    return f"{words}-{Path(image).stem}"


def index_gallery(bundle: Bundle) -> None:
    """Embed the bundle's own pictures, into the index that comes with it."""
    assert bundle.gallery_path is not None
    report = embed_directory([bundle.gallery_path], Index.open(bundle.path / GALLERY_INDEX, bundle))
    if report.failed:
        raise ExportError(f"a gallery picture cannot be embedded: {report.failed[0]}")
