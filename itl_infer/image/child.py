"""A process that decodes pictures for another one, within limits."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from itl_infer.children import answer_questions, limit
from itl_infer.errors import ImageError, ImageMemoryError
from itl_infer.image.apart import TOO_MUCH, identity_of


def main() -> None:
    """What it does all its life."""
    answer_questions(_answer)


def _answer(head: dict[str, Any], body: bytes) -> tuple[dict[str, Any], list[bytes]]:
    from itl_infer.image.decode import decode_file, wanted_of

    is_short = limit(head["memory"], head["room"], head["seconds"])
    name, notes = head["name"], list[str]()
    try:
        wanted = wanted_of(head["wanted"])
        with _open(head, body) as file:
            made = decode_file(file, name, wanted, head["max_megapixels"], notes, may_be_apart=False)
        facts, content = wanted.pack(made)
        return {**facts, "notes": notes}, [content]
    except ImageMemoryError as error:
        kind = "ImageMemoryError" if is_short else TOO_MUCH
        return {"error": kind, "args": error.args}, []
    except ImageError as error:
        return {"error": type(error).__name__, "args": error.args}, []
    except MemoryError:
        return {"error": TOO_MUCH, "args": []}, []


def _open(head: dict[str, Any], body: bytes) -> BinaryIO:
    if head["path"] is None:
        return io.BytesIO(body)
    file = open(head["path"], "rb")  # noqa: PTH123, SIM115 (a name need not be text)
    if identity_of(file) != head["identity"]:
        file.close()
        raise ImageError(head["name"], "changed while it was read: run again when it is complete")
    return file
