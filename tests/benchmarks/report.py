"""Figures with their spread, as tables to read and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Spread:
    """A median between its quartiles, of several measurements."""

    low: float
    median: float
    high: float
    digits: int = 2

    def __str__(self) -> str:
        low, median, high = (f"{value:,.{self.digits}f}" for value in (self.low, self.median, self.high))
        return f"{median} ({low}-{high})"


def spread(values: Any, digits: int = 2) -> Spread:
    """The quartiles of an array."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return Spread(float(low), float(median), float(high), digits)


Cell = Spread | float | str


@dataclass(frozen=True)
class Aim:
    """What a figure should be, and what it was."""

    what: str
    bound: float
    found: float
    at_least: bool  # or at most

    @property
    def is_met(self) -> bool:
        return self.found >= self.bound if self.at_least else self.found <= self.bound


@dataclass
class Table:
    """Rows under a title; floats are shown with three digits that count."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)

    def add(self, *cells: Cell) -> None:
        assert len(cells) == len(self.columns), cells
        self.rows.append(cells)

    def at_least(self, what: str, bound: float, found: Spread | float) -> None:
        """Note an aim, held against the median."""
        self.aims.append(Aim(what, float(bound), middle(found), at_least=True))

    def at_most(self, what: str, bound: float, found: Spread | float) -> None:
        self.aims.append(Aim(what, float(bound), middle(found), at_least=False))

    def markdown(self) -> str:
        numbers = [all(not isinstance(row[i], str) for row in self.rows) for i in range(len(self.columns))]
        rule = "".join("---:|" if number else "---|" for number in numbers)
        lines = [self.columns, *(tuple(map(_shown, row)) for row in self.rows)]
        head, *body = [f"| {' | '.join(line)} |" for line in lines]
        return "\n".join([f"{self.title}:\n", head, f"|{rule}", *body])

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "columns": self.columns,
            "rows": [list(map(_plain, row)) for row in self.rows],
        }


def table_of_aims(aims: Iterable[Aim]) -> Table:
    """What was aimed at, and what was reached."""
    table = Table("Aims", ("what", "wanted", "measured", "met"))
    for aim in aims:
        bound = f"{'>=' if aim.at_least else '<='} {_shown(aim.bound)}"
        table.add(aim.what, bound, _shown(aim.found, 4), "yes" if aim.is_met else "no")
    return table


def middle(found: Spread | float) -> float:
    """The median of what has a spread."""
    return found.median if isinstance(found, Spread) else float(found)


def _shown(cell: Cell, digits: int = 3) -> str:
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.{digits}g}"


def _plain(cell: Cell) -> Any:
    if isinstance(cell, Spread):
        return {"median": cell.median, "quartiles": [cell.low, cell.high]}
    return cell
