"""A bundle: one folder that holds all that embedding needs, checked as it is opened."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from itl_infer.arguments import (
    require_path,
    require_real,
    require_several,
    require_text,
    require_whole,
    wrong,
)
from itl_infer.bundle.files import RESTORE, read_plain_file
from itl_infer.bundle.manifest import (
    CARD,
    CARRIED,
    FORMS,
    GALLERY,
    GALLERY_INDEX,
    IMAGE_GRAPH,
    MANIFEST,
    TEXT_GRAPH,
    VOCABULARY,
    WORDS,
    read_manifest,
)
from itl_infer.bundle.wording import with_language, with_suggestions
from itl_infer.cpus import most_threads
from itl_infer.encoder import ImageEncoder, TextEncoder, WeightedTextEncoder, require_unit_rows
from itl_infer.errors import BundleError, ImageError, QueryError
from itl_infer.image import DEFAULT_MAX_MEGAPIXELS
from itl_infer.text import (
    CarriedWord,
    ParsedText,
    TextProcessor,
    TextRules,
    WordForms,
    pad_ids,
    parse_spellings,
    parse_vocabulary,
)
from itl_infer.text.languages import guess_language

if TYPE_CHECKING:
    from itl_infer.image import ImageSource

_LISTED = 10  # words named in a message
BATCH_SIZE = 32  # pictures embedded at a time, where nobody says otherwise
_TEXT_BATCH = 256
_BATCH_IDS = 2**17  # of a batch of texts, whose rows are 64 MB at 128 columns

T = TypeVar("T")


def load_bundle(path: str | os.PathLike[str] | None = None, *, threads: int | None = None) -> Bundle:
    """Open a bundle (default: the one that comes with the package). Raises BundleError.

    Cheap: the manifest is checked now, the vocabulary and each graph when they are first needed.
    `threads` is how many a graph may use; default: as many as the CPUs this process may use.
    """
    return Bundle(_default_path() if path is None else path, threads=threads)


class Bundle:
    """Embeds pictures and texts into one space. Safe to call from several threads.

    Every file's hash is checked as it is opened: any method raises BundleError where it is not what it was.
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None) -> None:
        require_path("path", path)
        self.path = Path(path)
        self._threads = None if threads is None else min(require_whole("threads", threads, 1), most_threads())
        manifest = read_manifest(self.path)
        self.manifest = manifest.content
        self.name = manifest.name
        self.domain = manifest.domain
        self.embed_dim = manifest.embed_dim
        self.image_rules = manifest.image_rules
        self.fingerprint = manifest.fingerprint
        self.checked = manifest  # what the manifest says, by field
        self._image_encoder = _Once(self._open_image_encoder)
        self.text_encoder = _Once(self._open_text_encoder)
        self._weighted_text_encoder = _Once(self._open_weighted_text_encoder)
        self.text_processor = _Once(self._open_text_processor)

    def __repr__(self) -> str:
        return f"<Bundle {self.name!r} at {str(self.path)!r}>"

    @property
    def gallery_path(self) -> Path | None:
        """The folder of pictures that comes with the bundle, if one does."""
        return None if self.checked.gallery_files is None else self.path / GALLERY

    @property
    def gallery_index_path(self) -> Path | None:
        """The index of these pictures, if there is one."""
        path = self.path / GALLERY_INDEX
        is_there = self.gallery_path is not None and path.is_dir()
        return path if is_there and path.resolve().is_relative_to(self.path.resolve()) else None

    def embed_images(
        self, images: Iterable[ImageSource], *, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
    ) -> npt.NDArray[np.float32]:
        """(N, embed_dim) float32, unit rows, for paths, Pillow images or uint8 arrays.

        No pictures give (0, embed_dim). Raises ImageError at the first that cannot be read, and names it.
        """
        if isinstance(images, (str, os.PathLike)):
            raise TypeError("embed_images takes a list of pictures: embed_images([picture])")
        if isinstance(images, (bytes, dict)) or not isinstance(images, Iterable):
            raise wrong("images", images, "a list of pictures")
        pixels = self._load_all(images, max_megapixels)
        embeddings = [np.empty((0, self.embed_dim), np.float32)]
        while batch := list(islice(pixels, self.image_rules.pictures_at_a_time(BATCH_SIZE))):
            embeddings.append(self.embed_pixels(np.stack(batch)))
        found = np.concatenate(embeddings)
        require_unit_rows(found, str(self.path / IMAGE_GRAPH))
        return found

    def embed_pixels(
        self, pixel_values: npt.NDArray[np.uint8], *, batch_size: int = BATCH_SIZE
    ) -> npt.NDArray[np.float32]:
        """(N, embed_dim) float32 for what `load_pixels` made: (N, side, side, 3) uint8.

        Rows as the graph gave them: of one that is no unit vector, `vectors.are_unit_rows` tells. The graph takes
        `batch_size` of them at a time.
        """
        side = self.image_rules.side
        batch_size = require_whole("batch_size", batch_size, 1)
        if not isinstance(pixel_values, np.ndarray):
            raise wrong("pixel_values", pixel_values, f"an array, uint8 (N, {side}, {side}, 3)")
        if pixel_values.dtype != np.uint8 or pixel_values.shape[1:] != (side, side, 3):
            raise ValueError(
                f"pixel_values are {pixel_values.dtype} {pixel_values.shape},"
                f" expected uint8 (N, {side}, {side}, 3)"
            )
        embeddings = [np.empty((0, self.embed_dim), np.float32)]
        for start in range(0, len(pixel_values), batch_size):
            embeddings.append(self._image_encoder().embed(pixel_values[start : start + batch_size]))
        return np.concatenate(embeddings)

    def embed_texts(self, texts: Iterable[str]) -> npt.NDArray[np.float32]:
        """(N, embed_dim) float32, unit rows; no texts give (0, embed_dim). Raises QueryError."""
        if isinstance(texts, str):
            raise TypeError("embed_texts takes a list of texts: embed_texts([text])")
        texts = require_several("texts", texts, "texts")
        if others := [text for text in texts if not isinstance(text, str)]:
            raise TypeError(f"embed_texts takes texts, not {type(others[0]).__name__}")
        return self.embed_ids([self.parse_query(text).weighted_ids for text in texts])

    def embed_ids(self, rows: Iterable[Sequence[int] | dict[int, float]]) -> npt.NDArray[np.float32]:
        """(N, embed_dim) float32, unit rows, for the ids of N texts, or for ids with their weights.

        To the last bit an embedding depends neither on the texts beside it nor on the order of the words. Raises
        TypeError for ids that are no whole numbers, ValueError for ids that the vocabulary does not have.
        """
        given = require_several("rows", rows, "the ids of texts")
        for row in given:
            self._require_ids(row)
        of_length: defaultdict[tuple[int, bool], list[int]] = defaultdict(list)
        texts = [sorted(row) for row in given]
        for place, (ids, row) in enumerate(zip(texts, given, strict=True)):
            of_length[len(ids), isinstance(row, dict)].append(place)
        embeddings = np.empty((len(texts), self.embed_dim), np.float32)
        for (length, is_weighted), places in of_length.items():
            at_once = max(2, min(_TEXT_BATCH, _BATCH_IDS // max(1, length)))
            for start in range(0, len(places), at_once):
                block = places[start : start + at_once]
                # Only texts of one length, and never one alone: there onnxruntime adds in another order.
                together = [texts[place] for place in block] * (2 if len(block) == 1 else 1)
                padded = pad_ids(together)
                if is_weighted:
                    weights = np.ones(padded.shape, np.float32)
                    weights[: len(block)] = [_weights(given[place]) for place in block]
                    embedded = self._weighted_text_encoder().embed(padded, weights)
                else:
                    embedded = self.text_encoder().embed(padded)
                embeddings[block] = embedded[: len(block)]
        return embeddings

    def parse_text(self, text: str) -> ParsedText:
        """What the bundle makes of the words of any text, whether it knows one of them or not."""
        require_text("text", text)
        return self.text_processor().parse(text)

    def knows_as_written(self, words: Iterable[str]) -> bool:
        """Whether words in plain letters are all known, those aside that are too common to search for.

        By how captions or the table of carried words have them, so that a name that is no word needs no stemmer: to
        import that takes as long as a query.
        """
        return self.text_processor().knows_as_written(require_several("words", words, "words", require_text))

    def _require_ids(self, row: Sequence[int] | dict[int, float]) -> None:
        if not isinstance(row, Iterable):
            raise TypeError(f"embed_ids takes lists of the ids of texts, whole numbers, not {str(row)[:80]}")
        ids = list(row)
        if not all(type(one) is int or isinstance(one, np.integer) for one in ids):
            raise TypeError(f"embed_ids takes the ids of texts, whole numbers, not {str(row)[:80]}")
        most = len(self.text_processor().stems)
        if ids and not 0 <= min(ids) <= max(ids) <= most:
            raise ValueError(f"ids go from 1 to {most} (0 is padding), given are {min(ids)} to {max(ids)}")
        if isinstance(row, dict):
            for number, weight in row.items():
                require_real(f"the weight of id {number}", weight)
        if isinstance(row, dict) and not np.isfinite(list(row.values())).all():
            raise ValueError("the weights of ids must be finite numbers")

    def parse_query(self, text: str) -> ParsedText:
        """What the bundle makes of the words of a query. Raises QueryError where it knows none of them.

        Also where it knows some that are no English ones: those of "la voiture rouge".
        """
        parsed = self.parse_text(text)
        if parsed.weighted_ids and not parsed.unknown_words:
            return parsed
        known = [*parsed.used_words, *(word.word for word in parsed.carried)]
        language = guess_language(parsed.unknown_words, known)
        if parsed.weighted_ids and language is None:
            return parsed
        if parsed.unknown_words:
            unknown = self.describe_unknown(parsed.unknown_words)
            message = (
                f"bundle {self.name!r} knows no {'English ' if known else ''}word of the query: {unknown}"
            )
            raise QueryError(with_language(message, language) if language else message)
        if parsed.ignored_words:
            raise QueryError(
                f"the query has only words that are too common to search for: {_listed(parsed.ignored_words)}"
            )
        raise QueryError('the query is empty: write a few words, such as "surfer in a wave"')

    @property
    def text_rules(self) -> TextRules:
        """How it reads text."""
        return self.text_processor().rules

    @property
    def words(self) -> tuple[str, ...]:
        """A word for each stem that it knows, as people write it, the commonest first."""
        return tuple(self.text_processor().words)

    @property
    def card(self) -> str:
        """What it was made of, what it finds and how well, in plain words. BundleError where it has none."""
        if CARD not in self.checked.files:
            raise BundleError(
                f"{self.path}: has no {CARD}: `itl-infer bundle show` prints what is known of it"
            )
        return self.read_file(CARD).decode(errors="replace")

    def read_as(self, text: str) -> tuple[tuple[str, str], ...]:
        """Each known word of a text as it was typed, with the plainest word of the same id: feet, foot."""
        require_text("text", text)
        return self.text_processor().read_as(text)

    def carried_words(self, letters: str = "") -> list[CarriedWord]:
        """The words that no caption had and that are read as known ones: those with these letters in them."""
        require_text("letters", letters)
        table = self.text_processor().carried
        return [] if table is None else table.containing(letters)

    def check_carried(self) -> None:
        """BundleError for the first line that is wrong in the table of carried words; else each when it is used."""
        if table := self.text_processor().carried:
            table.check()

    def suggest_words(self, word: str) -> tuple[str, ...]:
        """The known words that are spelled most like an unknown one, best first."""
        require_text("word", word)
        return self.text_processor().suggest(word)

    def complete_word(self, prefix: str) -> tuple[str, ...]:
        """The ten commonest known words that begin so; below them, where there are fewer, carried ones."""
        require_text("prefix", prefix)
        return self.text_processor().complete(prefix)

    def describe_unknown(self, words: Sequence[str]) -> str:
        """Unknown words for a message, with what may have been meant: "surfr (did you mean surfer?), zyx"."""
        words = require_several("words", words, "words", require_text)
        described = [with_suggestions(word[:40], self.suggest_words(word)) for word in words[:_LISTED]]
        return ", ".join(described) + (", ..." if len(words) > _LISTED else "")

    def read_file(self, name: str) -> bytes:
        """The content of a file that the manifest lists. Raises BundleError where it is not what it was."""
        require_text("name", name)
        files = self.checked.files | (self.checked.gallery_files or {})
        if name not in files:
            raise BundleError(
                f"{self.path}: its manifest lists no file {name[:100]!r}: {', '.join(self.checked.files)}"
            )
        record = files[name]
        path = self.path / name
        content = read_plain_file(self.path, name, record.bytes)
        sha256 = hashlib.sha256(content).hexdigest()
        if (sha256, len(content)) != (record.sha256, record.bytes):
            raise BundleError(
                f"{path}: damaged or replaced: {len(content)} bytes, sha256 {sha256[:12]}...,"
                f" expected {record.bytes} and {record.sha256[:12]}...; {RESTORE}"
            )
        return content

    def _open_image_encoder(self) -> ImageEncoder:
        return ImageEncoder(
            self.read_file(IMAGE_GRAPH),
            str(self.path / IMAGE_GRAPH),
            side=self.image_rules.side,
            embed_dim=self.embed_dim,
            threads=self._threads,
        )

    def _open_text_encoder(self) -> TextEncoder:
        return TextEncoder(
            self.read_file(TEXT_GRAPH),
            str(self.path / TEXT_GRAPH),
            embed_dim=self.embed_dim,
            threads=self._threads,
        )

    def _open_weighted_text_encoder(self) -> WeightedTextEncoder:
        return WeightedTextEncoder(
            self.read_file(TEXT_GRAPH),
            str(self.path / TEXT_GRAPH),
            embed_dim=self.embed_dim,
            threads=self._threads,
        )

    def _open_text_processor(self) -> TextProcessor:
        name, rules = FORMS, self.checked.text_rules
        try:
            if self.checked.has_forms:
                rules = replace(rules, forms=WordForms.parse(self.read_file(FORMS)))
            name = VOCABULARY
            spellings = parse_spellings(self.read_file(WORDS)) if WORDS in self.checked.files else None
            carried = (lambda: self.read_file(CARRIED), str(self.path / CARRIED))
            return TextProcessor(
                rules,
                parse_vocabulary(self.read_file(VOCABULARY)),
                spellings,
                carried if CARRIED in self.checked.files else None,
            )
        except ValueError as error:
            raise BundleError(f"{self.path / name}: {error}; {RESTORE}") from error

    def _load_all(
        self, images: Iterable[ImageSource], max_megapixels: float
    ) -> Iterator[npt.NDArray[np.uint8]]:
        from itl_infer.image import (
            load_pixels,
        )  # some milliseconds, which a question in words should not wait for

        for number, image in enumerate(images):
            try:
                name = None if hasattr(image, "name") else f"images[{number}]"
                yield load_pixels(image, self.image_rules, max_megapixels=max_megapixels, name=name)
            except ImageError as error:
                if isinstance(image, (str, os.PathLike)):
                    raise
                raise ImageError(f"images[{number}]", error.reason) from error


class _Once(Generic[T]):
    """Makes something at the first call, whichever thread calls first, and keeps it."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: list[T] = []

    def __call__(self) -> T:
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]


def _weights(row: Sequence[int] | dict[int, float]) -> list[float]:
    """Of ids that have weights, those in the order of the ids."""
    assert isinstance(row, dict)
    return [row[number] for number in sorted(row)]


def _default_path() -> Path:
    package = Path(__file__).parents[1]
    places = [package / "starter", package.parent / "artifacts" / "starter"]  # installed; a checkout
    for place in places:
        if (place / MANIFEST).is_file():
            return place
    raise BundleError(
        f"no bundle comes with this itl_infer (looked for {places[0]} and {places[1]}): name one with"
        " -m/--bundle or ITL_BUNDLE, or make it with `python -m export starter`"
    )


def _listed(words: Sequence[str]) -> str:
    """Words for an error message: the first ten, none of them endless."""
    return ", ".join(word[:40] for word in words[:_LISTED]) + (", ..." if len(words) > _LISTED else "")
