"""Whether a published folder or file is what its manifest says, to the last byte."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itl_infer.arguments import require_path
from itl_infer.errors import PublishError, reason_of
from itl_infer.publish.folder import MANIFEST, is_inside, listed_files, read_manifest
from itl_infer.publish.sites import LISTED, is_published_file

_PART = re.compile(rb'<script type="text/plain" data-file="([^"]+)">([^<]*)</script>')


@dataclass
class CheckReport:
    """What a check found."""

    files: int = 0  # looked at
    problems: list[str] = field(default_factory=list)  # each one line

    def to_json(self) -> dict[str, Any]:
        return {"files": self.files, "problems": self.problems}


def check_published(path: str | os.PathLike[str]) -> CheckReport:
    """Compare what was published at `path` with its manifest. Raises PublishError where nothing was."""
    require_path("path", path)
    path, report = Path(path), CheckReport()
    if path.is_file():
        if not is_published_file(path):
            raise PublishError(f"{path}: not a page that itl-infer published")
        _check_parts(path, path.read_bytes(), report)
        return report
    manifest = read_manifest(path)
    if manifest is None:
        raise PublishError(
            f"{path}: nothing was published here (no {MANIFEST} of itl-infer): publish it first"
        )
    try:
        for name, sha256, size in _files_of(path, manifest):
            report.files += 1
            _compare(path / name, name, sha256, size, report) if is_inside(name) else report.problems.append(
                f"{name}: leads out of the folder"
            )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        report.problems.append(f"{MANIFEST}: damaged ({reason_of(error)})")
    if not manifest.get("data"):  # everything is in the page
        _check_parts(path / manifest["page"]["file"], (path / manifest["page"]["file"]).read_bytes(), report)
    return report


def _files_of(path: Path, manifest: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
    for listed in listed_files(manifest):
        yield listed["file"], listed["sha256"], listed["bytes"]
    if LISTED in manifest["data"] and is_inside(name := manifest["data"][LISTED]["file"]):
        try:
            content = (path / name).read_bytes()
        except OSError:
            return  # said already
        for name, (sha256, size) in json.loads(content).items():
            yield name, sha256, size


def _compare(path: Path, name: str, sha256: str, size: int, report: CheckReport) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        report.problems.append(f"{name}: cannot be read: {reason_of(error)}")
        return
    _compare_content(content, name, sha256, size, report)


def _compare_content(content: bytes, name: str, sha256: str, size: int, report: CheckReport) -> None:
    if len(content) != size:
        report.problems.append(f"{name}: {len(content)} bytes, {size} were published")
    elif hashlib.sha256(content).hexdigest() != sha256:
        report.problems.append(f"{name}: not what was published")


def _check_parts(path: Path, page: bytes, report: CheckReport) -> None:
    """The parts of a page that is one file."""
    try:
        found = {name.decode(): base64.b64decode(part, validate=True) for name, part in _PART.findall(page)}
        manifest = json.loads(found["site.json"])
        script = page.rpartition(b"<script>")[2].partition(b"</script>")[0]
        listed = manifest["script"]
        _compare_content(script, "the script", listed["sha256"], listed["bytes"], report)
        for name, listed in manifest["parts"].items():
            report.files += 1
            if name in found:
                _compare_content(found[name], name, listed["sha256"], listed["bytes"], report)
            else:
                report.problems.append(f"{name}: missing in {path.name}")
    except (binascii.Error, KeyError, TypeError, ValueError, AttributeError) as error:
        report.problems.append(f"{path.name}: damaged ({reason_of(error)})")
