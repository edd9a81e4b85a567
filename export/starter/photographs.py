"""The photographs of the bundle that comes with the package: Flickr8k and Visual7W, and which are for what."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from export.data.alike import copies_among
from export.errors import ExportError
from itl_infer.captions import CaptionDataset, CaptionedImage, read_captions, read_json_lines
from itl_infer.image import IMAGE_SUFFIXES
from itl_infer.walk import Walk

SET_ASIDE = 1_000  # pictures without captions that are never trained on: names are measured on them
_ARCHIVES = ("flickr8k", "visual7w")


@dataclass(frozen=True)
class Photographs:
    """What is trained on, chosen by and measured on; no picture is in two of them."""

    train: tuple[CaptionDataset, ...]  # Flickr8k's train part first; then Visual7W's, many without captions
    flickr: CaptionDataset  # the whole of it: its val part chooses, its test part is measured
    set_aside: tuple[Path, ...]  # of Visual7W
    copies: int  # pictures left out, as they show what a test picture shows


def read_photographs(
    folder: Path, work: Path, keep_out: Path | None, say: Callable[[str], None]
) -> Photographs:
    """The photographs in `folder`, where flickr8k and visual7w lie as folders or as .tar.gz files.

    Archives are unpacked into `work`. Pictures that show what one in the folder `keep_out` shows are left out. Raises
    ExportError or CaptionsError.
    """
    flickr_folder, other_folder = (_unpacked(folder, name, work, say) for name in _ARCHIVES)
    flickr = read_captions(
        flickr_folder / "Flickr8k.token.txt", flickr_folder / "Flicker8k_Dataset", flickr_folder
    )
    every = read_json_lines(other_folder / "captions.jsonl", name="Visual7W")
    captioned, known = every.split("train"), {example.image for example in every}
    without = sorted(
        path.relative_to(other_folder).as_posix()
        for path in (other_folder / "images").iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES
    )
    without = [image for image in without if image not in known]
    aside = set_aside(without)
    uncaptioned = tuple(CaptionedImage(image, (), "train") for image in without if image not in aside)
    visual = replace(captioned, examples=(*captioned.examples, *uncaptioned))
    train = [flickr.split("train"), visual]
    copies: dict[str, str] = {}
    if keep_out is not None:
        say(f"Looking for copies of the pictures in {keep_out}")
        originals = sorted(path for path in keep_out.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        for part in train:
            found = copies_among(part.paths, originals)
            copies |= {str(path): f"a copy of a picture in {keep_out}" for path in found}
    return Photographs(
        tuple(
            replace(part.without(copies), name=name)
            for part, name in zip(train, ("Flickr8k", "Visual7W"), strict=True)
        ),
        replace(flickr, name="Flickr8k"),
        tuple(other_folder / image for image in sorted(aside)),
        len(copies),
    )


def pictures_to_learn_from(
    folders: Sequence[Path], work: Path, keep_out: Path | None, say: Callable[[str], None]
) -> list[Path]:
    """All pictures under these folders; of one with flickr8k and visual7w, those that `read_photographs` trains on.

    Pictures that show what one in the folder `keep_out` shows are left out. Raises ExportError or CaptionsError.
    """
    found: list[Path] = []
    for folder in folders:
        if all((folder / name).is_dir() or (folder / f"{name}.tar.gz").is_file() for name in _ARCHIVES):
            found += [path for part in read_photographs(folder, work, None, say).train for path in part.paths]
            continue
        if not folder.is_dir():
            raise ExportError(f"{folder} is no folder: give one with pictures in it")
        walk = Walk(folder)
        below = [Path(file.path) for file in walk]
        for unlisted, reason in walk.problems:
            say(f"  left out: {unlisted} {reason}")
        if not below:
            raise ExportError(f"{folder} has no pictures in it or below it")
        found += below
    if keep_out is not None:
        say(f"Looking for copies of the pictures in {keep_out}")
        copies = set(copies_among(found, [Path(file.path) for file in Walk(keep_out)]))
        say(f"  {len(copies):,} left out")
        found = [path for path in found if path not in copies]
    return found


def set_aside(images: list[str]) -> set[str]:
    """A thousand of these names, always the same: those whose hashes are the smallest."""
    return set(sorted(images, key=lambda image: hashlib.sha256(image.encode()).digest())[:SET_ASIDE])


def _unpacked(folder: Path, name: str, work: Path, say: Callable[[str], None]) -> Path:
    archive = folder / f"{name}.tar.gz"
    if (folder / name).is_dir():
        return folder / name
    if not archive.is_file():
        raise ExportError(f"{folder}: neither a folder {name} nor {archive.name} in it")
    unpacked = work / "photographs" / name
    if not unpacked.exists():
        say(f"Unpacking {archive}")
        unfinished = unpacked.with_name(f"{name}.part")
        try:
            with tarfile.open(archive) as files:
                files.extractall(unfinished, filter="data")
        except (OSError, tarfile.TarError) as error:
            raise ExportError(f"{archive} cannot be unpacked ({error}): copy it again") from error
        unfinished.replace(unpacked)
    return unpacked
