"""`itl-infer query`, and its text alone: every format, what is searched, and what cannot be answered."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.runtime.cli.helpers import error_of, run

# query


def test_query_formats(index: Path, pictures: Path) -> None:
    def ask(*options: str) -> str:
        return run("query", "the red quokka", "-d", index, "-k", "2", *options).stdout

    red, purple = str(pictures / "red.png"), str(pictures / "purple.png")
    rows = [{"rank": 1, "score": 1.0, "path": red}, {"rank": 2, "score": 0.707142, "path": purple}]
    facts = [
        {
            "taken": datetime.fromtimestamp(int(Path(path).stat().st_mtime)).isoformat(),
            "camera": None,
            "width": 20,
            "height": 10,
        }
        for path in (red, purple)
    ]
    with_facts = [row | fact for row, fact in zip(rows, facts, strict=True)]
    assert ask() == f"rank   score  path\n   1  1.0000  {red}\n   2  0.7071  {purple}\n"
    assert ask("--format", "table") == ask()
    assert json.loads(ask("--format", "json")) == {
        "query": "the red quokka",
        "ignored_words": ["the"],
        "unknown_words": ["quokka"],
        "results": with_facts,
    }
    assert [json.loads(line) for line in ask("--format", "jsonl").splitlines()] == with_facts
    table = [{**row, "rank": str(row["rank"]), "score": str(row["score"])} for row in rows]
    assert list(csv.DictReader(io.StringIO(ask("--format", "csv")))) == table
    assert list(csv.DictReader(io.StringIO(ask("--format", "tsv")), delimiter="\t")) == table
    assert ask("--format", "paths") == f"{red}\n{purple}\n"
    assert ask("-0") == ask("-0", "--format", "paths") == f"{red}\0{purple}\0"


def test_notes_go_to_stderr(index: Path) -> None:
    result = run("query", "red quokka", "-d", index, "--format", "json")
    assert result.stderr == "The bundle does not know: quokka.\n"
    assert run("query", "red", "-d", index).stderr == ""


def test_null_needs_paths(index: Path) -> None:
    assert "--null prints paths, not csv" in error_of(
        run("query", "red", "-d", index, "-0", "--format", "csv"), 2
    )


def test_index_from_the_environment(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITL_INDEX", str(index))
    assert run("query", "red").stderr == ""
    assert "1.0000" in run("query", "red").stdout


def test_without_an_index_the_gallery_is_searched(gallery_bundle: Path) -> None:
    result = run("query", "red", "-m", gallery_bundle, "--format", "paths")
    assert result.stdout.splitlines()[0] == str(gallery_bundle / "gallery" / "red.png")
    assert result.stderr.startswith("Searching the 3 pictures that come with the bundle tiny.")
    answer = run("batch", "-", "-m", gallery_bundle, input="red\n")
    assert json.loads(answer.stdout)["results"][0]["path"] == str(gallery_bundle / "gallery" / "red.png")
    assert answer.stderr == result.stderr


def test_the_gallery_moves_with_its_bundle(gallery_bundle: Path, tmp_path: Path) -> None:
    moved = gallery_bundle.rename(tmp_path / "elsewhere")
    result = run("query", "red", "-m", moved, "--format", "paths")
    assert result.stdout.splitlines()[0] == str(moved / "gallery" / "red.png")


def test_without_index_and_gallery() -> None:
    error = error_of(run("query", "red"))
    assert "no index named, and the bundle tiny has no pictures" in error
    assert "itl-infer embed-images PICTURES -d photos.itl" in error


def test_more_than_there_is(index: Path) -> None:
    result = run("query", "red", "-d", index, "-k", "1000000", "--format", "json")
    assert len(json.loads(result.stdout)["results"]) == 5


@pytest.mark.parametrize("top", ["0", "-1", "many", "1.5"])
@pytest.mark.parametrize("name", ["query", "batch"])
def test_bad_k_is_wrong_usage(index: Path, name: str, top: str) -> None:
    error = error_of(run(name, "red", "-d", index, "-k", top), 2)
    assert "'-k' / '--top'" in error
    assert f"itl-infer {name} --help" in error or f"main {name} --help" in error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the query is empty"),
        (" \n ", "the query is empty"),
        ("!", "the query is empty"),
        ("in the", "too common to search for: in, the"),
        ("quokka zyzzyva", "bundle 'tiny' knows no word of the query: quokka, zyzzyva"),
    ],
)
def test_queries_that_cannot_be_answered(index: Path, text: str, message: str) -> None:
    assert message in error_of(run("query", text, "-d", index))


def test_wrong_usage_is_one_line() -> None:
    assert "No such command 'find'" in error_of(run("bundle", "find"), 2)
    assert "Missing argument 'TEXT'" in error_of(run("query"), 2)
    assert "unexpected extra argument" in error_of(run("query", "red", "wave"), 2)
    assert "'xml' is not one of" in error_of(run("query", "red", "--format", "xml"), 2)


# Without a command; completion


def test_a_bare_text_is_a_query(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITL_INDEX", str(index))
    for args in (["red wave"], ["red wave", "-k", "2"], ["-k", "2", "red wave"], ["--format", "json", "red"]):
        bare = run(*args)
        assert bare.exit_code == 0
        assert bare.stdout == run("query", *args).stdout
    assert run("--version").stdout.startswith("itl-infer, version")
    assert "1.0000" in run("query", "red").stdout  # the word query is no query
    assert "Missing argument" in error_of(run("query"), 2)


def test_what_may_have_been_meant_as_a_command(index: Path) -> None:
    assert error_of(run("stauts", "-d", index)).endswith(
        "no word of the query: stauts; 'stauts' is not a command either: see itl-infer --help"
    )
    assert "'find' is not a command either" in error_of(run("find", "red", "-d", index), 2)
    assert "a command" not in error_of(run("a quokka", "-d", index))
    assert "a command" not in error_of(run("query", "quokka", "-d", index))


def test_a_lone_query_imports_no_more_than_it_needs(index: Path) -> None:
    """What only other questions need would be some percent of its time."""
    check = (
        "import sys\nfrom itl_infer.cli import main\n"
        f"main(['query', 'red', '-d', {str(index)!r}], standalone_mode=False)\n"
        "print(*sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT
    )
    imported = set(found.stdout.splitlines()[-1].split())
    not_needed = {
        *("concurrent.futures", "csv", "PIL", "numpy.ma"),
        *("itl_infer.index.codes", "itl_infer.index.selection", "itl_infer.index.writer", "itl_infer.where"),
        *("itl_infer.ranking.codes", "itl_infer.ranking.coded", "itl_infer.system_files"),
        *("itl_infer.teaching.discriminant", "itl_infer.teaching.naming"),
    }
    assert "itl_infer.ranking.exact" in imported
    assert sorted(imported & not_needed) == []
