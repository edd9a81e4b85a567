"""Embed pictures on a Ray cluster, into Parquet shards; what is finished is not done again."""

from __future__ import annotations

import io
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from itl_infer.bundle import load_bundle
from itl_infer.distributed.cluster import INSTALL, connected, map_numbers
from itl_infer.distributed.files import find_filesystem, one_line
from itl_infer.distributed.plan import CONTENT, NAMES, Entry, Plan, location_or_content, open_plan
from itl_infer.distributed.shards import finished_shards, write_shard
from itl_infer.errors import ClusterError, ImageError
from itl_infer.image import DEFAULT_MAX_MEGAPIXELS, load_pixels, open_picture_file
from itl_infer.index import UNIT_TOLERANCE
from itl_infer.manifest import IMAGE_GRAPH, MANIFEST

if TYPE_CHECKING:
    from itl_infer.bundle import Bundle

SHARD_ROWS = 1024
_BATCH = 32  # pictures embedded at a time
_READ_AHEAD = 2 * _BATCH
_READERS = 4  # threads of a worker: pictures may have a long way

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Report:
    """What a run did. Pictures of shards that were there before count as `kept`."""

    embedded: int
    failed: int
    kept: int
    shards: int
    seconds: float
    images_per_second: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Progress:
    """How far a run is: pictures in finished shards, of all."""

    done: int
    total: int
    seconds: float
    rate: float  # pictures a second, in this run

    @property
    def eta_seconds(self) -> float | None:
        """Seconds left at this rate; None before the first shard."""
        return (self.total - self.done) / self.rate if self.rate else None


def embed(
    source: str | Iterable[str],
    out: str,
    *,
    bundle: Bundle | None = None,
    address: str | None = None,
    cpus: float = 1,
    shard_rows: int = SHARD_ROWS,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Embed the pictures of `source` (see `plan.open_plan`) into shards of up to `shard_rows` in the folder `out`.

    Both may be paths that every node sees, or URIs. A worker for each share of `cpus` CPUs holds the bundle, which is
    sent to it. A picture that cannot be read is a row with an error. However a run ends, the same call goes on with the
    shards that are not there yet; a shard is whole or not there. `address` is as for `cluster.connected`.

    Raises ClusterError where source, folder or cluster cannot be used, ValueError for settings that mean nothing.
    """
    if cpus <= 0 or shard_rows < 1:
        raise ValueError(f"cpus is {cpus}, shard_rows {shard_rows}: expected above 0, and 1 or more")
    started = time.monotonic()
    bundle = bundle or load_bundle()
    try:
        plan = open_plan(out, source, bundle, shard_rows)
    except ImportError as error:
        raise ClusterError(f"Parquet shards need pyarrow: {INSTALL}") from error
    finished = finished_shards(plan.system, plan.folder)
    todo = [piece for piece in range(plan.pieces) if piece not in finished]
    kept = plan.pictures if not todo else plan.count(finished)
    embedded = failed = 0
    if todo:
        settings = {
            "out": out,
            "plan": plan,
            "files": {name: bundle.read_file(name) for name in (IMAGE_GRAPH,)}
            | {MANIFEST: (bundle.path / MANIFEST).read_bytes()},
            "threads": max(1, int(cpus)),
            "max_megapixels": max_megapixels,
        }
        with connected(address):
            for row in map_numbers(_Worker, settings, todo, cpus):
                if row["stopped"]:
                    raise ClusterError(
                        f"{out}: {row['stopped']}; the shards that are finished stay: run again to go on"
                    )
                embedded += row["embedded"]
                failed += row["failed"]
                if progress is not None:
                    seconds = time.monotonic() - started
                    done = embedded + failed
                    progress(Progress(kept + done, plan.pictures, seconds, done / seconds))
    seconds = time.monotonic() - started
    return Report(embedded, failed, kept, plan.pieces, seconds, embedded / seconds)


class _Worker:
    """Embeds pieces of the plan, on whatever machine Ray starts it."""

    def __init__(
        self, out: str, plan: Plan, files: dict[str, bytes], threads: int, max_megapixels: float
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="itl-bundle-")
        for name, content in files.items():
            Path(self._folder.name, name).write_bytes(content)
        self._bundle = load_bundle(self._folder.name, threads=threads)
        self._out, self._plan = out, plan
        self._max_megapixels = max_megapixels
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="itl-read")

    def __call__(self, batch: dict[str, npt.NDArray[Any]]) -> dict[str, list[Any]]:
        figures: dict[str, list[Any]] = {"number": [], "embedded": [], "failed": [], "stopped": []}
        for number in batch["number"].tolist():
            embedded = failed = 0
            stopped = ""
            try:
                embedded, failed = self._embed(number)
            except OSError as error:  # the disk is full, the store away: not the fault of a picture
                stopped = f"shard {number} could not be written: {one_line(error)}"
            except ClusterError as error:
                stopped = str(error)
            for name, value in zip(figures, (number, embedded, failed, stopped), strict=True):
                figures[name].append(value)
        return figures

    def _embed(self, piece: int) -> tuple[int, int]:
        paths: list[str] = []
        errors: list[str | None] = []
        embeddings: list[npt.NDArray[np.float32]] = []
        waiting: list[Pixels] = []
        places: list[int] = []

        def flush() -> None:
            if waiting:
                for place, row in zip(places, self._bundle.embed_pixels(np.stack(waiting)), strict=True):
                    if abs(float(np.linalg.norm(row)) - 1) < UNIT_TOLERANCE:
                        embeddings[place] = row
                    else:
                        errors[place] = "the bundle gave it no unit vector: itl-infer bundle verify"
                waiting.clear()
                places.clear()

        nothing = np.zeros(self._bundle.embed_dim, np.float32)
        for path, found in self._pictures(self._plan.read(piece)):
            paths.append(path.encode(errors="surrogateescape").decode(errors="backslashreplace"))
            embeddings.append(nothing)
            errors.append(found if isinstance(found, str) else None)
            if not isinstance(found, str):
                places.append(len(paths) - 1)
                waiting.append(found)
            if len(waiting) == _BATCH:
                flush()
        flush()
        failed = sum(error is not None for error in errors)
        fingerprint = self._bundle.fingerprint
        write_shard(
            self._plan.system, self._plan.folder, piece, paths, np.array(embeddings), errors, fingerprint
        )
        return len(paths) - failed, failed

    def _pictures(self, entries: list[Entry]) -> Iterator[tuple[str, Pixels | str]]:
        """Name and pixels of each picture, or why it has none; some are read ahead, and never more than some."""
        window: deque[tuple[str, Future[Pixels | str]]] = deque()
        for name, content in _readable(entries):
            window.append((name, self._readers.submit(self._read, name, content)))
            if len(window) == _READ_AHEAD:
                first, future = window.popleft()
                yield first, future.result()
        for name, future in window:
            yield name, future.result()

    def _read(self, name: str, content: bytes | None) -> Pixels | str:
        return self._load(name) if content is None else self._load_content(content)

    def _load(self, location: str) -> Pixels | str:
        try:
            if "://" not in location:
                with open_picture_file(location) as file:
                    return load_pixels(file, self._bundle.image_rules, max_megapixels=self._max_megapixels)
            system, path = find_filesystem(location)
            with system.open_input_stream(path) as stream:
                content = stream.read()
        except ImageError as error:
            return error.reason
        except (OSError, ClusterError) as error:
            return f"cannot be read: {one_line(error)}"
        return self._load_content(content)

    def _load_content(self, content: bytes) -> Pixels | str:
        try:
            return load_pixels(
                io.BytesIO(content), self._bundle.image_rules, max_megapixels=self._max_megapixels
            )
        except ImageError as error:
            return error.reason


def _readable(entries: list[Entry]) -> Iterator[tuple[str, bytes | None]]:
    """The location of each picture, or its name and content where a table has that."""
    for entry in entries:
        if entry.row_group < 0:
            yield entry.location, None
        else:
            yield from _rows_of_table(entry)


def _rows_of_table(entry: Entry) -> Iterator[tuple[str, bytes | None]]:
    """The same for some rows of a table; a few at a time in memory."""
    from pyarrow import ArrowException, parquet

    system, path = find_filesystem(entry.location)
    try:
        with parquet.ParquetFile(path, filesystem=system) as file:
            names = file.schema_arrow.names
            column = location_or_content(names, entry.location)
            columns = [column, *(name for name in NAMES if name in names and name != column)]
            row = 0
            for batch in file.iter_batches(_BATCH, [entry.row_group], columns):
                for values in batch.to_pylist():
                    if entry.first <= row < entry.end:
                        where = next((values[name] for name in NAMES if values.get(name)), None)
                        name = where or f"{entry.location}#{entry.row_group}.{row}"
                        yield name, (values[column] or b"") if column == CONTENT else None
                    row += 1
                if row >= entry.end:
                    return
    except (ArrowException, OSError) as error:
        raise ClusterError(f"{entry.location}: cannot be read: {one_line(error)}") from error
