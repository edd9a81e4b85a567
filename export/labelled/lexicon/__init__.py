"""What classes of pictures are called, shown and found with: three plain files of words, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from export.errors import ExportError

THINGS, ACTIVITIES, KINDS = "things.txt", "activities.txt", "kinds.txt"
_THING_COLUMNS, _ACTIVITY_COLUMNS = 5, 7


@dataclass(frozen=True)
class Thing:
    """A class of pictures that show a thing or a place.

    A name that begins with "~" takes no article: it is a plural, or cannot be counted.
    """

    names: tuple[str, ...]  # the first is what people would type
    kinds: tuple[str, ...] = ()  # from the nearest to the widest, "~" as before names
    looks: tuple[str, ...] = ()  # adjectives
    places: tuple[str, ...] = ()  # "on the grass"

    @property
    def plain(self) -> str:
        """What people would type to find it."""
        return self.names[0].lstrip("~")


@dataclass(frozen=True)
class Activity(Thing):
    """A class of pictures that show what people do; its names take no article."""

    people: tuple[str, ...] = ()  # "surfer"
    doing: tuple[str, ...] = ()  # "riding a wave"
    tools: tuple[str, ...] = ()  # "surfboard"


@dataclass(frozen=True)
class Lexicon:
    """Entries by label, SOURCE/CLASS, and for each kind of thing the labels under it."""

    entries: Mapping[str, Thing] = field(default_factory=dict)

    @property
    def kinds(self) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        for label, entry in self.entries.items():
            for kind in entry.kinds:
                found.setdefault(kind.lstrip("~"), set()).add(label)
        return {kind: frozenset(labels) for kind, labels in found.items()}

    def entry_for(self, label: str) -> Thing:
        """The entry of a class; one that has none is a thing that is called what its folder is."""
        if label in self.entries:
            return self.entries[label]
        words = label.rpartition("/")[2].replace("_", " ").replace("-", " ").split()
        return Thing((" ".join(words) or label,))


def read_lexicon(folder: Path | None = None) -> Lexicon:
    """The lexicon in `folder`: things.txt, activities.txt and kinds.txt; by default the starter's.

    Columns are separated by "|" and lists by ";"; the heads of the files say what stands where. Raises ExportError,
    with file and line, for what cannot be understood.
    """
    folder = folder or Path(__file__).parent
    above, articles = _read_kinds(folder / KINDS)
    entries: dict[str, Thing] = {}
    for name, columns in ((THINGS, _THING_COLUMNS), (ACTIVITIES, _ACTIVITY_COLUMNS)):
        for where, line in _lines(folder / name):
            cells = [cell.strip() for cell in line.split("|")]
            if len(cells) != columns:
                raise ExportError(f"{where}: {len(cells)} columns, expected {columns} with | between")
            label, names, kinds, *rest = (
                tuple(part.strip() for part in cell.split(";") if part.strip()) for cell in cells
            )
            if len(label) != 1 or not names:
                raise ExportError(f"{where}: expected a label, as objects/n01443537, and a name")
            if label[0] in entries:
                raise ExportError(f"{where}: {label[0]} is there already: put all its words on one line")
            if unknown := [kind for kind in kinds if kind not in above]:
                raise ExportError(
                    f"{where}: the kind {unknown[0]!r} is not in {folder / KINDS}: add it there"
                )
            widened = tuple(articles[kind] for kind in _with_kinds_above(kinds, above))
            if name == THINGS:
                looks, places = rest
                entries[label[0]] = Thing(names, widened, looks, places)
            else:
                people, doing, tools, places = rest
                entries[label[0]] = Activity(names, widened, (), places, people, doing, tools)
    return Lexicon(entries)


def _lines(path: Path) -> list[tuple[str, str]]:
    """(FILE:LINE, text) of every line that says something."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(
            f"{path} cannot be read ({error}): a lexicon has {THINGS}, {ACTIVITIES}, {KINDS}"
        ) from error
    return [
        (f"{path}:{number}", line)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.startswith("#")
    ]


def _read_kinds(path: Path) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """For each kind the kinds right above it, and how it is written: with "~" where it takes no article."""
    above: dict[str, tuple[str, ...]] = {}
    written: dict[str, str] = {}
    for where, line in _lines(path):
        name, colon, rest = line.partition(":")
        if not colon:
            raise ExportError(f"{where}: expected KIND: KIND ABOVE, as dog: pet")
        kind = name.strip().lstrip("~")
        written[kind] = name.strip()
        above[kind] = tuple(part.strip() for part in rest.split(";") if part.strip())
    for kind, wider in above.items():
        if unknown := [name for name in wider if name not in above]:
            raise ExportError(
                f"{path}: {kind!r} is under {unknown[0]!r}, which has no line of its own: add one"
            )
        if kind in _with_kinds_above(wider, above):
            raise ExportError(f"{path}: {kind!r} is above itself")
    return above, written


def _with_kinds_above(kinds: tuple[str, ...], above: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    found = list(kinds)
    for kind in found:  # grows on the way
        found += [wider for wider in above.get(kind, ()) if wider not in found]
    return tuple(found)
