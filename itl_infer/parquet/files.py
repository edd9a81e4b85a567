"""Files wherever they are: by path, or by a URI (s3://, gs://, hdfs://, file://, and what fsspec knows)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from uuid import uuid4

from itl_infer.errors import ClusterError, reason_of
from itl_infer.files import sync, sync_folder

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_OF_PYARROW = {"file", "s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss"}
_OBJECT_STORES = {"s3", "gcs", "abfs"}  # a file appears there when it is complete
_IN_URIS = "%/:?#[]@!$&'()*+,;=~"  # characters that have their place in a URI, beside letters and digits
_PART = ".part"


def find_filesystem(location: str) -> tuple[FileSystem, str]:
    """The file system of a path or URI, and the path on it. Raises ClusterError."""
    from pyarrow import ArrowException, fs

    if "://" not in location:
        return fs.LocalFileSystem(), os.path.abspath(location)  # noqa: PTH100 (plain strings throughout)
    parts = urlsplit(location, allow_fragments=False)
    try:
        if parts.scheme not in _OF_PYARROW:
            from fsspec.core import url_to_fs

            system, path = url_to_fs(location)
            return fs.PyFileSystem(fs.FSSpecHandler(system)), path
        if parts.scheme == "file":
            system, path = fs.FileSystem.from_uri(quote(location, safe=_IN_URIS))
            return system, path
        system, top = _system_at(parts.scheme, parts.netloc, parts.query)
    except (ArrowException, OSError, ImportError, ValueError) as error:  # ValueError: fsspec knows it neither
        raise ClusterError(f"{shown(location)}: no such place: {reason_of(error)}") from error
    return system, (top + unquote(parts.path).lstrip("/")).rstrip("/") or "/"


@lru_cache(maxsize=64)
def _system_at(scheme: str, netloc: str, query: str) -> tuple[FileSystem, str]:
    """A file system, which may cost a connection, and what paths on it begin with, such as the bucket."""
    from pyarrow import fs

    system, path = fs.FileSystem.from_uri(urlunsplit((scheme, netloc, "/x", query, "")))
    return system, path.removesuffix("x")


def beside(location: str, name: str) -> str:
    """The location of a file that is named relative to a folder; `name` is a plain path, with "/"."""
    if "://" not in location:
        return os.path.join(location, name)  # noqa: PTH118
    parts = urlsplit(location, allow_fragments=False)
    path = f"{parts.path.rstrip('/')}/{quote(name)}"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def folder_of(location: str) -> str:
    """The folder that a file is in."""
    if "://" not in location:
        return os.path.dirname(location)  # noqa: PTH120
    parts = urlsplit(location, allow_fragments=False)
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rpartition("/")[0], parts.query, ""))


def shown(location: str) -> str:
    """A location as it may be written down: without password, and without options, which may hold keys."""
    if "://" not in location:
        return location
    hidden = re.sub(r"(?<=://)([^/@:]*):[^/@]*@", r"\1@", location)
    scheme = hidden.partition("://")[0]
    return hidden.partition("?")[0] if scheme in _OF_PYARROW else hidden


def write_whole(system: FileSystem, path: str, content: Iterable[Any]) -> None:
    """Write a file that is there whole or not at all, whatever happens meanwhile; OSError where it cannot be.

    `content` is written piece by piece.
    """
    if system.type_name in _OBJECT_STORES:
        _write(system, path, content)
        return
    partial = f"{path}.{uuid4().hex}{_PART}"  # two may write the same shard, one of which is thought dead
    try:
        if system.type_name == "local":
            with Path(partial).open("wb") as file:
                for block in content:
                    file.write(block)
                sync(file)
            Path(partial).replace(path)
            sync_folder(Path(path).parent)
        else:
            _write(system, partial, content)
            _move(system, partial, path)
    except BaseException:
        remove(system, partial)
        raise


def _write(system: FileSystem, path: str, content: Iterable[Any]) -> None:
    with system.open_output_stream(path) as stream:
        for block in content:
            stream.write(block)


def _move(system: FileSystem, partial: str, path: str) -> None:
    try:
        system.move(partial, path)
    except OSError:  # HDFS moves nothing over a file; what is there already has the same content
        if not is_file(system, path):
            raise
        system.delete_file(partial)


def is_partial(name: str) -> bool:
    """Whether a file is what a killed process left behind."""
    return name.endswith(_PART)


def remove(system: FileSystem, path: str) -> None:
    """Delete a file, if it is there and can be."""
    try:
        system.delete_file(path)
    except OSError:
        return


def is_file(system: FileSystem, path: str) -> bool:
    from pyarrow import fs

    return bool(system.get_file_info(path).type == fs.FileType.File)
