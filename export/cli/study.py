"""`recipes`: training recipes compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from export.cli.console import Console
from export.cli.options import font_option, trunk_options, work_option


@click.command()
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--only", multiple=True, metavar="NAME", help="Of the recipes only this one; repeatable.")
@trunk_options("none")
@work_option
@font_option
def recipes(
    seeds: int, only: tuple[str, ...], trunk: str, trunk_weights: str, work: Path, font: Path | None
) -> None:
    """Compare training recipes on the starter's postcards: mean and spread over seeds, as a Markdown table.

    Trunk, features and what is trained stay in the folder of --work: an interrupted run goes on.
    """
    from export.runs.study import SETTINGS, TRIED, format_study, study
    from export.starter.drawn import postcards

    if unknown := set(only) - set(TRIED):
        raise click.UsageError(f"no recipe {sorted(unknown)[0]!r}: choose from {', '.join(TRIED)}.")
    console = Console()
    settings = replace(SETTINGS, trunk=trunk, trunk_weights=trunk_weights)
    found = study(
        postcards(work, console, font=font), settings, work, console, seeds=seeds, names=only or tuple(TRIED)
    )
    click.echo(format_study(found))
