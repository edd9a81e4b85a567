"""What may be made of a decoded picture: how it is asked for in another process, and how it comes back from there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from itl_infer.image.facts import Facts
from itl_infer.image.opening import Opened

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")
Finish: TypeAlias = Callable[
    ["Image.Image", Opened], T
]  # takes the decoded picture, which of a damaged one is another than the one that was opened
Packed: TypeAlias = "tuple[dict[str, Any], bytes]"  # what JSON takes, and the bytes of pixels


class Decoded(NamedTuple):
    """A picture's file, as an index wants it."""

    pixels: npt.NDArray[np.uint8]  # as of `load_pixels`
    facts: Facts


@dataclass(frozen=True)
class Wanted(Generic[T]):
    """One thing that is made of a picture."""

    request: dict[str, Any]  # what says in JSON what it is
    draft_side: int | None  # pixels that are enough for it; None: all
    finish: Finish[T]
    pack: Callable[[T], Packed]
    unpack: Callable[[dict[str, Any], bytes], T]  # ValueError for what it cannot be


def pack_pixels(pixels: npt.NDArray[np.uint8]) -> Packed:
    return {}, pixels.tobytes()


def unpack_pixels(body: bytes, side: int) -> npt.NDArray[np.uint8]:
    return np.frombuffer(body, np.uint8).reshape(side, side, 3).copy()


def pack_picture(picture: Decoded) -> Packed:
    facts = asdict(picture.facts)
    taken = picture.facts.taken
    return {
        "facts": {**facts, "taken": None if taken is None else taken.isoformat()}
    }, picture.pixels.tobytes()


def unpack_picture(head: dict[str, Any], body: bytes, side: int) -> Decoded:
    facts = head["facts"]
    taken = facts["taken"]
    return Decoded(
        unpack_pixels(body, side),
        Facts(
            width=int(facts["width"]),
            height=int(facts["height"]),
            taken=None if taken is None else datetime.fromisoformat(taken),
            camera=str(facts["camera"]),
            has_gps=bool(facts["has_gps"]),
            phash=int(facts["phash"]),
        ),
    )


def pack_image(image: Image.Image) -> Packed:
    return {"size": image.size}, image.tobytes()


def unpack_image(head: dict[str, Any], body: bytes) -> Image.Image:
    from PIL import Image

    width, height = map(int, head["size"])
    return Image.frombytes("RGB", (width, height), body)
