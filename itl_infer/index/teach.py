"""Teach an index names: pictures become examples, found among its rows or embedded, and are written in one step."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from itl_infer.errors import ImageError, TeachError, reason_of
from itl_infer.image import load_pixels, open_picture_file
from itl_infer.index import taught as records
from itl_infer.index.roots import real_path
from itl_infer.index.snapshot import take_snapshot
from itl_infer.teaching import FEWEST_ROWS, Example, Moments, key_of, require_name
from itl_infer.teaching.file import read_names
from itl_infer.walk import Walk

if TYPE_CHECKING:
    from itl_infer.bundle import Bundle
    from itl_infer.index.writer import Writer

_HASHED_BYTES = 2**20  # of a file at a time
_BATCH = 32  # pictures embedded at a time

Location = str | os.PathLike[str]


class Unread(NamedTuple):
    """A picture that could not be an example."""

    path: str
    error: str


@dataclass
class TeachReport:
    """What a name knows now, and what came of the pictures that were given."""

    name: str
    examples: int = 0  # in all, counter-examples apart
    against: int = 0  # counter-examples in all
    added: int = 0  # of both, that were not known
    repeated: list[str] = field(default_factory=list)  # known already, or given twice: counted once
    failed: list[Unread] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The report as an object for `json`."""
        return {**asdict(self), "failed": [unread._asdict() for unread in self.failed]}


def teach(
    writer: Writer,
    bundle: Bundle,
    name: str,
    paths: Iterable[Location],
    against: Iterable[Location] = (),
    *,
    replace: bool = False,
) -> TeachReport:
    """What `Index.teach` does with a writer of its."""
    name = require_name(name)
    report = TeachReport(name)
    known = {} if replace else {example.digest: example for example in examples_of(writer, key_of(name))}
    finder = _Finder(writer, bundle, report)
    wanted = finder.find([os.fspath(path) for path in paths], is_wanted=True)
    unwanted = finder.find([os.fspath(path) for path in against], is_wanted=False)
    _refuse_both(name, wanted, unwanted)
    for example in (*wanted, *unwanted):
        _join(known, example, report)
    _require_some(report, known, bool(wanted or unwanted))
    put_names(writer, {name: [*known.values()]}, replace=replace)
    keep_moments(writer, exactly=True)
    snapshot = take_snapshot(writer.folder)
    _describe(report, known, len(snapshot), snapshot.moments)
    return report


def forget(writer: Writer, name: str) -> None:
    """What `Index.forget` does."""
    named = writer.ask(records.read_named)
    if key_of(name) not in named:
        raise unknown_name(name, named.values())
    records.drop_name(writer.change, name)
    writer.commit()


def import_names(writer: Writer, path: Location) -> int:
    """What `Index.import_names` does."""
    found = read_names(path)
    state = writer.state
    if found.fingerprint != state.bundle_fingerprint:
        raise TeachError(
            f"{os.fspath(path)}: taught with bundle {found.bundle_name!r} ({found.fingerprint[:12]}), the index is of"
            f" {state.bundle_name!r} ({state.bundle_fingerprint[:12]}): import it into an index of that one, which"
            " embed-images --rebuild then teaches again"
        )
    put_names(writer, {name: taught.examples for name, taught in found.names.items()}, replace=False)
    keep_moments(writer, exactly=True)
    return len(found.names)


def unknown_name(name: str, names: Iterable[str]) -> TeachError:
    """That nothing was taught under a name, and what may have been meant."""
    from difflib import get_close_matches

    near = get_close_matches(name, [*names], 3)
    meant = f"did you mean {' or '.join(near)}?" if near else "itl-infer names lists those that there are"
    return TeachError(f"{name[:100]}: no such name was taught: {meant}")


def put_names(writer: Writer, examples: dict[str, Sequence[Example]], *, replace: bool) -> None:
    """Write names with all of their examples, in one step."""
    for name, of_name in examples.items():
        if replace:
            records.drop_name(writer.change, name)
        records.put_name(writer.change, name)
        for example in of_name:
            if example.embedding is not None:
                fingerprint = writer.state.bundle_fingerprint
                records.put_example(writer.change, writer.folder, name, example, fingerprint)
    writer.commit()


def keep_moments(writer: Writer, *, exactly: bool = False) -> None:
    """Keep the moments of all rows with the index where they have changed: `exactly`, or by more than a little."""
    snapshot = take_snapshot(writer.folder)
    if not exactly:
        if not writer.ask(records.read_named) and len(snapshot) < records.WORTH_KEEPING:
            return
        if records.read_moments(writer.folder, snapshot.state, len(snapshot)) is not None:
            return
    if not writer.ask(lambda connection: records.are_of(connection, snapshot.state, len(snapshot))):
        records.put_moments(writer.change, snapshot.state, Moments.of(snapshot.embeddings))
        writer.commit()


def teach_again(writer: Writer, bundle: Bundle) -> list[Unread]:
    """Embed with this bundle the examples that another one embedded; those whose pictures are not to be had.

    A picture is found by its content in the index, or else where it was.
    """
    fingerprint = writer.state.bundle_fingerprint
    gone = []
    for key, name in writer.ask(partial(records.read_named, not_of=fingerprint)).items():
        finder = _Finder(writer, bundle, TeachReport(name))
        for example in examples_of(writer, key):
            if example.embedding is not None:
                continue
            again = finder.find_again(example)
            if isinstance(again, Unread):
                gone.append(Unread(again.path, f"an example of {name}: {again.error}"))
            else:
                writer.change("DELETE FROM examples WHERE key = ? AND digest = ?", key, example.digest)
                records.put_example(writer.change, writer.folder, name, again, fingerprint)
    writer.commit()
    return gone


def examples_of(writer: Writer, key: str) -> list[Example]:
    """The examples of a name, as they are written."""
    return writer.ask(
        lambda connection: list(records.read_examples(connection, writer.folder, key, writer.state))
    )


def _join(known: dict[bytes, Example], example: Example, report: TeachReport) -> None:
    """Take in an example. What was said last counts, where a picture was an example of the opposite."""
    before = known.get(example.digest)
    if before is not None and before.is_wanted == example.is_wanted:
        report.repeated.append(example.path)
        known[example.digest] = example if before.embedding is None else before
    else:
        if before is not None:
            now, then = ("shows", "not to show") if example.is_wanted else ("does not show", "to show")
            report.notes.append(f"{example.path}: {now} {report.name} now; it was said {then} it")
        known[example.digest] = example
        report.added += 1


def _refuse_both(name: str, wanted: Sequence[Example], unwanted: Sequence[Example]) -> None:
    shown = {example.digest for example in wanted}
    for example in unwanted:
        if example.digest in shown:
            raise TeachError(f"{example.path}: given as {name} and as not {name}: leave one of the two out")


def _require_some(report: TeachReport, known: dict[bytes, Example], found_some: bool) -> None:
    name = report.name
    if report.failed and not found_some:
        first = report.failed[0]
        more = f" (and {len(report.failed) - 1} more)" if len(report.failed) > 1 else ""
        raise TeachError(
            f"{name}: none of the pictures can be read: {first.path}: {first.error}{more}: give others"
        )
    if not any(example.is_wanted and example.embedding is not None for example in known.values()):
        raise TeachError(f"{name}: no picture that shows it was given: itl-infer teach NAME PICTURE...")


def _describe(report: TeachReport, known: dict[bytes, Example], rows: int, among: Moments) -> None:
    report.examples = sum(example.is_wanted for example in known.values())
    report.against = len(known) - report.examples
    if rows < FEWEST_ROWS:
        report.notes.append(
            f"the index has {rows} pictures, fewer than {FEWEST_ROWS}: {report.name} is the mean of its examples"
        )
    else:
        wanted = [e.embedding for e in known.values() if e.is_wanted and e.embedding is not None]
        if np.linalg.norm(np.mean(wanted, axis=0, dtype=np.float64) - among.mean) < _SAME:
            report.notes.append(
                f"the examples of {report.name} are like the index as a whole: nothing tells them apart yet"
            )


_SAME = 1e-4  # a distance of two means that says nothing


class _Finder:
    """Turns pictures into examples: with the embedding of the index where it has them, else embedded here."""

    def __init__(self, writer: Writer, bundle: Bundle, report: TeachReport) -> None:
        self._writer, self._bundle, self._report = writer, bundle, report
        self._roots = writer.roots()

    def find(self, paths: Sequence[str], *, is_wanted: bool) -> list[Example]:
        """The examples that these files, folders, or pictures of the index are; each content once.

        What cannot be read is entered in the report. Raises TeachError for a path that is nowhere.
        """
        found: dict[bytes, Example] = {}
        for path in paths:
            for example in self._examples(path, is_wanted):
                if example.digest in found:
                    self._report.repeated.append(example.path)
                else:
                    found[example.digest] = example
        return self._embedded(found)

    def find_again(self, example: Example) -> Example | Unread:
        """An example embedded by this bundle, its content found in the index, or else what is where it was."""
        stored = self._with_digest(example.digest)
        if stored is not None:
            return stored._replace(is_wanted=example.is_wanted)
        try:
            again = self._from_file(example.path, example.is_wanted)
            [embedded] = self._embedded({again.digest: again})
        except (OSError, ImageError) as error:
            return Unread(example.path, error.reason if isinstance(error, ImageError) else reason_of(error))
        except ValueError:
            return Unread(example.path, "cannot be read any more")
        return embedded

    def _examples(self, path: str, is_wanted: bool) -> Iterator[Example]:
        place = os.path.abspath(path)  # noqa: PTH100, a path that need not exist
        if os.path.isdir(place):  # noqa: PTH112
            walk = Walk(Path(place))
            files = [file.path for file in walk]
            self._report.failed += [Unread(*problem) for problem in walk.problems]
            if not files and not walk.problems:
                self._report.failed.append(Unread(path, "no pictures in there"))
            for file in files:
                yield from self._example(file, is_wanted)
        elif os.path.lexists(place):
            yield from self._example(place, is_wanted)
        else:
            stored = self._stored(path, place)
            if not stored:
                raise TeachError(
                    f"{path}: no such file or folder, and no such picture in the index: check the name"
                )
            yield from (example._replace(is_wanted=is_wanted) for example in stored)

    def _example(self, path: str, is_wanted: bool) -> Iterator[Example]:
        try:
            yield self._from_file(path, is_wanted)
        except ImageError as error:
            self._report.failed.append(Unread(path, error.reason))
        except OSError as error:
            self._report.failed.append(Unread(path, f"cannot be read: {reason_of(error)}"))

    def _from_file(self, path: str, is_wanted: bool) -> Example:
        """An example, without an embedding where the index has none of its content."""
        with open_picture_file(path) as file:
            digest = hashlib.blake2b(digest_size=16)
            while block := file.read(_HASHED_BYTES):
                digest.update(block)
        stored = self._with_digest(digest.digest())
        return Example(path, digest.digest(), is_wanted, None if stored is None else stored.embedding)

    def _embedded(self, found: dict[bytes, Example]) -> list[Example]:
        """All of these that can be embedded, in their order; the others are entered in the report."""
        missing = [example for example in found.values() if example.embedding is None]
        for start in range(0, len(missing), _BATCH):
            pixels = []
            for example in missing[start : start + _BATCH]:
                try:
                    with open_picture_file(example.path) as file:
                        pixels.append(
                            (example, load_pixels(file, self._bundle.image_rules, name=example.path))
                        )
                except ImageError as error:
                    self._report.failed.append(Unread(example.path, error.reason))
                except OSError as error:
                    self._report.failed.append(Unread(example.path, f"cannot be read: {reason_of(error)}"))
            if pixels:
                rows = self._bundle.embed_pixels(np.stack([one for _, one in pixels]))
                for (example, _), row in zip(pixels, rows, strict=True):
                    found[example.digest] = example._replace(embedding=row)
        return [example for example in found.values() if example.embedding is not None]

    def _with_digest(self, digest: bytes) -> Example | None:
        rows = self._writer.execute(
            "SELECT row, root, path FROM pictures WHERE digest = ? AND state <> 2 LIMIT 1", (digest,)
        )
        return next((self._of_row(row, root, path, digest) for row, root, path in rows), None)

    def _stored(self, given: str, place: str) -> list[Example]:
        """Pictures that the index has of a file or a folder that is not there now; or of the end of a path."""
        found = []
        for root in self._roots.values():
            folder = os.fspath(root.folder)
            real = os.fspath(real_path(Path(place)))
            for name in {place, real}:
                if name.startswith(folder + os.sep) or name == folder:
                    inner = os.fsencode(os.path.relpath(name, folder).replace(os.sep, "/"))
                    found += self._rows_below(root.id, b"" if inner == b"." else inner)
        if not found:
            found = self._rows_called(given)
            if len(found) > 1:
                raise TeachError(
                    f"{given}: {len(found)} pictures in the index are called so: name one by its path, such as"
                    f" {self._roots[found[0][1]].locate(found[0][2])}"
                )
        return [self._of_row(*row) for row in found]

    def _rows_below(self, root: int, path: bytes) -> list[Any]:
        """The rows of a picture, or of all below a folder."""
        start = path + b"/" if path else b""
        return self._writer.execute(
            "SELECT row, root, path, digest FROM pictures WHERE root = ? AND state <> 2"
            " AND (path = ? OR substr(path, 1, ?) = ?)",
            (root, path, len(start), start),
        )

    def _rows_called(self, given: str) -> list[Any]:
        """The rows of pictures whose paths end so."""
        parts = Path(os.path.normpath(given)).parts
        name = os.fsencode(parts[-1])
        rows = self._writer.execute(
            "SELECT row, root, path, digest FROM pictures WHERE state <> 2 AND (path = ? OR substr(path, -?) = ?)",
            (name, len(name) + 1, b"/" + name),
        )
        return [
            (row, root, *others)
            for row, root, *others in rows
            if Path(self._roots[root].locate(others[0])).parts[-len(parts) :] == parts
        ]

    def _of_row(self, row: int, root: int, path: bytes, digest: bytes) -> Example:
        where = self._roots[root].locate(path)
        return Example(where, digest, True, self._writer.embedding(row))
