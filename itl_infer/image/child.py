"""A process that decodes pictures for another one, within limits: it reads requests, and writes answers, until that one
is gone."""

from __future__ import annotations

import contextlib
import io
import math
import os
import signal
import sys
import time
from typing import Any, BinaryIO

from itl_infer.errors import ImageError, ImageMemoryError
from itl_infer.image.apart import address_space, identity_of, receive, send

_GROWN = 2**27  # bytes: a child that keeps so much more than at its start is replaced
_LONGEST_BODY = 2**40


def main() -> None:
    """What a child does all its life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C goes to all; the one that asks ends this one
    questions = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whatever decoders print
    _end_with_parent()
    first = address_space()
    while (question := receive(questions, _LONGEST_BODY)) is not None:
        head, body = _answer(*question)
        send(answers, {**head, "is_last": address_space() > first + _GROWN}, body)


def _answer(head: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    from itl_infer.image.decode import decode_file, wanted_of

    is_short = _limit(head["memory"], head["room"], head["seconds"])
    name, notes = head["name"], list[str]()
    try:
        wanted = wanted_of(head["wanted"])
        with _open(head, body) as file:
            made = decode_file(file, name, wanted, head["max_megapixels"], notes, may_be_apart=False)
        facts, content = wanted.pack(made)
        return {**facts, "notes": notes}, content
    except ImageMemoryError as error:
        kind = "ImageMemoryError" if is_short else "TooMuch"
        return {"error": kind, "args": error.args}, b""
    except ImageError as error:
        return {"error": type(error).__name__, "args": error.args}, b""
    except MemoryError:
        return {"error": "TooMuch", "args": []}, b""


def _open(head: dict[str, Any], body: bytes) -> BinaryIO:
    if head["path"] is None:
        return io.BytesIO(body)
    file = open(head["path"], "rb")  # noqa: PTH123, SIM115 (a name need not be text)
    if identity_of(file) != head["identity"]:
        file.close()
        raise ImageError(head["name"], "changed while it was read: run again when it is complete")
    return file


def _limit(memory: int, room: int | None, seconds: float) -> bool:
    """Limit what this process may take from now on, where the system can; whether its memory is short already.

    `room` is what the process that asks may have by limits of its own.
    """
    try:
        import resource
    except ImportError:  # Windows: there is the clock
        return False
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = time.process_time()
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used + seconds), hard))
    is_short = room is not None and room < memory
    limit = address_space() + (min(memory, room) if room is not None else memory)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    return is_short


def _end_with_parent() -> None:
    """Where the system can do that: elsewhere this ends when it reads that nobody asks any more."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
