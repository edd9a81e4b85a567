"""The pictures of an index as a page shows them: what each is called there, and its thumbnail."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from itl_infer.ahead import in_order_ahead
from itl_infer.cpus import usable_cpus
from itl_infer.errors import ImageError
from itl_infer.image import load_thumbnail
from itl_infer.index.sources import Source, sources_of
from itl_infer.publish.folder import FILES

if TYPE_CHECKING:
    from itl_infer.index import Index

_FORMAT = 1  # of thumbnails: another one makes all of them anew
_QUALITY = 78  # of WebP
_ID_BYTES = 10
_AHEAD = 4  # pictures begun for each thread


@dataclass(frozen=True)
class Shown:
    """One picture of the page."""

    row: int  # in the view of the index
    path: str  # where it is on this machine
    relative: str  # from the folder that was embedded on, with "/"; of several, with the name of that
    name: str  # what the page calls it: that path, or where names are hidden, its id
    id: str  # the name of its thumbnail: of the file's content, so that it is made again only when that changes

    @property
    def thumbnail(self) -> str:
        return f"{FILES}/thumbnails/{self.id[:2]}/{self.id}.webp"


def pictures_of(index: Index, side: int, *, hide_names: bool = False) -> list[Shown]:
    """The pictures of an index, in its order, for thumbnails of `side` pixels."""
    sources = sources_of(index)
    several = len({source.root.id for source in sources.values()}) > 1
    shown = []
    for row, path in enumerate(index.paths):
        source = sources.get(path)  # None: changed by another run just now
        if source is not None:
            name, identity = _name_of(source, several), _id_of(source, side)
            shown.append(Shown(row, path, name, identity if hide_names else name, identity))
    return shown


def _name_of(source: Source, several: bool) -> str:
    """Never where on this machine it lies; from one of several folders, the name of that first."""
    name = os.fsdecode(source.path)
    return f"{source.root.folder.name}/{name}" if several else name


def _id_of(source: Source, side: int) -> str:
    return hashlib.blake2b(source.digest, digest_size=_ID_BYTES, salt=b"%d %d" % (_FORMAT, side)).hexdigest()


def make_thumbnails(
    pictures: Iterable[Shown], side: int, workers: int | None = None
) -> Iterator[tuple[Shown, bytes | ImageError]]:
    """The thumbnail of each picture as WebP, in order, made in parallel; or why there is none."""
    workers = workers or usable_cpus()
    waiting = iter(pictures)
    begun: list[Shown] = []

    def noted() -> Iterator[Shown]:
        for picture in waiting:
            begun.append(picture)
            yield picture

    with ThreadPoolExecutor(workers) as pool:
        made = in_order_ahead(pool, lambda picture: _thumbnail(picture.path, side), noted(), _AHEAD * workers)
        try:
            for place, future in enumerate(made):
                try:
                    yield begun[place], future.result()
                except ImageError as error:
                    yield begun[place], error
        finally:
            made.close()


def _thumbnail(path: str, side: int) -> bytes:
    """Without anything that a file says besides its pixels: no EXIF, no place, no profile, as it is sRGB."""
    buffer = io.BytesIO()
    load_thumbnail(path, side).save(
        buffer, "WEBP", quality=_QUALITY, method=4, exif=b"", xmp=b"", icc_profile=b""
    )
    return buffer.getvalue()
