"""One's own captions: JSON lines, a JSON object of names, or pictures with .txt files beside them."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath

from itl_infer.captions.dataset import CaptionDataset, CaptionedImage, CaptionsReport, one_line
from itl_infer.captions.listing import (
    SPLIT_NAMES,
    Gathering,
    Listing,
    line_of,
    numbered_lines,
    read_bytes,
    read_text,
)
from itl_infer.captions.pictures import PictureNames
from itl_infer.errors import CaptionsError


def read_json_lines(path: Path, *, name: str | None = None) -> CaptionDataset:
    """One picture a line: `{"image", "captions": [...], "split"?}`, images relative to the file's folder.

    Further keys are kept in `extra`. For files that our own code wrote: nothing is skipped, and pictures
    are not looked for. Raises CaptionsError naming the line.
    """
    if not path.is_file():
        raise CaptionsError(f"no captions file at {path}: give the path of a .jsonl file")
    listing = list_json_lines(path, read_text(path))
    faults = [str(skipped) for skipped in listing.skipped]
    faults += [f"{p.where}: {one_line(p.image)}: no caption" for p in listing.pictures if not p.captions]
    if faults:
        raise CaptionsError(f"{faults[0]}: remove it")
    if not listing.pictures:
        raise CaptionsError(f'{path} is empty: expected lines of {{"image": ..., "captions": [...]}}')
    examples = tuple(
        CaptionedImage(listed.image, listed.captions, listed.split or "train", listed.extra, listed.places)
        for listed in listing.pictures
    )
    report = CaptionsReport(path, listing.format, path.name)
    return CaptionDataset(name or path.parent.name, path.parent, examples, report)


def list_json_lines(path: Path, text: str) -> Listing:
    gathering = Gathering("JSON lines")
    for number, line in numbered_lines(text):
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
            image, captions, split = row.pop("image"), row.pop("captions"), row.pop("split", None)
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise CaptionsError(
                f'{where}: expected {{"image": ..., "captions": [...]}}, found {one_line(line, 60)}'
            ) from error
        gathering.add_picture(image, captions, where, split, row)
    return gathering.listing()


def is_name_object(data: object) -> bool:
    return isinstance(data, dict) and bool(data) and all(isinstance(v, list) for v in data.values())


def read_name_object(path: Path, data: dict[str, list[object]]) -> Listing:
    """`{"name.jpg": [caption, ..., "folder/name.jpg"?]}`: the original project's files end with the path."""
    gathering = Gathering("JSON object of names")
    for name, captions in data.items():
        where = f"{path}: {one_line(name)}"
        image = name
        if captions and isinstance(captions[-1], str) and PurePosixPath(captions[-1]).name == name:
            image, captions = captions[-1], captions[:-1]
        gathering.add_picture(image, captions, where)
    return gathering.listing()


def read_text_files(folder: Path, pictures: PictureNames) -> Listing:
    """`a/b.txt` for the picture `a/b.jpg`, one caption a line.

    Where every picture is below a folder called train, val (dev, ...) or test, those are the splits.
    """
    gathering = Gathering("folder of .txt files")
    by_stem: dict[str, list[str]] = {}
    for picture in pictures.names:
        by_stem.setdefault(str(PurePosixPath(picture).with_suffix("")), []).append(picture)
    found: list[tuple[str, Path]] = []
    for path in _text_files(folder):
        name = path.relative_to(folder).as_posix()
        match by_stem.get(str(PurePosixPath(name).with_suffix("")), []):
            case [picture]:
                found.append((picture, path))
            case []:
                gathering.skip(str(path), name, "no picture has the name of this .txt file")
            case several:
                gathering.skip(str(path), ", ".join(several), "more than one picture of that name")
    tops = {picture: SPLIT_NAMES.get(picture.partition("/")[0]) for picture, _ in found}
    in_split_folders = all(tops.values())
    for picture, path in found:
        try:
            text = read_bytes(path).decode("utf-8-sig")
        except UnicodeDecodeError as error:  # one file of many: the others stand
            gathering.skip(f"{path}:{line_of(error)}", picture, "not UTF-8: save the file as UTF-8")
            continue
        gathering.add_picture(picture, [], str(path), tops[picture] if in_split_folders else None)
        for number, line in numbered_lines(text):
            gathering.add_caption(picture, line, f"{path}:{number}")
    return gathering.listing()


def _text_files(folder: Path) -> list[Path]:
    found = []
    for parent, subfolders, files in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        found += [
            Path(parent, name)
            for name in sorted(files)
            if name.lower().endswith(".txt") and not name.startswith(".")
        ]
    return found
