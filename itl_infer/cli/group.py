"""The group of all commands: which there are, and what becomes of everything that goes wrong in them."""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from itl_infer import __version__
from itl_infer.cli.output import failure, on_one_line
from itl_infer.errors import ItlError, QueryError

# Each is imported when it is run, or when its help is printed.
_MODULES = {
    "batch": "batch",
    "bundle": "bundle",
    "check": "check",
    "completion": "completion",
    "embed-images": "embed_images",
    "evaluate": "evaluate",
    "export-index": "index",
    "prune": "index",
    "push": "push",
    "query": "query",
    "serve": "serve",
    "similar": "query",
    "status": "index",
}
_INTERRUPTED = 130
_BARE = f"{__name__}.bare"  # where a context keeps the first word of a query without a command


class _Commands(click.Group):
    """Whatever goes wrong inside a command becomes one line on stderr and the exit code of its kind.

    What begins with anything but the name of a command, or an option of itl-infer itself, is a query.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _MODULES:
            return None
        module = import_module(f"itl_infer.cli.{_MODULES[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = [name for option in self.get_params(ctx) for name in option.opts]
        if args and args[0] not in _MODULES and args[0] not in own:
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
            raise failure(f"{error}{_not_a_command_either(ctx)}") from error
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "itl-infer"
            message = f"{error.format_message()} See {command} --help{_not_a_command_either(ctx)}."
            raise click.UsageError(on_one_line(message)) from error  # without a context: no usage above it
        except ItlError as error:
            raise failure(str(error)) from error
        except OSError as error:
            raise failure(f"{error.filename or 'output'}: {error.strerror or error}") from error


def _not_a_command_either(ctx: click.Context) -> str:
    """For a bare query that went wrong and may have been meant as a command."""
    word = ctx.meta.get(_BARE, "")
    return (
        f"; {word!r} is not a command either: see itl-infer --help" if re.fullmatch("[a-z-]+", word) else ""
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


def run() -> NoReturn:
    """What a process is started for: `main`, and the end.

    Taking the interpreter down, with numpy and onnxruntime in it, would be a tenth of the time of a query; by now all
    that matters is flushed and closed.
    """
    code: Any = 0
    try:
        main(prog_name="itl-infer")
    except SystemExit as end:
        code = end.code
    except OSError as error:  # a help text that could not be printed
        click.echo(f"Error: output: {error.strerror or error}", err=True)
        code = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = code or 1
    os._exit(code if isinstance(code, int) else int(code is not None))
