"""Writes docs/cli.md, every command's `--help`, as the commands themselves give it: python docs/generate_cli.py"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # `export` is run from a checkout, never installed

from export.cli import main as export_commands  # noqa: E402
from itl_infer.cli import main as runtime_commands  # noqa: E402

PAGE = ROOT / "docs" / "cli.md"
GROUPS = {"itl-infer": runtime_commands, "python -m export": export_commands}
WIDTH = 100  # columns, whatever the terminal has

_HEAD = """\
# Commands

What each command takes, as its `--help` says; `python docs/generate_cli.py` writes this page, and a test compares them.
What the commands are for: [searching](searching.md), [the page](page.md), [publish](publish.md),
[the index](indexing.md), [Ray](cluster.md), [Milvus](milvus.md), [measuring](evaluating.md), [training](training.md).
Back to the [README](../README.md).
"""


def click_release() -> str:
    """The release of click, 8.2 of 8.2.1: another one may lay help out in another way."""
    return ".".join(version("click").split(".")[:2])


def commands_of(command: click.Command, name: str) -> Iterator[tuple[str, click.Context]]:
    """The full name and the context of a command, and of all that it has below it, in the order of its help."""
    yield from _walk(command, name, None)


def _walk(
    command: click.Command, name: str, parent: click.Context | None
) -> Iterator[tuple[str, click.Context]]:
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield context.command_path, context
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None:
                yield from _walk(found, child, context)


def page() -> str:
    """The whole of docs/cli.md."""
    parts = [f"<!-- of docs/generate_cli.py, with click {click_release()} -->\n", _HEAD]
    for name, group in GROUPS.items():
        for path, context in commands_of(group, name):
            parts.append(f"## {path}\n\n```\n{context.get_help().rstrip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
