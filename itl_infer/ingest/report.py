"""What a run over folders did, and what it could not."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple


class LeftOut(NamedTuple):
    """Pictures of one ending that were left out as nothing here reads them; they are tried again in each run."""

    files: int
    extra: str  # of itl-infer, which brings what does: pip install 'itl-infer[extra]'


class Kept(NamedTuple):
    """A folder, or a file, that is away: what the index has of it is kept."""

    path: str
    pictures: int  # 0 where the index has none of it
    reason: str


class Change(NamedTuple):
    """What a run changed of an index, once it is on the disk.

    `kind` is "embedded", "renamed" (`path` is the new name), "reused" (known content under another name, or no more
    left out), "removed", "set aside" (left out now), "left out" (nothing here reads it) or "failed".
    """

    kind: str
    path: str
    reason: str = ""  # of what failed or was left out


class Note(NamedTuple):
    """What is to be said of a picture that was embedded all the same."""

    path: str
    note: str


class Failure(NamedTuple):
    """A picture that could not be embedded, or a folder that could not be listed."""

    path: str
    error: str


@dataclass
class Report:
    """What a run did. A picture that was found counts once, `removed` are those no longer found."""

    embedded: int = 0
    unchanged: int = 0
    renamed: int = 0  # known content under a new name, the old one gone: not embedded again
    reused: int = 0  # known content, copied, restored or excluded until now: not embedded again
    facts_read: int = (
        0  # of pictures embedded by an earlier version: read once more, for date, camera, size and hash
    )
    removed: int = 0  # gone from where it was
    set_aside: int = 0  # there but left out now: no longer found, its embedding kept
    known_failures: int = 0  # failed in an earlier run and the same since: not tried again
    failed: list[Failure] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)  # what was not seen and may come back: prune drops it
    incomplete: list[Note] = field(default_factory=list)  # embedded, though their files are cut at the end
    examples_gone: list[Failure] = field(
        default_factory=list
    )  # of names, not to be embedded with this bundle
    left_out: dict[str, LeftOut] = field(
        default_factory=dict
    )  # by ending, ".heic": what reads them is missing
    system_files: dict[str, int] = field(default_factory=dict)  # left out as a system's own: "@eaDir", "._*"
    seconds: float = 0.0
    images_per_second: float = 0.0  # of those embedded

    def to_json(self) -> dict[str, Any]:
        """The report as an object for `json`; examples of names that are gone only where there are some."""
        found = {
            **asdict(self),
            "failed": [failure._asdict() for failure in self.failed],
            "kept": [kept._asdict() for kept in self.kept],
            "incomplete": [note._asdict() for note in self.incomplete],
            "examples_gone": [example._asdict() for example in self.examples_gone],
            "left_out": left_out_as_json(self.left_out),
        }
        if not self.examples_gone:
            del found["examples_gone"]
        return found


def leave_out(left_out: dict[str, LeftOut], suffix: str, extra: str, files: int = 1) -> None:
    """Count files that are left out."""
    left_out[suffix] = LeftOut(files + (left_out[suffix].files if suffix in left_out else 0), extra)


def left_out_as_json(left_out: dict[str, LeftOut]) -> dict[str, dict[str, Any]]:
    """By number, the largest first."""
    ordered = sorted(left_out.items(), key=lambda item: (-item[1].files, item[0]))
    return {suffix: found._asdict() for suffix, found in ordered}
