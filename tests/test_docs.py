"""The README and the pages: every command is in one, every link leads somewhere, and what is marked to run is run."""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import itl_infer
from itl_infer.cli import main
from tests.test_layout import ROOMS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
STARTER = ROOT / "artifacts" / "starter"
PHOTOS = ROOT.parent / "shared" / "photos"


@dataclass
class Block:
    """A fenced block of a page."""

    line: int  # of its fence, from 1
    mark: str  # the comment before it: run, output, or none
    language: str
    text: str


def parse(path: Path) -> tuple[list[str], list[Block]]:
    """The lines of a page outside its fences, and its fenced blocks."""
    prose: list[str] = []
    blocks: list[Block] = []
    inside: Block | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.startswith("```"):
            if inside:
                inside.text += line + "\n"
            else:
                prose.append(line)
        elif inside:
            blocks.append(inside)
            inside = None
        else:
            comment = re.fullmatch("<!-- (.+) -->", prose[-1]) if prose else None
            inside = Block(number, comment[1] if comment else "", line.removeprefix("```"), "")
    assert inside is None, f"{path}: a fence is not closed"
    return prose, blocks


# What is said where


def test_the_readme_is_one_screen_and_a_few() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


@pytest.fixture(scope="module")
def generator() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "generate_cli.py"))


def test_the_page_of_commands_is_what_help_says(generator: dict[str, Any]) -> None:
    made, kept = generator["page"](), generator["PAGE"].read_text(encoding="utf-8")
    if f"click {generator['click_release']()} " not in kept.splitlines()[0]:  # its layout may be another
        made, kept = (sorted(set(re.findall(r"^## .+|--[a-z-]+", text, re.M))) for text in (made, kept))
    assert made == kept, "run python docs/generate_cli.py"


def test_every_command_is_in_a_page(generator: dict[str, Any]) -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in [README, *PAGES] if page.name != "cli.md")
    missing = [
        path
        for name, group in generator["GROUPS"].items()
        for path, _ in generator["commands_of"](group, name)
        if not re.search(rf"(?<!\w){re.escape(path)}(?![\w-])", text)
    ]
    assert missing == []


def test_every_public_name_is_in_a_page() -> None:
    api = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    errors = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    for name in itl_infer.__all__:
        assert re.search(rf"\b{name}\b", errors if name.endswith("Error") else api), name


def test_the_layout_is_drawn() -> None:
    _, blocks = parse(ROOT / "docs" / "contributing.md")
    drawn = next(block.text for block in blocks if "────" in block.text)
    for rooms in ROOMS.values():
        for room in rooms.split():
            assert room.startswith("__") or re.search(rf"\b{room}\b", drawn), room


# Links


def slugs_of(path: Path) -> set[str]:
    """The anchors of a page's headings, by GitHub's rule."""
    found: dict[str, int] = {}
    for line in parse(path)[0]:
        if heading := re.fullmatch(r"#+ (.+)", line):
            slug = re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")
            found[slug] = found.get(slug, 0) + 1
    return {f"{slug}-{n}" if n else slug for slug, count in found.items() for n in range(count)}


def links_of(path: Path) -> Iterator[tuple[Path, str]]:
    """The file and the anchor of each link and picture that stays here."""
    prose = re.sub(r"`[^`\n]*`", "", "\n".join(parse(path)[0]))
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if not re.match(r"[a-z]+:", target):
            file, _, anchor = target.partition("#")
            yield (path.parent / file).resolve() if file else path, anchor


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.stem)
def test_every_link_leads_somewhere(page: Path) -> None:
    for file, anchor in links_of(page):
        assert file.is_file(), f"{page.name}: {file}"
        assert not anchor or anchor in slugs_of(file), f"{page.name}: {file.name}#{anchor}"


def test_every_page_is_linked_from_the_readme_and_back() -> None:
    assert {file for file, _ in links_of(README) if file.parent.name == "docs"} >= set(PAGES)
    for page in PAGES:
        assert README in {file for file, _ in links_of(page)}, page.name


# Blocks that are run. docs/contributing.md says how they are marked.


TAKEN = datetime(2019, 7, 3, 14, 5, 6).timestamp()  # by the clock of whatever machine: these have no EXIF


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Pictures, copies of those that come along, photos.itl, their index, and a.jpg and b.jpg."""
    folder = tmp_path_factory.mktemp("docs") / "ground"
    shutil.copytree(STARTER / "gallery", folder / "Pictures")
    shutil.copytree(STARTER / "index", folder / "photos.itl")
    for path in folder.rglob("*"):
        path.chmod(path.stat().st_mode | 0o200)
        os.utime(path, (TAKEN, TAKEN))
    index = itl_infer.Index.open(folder / "photos.itl", itl_infer.load_bundle(STARTER))
    report = itl_infer.embed_directory(folder / "Pictures", index)
    assert (report.renamed, report.embedded, report.failed) == (len(index), 0, [])  # known by their content
    for name, picture in zip(("a.jpg", "b.jpg"), sorted((folder / "Pictures").iterdir()), strict=False):
        shutil.copy(picture, folder / name)
    return folder


def runnable(page: Path) -> list[Block]:
    return [block for block in parse(page)[1] if block.mark.split(":")[0] in ("run", "output")]


@pytest.mark.parametrize(
    "page", [page for page in [README, *PAGES] if runnable(page)], ids=lambda page: page.stem
)
def test_what_is_marked_is_run(
    page: Path, ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "ada"
    shutil.copytree(ground, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("ITL_BUNDLE", str(STARTER))
    monkeypatch.delenv("ITL_INDEX", raising=False)
    if PHOTOS.is_dir():
        (folder / "photos").symlink_to(PHOTOS.resolve())
    names: dict[str, object] = {}
    printed: str | None = None
    left_out = []
    for block in runnable(page):
        what = block.mark.partition(": ")[2]
        if what == "needs photos" and not PHOTOS.is_dir():
            left_out.append(block.line)
            printed = None
        elif block.mark == "output":
            if printed is not None:
                compare(f"{page.name}:{block.line}", block.text, printed)
        elif block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as stdout:
                exec(compile(block.text, f"{page.name}:{block.line}", "exec"), names)
            printed = stdout.getvalue()
        elif block.language == "console":
            for command, output in sessions(block.text):
                compare(f"{page.name}:{block.line}: {command}", output, run(command)[1])
        elif block.language == "sh":
            printed = ""
            for command in block.text.splitlines():
                status, output = run(command)
                assert status == 0, f"{page.name}:{block.line}: {command}\n{output}"
                printed += output
        else:
            compare(f"{page.name}:{block.line}", block.text, run(what)[1])
    if left_out:
        pytest.skip(
            f"{page.name}: no photographs at {PHOTOS} for the blocks in lines {left_out}; the rest ran"
        )


def sessions(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with what it prints."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def run(command: str) -> tuple[int, str]:
    """The exit code of a command, and all that it prints: one of ours in this process, any other in a shell."""
    words = shlex.split(command, comments=True)
    if words[0] == "itl-infer":
        assert not {"|", ">", "<", "&&", ";"} & set(words), f"not in a shell: {command}"
        result = CliRunner().invoke(main, [os.path.expanduser(word) for word in words[1:]])  # noqa: PTH111
        if not isinstance(result.exception, (SystemExit, type(None))):
            raise result.exception
        return result.exit_code, result.output
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


NUMBER = re.compile(r"(?<![\w./-])[+-]?\d[\d,]*(?:\.\d+)?(?![\w/-]|\.\w)")


def plain(line: str) -> str:
    """A line without what differs between machines and runs: folders, times, lengths of bars, columns."""
    line = re.sub(r"\([\d.]+ s, [\d.,]+ pictures/s\)", "(time)", line)
    line = re.sub(r"(?<![\w.~/])/(?:[^\s/\"]+/)+", "", line)
    line = re.sub(r"(█|░)+", r"\1", line)
    return " ".join(line.split())


def same(expected: str, found: str) -> bool:
    """Whether lines agree, with numbers as near as 8-bit sums of different processors are."""
    numbers = [[float(n.replace(",", "")) for n in NUMBER.findall(line)] for line in (expected, found)]
    return NUMBER.sub("#", expected) == NUMBER.sub("#", found) and numbers[0] == pytest.approx(
        numbers[1], rel=0.03, abs=0.03
    )


def agree(expected: Sequence[str], found: Sequence[str]) -> bool:
    """Whether lines agree; a line ... of the expected ones stands for any number of lines."""
    if not expected:
        return not found
    if expected[0] == "...":
        return any(agree(expected[1:], found[start:]) for start in range(len(found) + 1))
    return bool(found) and same(expected[0], found[0]) and agree(expected[1:], found[1:])


def compare(where: str, expected: str, found: str) -> None:
    lines = [[plain(line) for line in text.splitlines()] for text in (expected, found)]
    if not agree(*lines):
        both = zip_longest(expected.splitlines(), found.splitlines(), fillvalue="")
        pytest.fail(f"{where}\n" + "\n".join(f"  page: {page}\n  here: {here}" for page, here in both))


def test_outputs_are_compared_and_not_waved_through() -> None:
    assert agree(["a 0.50 /x/b.jpg"], ["a 0.51 /x/b.jpg"])
    assert not agree(["a 0.50 b.jpg"], ["a 0.60 b.jpg"])
    assert not agree(["a 0.50 b.jpg"], ["a 0.50 c.jpg"])
    assert not agree(["a"], ["a", "b"])
    assert agree(["a", "...", "c"], ["a", "b", "b", "c"])
    assert not agree(["a", "..."], ["b"])
    assert plain("   1  0.5 /home/ada/Pictures/a-003.jpg (0.1 s, 2.0 pictures/s)") == "1 0.5 a-003.jpg (time)"
    assert same("003125.jpg", "003125.jpg")
    assert not same("003125.jpg", "003126.jpg")
