"""Commands in this process and in one of their own, and what they said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from itl_infer.cli import main
from tests.places import ROOT


def run(*args: str | Path, **options: Any) -> Result:
    """A command in this process."""
    return CliRunner().invoke(main, [str(arg) for arg in args], **options)


def command(*args: str | Path) -> list[str]:
    """A command to be run as a process."""
    return [sys.executable, "-m", "itl_infer", *map(str, args)]


def process(*args: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command(*args), cwd=ROOT, capture_output=True, timeout=60, check=False, **options)


def error_of(result: Result, exit_code: int = 1) -> str:
    """The one line on stderr of a command that failed as it should."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == exit_code
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [Path(row["path"]).stem for row in rows]
