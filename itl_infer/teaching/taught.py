"""Names that were taught: their examples, the direction that these give, and its place in the text of a query."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from itl_infer.errors import QueryError

if TYPE_CHECKING:
    from itl_infer.bundle import Bundle
    from itl_infer.teaching.discriminant import Floats, Moments
    from itl_infer.teaching.naming import NameFinder
    from itl_infer.text import ParsedText

_NOTHING = 1e-4  # a sum of unit rows that is shorter than this has no direction worth the name


class Example(NamedTuple):
    """A picture that shows what a name means, or what it does not."""

    path: str  # where it was; absolute
    digest: bytes  # BLAKE2b of its content, 16 bytes
    is_wanted: bool
    embedding: Floats | None  # (D,), of unit length; None: of another bundle, and the picture is gone


@dataclass(frozen=True, eq=False)
class Taught:
    """A name with its examples, and the moments of the rows from which it is told apart."""

    name: str
    examples: tuple[Example, ...]
    among: Moments

    @property
    def wanted(self) -> tuple[Example, ...]:
        return tuple(example for example in self.examples if example.is_wanted)

    @property
    def unwanted(self) -> tuple[Example, ...]:
        return tuple(example for example in self.examples if not example.is_wanted)

    @property
    def gone(self) -> tuple[Example, ...]:
        """Those that say nothing any more, as another bundle embedded them and their pictures are not there."""
        return tuple(example for example in self.examples if example.embedding is None)

    @cached_property
    def vector(self) -> Floats:
        """The direction (D,), of unit length. Raises QueryError where no example is left."""
        positives = self.rows_of(self.wanted)
        if len(positives) == 0:
            raise QueryError(
                f"the pictures that {self.name} was taught from are gone: teach it again, or itl-infer forget"
            )
        from itl_infer.teaching.discriminant import direction  # which a query without names does without

        return direction(positives, self.among, self.rows_of(self.unwanted))

    @cached_property
    def spread(self) -> float:
        """The standard deviation of its scores over all rows."""
        return self.among.spread_of(self.vector)

    def rows_of(self, examples: Sequence[Example]) -> Floats:
        """The embeddings of some of its examples, (n, D)."""
        rows = [example.embedding for example in examples if example.embedding is not None]
        return np.array(rows, np.float32).reshape(len(rows), len(self.among.mean))


class Names(Mapping[str, Taught]):
    """Names, in whatever case they are asked for; each is read when it is needed.

    `named` has for each key of a name how it was written, and `read` gives what was taught under a key.
    """

    def __init__(self, named: Mapping[str, str], read: Callable[[str], Taught]) -> None:
        self._named, self._read = dict(sorted(named.items())), read
        self._taught: dict[str, Taught] = {}

    def __getitem__(self, name: str) -> Taught:
        if name not in self:
            raise KeyError(name)
        key = _key_of(name)
        if key not in self._taught:
            self._taught[key] = self._read(key)
        return self._taught[key]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _key_of(name) in self._named

    def __iter__(self) -> Iterator[str]:
        return iter(self._named.values())

    def __len__(self) -> int:
        return len(self._named)

    def __repr__(self) -> str:
        return f"<Names {[*self]!r}>"

    @cached_property
    def finder(self) -> NameFinder:
        """What finds them in texts."""
        from itl_infer.teaching.naming import NameFinder  # which a query without names does without

        return NameFinder(self._named)

    def split(self, text: str) -> tuple[str, tuple[str, ...]]:
        """A text without the names in it, and their keys in the order in which they stand there."""
        return self.finder.split(text) if self._named else (text, ())

    def vectors(self) -> tuple[list[str], Floats]:
        """All names whose examples are not all gone, and their directions (n, D), for who keeps names elsewhere."""
        found = [taught for taught in self.values() if len(taught.rows_of(taught.wanted))]
        rows = [taught.vector for taught in found]
        return [taught.name for taught in found], np.array(rows, np.float32).reshape(len(rows), -1)


def _key_of(name: str) -> str:
    from itl_infer.teaching.naming import key_of

    return key_of(name)


NO_NAMES = Names({}, lambda key: (_ for _ in ()).throw(KeyError(key)))


class ReadText(NamedTuple):
    """What became of a text: its names, and the words of the rest."""

    parsed: ParsedText
    taught: tuple[Taught, ...] = ()
    notes: tuple[str, ...] = ()


def read_text(bundle: Bundle, text: str, names: Names) -> ReadText:
    """The names in a text, and what the bundle makes of the rest. QueryError where neither says anything."""
    rest, keys = names.split(text)
    if not keys:
        return ReadText(bundle.parse_query(text))
    taught = tuple(names[key] for key in keys)
    notes = tuple(
        f"{one.name} is the name that was taught here; as a word of the language: --as-word"
        for key, one in zip(keys, taught, strict=True)
        if bundle.knows_as_written(key.split())
    )
    parsed = bundle.parse_text(rest)
    if parsed.weighted_ids:
        parsed = bundle.parse_query(rest)  # which raises what is to be said of foreign words
    return ReadText(parsed, taught, notes)


def says_something(bundle: Bundle, text: str, names: Names) -> bool:
    """Whether there is a known word or a name in a text."""
    return bool(bundle.parse_text(text).weighted_ids) or bool(names.split(text)[1])


def weigh(embeddings: Floats, taught: Sequence[Taught], weights: Sequence[float]) -> npt.NDArray[np.float32]:
    """The weights that names need beside texts (N, D), so that their scores spread over all rows as those of texts do.

    `weights` are those of the texts that the names stand in. Where there are no texts, names are brought to one spread
    among themselves, and a lone one is left as it is.
    """
    if not taught:
        return np.empty(0, np.float32)
    spreads = [one.spread for one in taught]
    of_texts = [taught[0].among.spread_of(row) for row in embeddings if row.any()] or spreads
    common = sum(of_texts) / len(of_texts)
    factors = [common / spread if spread > 0 and common > 0 else 1.0 for spread in spreads]
    return np.array(factors, np.float32) * np.array(weights, np.float32)


def sum_of(weights: npt.NDArray[np.float32], embeddings: Floats) -> Floats | None:
    """The unit vector along the weighted sum of unit rows; None where the sum is as good as nothing.

    A row of zeros counts for nothing.
    """
    counts = embeddings.any(axis=1)
    weights, embeddings = weights[counts], embeddings[counts]
    if len(weights) == 1 and weights[0] == 1:
        only: Floats = embeddings[0]  # to the last bit
        return only
    total = weights.astype(np.float64) @ embeddings
    length = np.linalg.norm(total)
    unit: Floats | None = (total / length).astype(np.float32) if length > _NOTHING else None
    return unit


def embed_text(bundle: Bundle, text: str, names: Names) -> Floats:
    """The unit vector (D,) of a text with names in it. Raises QueryError."""
    rest, keys = names.split(text)
    if not keys:
        only: Floats = bundle.embed_texts([text])[0]
        return only
    if len(keys) == 1 and not rest:
        return names[keys[0]].vector
    read = read_text(bundle, text, names)
    rows = bundle.embed_ids([read.parsed.weighted_ids] if read.parsed.weighted_ids else [])
    found = sum_of(
        np.concatenate([np.ones(len(rows), np.float32), weigh(rows, read.taught, [1.0] * len(read.taught))]),
        np.concatenate([rows, *(one.vector[None] for one in read.taught)]),
    )
    if found is None:
        raise QueryError(f"nothing is left of the query: its names are opposite to its words ({text})")
    return found
