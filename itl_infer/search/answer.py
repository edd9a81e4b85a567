"""What a query gets: the pictures found, and why, as the same for tables, JSON, sheets and the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

from itl_infer.bundle.wording import with_suggestions
from itl_infer.search.query import EmbeddedQuery, Query, names_of

if TYPE_CHECKING:
    from itl_infer.image import Facts


@dataclass(frozen=True)
class Share:
    """What one term of a query did for a picture: its score, less the score it has without that term."""

    term: str  # a word, or a picture of the query
    weight: float  # of the text that the word stands in, or of the picture
    share: float

    @property
    def label(self) -> str:
        """The term as it counts, such as "- beach" where it is subtracted; of a picture, the file name."""
        sign = "- " if self.weight < 0 else ""
        factor = "" if abs(self.weight) == 1 else f"{abs(self.weight):g} "
        return f"{sign}{factor}{PurePath(self.term).name}"

    def to_json(self) -> dict[str, Any]:
        weight = {"weight": self.weight} if self.weight != 1 else {}
        return {"term": self.term, **weight, "share": round(self.share, 6)}


@dataclass(frozen=True)
class Duplicate:
    """A picture that is nearly the same as a better one."""

    score: float  # cosine with the query
    path: str

    def to_json(self) -> dict[str, Any]:
        return {"score": round(self.score, 6), "path": self.path}


@dataclass(frozen=True)
class Found:
    """One picture of an answer."""

    rank: int  # from 1, best first
    score: float  # cosine with the query
    path: str  # absolute, or as it was embedded from elsewhere
    row: int  # what the store calls it, as long as it does not change
    shares: tuple[Share, ...] = ()  # of each term, where an explanation was asked for
    duplicates: tuple[Duplicate, ...] = ()  # folded under this one, where that was asked for
    facts: Facts | None = None  # None: of a store that keeps nothing of the kind

    def to_json(self) -> dict[str, Any]:
        shares = {"shares": [share.to_json() for share in self.shares]} if self.shares else {}
        same = {"duplicates": [one.to_json() for one in self.duplicates]} if self.duplicates else {}
        facts = {} if self.facts is None else facts_as_json(self.facts)
        return {
            "rank": self.rank,
            "score": round(self.score, 6),
            "path": self.path,
            **facts,
            **shares,
            **same,
        }


def facts_as_json(facts: Facts) -> dict[str, Any]:
    """What is not known is null."""
    return {
        "taken": facts.taken.isoformat() if facts.taken else None,
        "camera": facts.camera or None,
        "width": facts.width or None,
        "height": facts.height or None,
    }


@dataclass(frozen=True)
class Word:
    """What became of one word of a query."""

    word: str
    use: Literal["taught", "used", "carried", "dropped", "unknown"]  # dropped: too common to search for
    did_you_mean: tuple[str, ...] = ()  # for an unknown word, the nearest known ones
    read_as: tuple[str, ...] = ()  # for a carried word, the known ones, the nearest first

    def __str__(self) -> str:
        return with_suggestions(self.word, self.did_you_mean)

    def to_json(self) -> dict[str, Any]:
        meant = {"did_you_mean": self.did_you_mean} if self.use == "unknown" else {}
        read_as = {"read_as": self.read_as} if self.use == "carried" else {}
        return {"word": self.word, "use": self.use, **meant, **read_as}


@dataclass(frozen=True)
class Place:
    """Where one picture stands among all."""

    position: int  # from 1
    pictures: int
    score: float
    path: str

    def __str__(self) -> str:
        return f"position {self.position} of {self.pictures}, score {self.score:.2f}"

    def to_json(self) -> dict[str, Any]:
        return {
            "position": self.position,
            "pictures": self.pictures,
            "score": round(self.score, 6),
            "path": self.path,
        }


@dataclass(frozen=True)
class Answer:
    """What was found for one query."""

    embedded: EmbeddedQuery
    pictures: int  # that were searched: of those in the store, the ones that a filter leaves
    results: tuple[Found, ...]
    truth: Place | None = None
    words: tuple[Word, ...] = ()  # of the query, where an explanation was asked for
    relevant_from: float | None = None  # the lowest score that stands out, where that was asked for

    def describe_words(self) -> list[str]:
        """Which words are names, used, carried, dropped or unknown, a line each; none where it was not asked for."""
        lines = []
        for use in ("taught", "used", "carried", "dropped", "unknown"):
            words = [str(word) for word in self.words if word.use == use]
            if use == "carried":
                lines += self.describe_carried() if words else []
            elif words:
                lines.append(f"{use}: {', '.join(words)}")
        return lines

    def describe_carried(self) -> list[str]:
        """What each word is read as that no caption had, a line each: "bonsai: read as potted plant, shrub"."""
        return [str(word) for word in self.embedded.carried]

    def describe(self) -> list[str]:
        """What a sheet says of the query: what became of its words, or of the carried ones, and notes."""
        return [*(self.describe_words() or self.describe_carried()), *self.embedded.notes]

    @property
    def longest_share(self) -> float:
        """The scale of all bars: the share that is farthest from 0."""
        return max((abs(share.share) for found in self.results for share in found.shares), default=0) or 1

    @property
    def query(self) -> Query:
        return self.embedded.query

    def to_json(self) -> dict[str, Any]:
        """The object that `query --format json` prints."""
        query = self.query
        read_as = {word.word: word.stems for word in self.embedded.carried}
        asked = {
            "images": query.image_names,
            "image_weight": query.image_weight if query.images and query.image_weight != 1 else None,
            "add": query.add,
            "subtract": query.subtract,
            "weighted": [{"weight": weight, "text": text} for weight, text in query.weighted],
            "like": names_of(query.like),
            "unlike": names_of(query.unlike),
        }
        return {
            "query": query.text,
            **{name: value for name, value in asked.items() if value},
            **({"taught": self.embedded.taught} if self.embedded.taught else {}),
            "ignored_words": self.embedded.ignored_words,
            "unknown_words": self.embedded.unknown_words,
            **({"read_as": read_as} if read_as else {}),
            **({"notes": self.embedded.notes} if self.embedded.notes else {}),
            **({"words": [word.to_json() for word in self.words]} if self.words else {}),
            **({} if self.relevant_from is None else {"relevant_from": round(self.relevant_from, 6)}),
            **({"truth": self.truth.to_json()} if self.truth else {}),
            "results": [found.to_json() for found in self.results],
        }
