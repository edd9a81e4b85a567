"""What a run was asked to look at: a folder, or a single file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from itl_infer.files import as_on_disk
from itl_infer.index.roots import real_path
from itl_infer.walk import Exclusion, FoundFile, Walk, describe


class Target:
    """A folder, or a single file, that was asked for."""

    def __init__(
        self,
        path: Path,
        exclude: Sequence[str] = (),
        include_hidden: bool = False,
        include_system: bool = False,
        exclusions: Sequence[Exclusion] = (),
    ) -> None:
        self.path = path  # as given, for messages
        path = as_on_disk(path)
        is_folder = path.is_dir()
        # A file keeps its own name, whatever file that may be a link to.
        self.real = real_path(path) if is_folder else real_path(path.parent) / path.name
        self.walk = (
            Walk(self.real, exclude, include_hidden, include_system, exclusions) if is_folder else None
        )
        self._identity = self._identify()

    @property
    def folder(self) -> Path:
        """The folder to remember as a root, where no root covers it yet."""
        return self.real.parent if self.walk is None else self.real

    def exists(self) -> bool:
        return self._identity is not None

    def went_away(self) -> bool:
        """Whether a folder has been replaced by another, or by none, as when a drive is pulled out."""
        return self.walk is not None and self._identify() != self._identity

    def files(self) -> Iterable[FoundFile]:
        """What there is to embed; a single file whatever its name."""
        if self.walk is not None:
            return self.walk
        return describe(self.real, str(self.real)) if self.exists() else ()

    def _identify(self) -> tuple[int, int] | None:
        try:
            status = self.real.lstat()
        except OSError:
            return None
        return status.st_dev, status.st_ino
