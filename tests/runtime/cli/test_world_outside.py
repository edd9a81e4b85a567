"""Names that are not text, output that cannot be written, pipes that close, and Ctrl+C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.places import ROOT
from tests.runtime.cli.helpers import command, error_of, process, run


@pytest.mark.skipif(sys.platform != "linux", reason="file names are any bytes on Linux")
def test_names_that_are_not_text(pictures: Path, tmp_path: Path) -> None:
    index = tmp_path / "photos.itl"
    files = [
        pictures / os.fsdecode(name) for name in (b"caf\xe9 noir.png", b"two\nlines.png", b"tab\there.png")
    ]
    for file, red in zip(files, (255, 250, 245), strict=True):
        Image.new("RGB", (8, 8), (red, 0, 0)).save(file)
    (pictures / "red.png").unlink()
    assert process("embed-images", pictures, "-d", index).returncode == 0
    ask = ["query", "red", "-d", index, "-k", "3"]
    null = process(*ask, "-0")
    assert null.returncode == 0
    assert set(null.stdout.split(b"\0")[:-1]) == set(map(os.fsencode, files))
    answer = process(*ask, "--format", "json")
    answer.stdout.decode()  # valid UTF-8, whatever the names
    assert {row["path"] for row in json.loads(answer.stdout)["results"]} == set(map(str, files))
    assert json.loads(run("batch", "-", *ask[2:], input=b"red\n").stdout_bytes) == json.loads(answer.stdout)
    table = process(*ask).stdout
    assert len(table.splitlines()) == 4
    assert b"caf\xe9 noir.png" in table
    for form in ("csv", "tsv", "paths"):
        assert b"caf\xe9 noir.png" in run(*ask, "--format", form).stdout_bytes
    files[0].write_bytes(b"garbage")
    report = process("embed-images", pictures, "-d", index, "--format", "json")
    assert [failure["path"] for failure in json.loads(report.stdout)["failed"]] == [str(files[0])]
    odd = process("query", os.fsdecode(b"r\xe9d"), "-d", index)
    assert odd.returncode == 1
    assert odd.stderr.startswith(b"Error: ")
    assert odd.stderr.count(b"\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="pipes close otherwise there")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a file for this")
@pytest.mark.parametrize("args", [["query", "red"], ["--help"], ["--version"]])
def test_output_that_cannot_be_written_is_said(index: Path, args: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        environment = os.environ | {"ITL_INDEX": str(index)}
        run = subprocess.run(command(*args), cwd=ROOT, stdout=full, stderr=subprocess.PIPE, env=environment)
    assert run.returncode == 1
    assert b"Error: output: No space left on device\n" in run.stderr
    assert b"Traceback" not in run.stderr


def test_a_closed_pipe_is_no_error(index: Path, tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("red wave\n" * 3000)
    for args in (["query", "red", "-d", index], ["batch", tmp_path / "queries.txt", "-d", index]):
        with subprocess.Popen(
            command(*args), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as writing:
            assert writing.stdout
            assert writing.stderr
            writing.stdout.close()
            assert writing.stderr.read() == b""
            assert writing.wait(timeout=60) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ there")
def test_interrupted_while_waiting(index: Path) -> None:
    with subprocess.Popen(
        command("batch", "-", "-d", index),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as waiting:
        assert waiting.stdin
        assert waiting.stdout
        assert waiting.stderr
        waiting.stdin.write(b"red\n")
        waiting.stdin.flush()
        waiting.stdout.readline()
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(timeout=60) == 130
        assert waiting.stderr.read() == b"\nInterrupted; what was done is kept.\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ there")
def test_interrupted_while_embedding(tmp_path: Path) -> None:
    folder, index = tmp_path / "pictures", tmp_path / "photos.itl"
    folder.mkdir()
    for number in range(60):
        Image.new("L", (2000, 2000), number).save(folder / f"{number}.png", compress_level=1)
    with subprocess.Popen(
        command("embed-images", folder, "-d", index, "-j", "1"), cwd=ROOT, stderr=subprocess.PIPE
    ) as embedding:
        assert embedding.stderr
        while not index.exists():
            time.sleep(0.01)
        time.sleep(0.1)
        embedding.send_signal(signal.SIGINT)
        assert embedding.wait(timeout=60) == 130
        assert embedding.stderr.read() == b"\nInterrupted; what was done is kept.\n"
    report = json.loads(run("embed-images", folder, "-d", index, "--format", "json").stdout)
    assert report["embedded"] + report["unchanged"] == 60


_SLOW_READERS = """
import time
from itl_infer.ingest.reading import Reader
from itl_infer.cli import run
read = Reader.read
def slowly(self, item):
    time.sleep(30 if "red" in item.location else 0)
    return read(self, item)
Reader.read = slowly
run()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ there")
def test_interrupted_it_waits_for_no_reader(pictures: Path, tmp_path: Path) -> None:
    """A large picture takes its time; what is embedded is kept at once."""
    index = tmp_path / "photos.itl"
    args = ["embed-images", str(pictures), "-d", str(index), "--batch-size", "1"]
    with subprocess.Popen(
        [sys.executable, "-c", _SLOW_READERS, *args], cwd=ROOT, stderr=subprocess.PIPE
    ) as embedding:
        assert embedding.stderr
        while not index.exists():
            time.sleep(0.01)
        time.sleep(1.0)
        began = time.monotonic()
        embedding.send_signal(signal.SIGINT)
        assert embedding.wait(timeout=60) == 130
        assert time.monotonic() - began < 2
        assert embedding.stderr.read() == b"\nInterrupted; what was done is kept.\n"
    assert "pictures     3\n" in run("status", "-d", index).stdout  # those that stand before it


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    assert "\\x1b[31mred" in error_of(run("query", "red", "-m", tmp_path / "\x1b[31mred"))
