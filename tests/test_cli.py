"""The commands as a person meets them: what goes to stdout, what to stderr, and which exit code."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import onnx
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from itl_infer.bundle import load_bundle
from itl_infer.bundle.manifest import write_manifest
from itl_infer.cli import main
from itl_infer.cli.lines import BLOCK, LONGEST_LINE, blocks_of_queries
from itl_infer.image import DEFAULT_MAX_MEGAPIXELS
from itl_infer.milvus import DEFAULT_SAMPLE
from itl_infer.search import NEAR_DUPLICATE
from tests.terminal import run_with_terminal
from tests.tiny_bundle import image_graph, make_tiny_bundle, save_colours, text_graph, word_table

ROOT = Path(__file__).parents[1]
COMMANDS = [
    *("query", "embed-images", "batch", "bundle show", "bundle verify"),
    *("evaluate", "status", "check", "prune", "export-index", "similar", "completion", "serve"),
    "push",
]


@pytest.fixture(autouse=True)
def _tiny_bundle_is_the_default(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITL_BUNDLE", str(tiny_bundle))
    monkeypatch.delenv("ITL_INDEX", raising=False)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    save_colours(folder, ["red", "green", "blue", "white", "purple"])
    return folder


@pytest.fixture
def index(pictures: Path, tmp_path: Path) -> Path:
    path = tmp_path / "photos.itl"
    assert run("embed-images", pictures, "-d", path).exit_code == 0
    return path


@pytest.fixture
def gallery_bundle(tmp_path: Path) -> Path:
    """A bundle with pictures of its own and their index."""
    bundle = make_tiny_bundle(tmp_path / "with_gallery", gallery=True)
    assert run("embed-images", bundle / "gallery", "-d", bundle / "index", "-m", bundle).exit_code == 0
    return bundle


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


# embed-images


def test_embed_images_reports_what_changed(pictures: Path, tmp_path: Path) -> None:
    index = tmp_path / "photos.itl"
    first = json.loads(run("embed-images", pictures, "-d", index, "--format", "json").stdout)
    assert (first["embedded"], first["unchanged"], first["removed"], first["failed"]) == (5, 0, 0, [])
    assert first["seconds"] > 0
    assert first["images_per_second"] > 0
    second = json.loads(run("embed-images", pictures, "-d", index, "--format", "json").stdout)
    assert (second["embedded"], second["unchanged"], second["removed"], second["failed"]) == (0, 5, 0, [])
    (pictures / "red.png").write_bytes(b"garbage")
    (pictures / "blue.png").unlink()
    result = run("embed-images", pictures, "-d", index, "--format", "json")
    third = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (third["embedded"], third["unchanged"]) == (0, 3)
    assert third["failed"] == [
        {"path": str(pictures / "red.png"), "error": "not a JPEG, PNG, WebP, GIF, TIFF or BMP picture"}
    ]
    assert third["removed"] >= 1
    assert (
        names(json.loads(run("query", "red", "-d", index, "--format", "json").stdout)["results"])[0]
        == "purple"
    )


def test_embed_images_as_text(pictures: Path, tmp_path: Path) -> None:
    (pictures / "letter.jpg").write_text("Dear all")
    (pictures / "nothing.gif").write_bytes(b"")
    (pictures / "round.jpg").symlink_to("round.jpg")
    Image.effect_noise((99, 99), 50).save(pictures / "cut.png")
    os.truncate(pictures / "cut.png", 2000)
    result = run("embed-images", pictures, "-d", tmp_path / "photos.itl")
    assert result.exit_code == 0
    assert result.stdout.startswith("embedded 5, unchanged 0, removed 0, failed 4 (")
    reasons = dict(line.split(": ", 1) for line in result.stderr.splitlines())
    assert {Path(name).name: reason.split(": ")[0] for name, reason in reasons.items()} == {
        "cut.png": "truncated or damaged",
        "letter.jpg": "not a JPEG, PNG, WebP, GIF, TIFF or BMP picture",
        "nothing.gif": "empty file (0 bytes)",
        "round.jpg": "cannot be read",
    }


def test_embed_images_options(pictures: Path, tmp_path: Path) -> None:
    save_colours(pictures / ".hidden", ["red"])
    Image.new("RGB", (200, 200)).save(pictures / "large.png")
    options = ["--include-hidden", "--exclude", "gr*", "--exclude", "white.png", "--max-megapixels", "0.01"]
    options += ["-j", "1", "--batch-size", "2", "--format", "json"]
    report = json.loads(run("embed-images", pictures, "-d", tmp_path / "photos.itl", *options).stdout)
    assert report["embedded"] == 4
    [failure] = report["failed"]
    assert failure["error"].startswith("200 x 200 is 0.04 megapixels, more than the limit of 0.01")


@pytest.mark.parametrize("option", ["-j 0", "--threads 0", "--batch-size 0", "--batch-size 513"])
def test_settings_that_cannot_be_are_refused(pictures: Path, tmp_path: Path, option: str) -> None:
    message = error_of(run("embed-images", pictures, "-d", tmp_path / "photos.itl", *option.split()), 2)
    assert "is not in the range" in message
    assert not (tmp_path / "photos.itl").exists()


def test_a_limit_above_pillows_own_is_kept(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    result = run("embed-images", pictures, "-d", tmp_path / "photos.itl")
    assert result.stdout.startswith("embedded 5")


def test_embed_images_needs_an_index(pictures: Path) -> None:
    assert "-d photos.itl, or set ITL_INDEX" in error_of(run("embed-images", pictures), 2)


def test_missing_or_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in ("none", "empty"):
        error = error_of(run("embed-images", tmp_path / folder, "-d", tmp_path / "photos.itl"))
        assert error.startswith(f"Error: {tmp_path / folder}: no ")
    assert not (tmp_path / "photos.itl").exists()


def test_nothing_but_bad_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "letter.jpg").write_text("Dear all")
    result = run("embed-images", tmp_path, "-d", tmp_path / "photos.itl", "--format", "json")
    assert result.exit_code == 1
    assert len(json.loads(result.stdout)["failed"]) == 1
    assert result.stderr == "Error: none of the 1 pictures could be embedded\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_progress_is_for_terminals_only(pictures: Path, tmp_path: Path) -> None:
    quiet = process("embed-images", pictures, "-d", tmp_path / "quiet.itl")
    assert quiet.stderr == b""
    stdout, drawn = run_with_terminal(command("embed-images", pictures, "-d", tmp_path / "shown.itl"))
    assert stdout.startswith(b"embedded 5")
    assert b"/5 pictures  " in drawn
    assert b"/s" in drawn
    assert b" left" in drawn
    assert drawn.endswith(b"\r")  # wiped away


# query


def test_query_formats(index: Path, pictures: Path) -> None:
    def ask(*options: str) -> str:
        return run("query", "the red quokka", "-d", index, "-k", "2", *options).stdout

    red, purple = str(pictures / "red.png"), str(pictures / "purple.png")
    rows = [{"rank": 1, "score": 1.0, "path": red}, {"rank": 2, "score": 0.707142, "path": purple}]
    assert ask() == f"rank   score  path\n   1  1.0000  {red}\n   2  0.7071  {purple}\n"
    assert ask("--format", "table") == ask()
    assert json.loads(ask("--format", "json")) == {
        "query": "the red quokka",
        "ignored_words": ["the"],
        "unknown_words": ["quokka"],
        "results": rows,
    }
    assert [json.loads(line) for line in ask("--format", "jsonl").splitlines()] == rows
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


# Bundles and indexes that do not fit


def test_bundle_missing(tmp_path: Path) -> None:
    assert f"{tmp_path}: no bundle there" in error_of(run("query", "red", "-m", tmp_path))


def test_bundle_of_a_newer_format(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "newer")
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    (bundle / "bundle.json").write_text(json.dumps({**manifest, "format_version": 3}), encoding="utf-8")
    assert "format 3, this itl-infer reads up to 2" in error_of(run("query", "red", "-m", bundle))
    assert "format 3, this itl-infer reads up to 2" in error_of(run("bundle", "verify", bundle))
    assert "format 3, this itl-infer reads up to 2" in error_of(run("bundle", "show", bundle))


def test_bundle_with_one_byte_changed(tmp_path: Path, pictures: Path, index: Path, tiny_bundle: Path) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "damaged")
    for name in ("image_encoder.onnx", "text_encoder.onnx"):
        content = bytearray((bundle / name).read_bytes())
        content[100] ^= 1
        (bundle / name).write_bytes(content)
    query = error_of(run("query", "red", "-m", bundle, "-d", index))
    embed = error_of(run("embed-images", pictures, "-m", bundle, "-d", tmp_path / "new.itl"))
    verify = run("bundle", "verify", bundle)
    assert f"{bundle / 'text_encoder.onnx'}: damaged or replaced" in query
    assert f"{bundle / 'image_encoder.onnx'}: damaged or replaced" in embed
    assert verify.exit_code == 1
    assert [line.split(": ")[1] for line in verify.stderr.splitlines()] == [
        str(bundle / "image_encoder.onnx"),
        str(bundle / "text_encoder.onnx"),
    ]


def test_bundle_with_graphs_of_another_width(tmp_path: Path, pictures: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "wrong")
    onnx.save(image_graph(64), bundle / "image_encoder.onnx")
    onnx.save(text_graph(64, word_table()), bundle / "text_encoder.onnx")
    write_manifest(bundle, json.loads((bundle / "bundle.json").read_text(encoding="utf-8")))
    error = error_of(run("embed-images", pictures, "-m", bundle, "-d", tmp_path / "new.itl"))
    assert "[any, 64], the manifest says embeddings tensor(float) [any, 128]" in error
    assert "[any, 64], the manifest says" in error_of(run("bundle", "verify", bundle))


def test_index_made_with_another_bundle(tmp_path: Path, index: Path, pictures: Path) -> None:
    rules = {"side": 16, "resize": "bilinear", "pixel_scaling": "unit"}
    other = make_tiny_bundle(tmp_path / "other", name="other", image=rules)
    (tmp_path / "queries.txt").write_text("red\n")
    for args in (["query", "red"], ["embed-images", pictures], ["batch", tmp_path / "queries.txt"]):
        error = error_of(run(*args, "-d", index, "-m", other))
        assert str(index) in error
        assert "tiny" in error
    assert "1.0000" in run("query", "red", "-d", index).stdout  # nothing was lost


def test_missing_index(tmp_path: Path) -> None:
    error = error_of(run("query", "red", "-d", tmp_path / "none.itl"))
    assert f"{tmp_path / 'none.itl'}: no index here" in error


# batch


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


# bundle


def test_bundle_show(gallery_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("bundle", "show", gallery_bundle)
    assert result.exit_code == 0
    for line in ("name: tiny", "domain: plain colours", "embed_dim: 128", "  stop_words: 179 entries"):
        assert line in result.stdout.splitlines()
    monkeypatch.setenv("ITL_BUNDLE", str(gallery_bundle))
    assert run("bundle", "show").stdout == result.stdout


def test_bundle_verify(gallery_bundle: Path, tiny_bundle: Path) -> None:
    result = run("bundle", "verify", gallery_bundle)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0] == f"{gallery_bundle}: ok"
    assert "3 pictures" in result.stdout
    assert run("bundle", "verify").stdout.splitlines()[0] == f"{tiny_bundle}: ok"
    save_colours(gallery_bundle / "gallery", ["red", "blue"])  # the same again
    assert run("bundle", "verify", gallery_bundle).exit_code == 0
    (gallery_bundle / "gallery" / "red.png").write_bytes(b"pink")
    assert "gallery/red.png: damaged or replaced" in error_of(run("bundle", "verify", gallery_bundle))


def test_bundle_verify_opens_the_index_of_the_gallery(gallery_bundle: Path, index: Path) -> None:
    shutil.rmtree(gallery_bundle / "index")
    shutil.copytree(index, gallery_bundle / "index")
    assert "index: 5 pictures, the gallery has 3" in error_of(run("bundle", "verify", gallery_bundle))
    shutil.rmtree(gallery_bundle / "index")
    (gallery_bundle / "index").mkdir()
    assert "no index here" in error_of(run("bundle", "verify", gallery_bundle))


# The world outside


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


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    assert "\\x1b[31mred" in error_of(run("query", "red", "-m", tmp_path / "\x1b[31mred"))


def test_bundle_show_words() -> None:
    """All, or those that have a text in them; one a line, so that grep and less take them."""
    shown = run("bundle", "show", "--words")
    every = shown.stdout.split("\n")
    assert every[-1] == ""
    assert every[:-1] == sorted(set(every[:-1]))
    some = run("bundle", "show", "--words=re").stdout.split()
    assert some == [word for word in every[:-1] if "re" in word]
    assert {"red", "green"} <= set(some)
    assert "knows no word with 'qqq' in it" in error_of(run("bundle", "show", "--words=qqq"))


def test_bundle_show_card(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "bundle")
    assert "has no CARD.md" in error_of(run("bundle", "show", folder, "--card"))
    content = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    before = load_bundle(folder).fingerprint
    (folder / "CARD.md").write_text("# Tiny\n\nFinds colours — and nothing else.\n", encoding="utf-8")
    write_manifest(folder, content)
    assert run("bundle", "show", folder, "--card").stdout == "# Tiny\n\nFinds colours — and nothing else.\n"
    assert load_bundle(folder).fingerprint == before  # it decides no embedding
    (folder / "CARD.md").write_text("# Forged\n", encoding="utf-8")
    assert "CARD.md" in error_of(run("bundle", "show", folder, "--card"))
