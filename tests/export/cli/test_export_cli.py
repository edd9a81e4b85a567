"""The training side's commands as a whole: help without torch, and what becomes of everything that goes wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from export.cli import main
from tests.places import ROOT

COMMANDS = [
    "build",
    "carry",
    "distil",
    "from-keras",
    "postcards",
    "pretrain",
    "recipes",
    "refresh",
    "starter",
]


def test_the_commands_are_these() -> None:
    assert main.list_commands(None) == COMMANDS


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_no_torch(command: str) -> None:
    code = f"""
import sys
from export.cli import main
from tests.places import ROOT
main({[*command.split(), "--help"]}, "python -m export", standalone_mode=False)
print({{"torch", "onnx", "numpy", "PIL"}} & set(sys.modules))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith(f"Usage: {' '.join(['python -m export', *command.split()])} [OPTIONS]")
    assert result.stdout.splitlines()[-1] == "set()"


def test_an_interrupt_says_how_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = pytest.importorskip("export.data.postcards.draw")

    def interrupted(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(draw, "draw_postcards", interrupted)
    result = CliRunner().invoke(main, ["postcards", str(tmp_path)])
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "interrupted; the same command goes on from here"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command 'nonsense'."),
        (["pretrain", "photographs", "--sides", "x"], "--sides 'x': give whole numbers with commas between,"),
        (["pretrain", "photographs", "--epochs", "3", "--steady", "3"], "--steady 3: fewer than the 3 of"),
        (["build", "--captions", "c", "--out", "o", "--detector", "d"], "--names-from go with --recipe"),
        (["build", "--captions", "c"], "Missing option '--out'."),
    ],
)
def test_wrong_use_is_one_line(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, arguments, prog_name="python -m export")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line
    assert " See python -m export" in line
    assert line.endswith(" --help.")


def test_errors_of_the_command_line_are_one_line(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")
    result = CliRunner().invoke(main, ["postcards", str(tmp_path), "--font", str(tmp_path / "no.ttf")])
    assert result.exit_code == 1
    assert result.stderr.strip().splitlines()[-1].startswith("Error: no emoji font at ")
    assert "Traceback" not in result.output
