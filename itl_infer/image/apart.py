"""Decode a picture in a process of its own, which has a limit of memory and of time: `child` is the other end."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO, TypeVar

from itl_infer.children import Children, Died, room
from itl_infer.children import is_possible as is_possible
from itl_infer.errors import ImageError, ImageMemoryError, ReaderMissingError, reason_of
from itl_infer.image.admission import SHORT, Turns
from itl_infer.image.clock import Allowance
from itl_infer.image.wanted import Wanted

_MOST = (
    2  # at a time: what each may take together with this process is the limit that docs/security.md promises
)
_ERRORS = {kind.__name__: kind for kind in (ImageError, ImageMemoryError, ReaderMissingError)}
_LONGEST_ANSWER = 2**27  # bytes: pixels of one picture, scaled
_SMALLER = 3  # times less memory for the first try
TOO_MUCH = "TooMuch"  # what a child says that had too little memory for a picture

T = TypeVar("T")

_PROGRAM = "from itl_infer.image.child import main; main()"
_children = Children(_PROGRAM, _MOST)


def identity_of(file: BinaryIO) -> list[int]:
    """Of an open file, whoever opens it."""
    status = os.fstat(file.fileno())
    return [status.st_dev, status.st_ino, status.st_size]


def decode(
    file: BinaryIO, name: str, wanted: Wanted[T], allowance: Allowance, notes: list[str] | None, turns: Turns
) -> T:
    """What is wanted of the picture in an open file. Raises ImageError.

    First with as little memory as two at a time may have; where that is too little, once more, alone.
    """
    head = {
        "name": name,
        "wanted": wanted.request,
        "max_megapixels": allowance.max_megapixels,
        "seconds": allowance.seconds,
        "path": None,
        "room": room(),
    }
    body: bytes | memoryview = b""
    if path := _path_of(file):
        head.update(path=path, identity=identity_of(file))
    else:
        file.seek(0)
        body = file.read()
    for memory, turn in ((allowance.memory // _SMALLER, turns.together), (allowance.memory, turns.alone)):
        with turn():
            given, content = _ask({**head, "memory": memory}, body, allowance)
        if given.get("error") != TOO_MUCH:
            break
    if "error" in given:
        kind = _ERRORS.get(given["error"])
        raise kind(*given["args"]) if kind else allowance.too_much(name)
    if notes is not None:
        notes += map(str, given["notes"])
    try:
        return wanted.unpack(given, content)
    except (KeyError, TypeError, ValueError) as error:
        raise ImageError(name, "truncated or damaged: its decoder made no picture of it") from error


def _ask(
    head: dict[str, Any], body: bytes | memoryview, allowance: Allowance
) -> tuple[dict[str, Any], bytes]:
    wall_seconds = allowance.wall_seconds(head["identity"][-1] if head["path"] else len(body))
    try:
        answer = _children.ask(head, body, _LONGEST_ANSWER, wall_seconds)
    except (OSError, RuntimeError) as error:  # no process, or no thread
        raise ImageMemoryError(head["name"], f"{SHORT} to start a process: {reason_of(error)}") from error
    if not isinstance(answer, Died):
        return answer
    if answer.computed_too_long:
        raise allowance.too_long(head["name"])
    if answer.is_late:
        raise allowance.not_in_time(head["name"], wall_seconds)
    raise ImageError(head["name"], f"truncated or damaged: its decoder broke down (status {answer.status})")


def _path_of(file: BinaryIO) -> str | None:
    """Of a file of this machine that can be opened again; else its content is sent."""
    raw = getattr(file, "raw", None)
    if (
        isinstance(file, io.BufferedReader)
        and isinstance(raw, io.FileIO)
        and isinstance(raw.name, (str, bytes))
    ):
        return os.path.abspath(os.fsdecode(raw.name))  # noqa: PTH100 (a name need not be text)
    return None
