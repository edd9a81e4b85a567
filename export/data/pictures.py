"""The pictures that are really there, found by what a captions file calls them."""

from __future__ import annotations

import unicodedata
from itertools import groupby
from pathlib import Path, PurePath, PurePosixPath

from export.errors import ExportError
from itl_infer.ingest.walk import UNKNOWN, Walk


class PictureFolder:
    """All pictures under `folder`, in order of name.

    Names are looked up among these and never joined to a path: no captions file can lead out of the folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ExportError(f"no folder of pictures at {folder}: give the folder that holds them")
        walk = Walk(folder)
        self.folder = folder
        self.names = [
            PurePath(file.path).relative_to(folder).as_posix() for file in walk if file.size != UNKNOWN
        ]
        self.problems = [f"{unlisted}: {reason}" for unlisted, reason in walk.problems]
        if not self.names:
            raise ExportError(f"{folder} has no pictures: give the folder that holds them")
        self._top = folder.resolve().name
        self._by_last: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for name in self.names:
            parts = _parts(name)
            self._by_last.setdefault(parts[-1], []).append((parts, name))

    def find(self, name: str) -> list[str]:
        """The pictures meant by a name: one, or none, or several that cannot be told apart.

        The folders of either may be incomplete: "x/1.jpg" is ".../x/1.jpg" of the folder or, where that is
        missing, "1.jpg" at its top.
        """
        wanted = _parts(name)
        candidates = self._by_last.get(wanted[-1], [])
        fits = [(parts, found) for parts, found in candidates if parts[-len(wanted) :] == wanted]
        if not fits:
            shorter = [(parts, found) for parts, found in candidates if wanted[-len(parts) :] == parts]
            fits = sorted(shorter, key=lambda fit: -len(fit[0]))[:1]
        exact = [found for parts, found in fits if parts == wanted]
        if exact:
            return exact[:1]
        if len({self.same_picture(found) for _, found in fits}) == 1:
            return [min(fits, key=lambda fit: len(fit[0]))[1]]
        return [found for _, found in fits]

    def same_picture(self, name: str) -> tuple[str, ...]:
        """Equal for copies in nested folders of one name: Kaggle's flickr30k_images/flickr30k_images/."""
        parts = (self._top, *_parts(name))
        return tuple(part for part, _ in groupby(parts))


def _parts(name: str) -> tuple[str, ...]:
    """One spelling for all systems: macOS takes accents apart, Windows writes backslashes."""
    return PurePosixPath(unicodedata.normalize("NFC", name).replace("\\", "/")).parts
