"""Captions of any known format -> a checked data set: recognised, looked up among the pictures, split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from itl_infer.captions import flickr
from itl_infer.captions.coco import is_coco, read_coco
from itl_infer.captions.dataset import CaptionDataset, CaptionedImage, CaptionsReport, Skipped, one_line
from itl_infer.captions.karpathy import is_karpathy, read_karpathy
from itl_infer.captions.listing import Listed, Listing, numbered_lines, parse_json, read_text
from itl_infer.captions.own import is_name_object, list_json_lines, read_name_object, read_text_files
from itl_infer.captions.pictures import PictureNames, pictures_in
from itl_infer.captions.splits import SplitLists, read_splits, seeded_share, split_files_in
from itl_infer.errors import CaptionsError

_FORMATS = (
    "a Flickr token file (NAME#0, a tab, a caption), Kaggle's results.csv (NAME| 0| CAPTION) or "
    "captions.txt (image,caption), Karpathy's or COCO's JSON, JSON lines, or a folder of .txt files"
)


def read_captions(
    captions: Path, images: Path | None = None, splits: Path | None = None, seed: int = 0
) -> CaptionDataset:
    """The captioned pictures in the folder `images` (by default, where the captions are); see `match_captions`."""
    _require(captions)
    if images is None:
        images = captions if captions.is_dir() else captions.parent
    return match_captions(captions, pictures_in(images), splits, seed)


def match_captions(
    captions: Path, pictures: PictureNames, splits: Path | None = None, seed: int = 0
) -> CaptionDataset:
    """Those of `pictures` that have captions and a split, in the order of the captions file; see `describe()`.

    `captions` is a file of any known format, or a folder of .txt files. `splits` is what `read_splits` takes; by
    default, the splits in the captions, or else split files beside them, or else a share made with `seed`, of
    all that the captions list: it does not depend on which of the pictures are there.

    What is wrong with single pictures is skipped and reported. CaptionsError, naming file and line, where all
    may be wrong: unknown format or encoding, a picture listed twice, a name that leads out of the folder,
    splits that overlap, or nothing left.
    """
    _require(captions)
    listing = read_text_files(captions, pictures) if captions.is_dir() else _read_listing(captions)
    skipped, notes = list(listing.skipped), [*listing.notes, *pictures.problems]
    captioned = [listed for listed in listing.pictures if listed.captions]
    if not captioned:
        first = f": first, {skipped[0]}" if skipped else ""
        raise CaptionsError(f"{captions}: no captions found{first}; expected {_FORMATS}")

    division = _divide(captioned, captions, splits, seed, notes)
    there = _look_up(listing.pictures, pictures, division, skipped)
    found = {image: listed for image, listed in there.items() if listed.captions}
    if not found:
        raise CaptionsError(
            f"{captions}: none of its {len(listing.pictures):,} pictures is in {pictures.place}: first, "
            f"{skipped[len(listing.skipped)]}; {pictures.mend}"
        )
    examples = [
        CaptionedImage(image, listed.captions, split, listed.extra, listed.places)
        for image, listed in found.items()
        if (split := division.split_of(listed, image))
    ]
    if division.lists:
        skipped += _left_out_of_lists(found, division.lists)
        if not examples:
            raise CaptionsError(
                f"{splits or captions.parent}: none of the {len(found):,} pictures is in them:"
                " give the splits of this data set"
            )
    claimed = {pictures.same_picture(image) for image in there}
    skipped += [
        Skipped(pictures.place, name, "picture without captions")
        for name in pictures.names
        if pictures.same_picture(name) not in claimed
    ]
    report = CaptionsReport(captions, listing.format, division.name, tuple(notes), tuple(skipped))
    return CaptionDataset(pictures.folder.resolve().name, pictures.folder, tuple(examples), report)


def _require(captions: Path) -> None:
    if not captions.exists():
        raise CaptionsError(f"no captions at {captions}: give a captions file, or a folder of .txt files")


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
    raise CaptionsError(f"{path}: unknown format, it begins {one_line(first, 60)!r}: expected {_FORMATS}")


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
    raise CaptionsError(
        f"{path}: JSON of unknown shape, it begins {one_line(text[:60])!r}: expected {_FORMATS}"
    )


@dataclass(frozen=True)
class _Division:
    """What decides on the split of each listed picture, and what to call it: lists, or else `splits` by image."""

    name: str
    splits: dict[str, str] = field(default_factory=dict)
    lists: SplitLists | None = None

    def split_of(self, listed: Listed, image: str | None = None) -> str | None:
        """The split of a listed picture, called `image` in its folder; None for one that is in no list."""
        if self.lists is None:
            return self.splits.get(listed.image)
        listed_id = self.lists.id_of(image or listed.image) or self.lists.id_of(listed.image)
        return self.lists.ids[listed_id][0] if listed_id else None


def _divide(
    captioned: Sequence[Listed], captions: Path, splits: Path | None, seed: int, notes: list[str]
) -> _Division:
    own = sum(listed.split is not None for listed in captioned)
    if splits is None and own:
        if own < len(captioned):
            notes.append(f"pictures that name no split, taken for train: {len(captioned) - own:,}")
        named = {listed.image: listed.split or "train" for listed in captioned}
        return _Division(captions.resolve().name, named)
    if splits is None and captions.is_file() and split_files_in(captions.parent):
        splits = captions.parent
    if splits is None:
        share = seeded_share([listed.image for listed in captioned], seed)
        return _Division(f"a seeded share (seed {seed})", share)
    if own:
        notes.append(f"the splits in {captions.name} are not used")
    lists = read_splits(splits)
    return _Division(lists.name, lists=lists)


def _look_up(
    listed: Sequence[Listed], pictures: PictureNames, division: _Division, skipped: list[Skipped]
) -> dict[str, Listed]:
    """The pictures that are there, by their names in the folder."""
    found: dict[str, Listed] = {}
    for picture in listed:
        split = division.split_of(picture)
        match pictures.find(picture.image):
            case []:
                skipped.append(Skipped(picture.where, picture.image, pictures.absent, split))
            case [image] if image in found:
                other = found[image]
                raise CaptionsError(
                    f"{picture.where}: {one_line(picture.image)} and {one_line(other.image)} ({other.where}) "
                    f"can both only be {image}: name pictures by their folder too"
                )
            case [image]:
                found[image] = picture
                if not picture.captions:
                    reason = "picture listed without a caption"
                    skipped.append(Skipped(picture.where, picture.image, reason, split))
            case several:
                reason = "more than one picture of that name"
                skipped.append(Skipped(picture.where, ", ".join(several), reason, split))
    return found


def _left_out_of_lists(found: dict[str, Listed], lists: SplitLists) -> list[Skipped]:
    """Pictures that no list has, and what the lists have beside the pictures."""
    ids = {image: lists.id_of(image) or lists.id_of(listed.image) for image, listed in found.items()}
    skipped = [
        Skipped(found[image].where, found[image].image, "in no split")
        for image, listed_id in ids.items()
        if listed_id is None
    ]
    used = set(ids.values())
    return skipped + [
        Skipped(where, listed_id, "in a split, but not among the pictures found", split)
        for listed_id, (split, where) in lists.ids.items()
        if listed_id not in used
    ]
