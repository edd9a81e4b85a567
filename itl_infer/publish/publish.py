"""Publish an index as a page that any web host can hand out, and that answers in the visitor's browser."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itl_infer.arguments import (
    require_callables,
    require_flags,
    require_instance,
    require_path,
    require_text,
    require_whole,
)
from itl_infer.errors import ImageError, PublishError, reason_of
from itl_infer.index import Index
from itl_infer.progress import Progress
from itl_infer.publish.folder import as_json
from itl_infer.publish.index_data import write_vectors
from itl_infer.publish.names_data import write_names
from itl_infer.publish.originals import Originals
from itl_infer.publish.pictures import Shown, make_thumbnails, pictures_of
from itl_infer.publish.sites import FileSite, FolderSite, Site, require_writable_target
from itl_infer.publish.text_data import write_text_data

if TYPE_CHECKING:
    from itl_infer.image import Facts

DEFAULT_SIDE = 320  # pixels of the longer side of a thumbnail
_SAID = 20  # names
MOST_IN_ONE_FILE = 2000  # pictures: a browser reads all of the file before it shows anything


@dataclass(frozen=True)
class LeftOut:
    """A picture that is not on the page, and why."""

    path: str
    error: str


@dataclass
class PublishReport:
    """What a run did."""

    pictures: int = 0  # on the page
    thumbnails_made: int = 0
    thumbnails_kept: int = 0  # from an earlier run
    files_written: int = 0
    files_removed: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        left_out = [{"path": one.path, "error": one.error} for one in self.left_out]
        return {**vars(self), "left_out": left_out, "seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class Publication:
    """What is to be published of `index`, which was opened with its bundle, and how; `write` does it.

    `side` is the longest a thumbnail gets, in pixels. `hide_names` calls pictures by hashes. `single_file` makes one
    file, `out` or index.html in it, of at most 2,000 pictures. With `taught` the page knows the names that were taught
    to the index, whose directions become public then. Raises PublishError for what cannot be published so,
    before anything is written.
    """

    index: Index
    out: Path  # or a text: it becomes one
    title: str = "Pictures"
    side: int = DEFAULT_SIDE
    originals: Originals = field(default_factory=Originals)
    hide_names: bool = False
    single_file: bool = False
    taught: bool = False

    def __post_init__(self) -> None:
        require_instance("index", self.index, Index, "an index, as Index.open() gives it")
        require_path("out", self.out)
        object.__setattr__(self, "out", Path(self.out))
        require_text("title", self.title)
        require_whole("side", self.side, 1)
        require_instance("originals", self.originals, Originals, 'such as Originals("copy")')
        require_flags(hide_names=self.hide_names, single_file=self.single_file, taught=self.taught)
        count = len(self.index)
        if count == 0:
            raise PublishError(
                f"{self.index.path}: holds no pictures: itl-infer embed-images PICTURES -d {self.index.path}"
            )
        if self.single_file and count > MOST_IN_ONE_FILE:
            raise PublishError(
                f"{self.index.path}: {count} pictures are too many for a single file, which holds"
                f" {MOST_IN_ONE_FILE}: publish a folder, without --single-file"
            )
        if self.single_file and self.originals.mode == "copy":
            raise PublishError(
                "--single-file has no room for originals: --originals link, or publish a folder"
            )
        if self.hide_names and self.originals.mode == "link":
            raise PublishError(
                "links to originals say their names: not with hidden names, where copies would do"
            )
        self._require_elsewhere()
        require_writable_target(self.out, single_file=self.single_file)

    def _require_elsewhere(self) -> None:
        """Thumbnails among the pictures would be embedded by the next run; in the index they would be in its way."""
        out = self.out.resolve()
        for root in self.index.roots:
            if root.is_whole and (out == root.folder or root.folder in out.parents):
                raise PublishError(
                    f"{self.out}: lies in {root.folder}, whose pictures it is to show: thumbnails there would be"
                    " embedded too; name a folder elsewhere"
                )
        index = self.index.path.resolve()
        if out == index or index in out.parents:
            raise PublishError(f"{self.out}: lies in the index {self.index.path}: name a folder elsewhere")

    @cached_property
    def pictures(self) -> list[Shown]:
        """All that the index has, in its order."""
        return pictures_of(self.index, self.side, hide_names=self.hide_names)

    def describe(self) -> str:
        """What becomes public, to be read before it is."""
        names = "no names (hashes instead)" if self.hide_names else "their file names and folders"
        originals = {
            "none": "no originals",
            "link": "links to the originals",
            "copy": "COPIES OF THE ORIGINALS, with all that is in them, such as where they were taken",
        }[self.originals.mode]
        if self.taught:
            originals += f"; the names that were taught, and what they mean: {self._describe_names()}"
        hide = "" if self.hide_names else " (--names hide leaves names out)"
        return (
            f"Public for everyone who gets {self.out}: {len(self.index)} pictures as thumbnails of {self.side} pixels"
            f" without EXIF or GPS, what was understood of them, when they were taken, {names}; {originals}{hide}"
        )

    @cached_property
    def _names(self) -> list[str]:
        """Those that are to be on the page."""
        return self.index.names.vectors()[0] if self.taught else []

    def _describe_names(self) -> str:
        more = f" and {len(self._names) - _SAID} more" if len(self._names) > _SAID else ""
        return (", ".join(self._names[:_SAID]) or "none so far") + more

    def _filters(self) -> list[str]:
        """What the page can tell pictures apart by."""
        return [*([] if self.hide_names else ["under", "name"]), "taken", "orientation"]

    def write(
        self, *, workers: int | None = None, progress: Callable[[Progress], None] | None = None
    ) -> PublishReport:
        """Bring `out` in step: only what changed is written, and what is there stays whole until the end.

        `workers` threads make thumbnails. Pictures that cannot be read any more are left out, and told. Raises
        PublishError, where all of them are or `out` cannot be written, and BundleError for a bundle whose text rules
        a page does not know.
        """
        if workers is not None:
            require_whole("workers", workers, 1)
        require_callables(progress=progress)
        begun, report = time.monotonic(), PublishReport()
        with tempfile.TemporaryDirectory(prefix="itl-publish-") as folder:
            data = _written_to(Path(folder), lambda path: write_text_data(self.index.require_bundle(), path))
        site: Site = FileSite(self.out) if self.single_file else FolderSite(self.out)
        shown = self._add_pictures(site, report, workers, progress)
        with tempfile.TemporaryDirectory(prefix="itl-publish-") as folder:
            rows = np.array([picture.row for picture in shown])
            vectors = self.index.embeddings if len(rows) == len(self.index) else self.index.embeddings[rows]
            data |= _written_to(Path(folder), lambda path: write_vectors(vectors, path))
        if self._names:
            with tempfile.TemporaryDirectory(prefix="itl-publish-") as folder:
                data |= _written_to(Path(folder), lambda path: write_names(self.index, path))
        for name, content in data.items():
            site.add_data(name, content)
        site.add_data("pictures.json", as_json(self._columns(shown)))
        report.pictures = len(shown)
        about = {
            "pictures": len(shown),
            "originals": self.originals.mode,
            "filters": self._filters(),
            "names": len(self._names),
        }
        report.files_removed = site.finish(self.title, about)
        report.files_written, report.seconds = site.written, time.monotonic() - begun
        return report

    def _add_pictures(
        self,
        site: Site,
        report: PublishReport,
        workers: int | None,
        progress: Callable[[Progress], None] | None,
    ) -> list[Shown]:
        """Thumbnails, and copies where they are wanted; the pictures that have them."""
        begun = time.monotonic()
        missing = {picture.id: picture for picture in self.pictures if not site.has(picture.thumbnail)}
        report.thumbnails_kept = before = len({picture.id for picture in self.pictures}) - len(missing)
        failed: dict[str, str] = {}
        for picture, made in make_thumbnails(missing.values(), self.side, workers):
            if isinstance(made, ImageError):
                failed[picture.id] = made.reason
            else:
                site.add(picture.thumbnail, made)
                report.thumbnails_made += 1
            if progress:
                done = before + report.thumbnails_made + len(failed)
                progress(Progress(done, before + len(missing), time.monotonic() - begun, before))
        shown = [picture for picture in self.pictures if picture.id not in failed]
        report.left_out = [LeftOut(one.path, failed[one.id]) for one in self.pictures if one.id in failed]
        if not shown:
            raise PublishError(
                f"none of the {len(self.pictures)} pictures can be read, such as {report.left_out[0].path}"
                f" ({report.left_out[0].error}): plug the drive in, or bring the index in step with embed-images"
            )
        if self.originals.mode == "copy":
            shown = [picture for picture in shown if self._copy(picture, site, report)]
        return shown

    def _copy(self, picture: Shown, site: Site, report: PublishReport) -> bool:
        name = self.originals.copy_of(picture)
        if not site.has(name):
            try:
                site.add(name, Path(picture.path).read_bytes())
            except OSError as error:
                report.left_out.append(LeftOut(picture.path, f"cannot be copied: {reason_of(error)}"))
                return False
        return True

    def _columns(self, shown: list[Shown]) -> dict[str, Any]:
        """What browser/pictures.js reads: of each row, in the order of the vectors, a value in each column."""
        folders: dict[str, int] = {}
        folder_of = [folders.setdefault(one.name.rpartition("/")[0], len(folders)) for one in shown]
        columns: dict[str, Any] = {
            "ids": [one.id for one in shown],
            "names": [one.name.rpartition("/")[2] for one in shown],
            "folder": folder_of,
            "folders": list(folders),
        }
        facts = [self.index.snapshot.facts_of(one.row) for one in shown]
        columns["taken"] = [one.taken.isoformat() if one.taken else None for one in facts]
        columns["shapes"] = [_shape_of(one) for one in facts]
        if self.originals.mode != "none":
            columns["originals"] = [self.originals.address_of(one) for one in shown]
        return columns


def _shape_of(facts: Facts) -> str:
    """The first letter of its orientation; "" where its sides are not known."""
    if not facts.width:
        return ""
    return "l" if facts.width > facts.height else "p" if facts.width < facts.height else "s"


def _written_to(folder: Path, write: Callable[[Path], dict[str, Any]]) -> dict[str, bytes]:
    """The files that `write` makes in a folder, by name."""
    return {name: (folder / name).read_bytes() for name in write(folder)}
