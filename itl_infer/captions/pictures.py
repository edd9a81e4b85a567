"""The pictures that are really there, found by what a captions file calls them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path, PurePath, PurePosixPath

from itl_infer.errors import CaptionsError
from itl_infer.walk import UNKNOWN, Walk


class PictureNames:
    """The pictures that captions can mean, by their names relative to `folder`.

    Names are looked up among these and never joined to a path: no captions file can lead out of the folder.
    `place` is what messages call all of them, `absent` what they say of a picture that is not among them, and `mend`
    what to do then.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        *,
        place: str = "",
        absent: str = "no such picture",
        mend: str = "give the folder that holds them",
        problems: Sequence[str] = (),
    ) -> None:
        self.folder, self.names, self.problems = folder, names, tuple(problems)
        self.place, self.absent, self.mend = place or str(folder), absent, mend
        self._top = folder.resolve().name
        self._by_last: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for name in names:
            parts = _parts(name)
            self._by_last.setdefault(parts[-1], []).append((parts, name))

    def find(self, name: str) -> list[str]:
        """The pictures meant by a name: one, or none, or several that cannot be told apart.

        The folders of either may be incomplete: "x/1.jpg" is ".../x/1.jpg" of the folder or, where that is
        missing, "1.jpg" at its top.
        """
        wanted = _parts(name)
        if not wanted:  # as of "." and "/"
            return []
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


def pictures_in(folder: Path) -> PictureNames:
    """All pictures under `folder`, in order of name; CaptionsError where there are none."""
    if not folder.is_dir():
        raise CaptionsError(f"no folder of pictures at {folder}: give the folder that holds them")
    walk = Walk(folder)
    names = [PurePath(file.path).relative_to(folder).as_posix() for file in walk if file.size != UNKNOWN]
    if not names:
        raise CaptionsError(f"{folder} has no pictures: give the folder that holds them")
    return PictureNames(folder, names, problems=[f"{where}: {reason}" for where, reason in walk.problems])


def _parts(name: str) -> tuple[str, ...]:
    """One spelling for all systems: macOS takes accents apart, Windows writes backslashes."""
    return PurePosixPath(unicodedata.normalize("NFC", name).replace("\\", "/")).parts
