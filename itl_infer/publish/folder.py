"""A published folder on disk: files that are named by their content, and a manifest, written last, that lists them.

So what is there stays whole until the manifest takes its place: new files never have the name of old ones, and those
that no manifest lists any more are removed behind it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from itl_infer.errors import PublishError, reason_of
from itl_infer.files import replacing

MANIFEST, PAGE, FILES = "site.json", "index.html", "files"
FORMAT = 1  # of the manifest
GENERATOR = "itl-infer publish"
_MARK = (
    f"{FILES}/README.txt"  # there from the beginning, so that a run that was cut short can be taken up again
)
_MARK_TEXT = b"Written by itl-infer publish, which removes from this folder what it does not need any more.\n"
_HASH_DIGITS = 16  # of the hash, in names

Listed = dict[str, Any]
"""What is said of a file: "file", from the published folder on, its "sha256" and its "bytes"."""


class PublishedFolder:
    """The folder `path`, which is ours or empty. Raises PublishError where it is neither, or cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.require_ours(path)
        self.manifest = read_manifest(path) or {}
        self.written = 0  # files that this run wrote
        self._wanted: set[str] = set()
        self.add_at(_MARK, _MARK_TEXT)

    @staticmethod
    def require_ours(path: Path) -> None:
        """Raise PublishError where the folder has something that was not published."""
        _require_ours(path)

    def add(self, stem: str, suffix: str, content: bytes) -> Listed:
        """A file that is named by its content, "files/STEM-HASH.SUFFIX"."""
        digest = hashlib.sha256(content).hexdigest()
        return self.add_at(f"{FILES}/{stem}-{digest[:_HASH_DIGITS]}{suffix}", content)

    def add_at(self, name: str, content: bytes) -> Listed:
        """A file whose name says what its content is; not written where it is there already, and whole."""
        if not (self.has(name, len(content)) and self.read(name) == content):
            with _writing(self.path):
                target = self.path / name
                target.parent.mkdir(parents=True, exist_ok=True)
                partial = target.with_name(target.name + ".part")
                try:
                    partial.write_bytes(content)
                    partial.replace(target)
                finally:
                    partial.unlink(missing_ok=True)
            self.written += 1
        return self.keep({"file": name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)})

    def keep(self, listed: Listed) -> Listed:
        """A file that is there already and is still wanted."""
        self._wanted.add(listed["file"])
        return listed

    def has(self, name: str, size: int) -> bool:
        """Whether a file is there, as long as it should be."""
        with contextlib.suppress(OSError):
            return (self.path / name).stat().st_size == size
        return False

    def read(self, name: str) -> bytes | None:
        """The content of a file; None where it cannot be read."""
        with contextlib.suppress(OSError):
            return (self.path / name).read_bytes()
        return None

    def publish(self, page: bytes, manifest: Mapping[str, Any]) -> int:
        """Put the page and then the manifest in place; how many files were removed that are not wanted any more."""
        listed = {"file": PAGE, "sha256": hashlib.sha256(page).hexdigest(), "bytes": len(page)}
        content = as_json({"format": FORMAT, "generator": GENERATOR, **manifest, "page": listed})
        for name, new in ((PAGE, page), (MANIFEST, content)):
            self.written += replace_whole(self.path / name, new)
        return self._sweep()

    def _sweep(self) -> int:
        removed = 0
        with _writing(self.path):
            for folder, _, names in os.walk(self.path / FILES, topdown=False):
                for name in names:
                    found = Path(folder, name)
                    if found.relative_to(self.path).as_posix() not in self._wanted:
                        found.unlink()
                        removed += 1
                with contextlib.suppress(OSError):  # has files
                    Path(folder).rmdir()
        return removed


def replace_whole(path: Path, content: bytes) -> int:
    """Put a file in place of the one before; how many were written, 0 where it is the same. Raises PublishError."""
    with contextlib.suppress(OSError):
        if path.stat().st_size == len(content) and path.read_bytes() == content:
            return 0
    with _writing(path), replacing(path) as file:
        file.write(content)
    return 1


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a published folder; None where it is not there, or not one of ours."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(manifest, dict) or manifest.get("generator") != GENERATOR:
        return None
    if manifest.get("format") != FORMAT:
        raise PublishError(
            f"{folder}: published in format {manifest.get('format')!r}, this itl-infer writes {FORMAT}: upgrade it, or"
            " name another folder"
        )
    return manifest


def as_json(value: Any) -> bytes:
    """Bytes of a name that are no text become \\udc80 to \\udcff."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")


def listed_files(manifest: Mapping[str, Any]) -> Iterator[Listed]:
    """Every file that a manifest lists itself; those of pictures stand in one of them."""
    yield manifest["page"]
    yield from manifest["code"].values()
    yield from manifest["data"].values()


def is_inside(name: str) -> bool:
    """Whether a listed name stays in the folder."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and "\\" not in name


def _require_ours(path: Path) -> None:
    try:
        if not path.exists():
            return
        if not path.is_dir():
            raise PublishError(
                f"{path}: a file, and not a folder: name a folder that is new, empty, or published before"
            )
        is_empty = next(path.iterdir(), None) is None
    except OSError as error:
        raise PublishError(f"{path}: cannot be read: {reason_of(error)}: name another folder") from error
    if not is_empty and not (path / _MARK).is_file() and read_manifest(path) is None:
        raise PublishError(
            f"{path}: not empty, and not published by itl-infer: nothing was changed; name a folder that is new, empty,"
            " or published before"
        )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PublishError(
            f"{error.filename or path}: cannot be written: {reason_of(error)}; what was published before is as it was:"
            " make room or name another folder, and publish again"
        ) from error
