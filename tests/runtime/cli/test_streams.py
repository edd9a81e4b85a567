"""Streams that are closed or cannot be written to, as under a service, a window or cron; and what goes to which."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.runtime.cli.helpers import command, error_of, run

_LINUX = pytest.mark.skipif(sys.platform == "win32", reason="a shell closes streams here")


def _with_closed(streams: str, *args: str | Path) -> subprocess.CompletedProcess[bytes]:
    """A command begun by a shell with these streams closed, such as "0<&- 2>&-"; the others are pipes."""
    script = f'exec "$@" {streams}'
    return subprocess.run(
        ["sh", "-c", script, "sh", *command(*args)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


@_LINUX
@pytest.mark.parametrize("streams", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-", "2>/dev/full"])
def test_closed_streams_cost_no_work(pictures: Path, tmp_path: Path, streams: str) -> None:
    index = tmp_path / "closed.itl"
    (pictures / "letter.jpg").write_text("Dear all")
    embedding = _with_closed(streams, "embed-images", pictures, "-d", index)
    assert embedding.returncode == 0
    assert b"Traceback" not in embedding.stderr
    status = json.loads(run("status", "-d", index, "--format", "json").stdout)
    assert (status["pictures"], len(status["failures"])) == (5, 1)
    assert run("check", "-d", index).exit_code == 0  # nothing was printed into its files
    asking = _with_closed(streams, "batch", "-", "-d", index)
    assert asking.returncode == 1
    said = b"" if "2>" in streams else b"Error: stdin: no queries in it: write one on each line\n"
    assert asking.stderr == said


@_LINUX
@pytest.mark.parametrize("args", [["--version"], ["--help"], ["completion", "bash"], ["query", "red"]])
def test_nothing_is_said_where_stdout_is_closed(index: Path, args: list[str]) -> None:
    asking = _with_closed("1>&-", *args, *(["-d", index] if args[0] == "query" else []))
    assert (asking.returncode, asking.stderr) == (0, b"")


def test_nothing_found_is_said_on_stderr(index: Path) -> None:
    result = run("query", "red", "-d", index, "--min-score", "2", "--format", "json")
    assert json.loads(result.stdout)["results"] == []
    assert result.stderr == "Nothing found: no picture has a score of 2 or more (--min-score).\n"


def test_commands_without_what_they_need(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITL_INDEX", str(index))
    result = run("embed-images")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("embedded 0, unchanged 5, ")
    assert "Missing argument 'FILE'. See " in error_of(run("batch"), 2)
    assert error_of(run("completion"), 2).startswith(
        "Error: Missing argument '{bash|zsh|fish}': choose bash, zsh or fish. See "
    )


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish")
def test_fish_shows_descriptions_to_their_end(tmp_path: Path) -> None:
    """click's own script ends them at the first comma."""
    script = tmp_path / "itl-infer.fish"
    script.write_bytes(run("completion", "fish").stdout_bytes)
    shown = subprocess.run(
        ["fish", "-c", f"source {script}; complete -C 'itl-infer batch --r'"],
        env=os.environ
        | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)},
        capture_output=True,
        check=True,
        text=True,
    )
    [line] = [line for line in shown.stdout.splitlines() if line.startswith("--ray\t")]
    assert line.endswith("[default: this machine alone]")
