"""The group of all commands: which there are, and what becomes of everything that goes wrong in them."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NoReturn

import click

from itl_infer import __version__
from itl_infer.cli.interrupts import end_soon_when_interrupted
from itl_infer.cli.output import failure, on_one_line
from itl_infer.cli.streams import open_closed_streams, say
from itl_infer.errors import ItlError, QueryError, reason_of

_MODULES = {
    "batch": "batch",
    "bundle": "bundle",
    "check": "check",
    "completion": "completion",
    "duplicates": "duplicates",
    "embed-images": "embed_images",
    "evaluate": "evaluate",
    "export-index": "index",
    "forget": "teach",
    "names": "teach",
    "prune": "index",
    "publish": "publish",
    "push": "push",
    "query": "query",
    "serve": "serve",
    "similar": "query",
    "status": "index",
    "teach": "teach",
    "watch": "watch",
}
_INTERRUPTED = 130
_OBJECTS_BETWEEN = 50_000  # made, until those that nobody holds are looked for
_BARE = f"{__name__}.bare"  # where a context keeps the first word of a query without a command


class Commands(click.Group):
    """Whatever goes wrong inside a command becomes one line on stderr and the exit code of its kind.

    `modules` says of each command in which module of `package` it is; that is imported when the command is run, or when
    its help is printed. `program` is what people type, and `interrupted` what they read when they stopped it.
    """

    def __init__(
        self,
        *args: Any,
        package: str,
        modules: Mapping[str, str],
        program: str,
        interrupted: str,
        **others: Any,
    ) -> None:
        super().__init__(*args, **others)
        self.package, self.modules = package, modules
        self.program, self.interrupted = program, interrupted

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self.modules:
            return None
        module = import_module(f"{self.package}.{self.modules[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def advice(self, ctx: click.Context) -> str:  # noqa: ARG002
        """What more to say where a command was used wrongly, or asked for what is not there."""
        return ""

    def main(self, *args: Any, **extra: Any) -> Any:
        open_closed_streams()
        return super().main(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            super().invoke(ctx)
            sys.stdout.flush()  # here, where a closed pipe is no surprise
        except BrokenPipeError:
            # The reader has seen enough. Python would complain when it flushes at exit: give it another end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt:
            say(self.interrupted)
            ctx.exit(_INTERRUPTED)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except QueryError as error:
            raise failure(f"{error}{self.advice(ctx)}") from error
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else self.program
            message = f"{_message_of(error)} See {command} --help{self.advice(ctx)}."
            raise click.UsageError(on_one_line(message)) from error  # without a context: no usage above it
        except ItlError as error:
            raise failure(str(error)) from error
        except MemoryError as error:
            raise failure(
                "not enough memory: close other programs, or allow more; what was done is kept"
            ) from error
        except OSError as error:
            raise failure(f"{error.filename or 'output'}: {reason_of(error)}") from error


def _message_of(error: click.UsageError) -> str:
    """What click says, on one line: it lists the choices of what is missing on lines of their own."""
    if (
        isinstance(error, click.MissingParameter)
        and error.param
        and isinstance(error.param.type, click.Choice)
    ):
        kind = "argument" if error.param.param_type_name == "argument" else "option"
        *others, last = map(str, error.param.type.choices)
        return (
            f"Missing {kind} {error.param.get_error_hint(error.ctx)}: choose {', '.join(others)} or {last}."
        )
    return error.format_message()


class _CommandsAndQueries(Commands):
    """What begins with anything but the name of a command, or an option of itl-infer itself, is a query."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = [name for option in self.get_params(ctx) for name in option.opts]
        if args and args[0] not in self.modules and args[0] not in own:
            ctx.meta[_BARE] = args[0]
            args = ["query", *args]
        return super().parse_args(ctx, args)

    def advice(self, ctx: click.Context) -> str:
        """For a bare query that went wrong and may have been meant as a command."""
        word = ctx.meta.get(_BARE, "")
        if not re.fullmatch("[a-z-]+", word):
            return ""
        return f"; {word!r} is not a command either: see itl-infer --help"


@click.group(
    cls=_CommandsAndQueries,
    package="itl_infer.cli",
    modules=_MODULES,
    program="itl-infer",
    interrupted="\nInterrupted; what was done is kept.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
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


def run() -> NoReturn:
    """What a process is started for: `main`, and the end.

    Taking the interpreter down, with numpy and onnxruntime in it, would be a tenth of the time of a query; by now all
    that matters is flushed and closed.
    """
    code: Any = 0
    # What is made while modules are imported stays: to look through it again and again would be 2 % of a query.
    gc.set_threshold(_OBJECTS_BETWEEN)
    end_soon_when_interrupted("\nInterrupted; what was done is kept.", _INTERRUPTED)
    try:
        main(prog_name="itl-infer")
    except SystemExit as end:
        code = end.code
    except OSError as error:  # a help text that could not be printed
        say(f"Error: output: {reason_of(error)}")
        code = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = code or 1
    os._exit(code if isinstance(code, int) else int(code is not None))
