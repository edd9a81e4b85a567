"""Read files in a process of its own: what reads them may go on for ever, take all memory, or break down.

One side asks (`LimitedReader`), the other is a program that calls `answer_with`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from export.errors import ExportError
from itl_infer.children import Children, Died, answer_questions, limit, room
from itl_infer.errors import reason_of

SECONDS = 20.0  # of computing, for a small file
WALL_SECONDS = 120.0
_BYTES_PER_SECOND = 10 * 10**6  # of a large file, at least, on a slow drive
_MEMORY = 400 * 10**6  # bytes, besides what the file holds
_COPIES = 3  # of that, while it is read

Answer = tuple[dict[str, Any], Sequence[memoryview | bytes]]  # as JSON, and as parts of a body


class LimitedReader:
    """Reads files of one kind by a program of Python's; `kind` is what they are called: "Keras .h5 file"."""

    def __init__(self, program: str, kind: str) -> None:
        self._children = Children(program, 1)
        self._kind = kind

    def read(self, path: Path, most: int, **question: Any) -> tuple[dict[str, Any], bytes]:
        """What the program answers of a file, with a body of at most `most` bytes. Raises ExportError."""
        size = path.stat().st_size
        more = size / _BYTES_PER_SECOND
        limits = {"seconds": SECONDS + more, "memory": _MEMORY + _COPIES * size, "room": room()}
        wall_seconds = WALL_SECONDS + more
        try:
            answer = self._children.ask(
                {**question, **limits, "path": str(path.absolute())}, b"", most, wall_seconds
            )
        except (OSError, RuntimeError) as error:  # no process, or no thread
            raise ExportError(
                f"{path} cannot be read, as no process can be started: {reason_of(error)}"
            ) from error
        if isinstance(answer, Died):
            why = f"what reads it broke down, status {answer.status}"
            if answer.computed_too_long or answer.is_late:
                most_seconds = wall_seconds if answer.is_late else SECONDS + more
                why = f"what reads it did not end within {most_seconds:.0f} s"
            raise ExportError(f"{path} is damaged or no {self._kind} ({why}): copy it again")
        if "error" in answer[0]:
            raise ExportError(" ".join(str(answer[0]["error"]).split()))
        return answer


def answer_with(read: Callable[[dict[str, Any], Path], Answer]) -> None:
    """All that a program does: it answers with what `read` makes of a question and its file, or its ExportError."""

    def answer(question: dict[str, Any], _: bytes) -> Answer:
        limit(question["memory"], question["room"], question["seconds"])
        try:
            return read(question, Path(question["path"]))
        except ExportError as error:
            return {"error": str(error)}, []

    answer_questions(answer)
