"""Names in a file: JSON, for another index of the same bundle, and to ask shards and collections with."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from itl_infer.errors import TeachError, reason_of
from itl_infer.files import replacing
from itl_infer.teaching.discriminant import Moments
from itl_infer.teaching.naming import key_of, require_name
from itl_infer.teaching.taught import Example, Names, Taught

_KIND, _VERSION = "names of itl-infer", 1
_DIGEST_BYTES = 16
_UNIT = 1e-3  # how far from 1 the length of an embedding may be


@dataclass(frozen=True)
class NamesFile:
    """What a file of names holds."""

    bundle_name: str
    fingerprint: str
    names: Names


def write_names(
    path: str | os.PathLike[str],
    names: Mapping[str, Taught],
    among: Moments,
    bundle_name: str,
    fingerprint: str,
) -> None:
    """Write names with their examples, whole or not at all. Raises TeachError where the file cannot be written."""
    content = {
        "kind": _KIND,
        "version": _VERSION,
        "bundle": bundle_name,
        "fingerprint": fingerprint,
        "rows": among.count,
        "mean": _text(among.mean, "<f8"),
        "covariance": _text(among.covariance[np.tril_indices(len(among.mean))], "<f4"),
        "names": [
            {
                "name": taught.name,
                "examples": [
                    {
                        "path": example.path,
                        "digest": example.digest.hex(),
                        "wanted": example.is_wanted,
                        "embedding": _text(example.embedding, "<f4"),
                    }
                    for example in taught.examples
                    if example.embedding is not None
                ],
            }
            for taught in names.values()
        ],
    }
    file_path = Path(path)
    try:
        with replacing(file_path) as file:
            file.write(
                json.dumps(content, indent=1).encode() + b"\n"
            )  # ASCII: names of files need not be text
    except OSError as error:
        raise TeachError(f"{file_path}: {reason_of(error)}: name a file that can be written") from error


def read_names(path: str | os.PathLike[str]) -> NamesFile:
    """The names in a file. Raises TeachError where it is none, is damaged, or of a newer version."""
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise TeachError(f"{os.fspath(path)}: {reason_of(error)}: name a file of names") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "no JSON") from error
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        raise TeachError(f"{os.fspath(path)}: no file of names: itl-infer names export FILE writes one")
    if content.get("version") != _VERSION:
        raise TeachError(
            f"{os.fspath(path)}: version {content.get('version')!r} of names, this version of itl-infer reads"
            f" {_VERSION}: upgrade itl-infer"
        )
    try:
        return _read(content)
    except (KeyError, TypeError, ValueError, AttributeError, TeachError) as error:
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else reason_of(error)
        raise _damaged(path, what) from error


def _read(content: dict[str, Any]) -> NamesFile:
    mean = _numbers(content["mean"], "<f8").astype(np.float64)
    width = len(mean)
    half = _numbers(content["covariance"], "<f4").astype(np.float64)
    covariance = np.zeros((width, width))
    covariance[np.tril_indices(width)] = half
    covariance += np.tril(covariance, -1).T
    among = Moments(int(content["rows"]), mean, covariance)
    taught: dict[str, Taught] = {}
    for one in content["names"]:
        name = require_name(str(one["name"]))
        examples = {
            example.digest: example for example in (_example(found, width) for found in one["examples"])
        }
        if not any(example.is_wanted for example in examples.values()):
            raise ValueError(f"{name} has no example")
        taught[key_of(name)] = Taught(name, tuple(examples.values()), among)
    named = {key: one.name for key, one in taught.items()}
    return NamesFile(str(content["bundle"]), str(content["fingerprint"]), Names(named, taught.__getitem__))


def _example(found: dict[str, Any], width: int) -> Example:
    path, wanted = found["path"], found["wanted"]
    digest, embedding = bytes.fromhex(found["digest"]), _numbers(found["embedding"], "<f4")
    if not (isinstance(path, str) and "\0" not in path and isinstance(wanted, bool)):
        raise ValueError("an example has no path, or does not say whether it is wanted")
    if (
        len(digest) != _DIGEST_BYTES
        or len(embedding) != width
        or not abs(np.linalg.norm(embedding) - 1) < _UNIT
    ):
        raise ValueError(f"{path} has no embedding of unit length")
    return Example(path, digest, wanted, embedding.astype(np.float32))


def _text(numbers: npt.NDArray[Any], kind: str) -> str:
    return base64.b64encode(numbers.astype(kind).tobytes()).decode()


def _numbers(text: str, kind: str) -> npt.NDArray[Any]:
    try:
        numbers = np.frombuffer(base64.b64decode(text, validate=True), kind)
    except binascii.Error as error:
        raise ValueError("numbers are not base64") from error
    if not np.isfinite(numbers).all():
        raise ValueError("numbers are not finite")
    return numbers


def _damaged(path: str | os.PathLike[str], what: str) -> TeachError:
    return TeachError(f"{os.fspath(path)}: damaged ({what}): export it again with itl-infer names export")
