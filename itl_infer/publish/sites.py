"""Where a page is written: a folder, or one file with everything in it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from itl_infer.errors import PublishError
from itl_infer.publish.code import FILE_ENTRY, FOLDER_ENTRY, WORKER_ENTRY, as_one_script, page_files
from itl_infer.publish.folder import (
    FILES,
    FORMAT,
    GENERATOR,
    Listed,
    PublishedFolder,
    as_json,
    replace_whole,
)
from itl_infer.publish.policy import policy_of_file, policy_of_folder
from itl_infer.web.page import make_html

LISTED = "files.json"  # which lists what belongs to pictures: of many pictures too much for a visitor
_HINT_OF_FOLDER = (
    "This page needs JavaScript, which browsers do not run for a folder on a disk. Put the folder on a web host, or run"
    " python -m http.server in it and open http://localhost:8000; itl-infer publish --single-file makes a page that"
    " opens from a disk."
)
_HINT_OF_FILE = "This page needs JavaScript."
_META = f'\n<meta name="generator" content="{GENERATOR}">'


class Site(Protocol):
    """Takes the parts of a page, and puts them in place together."""

    @property
    def written(self) -> int:
        """Files that this run wrote."""

    def has(self, name: str) -> bool:
        """Whether a picture's file is there from an earlier run; it stays then."""

    def add(self, name: str, content: bytes) -> None:
        """A file that belongs to a picture, whose name says what its content is."""

    def add_data(self, name: str, content: bytes) -> None:
        """A file that the page reads by this name."""

    def finish(self, title: str, site: dict[str, Any]) -> int:
        """Put the new version in place of the one before; how many files were removed with that."""


class FolderSite:
    """A folder. Raises PublishError where it is neither ours nor empty, or cannot be written."""

    def __init__(self, path: Path) -> None:
        self._folder = PublishedFolder(path)
        self._before = _listed_before(self._folder)
        self._files: dict[str, list[Any]] = {}
        self._data: dict[str, Listed] = {}

    @property
    def written(self) -> int:
        return self._folder.written

    def has(self, name: str) -> bool:
        if name in self._before and self._folder.has(name, self._before[name][1]):
            self._list({"file": name, "sha256": self._before[name][0], "bytes": self._before[name][1]})
            return True
        content = self._folder.read(name)  # of a run that was cut short
        if content:
            self._list({"file": name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)})
        return bool(content)

    def add(self, name: str, content: bytes) -> None:
        self._list(self._folder.add_at(name, content))

    def _list(self, listed: Listed) -> None:
        self._folder.keep(listed)
        self._files[listed["file"]] = [listed["sha256"], listed["bytes"]]

    def add_data(self, name: str, content: bytes) -> None:
        stem, _, suffix = name.rpartition(".")
        self._data[name] = self._folder.add(stem, f".{suffix}", content)

    def finish(self, title: str, site: dict[str, Any]) -> int:
        self.add_data(LISTED, as_json(self._files))
        files = page_files()
        version = hashlib.sha256(
            b"".join(name.encode() + content for name, content in files.items())
        ).hexdigest()
        code = f"{FILES}/code-{version[:16]}/"
        listed = {name: self._folder.add_at(code + name, content) for name, content in files.items()}
        html = make_html(
            title=title,
            head=policy_of_folder() + _META,
            hint=_HINT_OF_FOLDER,
            folder=code,
            script=FOLDER_ENTRY,
        )
        return self._folder.publish(
            html.encode(), {**site, "title": title, "code": listed, "data": self._data}
        )


class FileSite:
    """One file: `path`, where that ends in .html, else index.html in the folder `path`. Raises PublishError."""

    def __init__(self, path: Path) -> None:
        self._folder = None if is_html(path) else PublishedFolder(path)
        self._path = path
        self._parts: dict[str, bytes] = {}
        self._written = 0

    @property
    def written(self) -> int:
        return self._written if self._folder is None else self._folder.written

    def has(self, name: str) -> bool:
        return name in self._parts

    def add(self, name: str, content: bytes) -> None:
        self._parts[name] = content

    add_data = add

    def finish(self, title: str, site: dict[str, Any]) -> int:
        files = page_files()
        script, style = as_one_script(FILE_ENTRY), files["page.css"].decode()
        self._parts[WORKER_ENTRY] = as_one_script(WORKER_ENTRY).encode()
        parts = {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in self._parts.items()
        }
        manifest = {"format": FORMAT, "generator": GENERATOR, **site, "title": title, "parts": parts}
        manifest["script"] = {
            "sha256": hashlib.sha256(script.encode()).hexdigest(),
            "bytes": len(script.encode()),
        }
        icon = base64.b64encode(files["icon.svg"]).decode()
        html = make_html(
            title=title,
            head=f'{policy_of_file([script], style)}{_META}\n<link rel="icon" href="data:image/svg+xml;base64,{icon}">'
            f"\n<style>{style}</style>",
            hint=_HINT_OF_FILE,
            foot="".join(_as_element(name, content) for name, content in self._with_manifest(manifest))
            + f"<script>{script}</script>\n",
        ).encode()
        if self._folder is not None:
            return self._folder.publish(html, {**site, "title": title, "code": {}, "data": {}})
        self._written = replace_whole(self._path, html)
        return 0

    def _with_manifest(self, manifest: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
        yield "site.json", as_json(manifest)
        yield from self._parts.items()


def is_html(path: Path) -> bool:
    return path.suffix.lower() in (".html", ".htm")


def is_published_file(path: Path) -> bool:
    """Whether this is a page that was published as one file."""
    try:
        with path.open("rb") as file:
            return _META.encode() in file.read(4096)
    except OSError:
        return False


def _as_element(name: str, content: bytes) -> str:
    """In a script element of no type that browsers run; `name` has no characters that HTML knows."""
    return f'<script type="text/plain" data-file="{name}">{base64.b64encode(content).decode()}</script>\n'


def _listed_before(folder: PublishedFolder) -> dict[str, list[Any]]:
    """By name, the hash and the bytes of each picture's file that the version before has."""
    listed = folder.manifest.get("data", {}).get(LISTED)
    content = folder.read(listed["file"]) if listed else None
    try:
        before = json.loads(content or b"{}")
    except ValueError:
        return {}
    return before if isinstance(before, dict) else {}


def require_writable_target(path: Path, *, single_file: bool) -> None:
    """Raise PublishError where a page may not be written at `path`, which is looked at, and not touched."""
    if single_file and is_html(path):
        if path.exists() and not is_published_file(path):
            raise PublishError(f"{path}: there already, and not published by itl-infer: name another file")
        if not path.absolute().parent.is_dir():
            raise PublishError(f"{path.absolute().parent}: no such folder: make it, or name another one")
        return
    PublishedFolder.require_ours(path)
