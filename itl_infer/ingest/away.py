"""Tells what is away from what its owner deleted: a drive, a network share, a folder that cannot be read today."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

from itl_infer.errors import reason_of
from itl_infer.walk import Entered

NOT_THERE = "no such file or folder"
NO_PICTURES = "no pictures in there"
WENT_AWAY = "went away while it was read"
_NO_DRIVE = "its drive is not there"
_OTHER_FOLDER = "an empty folder stands in its place, as where a drive is not plugged in"


class Away(NamedTuple):
    """A folder that is away, or a file."""

    path: str
    reason: str


def describe_away(path: str, reason: str, pictures: int = 0) -> str:
    """What is said of a path where nothing else was to be looked at; `pictures` of it are in the index."""
    if reason == WENT_AWAY:
        return f"{path}: {WENT_AWAY}: nothing was removed; run again"
    if reason == NOT_THERE:
        mend = "check the name, plug the drive in or, where it is gone for good, --prune"
        return f"{path}: {NOT_THERE}, nothing was removed: {mend}"
    mend = "plug the drive in or, where they are gone for good, --prune"
    return f"{path}: {reason}, but {pictures} in the index, nothing was removed: {mend}"


class Judge:
    """Judges folders below a target that lost pictures.

    `then` says how a folder was when its pictures were last seen, None where that is not known; `holds_pictures`
    whether any are seen in it, or below, now; `problems` are the folders that cannot be listed, with the reason.
    """

    def __init__(
        self,
        then: Callable[[str], Entered | None],
        holds_pictures: Callable[[str], bool],
        problems: Mapping[str, str],
    ) -> None:
        self._then, self._holds_pictures, self._problems = then, holds_pictures, problems
        self._verdicts: dict[str, Away | bool] = {}

    def away(self, folder: str, top: str) -> Away | None:
        """What is away of the folders from `folder` up to, but without, `top`; None: its pictures were deleted.

        Deleted they are where their folder is there, the same as ever, or is not there itself while the one that it
        was in is. Away is what was on a drive of its own that is gone; a folder in whose place stands another,
        without a picture; and what cannot be listed or asked for.
        """
        while len(folder) > len(top):
            if folder not in self._verdicts:
                self._verdicts[folder] = self._judge(folder)
            verdict = self._verdicts[folder]
            if isinstance(verdict, Away):
                return verdict
            if verdict:
                return None
            folder = os.path.dirname(folder)  # noqa: PTH120 (names here are plain strings)
        return None

    def unlisted(self, folder: str, top: str) -> Away | None:
        """The folder on the way from `folder` to `top` that cannot be listed, if there is one."""
        while self._problems and len(folder) >= len(top):
            if folder in self._problems:
                return Away(folder, self._problems[folder])
            folder = os.path.dirname(folder)  # noqa: PTH120
        return None

    def _judge(self, folder: str) -> Away | bool:
        """Else whether it is there."""
        if folder in self._problems:
            return Away(folder, self._problems[folder])
        then = self._then(folder)
        try:
            status = os.stat(folder)  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return Away(folder, _NO_DRIVE) if then is not None and then.is_mount else False
        except OSError as error:
            return Away(folder, f"cannot be read: {reason_of(error)}")
        if then is None or status.st_ino == then.inode or self._holds_pictures(folder):
            return True
        return Away(folder, _OTHER_FOLDER)
