"""What `publish` writes: whole, only what changed, private where it should be, and never over what is not its own."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from itl_infer import Index, Publication, PublishError, check_published, embed_directory, load_bundle
from itl_infer.cli import main
from tests.places import ROOT
from tests.runtime.publish.sites import COLOURS, make_index, make_page_bundle, state_of
from tests.tiny_bundle import make_tiny_bundle, save_colours


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_page_bundle(tmp_path_factory.mktemp("publish") / "tiny")


@pytest.fixture
def index(tmp_path: Path, bundle: Path) -> Index:
    return make_index(tmp_path, bundle)


def publish(index: Index, bundle: Path, out: Path, *options: str) -> Result:
    ask = ["publish", str(out), "-d", str(index.path), "-m", str(bundle), *options]
    return CliRunner().invoke(main, ask)


def add_noise(path: Path, seed: int) -> None:
    """A picture whose thumbnail takes long, and is large."""
    noise = np.random.default_rng(seed).integers(0, 256, (500, 500, 3), np.uint8)
    Image.fromarray(noise).save(path, compress_level=0)


def columns(out: Path) -> dict[str, list[object]]:
    site = json.loads((out / "site.json").read_bytes())
    return json.loads((out / site["data"]["pictures.json"]["file"]).read_bytes())


def thumbnails(out: Path) -> list[Path]:
    return sorted((out / "files" / "thumbnails").rglob("*.webp"))


def test_what_is_written(index: Index, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    run = publish(index, bundle, out, "--format", "json")
    assert run.exit_code == 0
    assert json.loads(run.stdout) | {"seconds": 0} == {
        **{"pictures": 6, "thumbnails_made": 6, "thumbnails_kept": 0, "files_removed": 0},
        **{"files_written": len(state_of(out)), "left_out": [], "seconds": 0},
    }
    assert "their file names and folders; no originals" in run.stderr
    found = columns(out)
    names = [
        f"{found['folders'][at]}/{name}" for at, name in zip(found["folder"], found["names"], strict=True)
    ]
    assert sorted(names) == sorted(
        [*(f"/{c}.png" for c in COLOURS[:3]), *(f"more/{c}.png" for c in COLOURS[3:])]
    )
    everything = b"".join(content for content, _ in state_of(out).values())
    assert os.fsencode(tmp_path) not in everything  # where the pictures lie on this machine
    assert check_published(out).problems == []


def test_again_writes_only_what_changed(index: Index, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    assert publish(index, bundle, out).exit_code == 0
    before = state_of(out)
    assert publish(index, bundle, out).exit_code == 0
    assert state_of(out) == before
    (tmp_path / "pictures" / "red.png").unlink()
    save_colours(tmp_path / "pictures", ["orange"])
    embed_directory(tmp_path / "pictures", index)
    report = json.loads(publish(index, bundle, out, "--format", "json").stdout)
    assert (report["thumbnails_made"], report["thumbnails_kept"]) == (1, 5)
    after = state_of(out)
    assert len(thumbnails(out)) == 6  # the one of the picture that was removed is gone
    kept = [name for name in before if name.endswith((".webp", ".js", ".css")) and name in after]
    assert len(kept) > 20
    assert all(after[name] == before[name] for name in kept)
    assert check_published(out).problems == []


def test_a_run_that_is_killed_leaves_the_version_before(index: Index, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    assert publish(index, bundle, out).exit_code == 0
    for number in range(16):
        add_noise(tmp_path / "pictures" / f"noise {number:02}.png", number)
    embed_directory(tmp_path / "pictures", index)
    ask = ["publish", str(out), "-d", str(index.path), "-m", str(bundle), "-j", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", "itl_infer", *ask], cwd=ROOT, stderr=subprocess.DEVNULL
    ) as run:
        deadline = time.monotonic() + 30
        while len(thumbnails(out)) < 10:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        run.kill()
    assert run.returncode == (-signal.SIGKILL if sys.platform != "win32" else 1)
    assert len(columns(out)["names"]) == 6
    assert check_published(out).problems == []
    report = json.loads(publish(index, bundle, out, "--format", "json").stdout)
    assert report["thumbnails_kept"] >= 10  # what the killed run had made, too
    assert len(columns(out)["names"]) == 22
    assert check_published(out).problems == []
    assert not list(out.rglob("*.part"))


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file sizes there")
def test_a_disk_that_is_full(index: Index, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    assert publish(index, bundle, out).exit_code == 0
    before = state_of(out)
    add_noise(tmp_path / "pictures" / "noise.png", 0)
    embed_directory(tmp_path / "pictures", index)
    limit = max(len(content) for content, _ in before.values()) + 1000
    ask = ["publish", str(out), "-d", str(index.path), "-m", str(bundle), "--thumbnails", "2048"]
    script = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        f"from itl_infer.cli import run; sys.argv[1:] = {ask}; run()"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1
    assert len(run.stderr.splitlines()) == 2  # what becomes public, and the error
    assert "cannot be written: File too large; what was published before is as it was" in run.stderr
    assert {name: state_of(out)[name] for name in before} == before
    assert check_published(out).problems == []


def test_thumbnails_say_nothing_but_pixels(index: Index, bundle: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "SECRETCAMERA"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    exif[0x0112] = 6
    path = tmp_path / "pictures" / "wide.jpg"
    Image.new("RGB", (800, 400), "teal").save(path, exif=exif, icc_profile=b"PROFILE" * 9)
    embed_directory(tmp_path / "pictures", index)
    assert publish(index, bundle, tmp_path / "site", "--thumbnails", "160").exit_code == 0
    sizes = []
    for thumbnail in thumbnails(tmp_path / "site"):
        content = thumbnail.read_bytes()
        assert not any(chunk in content for chunk in (b"EXIF", b"XMP ", b"ICCP", b"SECRET", b"PROFILE"))
        with Image.open(io.BytesIO(content)) as image:
            sizes.append(image.size)
    assert (80, 160) in sizes  # upright


def test_names_can_be_hidden(index: Index, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    assert "no names" in publish(index, bundle, out, "--names", "hide").stderr
    everything = b"".join(content for name, (content, _) in state_of(out).items() if "code-" not in name)
    assert not any(f"{colour}.png".encode() in everything for colour in COLOURS)
    run = publish(index, bundle, out, "--names", "hide", "--originals", "copy")
    assert "COPIES OF THE ORIGINALS" in run.stderr
    assert not [name for name in state_of(out) if "red" in name]
    for options in (["--originals", "link"], ["--base-url", "https://example.org"]):
        run = publish(index, bundle, tmp_path / "other", "--names", "hide", *options)
        assert run.exit_code == 1
        assert "links to originals say their names" in run.stderr


def test_originals(index: Index, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    (tmp_path / "pictures" / "red.png").rename(tmp_path / "pictures" / "röd #1.png")
    embed_directory(tmp_path / "pictures", index)

    def original() -> str:
        found = columns(out)
        return str(found["originals"][found["names"].index("röd #1.png")])

    assert publish(index, bundle, out).exit_code == 0
    assert "originals" not in columns(out)
    assert publish(index, bundle, out, "--base-url", "https://example.org/a/").exit_code == 0
    assert original() == "https://example.org/a/r%C3%B6d%20%231.png"
    assert publish(index, bundle, out, "--originals", "link").exit_code == 0
    assert original() == "../pictures/r%C3%B6d%20%231.png"
    assert publish(index, bundle, out, "--originals", "copy").exit_code == 0
    copied = list((out / "files" / "originals").rglob("*.png"))
    assert {path.read_bytes() for path in copied} == {
        path.read_bytes() for path in (tmp_path / "pictures").rglob("*.png")
    }
    assert check_published(out).problems == []
    assert publish(index, bundle, out).exit_code == 0
    assert not (out / "files" / "originals").exists()


def test_pictures_that_are_gone_are_left_out(index: Index, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    (tmp_path / "pictures" / "red.png").unlink()
    (tmp_path / "pictures" / "blue.png").write_bytes(b"garbage")
    run = publish(index, bundle, out)
    assert run.exit_code == 0
    assert "red.png: cannot be read: No such file or directory; left out" in run.stderr
    assert "4 pictures, 4 thumbnails made" in run.stdout
    assert len(columns(out)["names"]) == 4
    before = state_of(out)
    (tmp_path / "pictures").rename(tmp_path / "unplugged")
    assert publish(index, bundle, out).exit_code == 0  # those that have thumbnails stay
    assert state_of(out) == before
    run = publish(index, bundle, tmp_path / "other")
    assert run.exit_code == 1
    assert "none of the 6 pictures can be read" in run.stderr


def test_titles_and_names_are_escaped(index: Index, bundle: Path, tmp_path: Path) -> None:
    title = "</title><script>alert(1)</script> \"&' $note"
    for out, options in ((tmp_path / "site", []), (tmp_path / "one.html", ["--single-file"])):
        assert publish(index, bundle, out, "--title", title, *options).exit_code == 0
        page = (out / "index.html" if out.is_dir() else out).read_text()
        assert "<script>alert" not in page
        assert "&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt; &quot;&amp;&#x27; $note" in page


def test_places_that_are_not_its_own(index: Index, bundle: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("Dear all")
    (tmp_path / "file").write_text("a file")
    (tmp_path / "page.html").write_text("<html>mine</html>")
    refused: list[tuple[Path, list[str], str]] = [
        (mine, [], "not empty, and not published by itl-infer"),
        (tmp_path / "file", [], "a file"),
        (tmp_path / "pictures" / "site", [], "lies in"),
        (tmp_path / "pictures", [], "lies in"),
        (index.path / "site", [], "lies in the index"),
        (tmp_path / "page.html", ["--single-file"], "there already, and not published by itl-infer"),
        (tmp_path / "none" / "page.html", ["--single-file"], "no such folder"),
    ]
    before = state_of(tmp_path)
    for out, options, message in refused:
        run = publish(index, bundle, out, *options)
        assert (run.exit_code, len(run.stderr.splitlines())) == (1, 1), run.stderr
        assert message in run.stderr
    assert state_of(tmp_path) == before
    for out, options in (
        (tmp_path / "a.html", []),
        (tmp_path / "site", ["--base-url", "https://x.org", "--originals", "copy"]),
    ):
        assert publish(index, bundle, out, *options).exit_code == 2
    assert (
        "not an address of the web"
        in publish(index, bundle, tmp_path / "x", "--base-url", "javascript:x").stderr
    )
    assert not (tmp_path / "x").exists()


def test_indexes_and_bundles_that_cannot_be_published(bundle: Path, tmp_path: Path) -> None:
    empty = Index.open(tmp_path / "empty.itl", load_bundle(bundle))
    with empty.writing() as writer:
        writer.commit()
    run = publish(empty, bundle, tmp_path / "site")
    assert (run.exit_code, len(run.stderr.splitlines())) == (1, 1)
    assert f"holds no pictures: itl-infer embed-images PICTURES -d {empty.path}" in run.stderr
    other = make_tiny_bundle(tmp_path / "other")  # splits words as NLTK does
    index = make_index(tmp_path, other)
    run = publish(index, other, tmp_path / "site")
    assert run.exit_code == 1
    assert "tokenizer" in run.stderr
    assert not (tmp_path / "site").exists()


def test_check_finds_every_damage(index: Index, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    publish(index, bundle, out)
    for name in (*(path.relative_to(out) for path in thumbnails(out)[:1]), Path("index.html")):
        content = (out / name).read_bytes()
        (out / name).write_bytes(content[:-1] + b"?")
        run = CliRunner().invoke(main, ["publish", str(out), "--check"])
        assert run.exit_code == 1
        assert f"{name.as_posix()}: not what was published" in run.stderr
        (out / name).unlink()
        run = CliRunner().invoke(main, ["publish", str(out), "--check", "--format", "json"])
        assert "cannot be read" in json.loads(run.stdout)["problems"][0]
        assert publish(index, bundle, out).exit_code == 0  # makes it anew
        assert CliRunner().invoke(main, ["publish", str(out), "--check"]).exit_code == 0
    run = CliRunner().invoke(main, ["publish", str(tmp_path), "--check"])
    assert (run.exit_code, len(run.stderr.splitlines())) == (1, 1)
    assert CliRunner().invoke(main, ["publish", str(out), "--check", "--title", "x"]).exit_code == 2


def test_a_single_file_is_checked_too(index: Index, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "one.html"
    publish(index, bundle, out, "--single-file")
    before = state_of(tmp_path)
    publish(index, bundle, out, "--single-file")
    assert state_of(tmp_path) == before
    assert check_published(out).problems == []
    content = out.read_bytes()
    for place in (content.index(b'.webp">') + 40, content.rindex(b"</script>") - 30):
        out.write_bytes(content[:place] + b"0" + content[place + 1 :])
        assert len(check_published(out).problems) == 1


def test_too_many_for_a_single_file(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itl_infer.publish.publish.MOST_IN_ONE_FILE", 5)
    with pytest.raises(PublishError, match="6 pictures are too many for a single file, which holds 5"):
        Publication(index, tmp_path / "one.html", single_file=True)
