"""Tables of figures for people: a share in per cent, its interval in brackets, columns under one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def percent(share: float) -> str:
    """A share of 1 in per cent, with a digit behind the point; with two digits that count where it is small."""
    return f"{100 * share:.1f}" if share >= 0.001 or not share else f"{100 * share:.2g}"


def cell(text: Callable[[float], str], value: float, interval: Sequence[float] = ()) -> str:
    """A figure as `text` writes it, its interval behind it."""
    return f"{text(value):>5}" + (f" [{text(interval[0])}, {text(interval[1])}]" if interval else "")


def align(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells, of which some may be shorter than the first, as lines of equal columns."""
    widths = [max(len(line[i]) for line in lines if len(line) > i) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=False)).rstrip()
        for line in lines
    )
