"""The commands of itl-infer: the only module that prints or exits."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from itl_infer import __version__
from itl_infer.errors import ItlError, QueryError

if TYPE_CHECKING:
    from itl_infer.bundle import Bundle
    from itl_infer.index import Index
    from itl_infer.ingest import Progress, Report
    from itl_infer.search import Answer, Found, Searcher

_INTERRUPTED = 130
_CHUNK = 2**16  # bytes of queries read at a time
_LONGEST_LINE = 2**20  # bytes of one query
_BLOCK = 256  # queries answered at a time
_REDRAW_SECONDS = 0.1
_TOP, _TOP_OF_A_SHEET = 10, 25  # pictures shown where --top does not say
_BAR = 24  # characters of the longest bar of an explanation
_BARE = f"{__name__}.bare"  # where a context keeps the first word of a query without a command
_LONG = 12  # what `bundle show` does not spell out


class _Commands(click.Group):
    """Whatever goes wrong inside a command becomes one line on stderr and the exit code of its kind.

    What begins with anything but the name of a command, or an option of itl-infer itself, is a query.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = [name for option in self.get_params(ctx) for name in option.opts]
        if args and args[0] not in self.commands and args[0] not in own:
            ctx.meta[_BARE] = args[0]
            args = ["query", *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            super().invoke(ctx)
            sys.stdout.flush()  # here, where a closed pipe is no surprise
        except BrokenPipeError:
            # The reader has seen enough. Python would complain when it flushes at exit: give it another end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt:
            click.echo("\nInterrupted; what was done is kept.", err=True)
            ctx.exit(_INTERRUPTED)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except QueryError as error:
            raise _failure(f"{error}{_not_a_command_either(ctx)}") from error
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "itl-infer"
            message = f"{error.format_message()} See {command} --help{_not_a_command_either(ctx)}."
            raise click.UsageError(_on_one_line(message)) from error  # without a context: no usage above it
        except ItlError as error:
            raise _failure(str(error)) from error
        except OSError as error:
            raise _failure(f"{error.filename or 'output'}: {error.strerror or error}") from error


def _not_a_command_either(ctx: click.Context) -> str:
    """For a bare query that went wrong and may have been meant as a command."""
    word = ctx.meta.get(_BARE, "")
    return (
        f"; {word!r} is not a command either: see itl-infer --help" if re.fullmatch("[a-z-]+", word) else ""
    )


def _failure(message: str) -> click.ClickException:
    return click.ClickException(_on_one_line(message))


_index_option = click.option(
    "-d",
    "--index",
    "index_path",
    metavar="PATH",
    type=click.Path(path_type=Path),
    envvar="ITL_INDEX",
    show_envvar=True,
    help="Folder of the index.",
)
_bundle_option = click.option(
    "-m",
    "--bundle",
    "bundle_path",
    metavar="PATH",
    type=click.Path(path_type=Path),
    envvar="ITL_BUNDLE",
    show_envvar=True,
    help="Folder of the bundle to embed with. Default: the one that comes with itl-infer.",
)
_wait_option = click.option("--wait", is_flag=True, help="Wait while another run writes to the index.")
_report_format_option = click.option(
    "--format",
    "format_name",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print it.",
)
_top_option = click.option(
    "-k",
    "--top",
    metavar="N",
    type=click.IntRange(min=1),
    help="How many pictures to show at most.  [default: 10, on a sheet 25]",
)
_explain_option = click.option(
    "--explain",
    is_flag=True,
    help="Say what became of each word, and what each did for the score of each picture.",
)
_stop_options = [
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
]
_sheet_option = click.option(
    "--sheet",
    "sheet_path",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the pictures to a contact sheet too: a .png, .jpg or .html file.",
)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="itl-infer")
def main() -> None:
    """Search pictures by words, on any CPU.

    \b
    itl-infer "surfer in a wave"                       the pictures that come with it
    itl-infer embed-images ~/Pictures -d photos.itl    your own, once and after changes
    itl-infer "dogs playing" -d photos.itl             short for: itl-infer query "dogs playing" ...
    itl-infer query "dogs playing" -d photos.itl --sheet dogs.html

    Results go to stdout, notes and errors to stderr. Exit codes: 0 done, 1 error, 2 wrong usage,
    130 interrupted.
    """


def _all_of(*options: Callable[..., Any]) -> Callable[..., Any]:
    """Several options as one decorator."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


# What `query` and `similar` share.
_search_options = _all_of(
    click.option("-a", "--add", metavar="TEXT", multiple=True, help="Add TEXT to the query; repeatable."),
    click.option(
        "-s", "--subtract", metavar="TEXT", multiple=True, help="Subtract TEXT from it; repeatable."
    ),
    click.option(
        "-w",
        "--weighted",
        metavar="N TEXT",
        type=(float, str),
        multiple=True,
        help="Add TEXT with weight N, such as 0.5 or -0.5; repeatable.",
    ),
    click.option(
        "--image-weight",
        metavar="N",
        type=float,
        default=1.0,
        show_default=True,
        help="Weight of each picture of the query; that of a text is 1.",
    ),
    _top_option,
    *_stop_options,
    _sheet_option,
    click.option(
        "--truth",
        metavar="NAME",
        help="Say where this picture of the index stands among all; frame it on the sheet.",
    ),
    _explain_option,
    click.option(
        "--preview", is_flag=True, help="Draw the pictures too, where the results go to a terminal."
    ),
    _index_option,
    _bundle_option,
    click.option(
        "--format",
        "format_name",
        type=click.Choice(["table", "json", "jsonl", "csv", "tsv", "paths"]),
        help="How to print the results.  [default: table]",
    ),
    click.option(
        "-0", "--null", is_flag=True, help="Print paths, each ended by a null character, for xargs -0."
    ),
)


@main.command()
@click.argument("text", required=False)
@click.option(
    "-i",
    "--image",
    "images",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    multiple=True,
    help="Add a picture to the query; repeatable.",
)
@_search_options
def query(text: str | None, images: tuple[str, ...], **options: Any) -> None:
    """Show the pictures that fit TEXT best.

    Without an index of your own it searches the pictures that come with the bundle. Texts and pictures may be
    added and subtracted: each is a direction, and what is searched for is their sum, so that scores stay
    cosines.

    \b
    itl-infer query "surfer in a wave"
    itl-infer query "dogs playing" -d photos.itl -k 3 --format json
    itl-infer query "red car" -d photos.itl -0 | xargs -0 open
    itl-infer query "dog" -d photos.itl --sheet dogs.html
    itl-infer query "dog" --add snow --subtract grass -w 0.5 night
    itl-infer query "at night" --image house.jpg
    itl-infer query "surfr in a wave" --explain
    itl-infer query "dog" -d photos.itl -k 100 --relevant --dedupe

    json is one object; jsonl, csv and tsv have one picture a line (tsv writes a tab in a name as \\t).
    In JSON a byte of a name that is not valid UTF-8, such as FF, is written \\udcff.
    """
    if text is None and not (images or options["add"] or options["subtract"] or options["weighted"]):
        raise click.MissingParameter(param_type="argument", param_hint="'TEXT'")
    _run_query(text, images, **options)


@main.command()
@click.argument("image", type=click.Path(dir_okay=False))
@_search_options
def similar(image: str, **options: Any) -> None:
    """Show the pictures that look most like IMAGE.

    IMAGE is any file, in the index or not; one that is finds itself first. The same as query --image IMAGE.

    \b
    itl-infer similar house.jpg -d photos.itl
    itl-infer similar house.jpg -d photos.itl --add night --sheet houses.png
    """
    _run_query(None, (image,), **options)


def _run_query(
    text: str | None,
    images: tuple[str, ...],
    *,
    add: tuple[str, ...],
    subtract: tuple[str, ...],
    weighted: tuple[tuple[float, str], ...],
    image_weight: float,
    top: int | None,
    sheet_path: Path | None,
    truth: str | None,
    explain: bool,
    preview: bool,
    index_path: Path | None,
    bundle_path: Path | None,
    format_name: str | None,
    null: bool,
    **stop: Any,
) -> None:
    if null and format_name not in (None, "paths"):
        raise click.UsageError(f"--null prints paths, not {format_name}.")
    if explain and (null or format_name not in (None, "table", "json", "jsonl")):
        raise click.UsageError("--explain goes with table, json and jsonl.")
    if preview and (null or format_name not in (None, "table")):
        raise click.UsageError("--preview goes with the table only.")
    _check_sheet(sheet_path)
    from itl_infer.query import Query

    bundle = _load_bundle(bundle_path)
    asked = Query(text, images, add, subtract, weighted, image_weight)
    embedded = asked.embed(bundle)  # before the index, whose absence is the smaller mistake
    index = _open_index(index_path, bundle)
    answer = _searcher(index, top, sheet_path, truth=truth, explain=explain, **stop).answer(embedded)
    if embedded.unknown_words and not explain:
        _note(f"The bundle does not know: {bundle.describe_unknown(embedded.unknown_words)}.")
    if answer.relevant_from is not None:
        _note(f"Relevant from a score of {answer.relevant_from:.4f} on: {len(answer.results)} shown.")
    if answer.truth:
        _note(f"{answer.truth.path}: {answer.truth}")
    _write_sheet([answer], sheet_path)
    if preview and _can_draw():
        _draw_pictures(answer)
    else:
        _write(_as_bytes(answer, "null" if null else format_name or "table"))


@main.command("embed-images")
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
@_index_option
@_bundle_option
@click.option("-j", "--workers", metavar="N", type=click.IntRange(min=1), help="Threads that read pictures.")
@click.option("--batch-size", metavar="N", type=click.IntRange(min=1), help="Pictures embedded at a time.")
@click.option(
    "--exclude", metavar="GLOB", multiple=True, help="Leave out names or paths like this; repeatable."
)
@click.option("--include-hidden", is_flag=True, help="Take hidden files and folders too.")
@click.option(
    "--max-megapixels",
    metavar="N",
    type=click.FloatRange(min=0, min_open=True),
    default=100.0,
    show_default=True,
    help="Leave out larger pictures, which take much memory.",
)
@click.option("--retry-failed", is_flag=True, help="Try pictures again that failed before and are unchanged.")
@click.option("--prune", is_flag=True, help="Drop the pictures of a PATH that is gone for good.")
@click.option("--rebuild", is_flag=True, help="Embed all that the index has again, with this bundle.")
@_wait_option
@_report_format_option
def embed_images(
    paths: tuple[Path, ...],
    index_path: Path | None,
    bundle_path: Path | None,
    format_name: str,
    rebuild: bool,
    **options: Any,
) -> None:
    """Bring an index in step with the pictures under each PATH.

    New and changed pictures are embedded, unchanged and renamed ones are not, those that are gone are
    dropped. Pictures that cannot be read are listed with the reason, and do not stop the run; it may be
    interrupted and started again at any time. The index must be named, with -d or ITL_INDEX; it is made if
    it is not there. Without a PATH, all that it remembers is looked at again.

    \b
    itl-infer embed-images ~/Pictures -d photos.itl
    itl-infer embed-images ~/Pictures ~/scans -d photos.itl --exclude "*.tif" --format json
    itl-infer embed-images -d photos.itl --rebuild -m my-bundle
    """
    if index_path is None:
        raise click.UsageError("Name the index to make or to update: -d photos.itl, or set ITL_INDEX.")
    from PIL import Image

    from itl_infer.index import Index
    from itl_infer.ingest import embed_again, embed_directory

    Image.MAX_IMAGE_PIXELS = None  # --max-megapixels takes its place
    bundle = _load_bundle(bundle_path)
    with _ProgressLine() as line:
        options["progress"] = line.show if line.shown else None
        if rebuild:
            index, report = embed_again(index_path, bundle, paths, **options)
        else:
            index = Index.open(index_path, bundle)
            report = embed_directory(paths or _remembered(index_path, options["prune"]), index, **options)
    if format_name == "json":
        _write(_json(report.to_json(), indent=2))
    else:
        for failure in report.failed:
            _note(f"{failure.path}: {failure.error}")
        _write(f"{_describe_report(report)}\n".encode())
    if report.failed and len(index) == 0:
        raise _failure(f"none of the {len(report.failed)} pictures could be embedded")


@main.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@_all_of(_top_option, *_stop_options, _explain_option, _sheet_option, _index_option, _bundle_option)
def batch(
    file: Path,
    top: int | None,
    sheet_path: Path | None,
    index_path: Path | None,
    bundle_path: Path | None,
    **options: Any,
) -> None:
    """Answer each line of FILE with a line of JSON.

    FILE may be - for stdin. The objects are those of query --format json, in the order of the lines. A line
    that cannot be answered gives {"query": ..., "error": ...} in its place, and the rest goes on. The exit
    code is 0 then too, but 1 where lines are not UTF-8: the file as a whole may not be what was meant. A sheet
    of several queries is an .html file.

    \b
    itl-infer batch queries.txt -d photos.itl > answers.jsonl
    echo "surfer in a wave" | itl-infer batch -
    itl-infer batch queries.txt -d photos.itl --sheet answers.html > answers.jsonl
    """
    _check_sheet(sheet_path)
    from itl_infer.search import Answer

    bundle = _load_bundle(bundle_path)
    index = _open_index(index_path, bundle)
    from_stdin = str(file) == "-"
    name = "stdin" if from_stdin else file
    searcher = _searcher(index, top, sheet_path, **options)
    lines = undecodable = 0
    on_sheet: list[Answer] = []
    with contextlib.nullcontext(sys.stdin.buffer) if from_stdin else file.open("rb") as stream:
        for queries in _blocks_of_queries(cast("io.BufferedReader", stream)):
            answers = _answer_each(searcher, queries)
            _write(b"".join(map(_json, _batch_objects(queries, answers))))
            if sheet_path:
                on_sheet += [answer for answer in answers if isinstance(answer, Answer)]
            lines += len(queries)
            undecodable += sum(not _is_utf8(text) for text in queries)
    _write_sheet(on_sheet, sheet_path)
    if lines == 0:
        raise _failure(f"{name}: no queries in it: write one on each line")
    if undecodable:
        raise _failure(f"{name}: {undecodable} of {lines} lines are not UTF-8: save the file as UTF-8")


@main.command()
@click.option(
    "--captions",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="File of captions, whose format is recognised, or a folder of .txt files.",
)
@click.option(
    "--images",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of the pictures.  [default: that of the captions, or all that the index holds]",
)
@click.option(
    "--splits",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Folder of train/val/test.txt, or a JSON file of splits.  [default: as the captions say]",
)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    default="test",
    show_default=True,
    help="Which pictures to measure.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Of the split, where none is given: that of the training.",
)
@_index_option
@_bundle_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print it; json has the rank of every caption.",
)
@click.option(
    "--ranks",
    "ranks_path",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the rank of every caption to a CSV file.",
)
def evaluate(
    captions: Path,
    images: Path | None,
    splits: Path | None,
    split: str,
    seed: int,
    index_path: Path | None,
    bundle_path: Path | None,
    format_name: str,
    ranks_path: Path | None,
) -> None:
    """Measure how well captions find their pictures, and pictures their captions.

    The index must hold the pictures; they are found by their paths, and only those with captions in the split
    are ranked. Prints recall at 1, 5 and 10 in per cent, median and mean rank, their sum over both ways (rsum),
    95 % confidence intervals, and what guessing would give. Equal scores count against the bundle.

    Read are Flickr30k's, Flickr8k's, COCO's, Karpathy's and Kaggle's files, lines of JSON, and .txt files.

    \b
    itl-infer evaluate --captions results.csv -d photos.itl
    itl-infer evaluate --captions mine.jsonl --split all -d photos.itl --ranks ranks.csv
    """
    from itl_infer.evaluation import evaluate_index
    from itl_infer.index import Index

    index = Index.open(_require_index_path(index_path), _load_bundle(bundle_path), mode="r")
    found = evaluate_index(captions, index, images=images, splits=splits, split=split, seed=seed)
    if ranks_path:
        found.write_ranks(ranks_path)
    for line in found.describe_faults():
        _note(line)
    _write(
        _json(found.to_json(), indent=2) if format_name == "json" else os.fsencode(found.to_table() + "\n")
    )


@main.command()
@_index_option
@_report_format_option
def status(index_path: Path | None, format_name: str) -> None:
    """Show what an index holds: pictures, folders, failures, bundle, size.

    \b
    itl-infer status -d photos.itl
    itl-infer status -d photos.itl --format json
    """
    from itl_infer.index import read_status

    path = _require_index_path(index_path)
    status = read_status(path)
    if format_name == "json":
        _write(_json({"path": str(path), **status.to_json()}, indent=2))
        return
    lines = [
        f"index        {path}, {status.bytes_on_disk / 1e6:.1f} MB",
        f"bundle       {status.state.bundle_name} ({status.state.bundle_fingerprint[:12]})",
        f"pictures     {status.pictures}",
        f"set aside    {status.set_aside} (excluded, their embeddings kept)",
        f"gone         {status.gone} (dropped by the next compaction)",
        *(
            f"folder       {folder}: {pictures} pictures{', folder missing' if is_missing else ''}"
            for folder, pictures, is_missing in status.roots
        ),
        *(f"failure      {failure.path}: {failure.error}" for failure in status.failures),
    ]
    _write(os.fsencode("".join(f"{_on_one_line(line)}\n" for line in lines)))


@main.command()
@_index_option
@click.option("--repair", is_flag=True, help="Drop what is damaged, and never the rest.")
@_wait_option
def check(index_path: Path | None, repair: bool, wait: bool) -> None:
    """Compare all that an index stores with its checksums.

    Checks the database, that every embedding has unit length and the bytes that were written, and that names
    and counts agree. What a repair drops is embedded again by the next embed-images.

    \b
    itl-infer check -d photos.itl
    itl-infer check -d photos.itl --repair
    """
    from itl_infer.index import check_index

    path = _require_index_path(index_path)
    report = check_index(path, repair=repair, wait=wait)
    for problem in report.problems:
        _note(problem)
    if report.ok:
        _write(os.fsencode(f"{path}: ok, {report.rows} rows\n"))
    elif repair:
        dropped = len(report.damaged_rows)
        _write(
            os.fsencode(f"{path}: repaired, damaged rows dropped: {dropped}; embed-images fills the gaps\n")
        )
    else:
        raise _failure(f"{path}: damaged: itl-infer check -d {path} --repair drops that and keeps the rest")


@main.command()
@_index_option
@_wait_option
def prune(index_path: Path | None, wait: bool) -> None:
    """Drop the pictures whose files are gone, missing folders among them.

    Unlike embed-images it takes a missing folder for gone for good: plug in the drives that you want to keep.

    \b
    itl-infer prune -d photos.itl
    """
    from itl_infer.index import prune as prune_index

    path = _require_index_path(index_path)
    pruned = prune_index(path, wait=wait)
    for root in pruned.roots:
        _note(f"Forgotten, as nothing is left of it: {root}")
    _write(f"removed {pruned.pictures}\n".encode())


@main.command("export-index")
@click.argument("output", type=click.Path(path_type=Path, dir_okay=False))
@_index_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["npy", "parquet", "jsonl"]),
    help="What to write.  [default: what the name of OUTPUT ends in]",
)
def export_index(output: Path, index_path: Path | None, format_name: str | None) -> None:
    """Write the embeddings and paths of an index to OUTPUT, for other tools.

    npy is one float32 array, with a list of paths beside it (.paths.json); jsonl has one object a line with
    "path" and "embedding"; parquet a table of the two, and needs pyarrow (pip install 'itl-infer[parquet]').

    \b
    itl-infer export-index photos.npy -d photos.itl
    itl-infer export-index photos.parquet -d photos.itl
    """
    from itl_infer.index import EXPORT_FORMATS, Index
    from itl_infer.index import export_index as export

    name = format_name or output.suffix.removeprefix(".")
    if name not in EXPORT_FORMATS:
        raise click.UsageError(f"Say what to write: --format {'|'.join(EXPORT_FORMATS)}.")
    index = Index.open(_require_index_path(index_path), mode="r")
    for path in export(index, output, name):
        _write(os.fsencode(f"{path}: {len(index)} pictures\n"))


@main.command()
@_all_of(_index_option, _bundle_option)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen at; 0 takes a free one.",
)
@click.option(
    "--allow-host",
    "names",
    metavar="NAME",
    multiple=True,
    help="Answer under this name too, as another machine calls this one; repeatable.",
)
def serve(
    index_path: Path | None, bundle_path: Path | None, host: str, port: int, names: tuple[str, ...]
) -> None:
    """Open a page to search on, and the same as JSON at /api.

    The page sees what other runs add to the index. Only this machine can reach it, unless --host says
    otherwise: there is no password. The API is described at /api/openapi.json. Ctrl+C stops it.
    Needs Starlette and uvicorn: pip install 'itl-infer[serve]'.

    \b
    itl-infer serve -d photos.itl
    itl-infer serve -d photos.itl --host 0.0.0.0 --allow-host nas.local --port 80
    """
    try:
        from itl_infer import web
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("itl_infer"):
            raise
        raise _failure(f"serve needs {error.name}: pip install 'itl-infer[serve]'") from error
    from itl_infer.bundle import load_bundle

    index = _open_index(index_path, load_bundle(bundle_path, threads=1))  # requests are many, each is small
    try:
        web.serve(
            index,
            host,
            port,
            web.HostRule(host, names),
            lambda url: _note(f"{len(index)} pictures at {url} (Ctrl+C stops)"),
        )
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise _failure(f"cannot listen at {host}, port {port}: {reason}: name another --port") from error


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that lets SHELL complete commands, options and paths.

    \b
    itl-infer completion bash >> ~/.bashrc
    itl-infer completion zsh >> ~/.zshrc
    itl-infer completion fish > ~/.config/fish/completions/itl-infer.fish
    """
    from click.shell_completion import get_completion_class

    complete = get_completion_class(shell)
    assert complete is not None  # click brings all three
    _write(complete(main, {}, "itl-infer", "_ITL_INFER_COMPLETE").source().encode() + b"\n")


@main.group("bundle")
def bundle_group() -> None:
    """Look at a bundle, or check that it is whole.

    \b
    itl-infer bundle show artifacts/starter
    itl-infer bundle verify artifacts/starter
    """


_bundle_argument = click.argument(
    "path", required=False, type=click.Path(path_type=Path), envvar="ITL_BUNDLE"
)


@bundle_group.command()
@_bundle_argument
def show(path: Path | None) -> None:
    """Print what a bundle says of itself.

    PATH is its folder. Without: ITL_BUNDLE, or else the bundle that comes with itl-infer.

    \b
    itl-infer bundle show artifacts/starter
    """
    bundle = _load_bundle(path)
    facts = {"path": str(bundle.path), "fingerprint": bundle.fingerprint, **bundle.manifest}
    _write("".join(f"{line}\n" for line in _outline(facts)).encode(errors="backslashreplace"))


@bundle_group.command()
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
    bundle = _load_bundle(report.path)
    problems = list(report.problems)
    if bundle.gallery_index_path:
        try:
            rows = len(Index.open(bundle.gallery_index_path, bundle, mode="r"))
        except ItlError as error:
            problems.append(str(error))
        else:
            if rows != report.gallery_pictures:
                problems.append(
                    f"{bundle.gallery_index_path}: {rows} pictures, the gallery has {report.gallery_pictures}"
                )
    if problems:
        for problem in problems[:-1]:
            _note(f"Error: {problem}")
        raise _failure(problems[-1])
    _write(
        f"{report.path}: ok\n"
        f"files             {report.files} as the manifest says\n"
        f"gallery           {report.gallery_pictures} pictures as the manifest says\n"
        f"golden pictures   min cosine {report.image_min_cosine:.6f}\n"
        f"golden texts      min cosine {report.text_min_cosine:.6f}\n".encode(errors="surrogateescape")
    )


def _load_bundle(path: Path | None) -> Bundle:
    from itl_infer.bundle import load_bundle

    return load_bundle(path)


def _open_index(path: Path | None, bundle: Bundle) -> Index:
    from itl_infer.index import Index

    if path is not None:
        return Index.open(path, bundle, mode="r")
    if bundle.gallery_index_path is None:
        raise _failure(
            f"no index named, and the bundle {bundle.name} has no pictures of its own: make an index with"
            " `itl-infer embed-images PICTURES -d photos.itl`, and name it with -d or ITL_INDEX"
        )
    index = Index.open(bundle.gallery_index_path, bundle, mode="r")
    _note(
        f"Searching the {len(index)} pictures that come with the bundle {bundle.name}."
        " Your own: itl-infer embed-images PICTURES -d photos.itl, then query -d photos.itl."
    )
    return index


def _require_index_path(path: Path | None) -> Path:
    if path is None:
        raise click.UsageError("Name the index: -d photos.itl, or set ITL_INDEX.")
    return path


def _remembered(index_path: Path, prune: bool) -> list[str]:
    """The folders and files of an index, without those that are missing."""
    from itl_infer.index import remembered_paths

    paths = remembered_paths(index_path)
    missing = [] if prune else [path for path in paths if not os.path.lexists(path)]
    for path in missing:
        _note(f"{path} is missing; its pictures are kept (--prune drops them)")
    there = [path for path in paths if path not in missing]
    if not there:
        raise _failure(f"{index_path}: nothing to embed: name a folder of pictures")
    return there


def _searcher(
    index: Index,
    top: int | None,
    sheet_path: Path | None,
    *,
    dedupe: bool,
    dedupe_from: float | None,
    **options: Any,
) -> Searcher:
    from itl_infer.search import NEAR_DUPLICATE, Searcher

    if dedupe and dedupe_from is None:
        dedupe_from = NEAR_DUPLICATE
    return Searcher(index, top or (_TOP_OF_A_SHEET if sheet_path else _TOP), dedupe=dedupe_from, **options)


def _check_sheet(path: Path | None) -> None:
    """Before anything is embedded."""
    if path is not None:
        from itl_infer.sheet import require_sheet_name

        require_sheet_name(path)


def _write_sheet(answers: Sequence[Answer], path: Path | None) -> None:
    if path is not None and answers:
        from itl_infer.sheet import write_sheet

        write_sheet(answers, path)
        _note(f"Sheet: {path}")


def _answer_each(searcher: Searcher, queries: Sequence[str]) -> list[Answer | ItlError]:
    """For each query its answer or its error."""
    answers = iter(searcher.answer_many([text for text in queries if _is_utf8(text)]))
    return [next(answers) if _is_utf8(text) else QueryError("the line is not UTF-8") for text in queries]


def _batch_objects(queries: Sequence[str], answers: Iterable[Answer | ItlError]) -> Iterator[dict[str, Any]]:
    for text, answer in zip(queries, answers, strict=True):
        yield {"query": text, "error": str(answer)} if isinstance(answer, ItlError) else answer.to_json()


def _as_bytes(answer: Answer, format_name: str) -> bytes:
    results = answer.results
    match format_name:
        case "json":
            return _json(answer.to_json(), indent=2)
        case "jsonl":
            return b"".join(_json(found.to_json()) for found in results)
        case "csv":
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
            return _as_lines(_table(answer))


def _table(answer: Answer) -> Iterator[str]:
    yield from _table_head(answer)
    for found in answer.results:
        yield from _table_rows(found, answer)


def _table_head(answer: Answer) -> Iterator[str]:
    yield from map(_on_one_line, answer.describe_words())
    if answer.words:
        yield ""
    yield "rank   score  path"


def _table_rows(found: Found, answer: Answer) -> Iterator[str]:
    """The row of a picture, and the shares of its terms as bars, on one scale for the whole answer."""
    yield f"{found.rank:>4}  {found.score:>6.4f}  {_on_one_line(found.path)}"
    for duplicate in found.duplicates:
        yield f"   =  {duplicate.score:>6.4f}  {_on_one_line(duplicate.path)}"
    width = max((len(share.label) for share in found.shares), default=0)
    for share in found.shares:
        bar = ("█" if share.share >= 0 else "░") * round(abs(share.share) / answer.longest_share * _BAR)
        yield f"{'':14}{_on_one_line(share.label):<{width}}  {share.share:>+7.4f}  {bar}".rstrip()


def _can_draw() -> bool:
    """Whether stdout is a terminal with room for pictures; some that programs make have no size."""
    return sys.stdout.isatty() and min(os.get_terminal_size(sys.stdout.fileno())) > 0


def _draw_pictures(answer: Answer) -> None:
    """The table, with each picture under its row."""
    from itl_infer.preview import draw_picture

    drawn = [(found, draw_picture(found.path)) for found in answer.results]
    from rich.console import Console  # only now, as the line above says what to do where it is missing

    console = Console()
    _write(_as_lines(_table_head(answer)))
    for found, picture in drawn:
        _write(_as_lines(_table_rows(found, answer)))
        console.print(picture)


def _as_lines(lines: Iterable[str]) -> bytes:
    return os.fsencode("".join(f"{line}\n" for line in lines))


_COLUMNS = ["rank", "score", "path"]
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_TSV_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def _json(value: Any, indent: int | None = None) -> bytes:
    """One line of UTF-8, or several with an indent; bytes that are not UTF-8 become \\udc80 to \\udcff."""
    return (json.dumps(value, ensure_ascii=False, indent=indent) + "\n").encode(errors="backslashreplace")


def _blocks_of_queries(stream: io.BufferedReader) -> Iterator[list[str]]:
    """Lines without their ends, as soon as they are there, so that whoever waits for an answer gets it."""
    rest = b""
    while chunk := stream.read1(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        for start in range(0, len(lines), _BLOCK):
            yield [_decode(line) for line in lines[start : start + _BLOCK]]
        if len(rest) > _LONGEST_LINE:
            raise QueryError(f"a line is longer than {_LONGEST_LINE} bytes: is this a file of queries?")
    if rest:
        yield [_decode(rest)]


def _decode(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8-sig", errors="surrogateescape")


def _is_utf8(text: str) -> bool:
    """Whether there was UTF-8 behind a decoded text."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


class _ProgressLine:
    """How far a run is, on one line of stderr that is drawn over, and only on a terminal."""

    def __init__(self) -> None:
        self.shown = sys.stderr.isatty()
        self._width = 0
        self._redraw_at = 0.0

    def __enter__(self) -> _ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        self._draw("")

    def show(self, progress: Progress) -> None:
        if time.monotonic() < self._redraw_at:
            return
        self._redraw_at = time.monotonic() + _REDRAW_SECONDS
        left = "" if progress.eta_seconds is None else f"  {_clock(progress.eta_seconds)} left"
        self._draw(f"{progress.done}/{progress.total} pictures  {progress.rate:.1f}/s{left}")

    def _draw(self, text: str) -> None:
        if self._width or text:
            click.echo(f"\r{text:{self._width}}", err=True, nl=False)
            if not text:
                click.echo("\r", err=True, nl=False)
        self._width = len(text)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _describe_report(report: Report) -> str:
    """The counts that always matter, and those of the others that are not 0."""
    counts = {name: value for name, value in report.to_json().items() if type(value) is int}
    shown = [
        f"{name.replace('_', ' ')} {count}"
        for name, count in {**counts, "failed": len(report.failed)}.items()
        if count or name in ("embedded", "unchanged", "removed", "failed")
    ]
    return f"{', '.join(shown)} ({report.seconds:.1f} s, {report.images_per_second:.1f} pictures/s)"


def _outline(facts: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Facts as indented lines; long lists only counted."""
    for name, value in facts.items():
        if isinstance(value, (dict, list)) and len(value) > _LONG:
            yield f"{indent}{name}: {len(value)} entries"
        elif isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _outline(value, indent + "  ")
        else:
            yield f"{indent}{name}: {_on_one_line(str(value))}"


def _on_one_line(text: str) -> str:
    """Text without control characters, which would break lines or upset a terminal."""
    return _CONTROL_CHARACTER.sub(lambda found: str(found[0].encode("unicode_escape"), "ascii"), text)


def _note(message: str) -> None:
    click.echo(_on_one_line(message), err=True)


def _write(content: bytes) -> None:
    """To stdout, at once: names of files need not be text, and a reader may be waiting."""
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
