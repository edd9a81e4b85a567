"""The options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import zip_longest
from pathlib import Path
from typing import Any

import click

DEFAULT_TOP, TOP_OF_A_SHEET = 10, 25  # pictures shown where --top does not say


def all_of(*options: Callable[..., Any]) -> Callable[..., Any]:
    """Several options, or families of them, as one decorator; in this order they stand in the help."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _index_option(parameter: str, help: str, **settings: Any) -> Callable[..., Any]:
    return click.option(
        *("-d", "--index", parameter),
        metavar="PATH",
        envvar="ITL_INDEX",
        show_envvar=True,
        help=help,
        **settings,
    )


def format_option(first: str, help: str) -> Callable[..., Any]:
    """--format, which is `first` or json."""
    return click.option(
        "--format",
        "format_name",
        type=click.Choice([first, "json"]),
        default=first,
        show_default=True,
        help=help,
    )


index_option = _index_option("index_path", "Folder of the index.", type=click.Path(path_type=Path))
store_option = _index_option(
    "location", "Folder of the index, or milvus:URI#NAME for a collection of Milvus."
)
bundle_option = click.option(
    "-m",
    "--bundle",
    "bundle_path",
    metavar="PATH",
    type=click.Path(path_type=Path),
    envvar="ITL_BUNDLE",
    show_envvar=True,
    help="Folder of the bundle to embed with. Default: the one that comes with itl-infer.",
)
threads_option = click.option(
    "--threads",
    metavar="N",
    type=click.IntRange(min=1),
    help="Threads of the graphs.  [default: the CPUs that may be used, or OMP_NUM_THREADS]",
)
wait_option = click.option("--wait", is_flag=True, help="Wait while another run writes to the index.")
report_format_option = format_option("text", "How to print it.")

top_option = click.option(
    "-k",
    "--top",
    metavar="N",
    type=click.IntRange(min=1),
    help=f"How many pictures to show at most.  [default: {DEFAULT_TOP}, on a sheet {TOP_OF_A_SHEET}]",
)
understand_not_option = click.option(
    "--understand-not",
    is_flag=True,
    help='Subtract what the text says is not to be seen: the cars of "a street without cars".',
)
explain_option = click.option(
    "--explain",
    is_flag=True,
    help="Say what became of each word, and what each did for the score of each picture.",
)
sheet_option = click.option(
    "--sheet",
    "sheet_path",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the pictures to a contact sheet too: a .png, .jpg or .html file.",
)
# Where an answer ends. What is typed as a default, here and in the commands, is a constant of a module that takes long
# to import; a test compares them.
stop_options = all_of(
    click.option("--min-score", metavar="N", type=float, help="Leave out pictures of a lower score."),
    click.option(
        "--relevant",
        is_flag=True,
        help="Leave out pictures whose scores do not stand out from those of the whole index.",
    ),
    click.option("--dedupe", is_flag=True, help="Fold near-duplicates under the best of them."),
    click.option(
        "--dedupe-from",
        metavar="N",
        type=click.FloatRange(-1, 1),
        help="Cosine of two pictures from which on they are near-duplicates.  [default: 0.98]",
    ),
)

filter_options = all_of(
    click.option(
        "--under",
        metavar="FOLDER",
        multiple=True,
        help="Only pictures in FOLDER: a path, or its end from a remembered folder on; repeatable.",
    ),
    click.option(
        "--name", metavar="GLOB", multiple=True, help="Only files called so, as 'IMG_*.jpg'; repeatable."
    ),
    click.option(
        "--taken",
        metavar="DATES",
        help="Only pictures taken then: 2019, 2019-07, 2019-07-03, or a range as 2019-07..2019-08, 2019.. or ..2019.",
    ),
    click.option("--newer", metavar="DATE", help="Only pictures taken on DATE or after it."),
    click.option("--older", metavar="DATE", help="Only pictures taken before DATE."),
    click.option(
        "--camera",
        metavar="TEXT",
        multiple=True,
        help="Only pictures of a camera or phone whose make and model hold these words; repeatable.",
    ),
    click.option(
        "--orientation",
        type=click.Choice(["landscape", "portrait", "square"]),
        help="Only pictures that lie, stand, or are as wide as high.",
    ),
    click.option(
        "--gps/--no-gps", "gps", default=None, help="Only pictures with, or without, a place in them."
    ),
)
FILTERS = ("under", "name", "taken", "newer", "older", "camera", "orientation", "gps")  # parameters of these
sort_option = click.option(
    "--sort",
    type=click.Choice(["score", "taken"]),
    default="score",
    show_default=True,
    help="In which order to show what was found: the best first, or the oldest.",
)


class _ManyOption(click.Option):
    """An option with one value or more; behind the first, those that `takes` says it takes."""

    takes: Callable[[str], bool] = staticmethod(lambda _: True)


class CommandWithMany(click.Command):
    """A command with options that take several values, as of `many_option`: --not a.jpg b.jpg."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        many = {
            name: option for option in self.params if isinstance(option, _ManyOption) for name in option.opts
        }
        named, option = [], None
        for place, arg in enumerate(args):
            if arg == "--":
                named += args[place:]
                break
            if arg in many:
                named.append(arg)
                option, name, is_first = many[arg], arg, True
                continue
            if option is not None and not is_first:
                if arg.startswith("-") or not option.takes(arg):
                    option = None
                else:
                    named.append(name)
            named.append(arg)
            is_first = False
        return super().parse_args(ctx, named)


def many_option(
    flag: str, parameter: str, metavar: str, help: str, takes: Callable[[str], bool] | None = None
) -> Callable[..., Any]:
    """An option of a `CommandWithMany`: one value or more behind it, or behind each of several of it."""
    kind = type("Many", (_ManyOption,), {"takes": staticmethod(takes)} if takes else {})
    return click.option(
        flag, parameter, metavar=metavar, multiple=True, type=click.Path(), cls=kind, help=help
    )


names_option = click.option(
    "--names",
    "names_path",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Read the names in this index, or file of `names export`: for shards and collections, which keep none.",
)
as_word_option = click.option(
    "--as-word", is_flag=True, help="Read names that were taught as words of the language."
)


_RAY_ADDRESS = re.compile(r"auto|ray://\S+|\[?[^/\s\]]+\]?:\d+")


class CommandWithRay(click.Command):
    """A command with options whose value may be left out: what follows one and is none is the next argument.

    Of --ray that is what is no address, of --no-exclude what begins with a dash.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = []
        for arg, following in zip_longest(args, args[1:], fillvalue=""):
            named.append(arg)
            is_left_out = {
                "--ray": not _RAY_ADDRESS.fullmatch(following),
                "--no-exclude": not following or following.startswith("-"),
            }
            if is_left_out.get(arg):
                named.append("")
        return super().parse_args(ctx, named)


# What of a folder is looked at.
folder_options = all_of(
    click.option(
        "--exclude",
        metavar="GLOB",
        multiple=True,
        help="Leave out names or paths like this, now and in later runs; repeatable.",
    ),
    click.option(
        "--no-exclude",
        metavar="[GLOB]",
        multiple=True,
        help="Leave out no more what an earlier --exclude GLOB said; without GLOB: what any said.",
    ),
    click.option("--include-hidden", is_flag=True, help="Take hidden files and folders too."),
    click.option(
        "--include-system",
        is_flag=True,
        help="Take what systems and programs put there too: @eaDir, #recycle, $RECYCLE.BIN, .Trash, ._*, ...",
    ),
)


def ray_option(help: str) -> Callable[..., Any]:
    """--ray, of a `CommandWithRay`: None where it is not there, "" without an address."""
    return click.option("--ray", "address", metavar="[ADDRESS]", help=help)


def refuse(names: Iterable[str], why: str) -> None:
    """UsageError where one of these parameters stands in the command line, and not only in the environment."""
    ctx = click.get_current_context()
    for parameter in ctx.command.params:
        given = ctx.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE
        if parameter.name in names and given:
            raise click.UsageError(f"{max(parameter.opts, key=len)} {why}.")
