"""Captions of any known format -> a checked data set: recognised, looked up among the pictures, split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from export.data import flickr
from export.data.coco import is_coco, read_coco
from export.data.dataset import CaptionDataset, CaptionedImage, Report, Skipped, one_line
from export.data.karpathy import is_karpathy, read_karpathy
from export.data.listing import Listed, Listing, numbered_lines, parse_json, read_text
from export.data.own import is_name_object, list_json_lines, read_name_object, read_text_files
from export.data.pictures import PictureFolder
from export.data.splits import SplitLists, read_splits, seeded_share, split_files_in
from export.errors import ExportError

_FORMATS = (
    "a Flickr token file (NAME#0, a tab, a caption), Kaggle's results.csv (NAME| 0| CAPTION) or "
    "captions.txt (image,caption), Karpathy's or COCO's JSON, JSON lines, or a folder of .txt files"
)


def read_captions(
    captions: Path, images: Path | None = None, splits: Path | None = None, seed: int = 0
) -> CaptionDataset:
    """The pictures that have captions and a split, in the order of the captions file; see `describe()`.

    `captions` is a file of any known format, or a folder of .txt files. `images` is the folder that holds
    the pictures, at any depth; by default, where the captions are. `splits` is what `read_splits` takes; by
    default, the splits in the captions, or else split files beside them, or else a share made with `seed`.

    What is wrong with single pictures is skipped and reported. ExportError, naming file and line, where all
    may be wrong: unknown format or encoding, a picture listed twice, a name that leads out of the folder,
    splits that overlap, or nothing left.
    """
    if not captions.exists():
        raise ExportError(f"no captions at {captions}: give a captions file, or a folder of .txt files")
    if images is None:
        images = captions if captions.is_dir() else captions.parent
    pictures = PictureFolder(images)
    listing = read_text_files(captions, pictures) if captions.is_dir() else _read_listing(captions)
    skipped, notes = list(listing.skipped), [*listing.notes, *pictures.problems]
    if not any(listed.captions for listed in listing.pictures):
        first = f": first, {skipped[0]}" if skipped else ""
        raise ExportError(f"{captions}: no captions found{first}; expected {_FORMATS}")

    there = _look_up(listing.pictures, pictures, skipped)
    found = {image: listed for image, listed in there.items() if listed.captions}
    if not found:
        raise ExportError(
            f"{captions}: none of its {len(listing.pictures):,} pictures is in {images}: first, "
            f"{skipped[len(listing.skipped)]}; give the folder that holds them"
        )
    split_of, split_name = _split(found, captions, splits, seed, skipped, notes)
    examples = tuple(
        CaptionedImage(image, listed.captions, split_of[image], listed.extra)
        for image, listed in found.items()
        if image in split_of
    )
    claimed = {pictures.same_picture(image) for image in there}
    skipped += [
        Skipped(str(images), name, "picture without captions")
        for name in pictures.names
        if pictures.same_picture(name) not in claimed
    ]
    report = Report(captions, listing.format, split_name, tuple(notes), tuple(skipped))
    return CaptionDataset(images.resolve().name, images, examples, report)


def _read_listing(path: Path) -> Listing:
    text = read_text(path)
    first = next((line for _, line in numbered_lines(text)), "")
    if first.lstrip().startswith(("{", "[")):
        return _read_json(path, text, first)
    for recognises, read in (
        (flickr.is_token, flickr.read_token),
        (flickr.is_bars, flickr.read_bars),
        (flickr.is_commas, flickr.read_commas),
    ):
        if recognises(first):
            return read(path, text)
    raise ExportError(f"{path}: unknown format, it begins {one_line(first, 60)!r}: expected {_FORMATS}")


def _read_json(path: Path, text: str, first: str) -> Listing:
    if path.suffix == ".jsonl" or re.search(r'"(image|captions)"\s*:', first):
        return list_json_lines(path, text)
    data = parse_json(path, text)
    if is_coco(data):
        return read_coco(path, data)  # type: ignore[arg-type]
    if is_karpathy(data):
        return read_karpathy(path, data)  # type: ignore[arg-type]
    if is_name_object(data):
        return read_name_object(path, data)  # type: ignore[arg-type]
    raise ExportError(
        f"{path}: JSON of unknown shape, it begins {one_line(text[:60])!r}: expected {_FORMATS}"
    )


def _look_up(listed: Sequence[Listed], pictures: PictureFolder, skipped: list[Skipped]) -> dict[str, Listed]:
    """The pictures that are there, by their names in the folder."""
    found: dict[str, Listed] = {}
    for picture in listed:
        match pictures.find(picture.image):
            case []:
                skipped.append(Skipped(picture.where, picture.image, "no such picture"))
            case [image] if image in found:
                other = found[image]
                raise ExportError(
                    f"{picture.where}: {one_line(picture.image)} and {one_line(other.image)} ({other.where}) "
                    f"can both only be {image}: name pictures by their folder too"
                )
            case [image]:
                found[image] = picture
                if not picture.captions:
                    skipped.append(Skipped(picture.where, picture.image, "picture listed without a caption"))
            case several:
                reason = "more than one picture of that name"
                skipped.append(Skipped(picture.where, ", ".join(several), reason))
    return found


def _split(
    found: dict[str, Listed],
    captions: Path,
    splits: Path | None,
    seed: int,
    skipped: list[Skipped],
    notes: list[str],
) -> tuple[dict[str, str], str]:
    """A split for each picture that has one, and what to call this division."""
    own = {image: listed.split for image, listed in found.items() if listed.split}
    if splits is None and own:
        if len(own) < len(found):
            notes.append(f"pictures that name no split, taken for train: {len(found) - len(own):,}")
        return {image: own.get(image, "train") for image in found}, captions.resolve().name
    if splits is None and captions.is_file() and split_files_in(captions.parent):
        splits = captions.parent
    if splits is None:
        return seeded_share(list(found), seed), f"a seeded share (seed {seed})"
    if own:
        notes.append(f"the splits in {captions.name} are not used")
    lists = read_splits(splits)
    return _split_by_lists(found, lists, splits, skipped), lists.name


def _split_by_lists(
    found: dict[str, Listed], lists: SplitLists, splits: Path, skipped: list[Skipped]
) -> dict[str, str]:
    split_of: dict[str, str] = {}
    used: set[str] = set()
    for image, listed in found.items():
        listed_id = lists.id_of(image) or lists.id_of(listed.image)
        if listed_id is None:
            skipped.append(Skipped(listed.where, listed.image, "in no split"))
        else:
            split_of[image] = lists.ids[listed_id][0]
            used.add(listed_id)
    if not split_of:
        raise ExportError(
            f"{splits}: none of the {len(found):,} pictures is in them: give the splits of this data set"
        )
    skipped += [
        Skipped(where, listed_id, "in a split, but not among the pictures found")
        for listed_id, (_, where) in lists.ids.items()
        if listed_id not in used
    ]
    return split_of
