"""`itl-infer batch`: a line of answers for a line of queries, at once and in bounded memory."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from itl_infer.cli.lines import BLOCK, LONGEST_LINE, blocks_of_queries
from tests.places import ROOT
from tests.runtime.cli.helpers import command, error_of, names, run


def test_batch_gives_what_query_gives(index: Path, tmp_path: Path) -> None:
    texts = ["red", "a blue wave", "bright green", "surfer in a wave", "zyzzyva red", "wave blue"] * 100
    (tmp_path / "queries.txt").write_text("\n".join(texts) + "\n")
    result = run("batch", tmp_path / "queries.txt", "-d", index, "-k", "3")
    assert result.exit_code == 0
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["query"] for answer in answers] == texts
    for text, answer in zip(texts[:6], answers[-6:], strict=True):
        assert answer == json.loads(run("query", text, "-d", index, "-k", "3", "--format", "json").stdout)


def test_batch_goes_on_past_bad_lines(index: Path) -> None:
    queries = b"\xef\xbb\xbfred\r\n\nin the\nquokka\n\xff\xfered\nblue"
    result = run("batch", "-", "-d", index, "-k", "1", input=queries)
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["query"] for answer in answers] == [
        "red",
        "",
        "in the",
        "quokka",
        "\udcff\udcfered",
        "blue",
    ]
    assert [answer.get("error", "")[:25] for answer in answers] == [
        "",
        "the query is empty: write",
        "the query has only words ",
        "bundle 'tiny' knows no wo",
        "the line is not UTF-8",
        "",
    ]
    assert names(answers[5]["results"]) == ["blue"]
    assert result.exit_code == 1
    assert result.stderr == "Error: stdin: 1 of 6 lines are not UTF-8: save the file as UTF-8\n"


def test_batch_without_queries(index: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_bytes(b"")
    assert "empty.txt: no queries in it" in error_of(run("batch", tmp_path / "empty.txt", "-d", index))
    assert "stdin: no queries in it" in error_of(run("batch", "-", "-d", index, input=b""))
    assert "none.txt: No such file" in error_of(run("batch", tmp_path / "none.txt", "-d", index))
    assert str(tmp_path) in error_of(run("batch", tmp_path, "-d", index))


def test_batch_reads_no_more_than_it_needs() -> None:
    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            buffer[:] = (b"red wave\n" * len(buffer))[: len(buffer)]
            return len(buffer)

    blocks = list(islice(blocks_of_queries(io.BufferedReader(Endless())), 3))
    assert [len(block) for block in blocks] == [BLOCK] * 3
    assert set(blocks[0]) == {"red wave"}


def test_batch_refuses_what_has_no_lines(index: Path, tmp_path: Path) -> None:
    (tmp_path / "film.bin").write_bytes(b"red\n" + b"\0" * (LONGEST_LINE + 2**17))
    result = run("batch", tmp_path / "film.bin", "-d", index)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["query"] == "red"
    assert "is this a file of queries?" in result.stderr


def test_batch_answers_at_once(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # else Python would do what is asked of us
    with subprocess.Popen(
        command("batch", "-", "-d", index, "-k", "1"), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as answering:
        assert answering.stdin
        assert answering.stdout
        for colour in ("red", "blue"):
            answering.stdin.write(f"{colour}\n".encode())
            answering.stdin.flush()
            assert names(json.loads(answering.stdout.readline())["results"]) == [colour]
        answering.stdin.close()
        assert answering.wait(timeout=60) == 0


_BATCH_AND_ITS_MEMORY = """
import sys
from pathlib import Path
from itl_infer.cli import main
main(sys.argv[1:], prog_name="itl-infer", standalone_mode=False)
[peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(peak.split()[1], file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are read from /proc")
def test_batch_takes_the_same_memory_for_any_number_of_lines(index: Path, tmp_path: Path) -> None:
    """Words are few here: a cache of their stems grows up to a bound of its own."""
    peaks, queries = [], tmp_path / "queries.txt"
    for lines in (500, 8_000):
        queries.write_text("".join(f"bright red wave {number % 100}\n" for number in range(lines)))
        batch = [sys.executable, "-c", _BATCH_AND_ITS_MEMORY, "batch", queries, "-d", index]
        result = subprocess.run(batch, cwd=ROOT, capture_output=True, check=True)
        assert result.stdout.count(b"\n") == lines
        peaks.append(int(result.stderr.split()[-1]))
    assert peaks[1] - peaks[0] < 3_000  # kB; 8,000 answers kept would be more than 10,000
