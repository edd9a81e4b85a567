"""Files wherever they are: by path, or by a URI that pyarrow knows (s3://, gs://, hdfs://, ...)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from itl_infer.errors import ClusterError
from itl_infer.index.disk import sync, sync_folder

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_OBJECT_STORES = {"s3", "gcs", "abfs"}  # a file appears there when it is complete


def find_filesystem(location: str) -> tuple[FileSystem, str]:
    """The file system of a path or URI, and the path on it. Raises ClusterError."""
    from pyarrow import ArrowException, fs

    if "://" not in location:
        return fs.LocalFileSystem(), os.path.abspath(location)  # noqa: PTH100 (plain strings throughout)
    try:
        system, path = fs.FileSystem.from_uri(location)
    except (ArrowException, OSError) as error:
        raise ClusterError(f"{location}: no such place: {one_line(error)}") from error
    return system, path


def write_whole(system: FileSystem, path: str, content: Any) -> None:
    """Write a file that is there whole or not at all, whatever happens meanwhile; OSError where it cannot be."""
    if system.type_name in _OBJECT_STORES:
        with system.open_output_stream(path) as stream:
            stream.write(content)
        return
    partial = f"{path}.{uuid4().hex}.part"  # two may write the same shard, one of which is thought dead
    if system.type_name == "local":
        try:
            with Path(partial).open("wb") as file:
                file.write(content)
                sync(file)
            Path(partial).replace(path)
            sync_folder(Path(path).parent)
        finally:
            Path(partial).unlink(missing_ok=True)
        return
    with system.open_output_stream(partial) as stream:
        stream.write(content)
    system.move(partial, path)


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
