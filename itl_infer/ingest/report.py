"""What a run over folders did, and what it could not."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple


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
    removed: int = 0  # gone from where it was
    set_aside: int = 0  # there but left out now: no longer found, its embedding kept
    known_failures: int = 0  # failed in an earlier run and the same since: not tried again
    failed: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    images_per_second: float = 0.0  # of those embedded

    def to_json(self) -> dict[str, Any]:
        """The report as an object for `json`."""
        return {**asdict(self), "failed": [failure._asdict() for failure in self.failed]}
