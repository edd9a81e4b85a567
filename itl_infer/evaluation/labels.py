"""Labelled pictures, read: a folder for each class, or a JSON file of names and the pictures that show them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from itl_infer.captions import PictureNames, Skipped
from itl_infer.captions.dataset import one_line
from itl_infer.captions.listing import SPLIT_NAMES, check_name, parse_json, read_text
from itl_infer.captions.pictures import pictures_in
from itl_infer.errors import CaptionsError

_EXPECTED = (
    'a folder with a folder for each class, or JSON such as {"dog": ["1.jpg", "2.jpg"], "red car": ["2.jpg"]}'
)


@dataclass(frozen=True)
class Labels:
    """Names, each with the pictures that it is right for, and what of them could not be used."""

    path: Path
    pictures_of: dict[str, tuple[str, ...]]  # by their names in the folder of the pictures
    skipped: tuple[Skipped, ...]

    @property
    def pictures(self) -> list[str]:
        """Every picture that has a name, once."""
        return list(dict.fromkeys(picture for found in self.pictures_of.values() for picture in found))

    def without(self, failed: dict[str, str]) -> Labels:
        """All but these pictures, which are skipped for the reasons given, and names of which none is left."""
        if not failed:
            return self
        left = {
            name: tuple(picture for picture in pictures if picture not in failed)
            for name, pictures in self.pictures_of.items()
        }
        skipped = [*self.skipped, *(Skipped(str(self.path), *fault) for fault in failed.items())]
        return _with_pictures(self.path, left, skipped)


def require_labels(labelled: Path) -> None:
    """CaptionsError where nothing is there."""
    if not labelled.exists():
        raise CaptionsError(f"no labelled pictures at {labelled}: give {_EXPECTED}")


def read_labels(labelled: Path, pictures: PictureNames) -> Labels:
    """The names in `labelled`, each with those of `pictures` that it is right for.

    A folder has a folder for each class, whose name is the folder's and whose pictures may lie deeper; what is in no
    such folder is skipped. A JSON file maps names to lists of files, relative to the folder of `pictures` and looked
    up as those of captions are; a picture may have several names. CaptionsError for what is neither, for a name that
    leads out of the folder, and where no picture is left.
    """
    skipped: list[Skipped] = []
    listed = _classes(labelled, skipped) if labelled.is_dir() else _read_json(labelled)
    found = {
        name: tuple(_look_up(labelled, name, files, pictures, skipped)) for name, files in listed.items()
    }
    if not any(found.values()):
        count = len({file for files in listed.values() for file in files})
        first = f": first, {skipped[0]}" if skipped else ""
        raise CaptionsError(
            f"{labelled}: none of its {count:,} pictures is in {pictures.place}{first}; {pictures.mend}"
        )
    named = {picture for files in found.values() for picture in files}
    skipped += [
        Skipped(pictures.place, name, "picture without a name")
        for name in pictures.names
        if name not in named and not labelled.is_dir()
    ]
    return _with_pictures(labelled, found, skipped)


def _with_pictures(path: Path, found: dict[str, tuple[str, ...]], skipped: list[Skipped]) -> Labels:
    left = {name: pictures for name, pictures in found.items() if pictures}
    gone = [Skipped(str(path), name, "name without a picture") for name in found if name not in left]
    return Labels(path, left, (*skipped, *gone))


def _classes(folder: Path, skipped: list[Skipped]) -> dict[str, list[str]]:
    classes: dict[str, list[str]] = {}
    there = pictures_in(folder)
    for picture in there.names:
        name, _, rest = picture.partition("/")
        if rest:
            classes.setdefault(name, []).append(picture)
        else:
            skipped.append(Skipped(str(folder), picture, "in no folder of a class"))
    if set(classes) <= set(SPLIT_NAMES):
        found = (
            f"its folders are called {', '.join(classes)}" if classes else "it has no folders with pictures"
        )
        raise CaptionsError(f"{folder}: {found}: give one that holds a folder for each class")
    return classes


def _read_json(path: Path) -> dict[str, list[str]]:
    content = parse_json(path, read_text(path))
    if not isinstance(content, dict) or not any(content.values()):
        raise CaptionsError(f"{path}: not names and their pictures: expected {_EXPECTED}")
    for name, files in content.items():
        if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
            raise CaptionsError(
                f"{path}: {one_line(name)} has {files!r:.40} and no list of file names: expected {_EXPECTED}"
            )
        for file in files:
            check_name(file, f"{path}: {one_line(name)}")
    return content


def _look_up(
    path: Path, name: str, files: list[str], pictures: PictureNames, skipped: list[Skipped]
) -> list[str]:
    found = []
    for file in dict.fromkeys(files):
        match pictures.find(file):
            case []:
                skipped.append(Skipped(str(path), f"{name}: {file}", pictures.absent))
            case [picture]:
                found.append(picture)
            case several:
                what = f"{name}: {', '.join(several)}"
                skipped.append(Skipped(str(path), what, "more than one picture of that name"))
    return list(dict.fromkeys(found))
