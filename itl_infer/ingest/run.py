"""Embed what a survey found: files decoded in threads, embedded in batches, committed in small steps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itl_infer.ahead import in_order_ahead, is_done, uninterrupted
from itl_infer.arguments import (
    require_callables,
    require_flags,
    require_instance,
    require_number,
    require_paths,
    require_several,
    require_text,
    require_whole,
)
from itl_infer.cpus import usable_cpus
from itl_infer.errors import FolderError, IndexStoreError
from itl_infer.image import DEFAULT_MAX_MEGAPIXELS, describe_formats
from itl_infer.index import FailedFile, Index
from itl_infer.index.disk import database_errors
from itl_infer.index.remembered import read_exclusions, taken_back
from itl_infer.index.roots import Root
from itl_infer.index.schema import RowState
from itl_infer.index.teach import keep_moments, teach_again
from itl_infer.index.upkeep import remembered_paths
from itl_infer.ingest.away import NOT_THERE, describe_away
from itl_infer.ingest.folders import count_system_files
from itl_infer.ingest.reading import Reader, Reading, dated
from itl_infer.ingest.report import Change, Failure, Kept, Note, Report, leave_out
from itl_infer.ingest.survey import EXCLUDED_ROWS, GONE_ROWS, WANTED_AGAIN_ROWS, Item, Survey
from itl_infer.ingest.target import Target
from itl_infer.memory import usable_memory
from itl_infer.progress import Progress
from itl_infer.store import are_unit_rows

if TYPE_CHECKING:
    from itl_infer.bundle import Bundle
    from itl_infer.index import Writer

DEFAULT_BATCH_SIZE = 32
_SMALL_BATCH_SIZE = 4  # 220 MB less, and as fast
_MEMORY_FOR_BATCH = 2**30  # bytes that may be used: with less, batches are small
_MEMORY_FOR_WORKER = 2**29

# What a power cut can cost at most: so many pictures, or so much time.
COMMIT_ROWS = 512
MAX_BATCH_SIZE = COMMIT_ROWS  # two batches of pictures are held in memory
COMMIT_SECONDS = 5.0
_ASKED_SECONDS = 0.1  # how often a reader is asked whether it is done


def embed_directory(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    index: Index,
    *,
    workers: int | None = None,
    batch_size: int | None = None,
    exclude: Sequence[str] = (),
    no_exclude: bool | Sequence[str] = False,
    include_hidden: bool = False,
    include_system: bool = False,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    retry_failed: bool = False,
    prune: bool = False,
    wait: bool = False,
    progress: Callable[[Progress], None] | None = None,
    announce: Callable[[str], None] | None = None,
    on_change: Callable[[Change], None] | None = None,
    pass_over: Callable[[str, int, int], bool] | None = None,
) -> Report:
    """Embed the pictures under folders, or single ones, into `index`; drop those that are gone from there.

    Unchanged files (same size and time, or same content) are not embedded again, nor is content that the
    index has under another name. Files that cannot be embedded are listed in the report, and not tried again
    until they change (or with `retry_failed`, or a higher `max_megapixels`). Those in a format whose reader is an
    extra that is not installed are counted in `left_out` of the report, and taken by the first run that has it.
    `exclude` holds globs of names, or of paths from the given folder on; the index remembers them with the folder,
    until `no_exclude` takes back some, or all (True), of those that bear on `paths`. Hidden files and folders are left
    out unless `include_hidden`, those of systems and programs (`itl_infer/system_files.py`), hidden or not, unless
    `include_system`; these are counted in `system_files` of the report. Files are read in `workers` threads, in
    bounded memory, while others are embedded; where little memory may be used, fewer at a time. An interrupt keeps
    all that was embedded. `announce` is told beforehand where pictures that are embedded are read once more: those of
    an index of an earlier format, for their dates, cameras, sizes and perceptual hashes. `on_change` is told of each
    change once it is on the disk; a new or changed file for whose path, size in bytes and time in nanoseconds
    `pass_over` is true is left to a later run.

    Pictures are dropped that were deleted. What is away is kept, and listed in `kept` of the report: a path that is
    missing, a folder without a picture that had some, one that goes away meanwhile, and below a given folder a drive
    that is not there, a folder in whose place stands an empty one, and what cannot be listed. `prune` drops those too.

    Raises ValueError for less than one worker, or a batch that is empty or larger than MAX_BATCH_SIZE, and
    FolderError where all paths are away, or nothing is found at all: nothing is removed then. Raises IndexStoreError
    where another process is writing the index, unless told to `wait`, and where a glob of `no_exclude` is none that
    the index remembers.
    """
    started = time.monotonic()
    given = require_paths("paths", paths)
    require_instance("index", index, Index, "an index, as Index.open() gives it")
    if workers is not None:
        require_whole("workers", workers, 1)
    if batch_size is not None and require_whole("batch_size", batch_size, 1) > MAX_BATCH_SIZE:
        raise ValueError(f"batch_size is {batch_size}, expected 1 to {MAX_BATCH_SIZE}")
    exclude = require_several("exclude", exclude, "globs", require_text)
    if not isinstance(no_exclude, bool):
        no_exclude = require_several("no_exclude", no_exclude, "globs, True or False", require_text)
    max_megapixels = require_number("max_megapixels", max_megapixels, above=0)
    require_flags(
        include_hidden=include_hidden,
        include_system=include_system,
        retry_failed=retry_failed,
        prune=prune,
        wait=wait,
    )
    require_callables(progress=progress, announce=announce, on_change=on_change, pass_over=pass_over)
    folders = [Target(Path(path)).real for path in given]
    remembered = read_exclusions(index.path)
    dropped = taken_back(remembered, no_exclude, folders, index.path)
    exclusions = [exclusion for exclusion in remembered if exclusion not in dropped]
    targets = [Target(Path(path), exclude, include_hidden, include_system, exclusions) for path in given]
    if not prune:
        _require_any(targets)
    # The survey needs a writer, which makes a new index: not for a folder without pictures. This walk ends at the
    # first one, so that all but what stands before it is walked only once.
    if len(index) == 0 and not any(True for target in targets for _ in target.files()):
        raise _nothing_found(targets)
    bundle = index.require_bundle()
    report = Report()
    with index.writing(wait=wait) as writer, database_errors(index.path):
        survey = Survey(writer, max_megapixels=max_megapixels, retry_failed=retry_failed)
        survey.look(targets, prune=prune)
        survey.exclude(exclude, dropped)
        if not (survey.seen or survey.excluded or survey.gone):
            raise _nothing_found(targets)
        if announce is not None and (without := survey.without_facts):
            announce(
                f"{without} pictures were embedded by an earlier version: they are read once more, for their dates,"
                " cameras, sizes and hashes, and not embedded again"
            )
        memory = usable_memory()
        if batch_size is None:
            batch_size = DEFAULT_BATCH_SIZE if memory >= _MEMORY_FOR_BATCH else _SMALL_BATCH_SIZE
            batch_size = bundle.image_rules.pictures_at_a_time(batch_size)
        if workers is None:
            workers = int(max(1, min(usable_cpus(), memory // _MEMORY_FOR_WORKER)))
        run = _Run(bundle, writer, survey, report, max_megapixels, batch_size, progress)
        run.on_change, run.pass_over = on_change, pass_over
        run.settle_known()
        run.embed(workers)
        run.remove_gone()
        run.review_folders()
        writer.compact_if_due()
        report.examples_gone += [Failure(*example) for example in teach_again(writer, bundle)]
        keep_moments(writer)
    report.seconds = time.monotonic() - started
    report.images_per_second = report.embedded / report.seconds
    return report


def embed_again(
    path: str | os.PathLike[str],
    bundle: Bundle,
    paths: Iterable[str | os.PathLike[str]] = (),
    *,
    prune: bool = False,
    wait: bool = False,
    **options: Any,
) -> tuple[Index, Report]:
    """Embed all that the index at `path` has with another bundle, and what is under `paths` too.

    `options` are those of `embed_directory`, and so are the errors. Raises IndexStoreError too where a folder
    that the index remembers is missing, unless `prune` says that it is gone for good.
    """
    new = list(paths)
    if new and not prune:
        _require_any([Target(Path(path)) for path in new])
    remembered = remembered_paths(path)
    index = Index.rebuild(path, bundle, prune=prune, wait=wait)
    # Single files may be gone by now, and there is nothing left in the index that `prune` could take.
    return index, embed_directory([*remembered, *new], index, prune=True, wait=wait, **options)


def _require_any(targets: Sequence[Target]) -> None:
    """A name that was mistyped makes no index."""
    if not any(target.exists() for target in targets):
        raise FolderError("; ".join(describe_away(str(target.path), NOT_THERE) for target in targets))


def _nothing_found(targets: Sequence[Target]) -> FolderError:
    places = ", ".join(str(target.path) for target in targets)
    return FolderError(
        f"{places}: no pictures in there ({describe_formats()}; hidden and excluded ones do not"
        " count): name a folder that has some"
    )


@contextmanager
def _reading(reader: Reader, workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that read; who is interrupted does not wait for what they are at."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="itl-read")
    try:
        yield pool
    except BaseException:
        reader.stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


class _Run:
    """One run over what a survey found."""

    def __init__(
        self,
        bundle: Bundle,
        writer: Writer,
        survey: Survey,
        report: Report,
        max_megapixels: float,
        batch_size: int,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._bundle, self._writer, self._survey, self._report = bundle, writer, survey, report
        self._max_megapixels = max_megapixels
        self._batch_size = batch_size
        self._progress = progress
        self.on_change: Callable[[Change], None] | None = None
        self.pass_over: Callable[[str, int, int], bool] | None = None
        self._changes: list[Change] = []  # that are not on the disk yet
        self._batch: list[Reading] = []
        self._done = 0
        self._total = survey.todo
        self._started = time.monotonic()
        self._committed = self._started

    def settle_known(self) -> None:
        """What needs no file to be read."""
        survey, report = self._survey, self._report
        self._note_rows("set aside", EXCLUDED_ROWS)
        self._note_rows("reused", WANTED_AGAIN_ROWS)
        report.unchanged += survey.unchanged
        report.known_failures += survey.known_failures
        report.failed += [Failure(*problem) for problem in survey.problems]
        report.set_aside += survey.excluded
        report.reused += survey.wanted_again
        self._writer.set_states(EXCLUDED_ROWS, RowState.ASIDE)
        self._writer.set_states(WANTED_AGAIN_ROWS, RowState.LIVE)
        for root, path in survey.vanished_others:
            self._writer.drop(root, path)

    def embed(self, workers: int) -> None:
        """Read, embed and commit what is new or changed."""
        reader = Reader(self._bundle.image_rules, self._max_megapixels, self._survey.knows)
        # Enough are read ahead that a batch is read while another is embedded.
        ahead = 2 * self._batch_size + workers
        with (
            _reading(reader, workers) as pool,
            closing(in_order_ahead(pool, reader.read, self._items(), ahead)) as readings,
        ):
            try:
                for future in readings:
                    while not is_done(future, _ASKED_SECONDS):
                        if self._seconds_to_commit() == 0:
                            self._commit()
                    with uninterrupted():
                        reading = future.result()
                    self._take(reading)
                self._commit()
            except IndexStoreError:
                raise
            except BaseException:
                self._writer.commit()  # an interrupt, above all: what was embedded stays, and waits for no reader
                raise

    def _items(self) -> Iterator[Item]:
        for item in self._survey.items():
            if self.pass_over is None or not self.pass_over(item.location, item.size, item.mtime_ns):
                yield item

    def _note(self, kind: str, path: str, reason: str = "") -> None:
        if self.on_change is not None:
            self._changes.append(Change(kind, path, reason))

    def _note_rows(self, kind: str, rows: str) -> None:
        """What becomes of the pictures of all that SELECT row FROM `rows` gives."""
        if self.on_change is not None:
            self._changes += [Change(kind, path) for path in self._survey.paths_of(rows)]

    def _write(self) -> None:
        self._writer.commit()
        changes, self._changes = self._changes, []
        for change in changes:
            if self.on_change is not None:
                self.on_change(change)

    def remove_gone(self) -> None:
        """Drop the rows whose pictures are gone and did not turn up under another name."""
        for root, path, was_picture in self._survey.judge_vanished():
            self._writer.drop(root, path)
            self._report.removed += was_picture
            if was_picture:
                self._note("removed", self._survey.locate(root, path))
        self._note_rows("removed", GONE_ROWS)
        self._report.removed += self._survey.gone
        self._writer.set_states(GONE_ROWS, RowState.GONE)
        self._write()

    def review_folders(self) -> None:
        """Forget missing folders whose pictures all turned up elsewhere; name what is away, and note how others are."""
        for root in self._survey.missing:
            if not self._known_of(root, "pictures WHERE state <> 2") + self._known_of(
                root, "failures WHERE TRUE"
            ):
                self._writer.forget_root(root.id)
        self._survey.remember_folders()
        self._writer.commit()
        self._report.kept += [
            Kept(away.path, pictures, away.reason) for away, pictures in self._survey.kept.left()
        ]
        self._report.system_files = dict(count_system_files(self._survey.looked_at).most_common())

    def _known_of(self, root: Root, rows: str) -> int:
        [(count,)] = self._writer.execute(f"SELECT count(*) FROM {rows} AND root = ?", (root.id,))
        return int(count)

    def _take(self, reading: Reading) -> None:
        """Enter one file that was read into the index, or into the next batch."""
        item, report, writer = reading.item, self._report, self._writer
        if reading.vanished:
            self._survey.note_vanished(item)  # deleted, or away with its folder: to be seen at the end
        elif reading.reader_missing is not None:
            # No failure, which would not be tried again: the next run takes it, once its reader is there.
            missing = reading.reader_missing
            writer.leave_out(item.root, item.path, missing.suffix, missing.extra)
            leave_out(report.left_out, missing.suffix, missing.extra)
            self._note("left out", item.location, missing.reason)
        elif reading.error is not None and reading.digest is None and item.picture_digest is not None:
            # What it holds now nobody knows: what is embedded stays until that can be read.
            report.failed.append(Failure(item.location, reading.error))
            self._note("failed", item.location, reading.error)
        elif reading.error is not None:
            self._fail(reading, reading.error)
        elif reading.digest == item.picture_digest:
            self._keep(reading)
            report.unchanged += 1
        elif reading.digest == item.failure_digest:
            writer.touch(reading.picture())
            report.known_failures += 1
        elif reading.pixels is None:
            picture = reading.picture()
            row, has_moved = self._survey.take(picture.digest)
            if has_moved:
                writer.set_state(row, RowState.GONE)
            facts = reading.facts or writer.facts(row)
            writer.add(picture, writer.embedding(row), facts and dated(facts, reading.date))
            self._note("renamed" if has_moved else "reused", item.location)
            report.renamed += has_moved
            report.reused += not has_moved
        else:
            self._batch.append(reading)
            room = min(self._batch_size, COMMIT_ROWS - self._writer.pending)
            if len(self._batch) >= room:
                self._embed_batch()
            return
        self._advance(1)

    def _keep(self, reading: Reading) -> None:
        """What is embedded stays, under the file's new size and time, with facts that it did not have."""
        picture, facts = reading.picture(), reading.facts
        row = self._writer.row_of(picture.root, picture.path)
        if facts is not None:
            self._report.facts_read += 1
        else:
            known = self._writer.facts(row)
            facts = known and dated(known, reading.date)
            if facts == known:
                self._writer.touch(picture)
                return
        self._writer.add(picture, self._writer.embedding(row), facts)  # what counts is never written again

    def _embed_batch(self) -> None:
        if not self._batch:
            return
        batch, self._batch = self._batch, []
        pixels = [reading.pixels for reading in batch if reading.pixels is not None]
        embeddings = self._bundle.embed_pixels(np.stack(pixels), batch_size=self._batch_size)
        for reading, embedding, is_unit in zip(batch, embeddings, are_unit_rows(embeddings), strict=True):
            if not is_unit:
                self._fail(reading, "the bundle gave it no unit vector: itl-infer bundle verify")
                continue
            self._writer.add(reading.picture(), embedding, reading.facts)
            self._report.embedded += 1
            self._note("embedded", reading.item.location)
            if reading.note is not None:
                self._report.incomplete.append(Note(reading.item.location, reading.note))
        self._advance(len(batch))

    def _fail(self, reading: Reading, error: str) -> None:
        item = reading.item
        as_read = (reading.size, reading.mtime_ns, reading.digest)
        self._writer.fail(FailedFile(item.root, item.path, *as_read, error, self._max_megapixels))
        self._report.failed.append(Failure(item.location, error))
        self._note("failed", item.location, error)

    def _advance(self, files: int) -> None:
        self._done += files
        if self._progress is not None:
            self._progress(Progress(self._done, self._total, time.monotonic() - self._started))
        if self._writer.pending >= COMMIT_ROWS or self._seconds_to_commit() == 0:
            self._commit()

    def _seconds_to_commit(self) -> float:
        return max(0.0, self._committed + COMMIT_SECONDS - time.monotonic())

    def _commit(self) -> None:
        self._embed_batch()
        self._write()
        self._committed = time.monotonic()
