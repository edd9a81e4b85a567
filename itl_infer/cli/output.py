"""What commands print: results on stdout in every format, notes on stderr."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from itl_infer.cli.streams import say

if TYPE_CHECKING:
    from itl_infer.search import Answer, Found

_COLUMNS = ["rank", "score", "path"]
# What would break a line, command a terminal, or turn what is written round, so that a name reads as another one; and
# halves of characters, which nothing can print. Bytes that are no UTF-8 are \udc80 to \udcff: those of no command stay.
_COMMANDS = r"\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udc9f\udd00-\udfff"
_CONTROL_CHARACTER = re.compile(rf"[\x00-\x1f{_COMMANDS}]")
_UNFIT_FOR_A_TERMINAL = rf"[\x01-\x08\x0b-\x1f{_COMMANDS}]"  # where there are lines, tabs and NULs
_TSV_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_BAR = 24  # characters of the longest bar of an explanation


def failure(message: str) -> click.ClickException:
    return click.ClickException(on_one_line(message))


def note(message: str) -> None:
    say(on_one_line(message))


def write(content: bytes) -> None:
    """To stdout, at once: names of files need not be text, and a reader may be waiting.

    Programs get it as it is; a terminal gets nothing that would command it, in whatever format.
    """
    if sys.stdout.isatty():
        text = content.decode(errors="surrogateescape")
        safe = re.sub(
            _UNFIT_FOR_A_TERMINAL, lambda found: f"\\u{ord(found[0]):04x}", text
        )  # as JSON has it, too
        content = safe.encode(errors="surrogateescape")
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def on_one_line(text: str) -> str:
    """Text without what would break lines, command a terminal or turn round what is written: shown as escapes."""
    return _CONTROL_CHARACTER.sub(lambda found: str(found[0].encode("unicode_escape"), "ascii"), text)


def on_lines(text: str) -> str:
    """The same for text of several lines."""
    return "".join(f"{on_one_line(line.expandtabs())}\n" for line in text.split("\n")).removesuffix("\n")


def as_json(value: Any, indent: int | None = None) -> bytes:
    """One line of UTF-8, or several with an indent; bytes that are not UTF-8 become \\udc80 to \\udcff."""
    return (json.dumps(value, ensure_ascii=False, indent=indent) + "\n").encode(errors="backslashreplace")


def as_lines(lines: Iterable[str]) -> bytes:
    return os.fsencode("".join(f"{line}\n" for line in lines))


def describe_left_out(left_out: Mapping[str, tuple[int, str]]) -> list[str]:
    """A line for each extra that would read some, from endings to how many and that extra: "41 .heic (pip ...)"."""
    by_extra: dict[str, list[str]] = {}
    for suffix, (files, extra) in left_out.items():
        by_extra.setdefault(extra, []).append(f"{files} {suffix}")
    return [f"{', '.join(found)} (pip install 'itl-infer[{extra}]')" for extra, found in by_extra.items()]


def describe_system_files(counts: Mapping[str, int]) -> list[str]:
    """A line on what may hold pictures and was left out as a system's own, if there is any."""
    from itl_infer.system_files import NO_PICTURES

    found = [f"{files} {kind}" for kind, files in counts.items() if kind not in NO_PICTURES]
    return [f"{', '.join(found)} (of systems and programs; --include-system takes them)"] if found else []


def as_bytes(answer: Answer, format_name: str) -> bytes:
    results = answer.results
    match format_name:
        case "json":
            return as_json(answer.to_json(), indent=2)
        case "jsonl":
            return b"".join(as_json(found.to_json()) for found in results)
        case "csv":
            import csv
            import io

            lines = io.StringIO()
            writer = csv.DictWriter(lines, _COLUMNS, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(found.to_json() for found in results)
            return os.fsencode(lines.getvalue())
        case "tsv":
            rows = (
                f"{row['rank']}\t{row['score']}\t{row['path'].translate(_TSV_ESCAPES)}"
                for row in (found.to_json() for found in results)
            )
            return os.fsencode("".join(f"{line}\n" for line in ["\t".join(_COLUMNS), *rows]))
        case "paths":
            return b"".join(os.fsencode(found.path) + b"\n" for found in results)
        case "null":
            return b"".join(os.fsencode(found.path) + b"\0" for found in results)
        case _:
            return as_lines(_table(answer))


def _table(answer: Answer) -> Iterator[str]:
    yield from table_head(answer)
    for found in answer.results:
        yield from table_rows(found, answer)


def table_head(answer: Answer) -> Iterator[str]:
    yield from map(on_one_line, answer.describe_words())
    if answer.words:
        yield ""
    yield "rank   score  path"


def table_rows(found: Found, answer: Answer) -> Iterator[str]:
    """The row of a picture, and the shares of its terms as bars, on one scale for the whole answer."""
    yield f"{found.rank:>4}  {found.score:>6.4f}  {on_one_line(found.path)}"
    for duplicate in found.duplicates:
        yield f"   =  {duplicate.score:>6.4f}  {on_one_line(duplicate.path)}"
    width = max((len(share.label) for share in found.shares), default=0)
    for share in found.shares:
        bar = ("█" if share.share >= 0 else "░") * round(abs(share.share) / answer.longest_share * _BAR)
        yield f"{'':14}{on_one_line(share.label):<{width}}  {share.share:>+7.4f}  {bar}".rstrip()
