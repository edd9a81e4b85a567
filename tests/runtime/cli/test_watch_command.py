"""`itl-infer watch`: a line a change, an end at any time, and a unit of systemd."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.runtime.cli.helpers import command, error_of, run


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ there")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_line_for_each_change(pictures: Path, tmp_path: Path, end: signal.Signals) -> None:
    index = tmp_path / "photos.itl"
    with subprocess.Popen(
        command("watch", pictures, "-d", index, "--poll", "0.2", "--exclude", "gr*"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watched:
        assert watched.stdout
        assert watched.stderr
        first = {watched.stdout.readline() for _ in range(4)}
        assert first == {f"embedded {pictures / name}.png\n" for name in ("red", "blue", "white", "purple")}
        shutil.copy(pictures / "red.png", pictures / "also.png")
        assert watched.stdout.readline() == f"reused {pictures / 'also.png'}\n"
        watched.send_signal(end)
        began = time.monotonic()
        code = watched.wait(timeout=60)
        assert time.monotonic() - began < 2
        said = watched.stderr.read()
    assert code == (130 if end == signal.SIGINT else -signal.SIGKILL)
    assert said.startswith("Looking every 0.2 seconds, as you say\n")
    assert "Traceback" not in said
    assert run("check", "-d", index).exit_code == 0
    assert "pictures     5\n" in run("status", "-d", index).stdout


def test_a_unit_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("watch", "my $photos 100%", "-d", "photos.itl", "--exclude", '"*"', "-j", "2", "--unit")
    assert "systemctl --user enable --now itl-infer.service" in result.stderr
    [line] = [line for line in result.stdout.splitlines() if line.startswith("ExecStart=")]
    assert f"watch -d {tmp_path / 'photos.itl'} -m " in line
    assert '--workers 2 --exclude "\\"*\\"" -- ' in line
    assert line.endswith(f'-- "{tmp_path}/my $$photos 100%%"')
    assert "WantedBy=default.target" in result.stdout
    assert not (tmp_path / "photos.itl").exists()
    if shutil.which("systemd-analyze"):
        unit = tmp_path / "itl-infer.service"
        unit.write_text(result.stdout)
        checked = subprocess.run(
            ["systemd-analyze", "verify", "--user", str(unit)], capture_output=True, text=True, check=False
        )
        assert "itl-infer.service" not in checked.stderr


def test_watch_needs_an_index(tmp_path: Path) -> None:
    assert "-d photos.itl, or set ITL_INDEX" in error_of(run("watch", tmp_path), 2)
