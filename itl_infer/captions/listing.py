"""What every reader makes of a captions file: pictures as it lists them, not yet looked up in a folder."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath

from itl_infer.captions.dataset import SPLITS, Skipped, one_line
from itl_infer.errors import CaptionsError, reason_of

SPLIT_NAMES = {split: split for split in SPLITS} | {
    "restval": "train",  # Karpathy's COCO: validation pictures left over, always trained on
    "dev": "val",
    "valid": "val",
    "validation": "val",
}


@dataclass(frozen=True)
class Listed:
    """One picture as a captions file lists it, perhaps without any caption."""

    image: str
    captions: tuple[str, ...]
    where: str
    split: str | None = None
    places: tuple[str, ...] = ()  # of each caption
    extra: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """All pictures of a captions file, in its order, and what of it could not be used."""

    format: str
    pictures: tuple[Listed, ...]
    notes: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()


class Gathering:
    """Collects a Listing, from whole pictures or from captions that stand alone; the checks are here."""

    def __init__(self, format: str) -> None:
        self.format = format
        self.notes: list[str] = []
        self.skipped: list[Skipped] = []
        self._pictures: dict[str, Listed] = {}
        self._captions: dict[str, list[tuple[str, str]]] = {}  # with their places
        self._numbers: set[tuple[str, str]] = set()

    def skip(self, where: str, what: str, reason: str) -> None:
        self.skipped.append(Skipped(where, what, reason))

    def add_picture(
        self,
        image: object,
        captions: object,
        where: str,
        split: object = None,
        extra: dict[str, object] | None = None,
    ) -> None:
        """A picture with all its captions; CaptionsError where it was listed before or is malformed."""
        if not isinstance(image, str) or not isinstance(captions, list):
            raise CaptionsError(f"{where}: image must be a name and captions a list of texts")
        if image in self._pictures:
            raise CaptionsError(
                f"{where}: {one_line(image)} is listed before, at {self._pictures[image].where}: "
                "name each picture once"
            )
        self._register(image, where, split, extra or {})
        for caption in captions:
            if not isinstance(caption, str):
                raise CaptionsError(
                    f"{where}: {one_line(image)} has {caption!r:.40} among its captions: write a text"
                )
            self._add(image, caption, where)

    def add_caption(self, image: str, caption: str, where: str, number: str = "") -> None:
        """One caption of a picture; its `number`, if it has one, can be used once."""
        if image not in self._pictures:
            self._register(image, where, None, {})
        if number and (image, number) in self._numbers:
            self.skip(where, f"{image} caption {number}", "caption number used before")
            return
        self._numbers.add((image, number))
        self._add(image, caption, where)

    def listing(self) -> Listing:
        pictures = []
        for image, listed in self._pictures.items():
            captions, places = zip(*self._captions[image], strict=True) if self._captions[image] else ((), ())
            pictures.append(replace(listed, captions=captions, places=places))
        return Listing(self.format, tuple(pictures), tuple(self.notes), tuple(self.skipped))

    def _register(self, image: str, where: str, split: object, extra: dict[str, object]) -> None:
        check_name(image, where)
        if split is not None and not (isinstance(split, str) and split in SPLIT_NAMES):
            raise CaptionsError(f"{where}: split {split!r:.40} is none of {', '.join(SPLIT_NAMES)}")
        self._pictures[image] = Listed(
            image, (), where, SPLIT_NAMES[str(split)] if split else None, extra=extra
        )
        self._captions[image] = []

    def _add(self, image: str, caption: str, where: str) -> None:
        if caption.strip():
            self._captions[image].append((caption.strip(), where))
        else:
            self.skip(where, image, "empty caption")


def check_name(image: str, where: str) -> None:
    """CaptionsError for a name that could lead out of the pictures' folder, on any system, or that is none."""
    if not image.strip():
        raise CaptionsError(f"{where}: the picture's name is empty")
    if image[0] in "/\\" or PureWindowsPath(image).drive or ".." in re.split(r"[/\\]", image):
        raise CaptionsError(
            f"{where}: {one_line(image)} leads out of the pictures' folder: "
            "write names relative to it, without .."
        )


def read_text(path: Path) -> str:
    """A whole file, which must be UTF-8 (a byte order mark is dropped)."""
    data = read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"{path}:{line_of(error)}"
        raise CaptionsError(
            f"{where}: not UTF-8 (byte 0x{data[error.start]:02x}): save the file as UTF-8"
        ) from error


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CaptionsError(f"{path} cannot be read: {reason_of(error)}") from error


def line_of(error: UnicodeDecodeError) -> int:
    return error.object.count(b"\n", 0, error.start) + 1


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, counted from 1. Unlike str.splitlines, ends lines at line ends only."""
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if line.strip():
            yield number, line.rstrip("\n")


def parse_json(path: Path, text: str) -> object:
    """Any JSON; CaptionsError with the line where it is none, or where one object has the same name twice."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise CaptionsError(
            f"{path}:{error.lineno}: not JSON ({error.msg}): the file may be cut short, fetch it again"
        ) from error
    except _DuplicateName as error:
        places = [m.start() for m in re.finditer(re.escape(json.dumps(error.name)) + r"\s*:", text)]
        line = f":{text.count(chr(10), 0, places[1]) + 1}" if len(places) == 2 else ""
        raise CaptionsError(f"{path}{line}: {one_line(error.name)} is there twice: name it once") from error
    except (RecursionError, ValueError) as error:
        raise CaptionsError(f"{path}: JSON that cannot be used ({error})") from error


class _DuplicateName(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _DuplicateName(Counter(name for name, _ in pairs).most_common(1)[0][0])
    return made
