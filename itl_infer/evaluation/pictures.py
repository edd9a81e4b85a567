"""Where the pictures that a bundle is measured on have their embeddings from: an index, or the bundle itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from itl_infer.bundle import Bundle
from itl_infer.captions import PictureNames
from itl_infer.encoder import require_unit_rows
from itl_infer.errors import CaptionsError, ImageError
from itl_infer.image.batches import decode_ahead
from itl_infer.index import Index
from itl_infer.index.roots import real_path
from itl_infer.progress import Progress

ShowProgress = Callable[[Progress], None]


def embed_pictures(
    bundle: Bundle, paths: Sequence[Path], progress: ShowProgress | None = None
) -> tuple[npt.NDArray[np.float32], dict[str, str]]:
    """(n, D) float32 unit rows of the pictures that can be read, in order; the others' paths, and why they cannot.

    Decoded by threads while the bundle is at work on those before. CaptionsError where none can be read.
    """
    embeddings = [np.empty((0, bundle.embed_dim), np.float32)]
    failed: list[ImageError] = []
    done, started = 0, time.monotonic()
    for pixels in decode_ahead(paths, bundle.image_rules, failed):
        embeddings.append(bundle.embed_pixels(pixels))
        require_unit_rows(embeddings[-1], str(bundle.path))
        done += len(pixels)
        if progress is not None:
            progress(Progress(done + len(failed), len(paths), time.monotonic() - started))
    if failed and not done:
        raise CaptionsError(
            f"none of the {len(paths):,} pictures can be read: first, {failed[0]}: give pictures that can be,"
            " or --images, their folder"
        )
    return np.concatenate(embeddings), {error.name: error.reason for error in failed}


def folder_of(given: Path) -> Path:
    """Where pictures are that captions or labels are of, unless something else is said."""
    return given if given.is_dir() else given.parent


def pictures_in_index(index: Index, given: Path, images: Path | None) -> tuple[PictureNames, dict[str, int]]:
    """The pictures that the captions or labels `given` can mean, and the row of each in the index by its name.

    Those under the folder `images`, by default where `given` is, or else all. CaptionsError where there are none.
    """
    paths = index.paths[:]
    folder = real_path(images or folder_of(given))
    rows = _rows_under(folder, paths)
    if not rows and images is None and paths:
        folder = _common_folder(paths, index)
        rows = _rows_under(folder, paths)
    pictures = PictureNames(
        folder,
        sorted(rows),
        place=str(index.path) if images is None else f"{images} in {index.path}",
        absent="not in the index",
        mend=f"embed them: itl-infer embed-images {images or 'PICTURES'} -d {index.path}, or name no index",
    )
    if not rows:
        raise CaptionsError(f"{pictures.place}: no pictures there; {pictures.mend}")
    return pictures, rows


def _rows_under(folder: Path, paths: list[str]) -> dict[str, int]:
    start = os.path.join(folder, "")  # noqa: PTH118 (for the separator at its end)
    return {
        path[len(start) :].replace(os.sep, "/"): row
        for row, path in enumerate(paths)
        if path.startswith(start)
    }


def _common_folder(paths: list[str], index: Index) -> Path:
    try:
        return Path(os.path.commonpath([os.path.dirname(path) for path in paths]))  # noqa: PTH120 (for speed)
    except ValueError as error:
        raise CaptionsError(
            f"{index.path}: pictures on several drives: name the folder of those with captions, --images"
        ) from error
