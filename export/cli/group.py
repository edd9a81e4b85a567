"""The group of all commands of the training side, and in which module each is."""

from __future__ import annotations

import click

from itl_infer.cli.group import Commands

_MODULES = {
    "build": "build",
    "carry": "carry",
    "distil": "distil",
    "from-keras": "from_keras",
    "postcards": "starter",
    "pretrain": "pretrain",
    "recipes": "study",
    "refresh": "refresh",
    "starter": "starter",
}


@click.group(
    cls=Commands,
    package="export.cli",
    modules=_MODULES,
    program="python -m export",
    interrupted="interrupted; the same command goes on from here",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def main() -> None:
    """Train on captioned pictures, and export what itl-infer searches with."""
