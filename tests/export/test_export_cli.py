"""The command line of the training side."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from click.testing import CliRunner

from export.cli import main


@pytest.mark.parametrize("command", [[], ["postcards"], ["pretrain"], ["build"], ["refresh"], ["recipes"]])
def test_every_command_has_help(command: list[str]) -> None:
    result = CliRunner().invoke(main, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_errors_of_the_command_line_are_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["postcards", str(tmp_path), "--font", str(tmp_path / "no.ttf")])
    assert result.exit_code == 1
    assert result.stderr.strip().splitlines()[-1].startswith("error: no emoji font at ")
    assert "Traceback" not in result.output
