"""`bundle show` and `bundle verify`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from itl_infer.cli.opened import open_bundle
from itl_infer.cli.output import failure, note, on_lines, on_one_line, write
from itl_infer.errors import ItlError

_LONG = 12  # what `bundle show` does not spell out


@click.group()
def bundle() -> None:
    """Look at a bundle, or check that it is whole.

    \b
    itl-infer bundle show artifacts/starter
    itl-infer bundle verify artifacts/starter
    """


_bundle_argument = click.argument(
    "path", required=False, type=click.Path(path_type=Path), envvar="ITL_BUNDLE"
)


@bundle.command()
@_bundle_argument
@click.option("--card", is_flag=True, help="Print its card: what it was made of, what it finds, how well.")
@click.option(
    "--words",
    metavar="TEXT",
    is_flag=False,
    flag_value="",
    help="Print the words that it knows, one a line: all, or those with TEXT in them, and what TEXT is read as."
    " Below them those with TEXT that it reads as others.",
)
def show(path: Path | None, card: bool, words: str | None) -> None:
    """Print what a bundle says of itself.

    PATH is its folder. Without: ITL_BUNDLE, or else the bundle that comes with itl-infer.

    \b
    itl-infer bundle show artifacts/starter
    itl-infer bundle show --card
    itl-infer bundle show --words=dog
    """
    opened = open_bundle(path)
    if card:
        write(on_lines(opened.card).encode())
        return
    if words is not None:
        found = {word for word in opened.words if words.casefold() in word}
        for typed, plainest in opened.read_as(words):
            if plainest != typed:
                note(f"{typed} is read as {plainest}")
                found.add(plainest)
        carried = {word.word: word for word in opened.carried_words(words.casefold())} if words else {}
        if not found and not carried:
            raise failure(f"{opened.path}: knows no word with {words!r} in it: --words alone shows all")
        lines = [*sorted(found), *(carried[word].described for word in sorted(carried))]
        write("".join(f"{on_one_line(line)}\n" for line in lines).encode())
        return
    facts = {"path": str(opened.path), "fingerprint": opened.fingerprint, **opened.manifest}
    write("".join(f"{line}\n" for line in _outline(facts)).encode(errors="backslashreplace"))


@bundle.command()
@_bundle_argument
def verify(path: Path | None) -> None:
    """Check the files and embeddings of a bundle.

    Every file of the bundle at PATH is compared with its hash, and what the graphs compute here with the
    golden embeddings in it. Prints ok, or what differs. Without PATH: ITL_BUNDLE, or else the bundle that
    comes with itl-infer.

    \b
    itl-infer bundle verify artifacts/starter
    """
    from itl_infer.bundle import verify_bundle
    from itl_infer.index import Index

    report = verify_bundle(path)
    opened = open_bundle(report.path)
    problems = list(report.problems)
    if opened.gallery_index_path:
        try:
            rows = len(Index.open(opened.gallery_index_path, opened, mode="r"))
        except ItlError as error:
            problems.append(str(error))
        else:
            if rows != report.gallery_pictures:
                problems.append(
                    f"{opened.gallery_index_path}: {rows} pictures, the gallery has {report.gallery_pictures}"
                )
    if problems:
        for problem in problems[:-1]:
            note(f"Error: {problem}")
        raise failure(problems[-1])
    write(
        f"{report.path}: ok\n"
        f"files             {report.files} as the manifest says\n"
        f"gallery           {report.gallery_pictures} pictures as the manifest says\n"
        f"golden pictures   min cosine {report.image_min_cosine:.6f}\n"
        f"golden texts      min cosine {report.text_min_cosine:.6f}\n".encode(errors="surrogateescape")
    )


def _outline(facts: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Facts as indented lines; long lists only counted."""
    for key, value in facts.items():
        name = on_one_line(key)
        if isinstance(value, (dict, list)) and len(value) > _LONG:
            yield f"{indent}{name}: {len(value)} entries"
        elif isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _outline(value, indent + "  ")
        else:
            yield f"{indent}{name}: {on_one_line(str(value))}"
