"""Every command and every option says what it does, in the README as well; and shells complete them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from itl_infer.cli import main
from itl_infer.image import DEFAULT_MAX_MEGAPIXELS
from itl_infer.milvus import DEFAULT_SAMPLE
from itl_infer.search import NEAR_DUPLICATE
from tests.places import ROOT
from tests.runtime.cli.helpers import run

COMMANDS = [
    *("query", "embed-images", "batch", "bundle show", "bundle verify"),
    *("evaluate", "status", "check", "prune", "export-index", "similar", "completion", "serve"),
    *("push", "publish", "teach", "names", "forget", "watch", "duplicates"),
]


# Help


@pytest.mark.parametrize("name", ["", *COMMANDS, "bundle"])
def test_every_command_has_help_with_an_example(name: str) -> None:
    result = run(*name.split(), "--help")
    assert result.exit_code == 0
    assert f"itl-infer {name}".rstrip() + " " in result.stdout.replace("Usage: ", "", 1).partition("\n")[2]
    assert run(*name.split(), "-h").stdout == result.stdout


def test_every_option_has_help() -> None:
    def commands(group: click.Group) -> Iterator[click.Command]:
        context = click.Context(group)
        for name in group.list_commands(context):
            child = group.get_command(context, name)
            assert child is not None
            yield child
            if isinstance(child, click.Group):
                yield from commands(child)

    found = list(commands(main))
    assert len(found) == len(COMMANDS) + 1
    for child in found:
        assert child.help
        for option in child.params:
            assert isinstance(option, click.Argument) or option.help, f"{child.name} {option.name}"


def test_defaults_typed_into_help_are_those_of_python() -> None:
    """Commands that name a default without importing the module that knows it."""
    for command, option, default in (
        ("query", "dedupe-from", NEAR_DUPLICATE),
        ("check", "sample", DEFAULT_SAMPLE),
        ("embed-images", "max-megapixels", DEFAULT_MAX_MEGAPIXELS),
    ):
        text = " ".join(run(command, "--help").stdout.split())
        [shown] = re.findall(rf"--{option} .*?\[default: ([0-9.]+)", text)
        assert float(shown) == default


def test_without_a_command_there_is_help() -> None:
    assert "Usage:" in run().stderr
    assert run().exit_code == 2


# Without a command; completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell}")
    script = run("completion", shell)
    assert script.exit_code == 0
    checked = subprocess.run([shell, "-n"], input=script.stdout_bytes, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("itl-infer qu", "query"),
        ("itl-infer embed", "embed-images"),
        ("itl-infer bundle v", "verify"),
        ("itl-infer query --for", "--format"),
        ("itl-infer query red --format js", "json"),
        ("itl-infer red --she", "--sheet"),
        ("itl-infer completion f", "fish"),
        ("itl-infer batch --und", "--understand-not"),
    ],
)
def test_completions(words: str, expected: str) -> None:
    environment = {
        **os.environ,
        "_ITL_INFER_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    code = "from itl_infer.cli import main; main(prog_name='itl-infer')"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    assert f"plain,{expected}" in result.stdout.decode().splitlines()
