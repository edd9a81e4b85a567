"""The files that were embedded, as a page may link to them: not at all, where they are, or as copies beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import quote, urlsplit

from itl_infer.arguments import require_one_of, require_path, require_text
from itl_infer.errors import PublishError
from itl_infer.publish.folder import FILES
from itl_infer.publish.pictures import Shown

Mode: TypeAlias = Literal["none", "link", "copy"]
MODES: tuple[Mode, ...] = ("none", "link", "copy")


@dataclass(frozen=True)
class Originals:
    """What becomes of the originals; links begin with `base_url`, or else lead from `folder` to where the files are.

    Raises PublishError for what cannot be.
    """

    mode: Mode = "none"
    base_url: str | None = None
    folder: Path | None = None  # that has the page

    def __post_init__(self) -> None:
        require_one_of("mode", self.mode, MODES)
        if self.base_url is not None:
            require_text("base_url", self.base_url)
        if self.folder is not None:
            require_path("folder", self.folder)
        if self.base_url is not None and urlsplit(self.base_url).scheme not in ("http", "https", ""):
            raise PublishError(
                f"{self.base_url}: not an address of the web: begin it with https://, or with a folder"
            )

    def address_of(self, picture: Shown) -> str | None:
        """Where the original of a picture is, from the page on."""
        if self.mode == "none":
            return None
        if self.mode == "copy":
            return quote(self.copy_of(picture))
        if self.base_url is not None:
            return f"{self.base_url.rstrip('/')}/{_quoted(picture.relative)}"
        try:
            return _quoted(
                os.path.relpath(picture.path, os.path.realpath(self.folder or ".")).replace(os.sep, "/")
            )
        except ValueError as error:
            raise PublishError(
                f"{picture.path}: on another drive than {self.folder}, so that no link leads there: --base-url, or"
                " --originals copy"
            ) from error

    def copy_of(self, picture: Shown) -> str:
        """The name of its copy in the published folder."""
        name = picture.name.rpartition("/")[2].encode("ascii", "replace").decode().replace("?", "_")
        suffix = Path(picture.path).suffix
        return f"{FILES}/originals/{picture.id}/{name if name.endswith(suffix) else name + suffix}"


def _quoted(path: str) -> str:
    return quote(os.fsencode(path))
