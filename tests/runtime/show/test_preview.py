"""Pictures in a terminal: a pseudo-terminal that answers as kitty, as xterm with sixel, or not at all; and iTerm2."""

from __future__ import annotations

import base64
import io
import os
import re
import select
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from itl_infer import Index, PreviewError, embed_directory, load_bundle
from itl_infer.cli import main
from itl_infer.show.preview import draw_picture
from tests.places import ROOT
from tests.tiny_bundle import save_colours

pytest.importorskip("textual_image")
if sys.platform == "win32":
    pytest.skip("no pseudo-terminals", allow_module_level=True)

DEVICE, KITTY = b"\x1b[c", b"\x1b_G"  # what is asked: your attributes; whether you know kitty's protocol
SIZE = (40, 100, 1000, 800)  # rows, columns, pixels
NAMES_OF_TERMINALS = ("TERM_PROGRAM", "LC_TERMINAL", "TMUX")
SIXEL_SAYS = {DEVICE: b"\x1b[?62;4c"}
KITTY_SAYS = {DEVICE: b"\x1b[?62c", KITTY: b"\x1b_Gi=1;OK\x1b\\"}


@pytest.fixture
def index(tmp_path: Path, tiny_bundle: Path) -> Path:
    save_colours(tmp_path / "pictures", ["red", "purple", "blue"])
    embed_directory(tmp_path / "pictures", Index.open(tmp_path / "photos.itl", load_bundle(tiny_bundle)))
    return tmp_path / "photos.itl"


def shown(
    index: Path,
    bundle: Path,
    says: dict[bytes, bytes],
    *,
    stdin_too: bool = True,
    size: tuple[int, int, int, int] = SIZE,
    **variables: str,
) -> bytes:
    """What a terminal gets that gives these answers."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size))
    command = [
        sys.executable,
        "-m",
        "itl_infer",
        "query",
        "red",
        "--preview",
        "-d",
        str(index),
        "-m",
        str(bundle),
    ]
    environment = {key: value for key, value in os.environ.items() if key not in NAMES_OF_TERMINALS}
    environment |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "", **variables}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=theirs if stdin_too else subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(theirs)
        drawn = b""
        stop = time.monotonic() + 60
        while time.monotonic() < stop and select.select([ours], [], [], 60)[0]:
            try:
                chunk = os.read(ours, 2**16)
            except OSError:  # the other end is closed
                break
            for question, answer in says.items():
                if question in chunk:
                    os.write(ours, answer)
            drawn += chunk
        os.close(ours)
        assert process.stderr
        assert (process.wait(timeout=60), process.stderr.read()) == (0, b"")
    return drawn


def test_kitty(index: Path, tiny_bundle: Path) -> None:
    drawn = shown(index, tiny_bundle, KITTY_SAYS)
    assert drawn.count(b",a=q,") == 1
    assert drawn.count(b"f=100,q=2;iVBOR") == 3  # PNG files, in base64
    assert b"\x1bP" not in drawn


def test_sixel(index: Path, tiny_bundle: Path) -> None:
    drawn = shown(index, tiny_bundle, SIXEL_SAYS)
    assert drawn.count(b"\x1bP") == 3
    assert b"iVBOR" not in drawn


@pytest.mark.parametrize("variable", [{"TERM_PROGRAM": "iTerm.app"}, {"LC_TERMINAL": "iTerm2"}])
def test_iterm2(index: Path, tiny_bundle: Path, variable: dict[str, str]) -> None:
    drawn = shown(index, tiny_bundle, SIXEL_SAYS, **variable)
    found = re.findall(
        rb"\x1b\]1337;File=inline=1;size=(\d+);height=10;preserveAspectRatio=1:([^\a]+)\a\r\n", drawn
    )
    assert len(found) == 3
    for size, content in found:
        assert len(base64.b64decode(content, validate=True)) == int(size)
    with Image.open(io.BytesIO(base64.b64decode(found[0][1]))) as picture:
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 0, 0)
    assert b"\x1bP" not in drawn
    assert drawn.index(b"red.png") < drawn.index(b"1337") < drawn.index(b"purple.png")


def test_iterm2_behind_tmux(index: Path, tiny_bundle: Path) -> None:
    drawn = shown(index, tiny_bundle, {}, LC_TERMINAL="iTerm2", TMUX="/tmp/tmux-0/default,1,0")
    found = re.findall(rb"\x1bPtmux;\x1b\x1b\]1337;File=[^:]+:[^\a]+\a\x1b\\", drawn)
    assert len(found) == 3


@pytest.mark.parametrize("stdin_too", [True, False])
def test_half_blocks_elsewhere(index: Path, tiny_bundle: Path, stdin_too: bool) -> None:
    drawn = shown(index, tiny_bundle, {}, stdin_too=stdin_too)
    assert b"\x1b[38;2;255;0;0;48;2;255;0;0m\xe2\x96\x80" in drawn
    assert b"iVBOR" not in drawn
    assert b"\x1bP" not in drawn
    places = [
        drawn.index(text) for text in (b"rank   score  path", b"red.png", b"\xe2\x96\x80", b"purple.png")
    ]
    assert places == sorted(places)


def test_a_picture_that_is_gone(index: Path, tiny_bundle: Path) -> None:
    (index.parent / "pictures" / "red.png").unlink()
    assert b"(cannot be read: No such file or directory)" in shown(index, tiny_bundle, SIXEL_SAYS)


def test_a_terminal_without_a_size(index: Path, tiny_bundle: Path) -> None:
    drawn = shown(index, tiny_bundle, {}, size=(0, 0, 0, 0))
    assert drawn.count(b"\r\n") == 4
    assert b"\x1b" not in drawn


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "textual_image.renderable", None)
    with pytest.raises(
        PreviewError, match=r"--preview needs textual-image: pip install 'itl-infer\[preview\]'"
    ):
        draw_picture("red.png")


def test_never_where_stdout_is_no_terminal(index: Path, tiny_bundle: Path) -> None:
    ask = ["query", "red", "-d", str(index), "-m", str(tiny_bundle)]
    plain = CliRunner().invoke(main, ask)
    assert CliRunner().invoke(main, [*ask, "--preview"]).stdout == plain.stdout
    assert b"\x1b" not in plain.stdout_bytes
    refused = CliRunner().invoke(main, [*ask, "--preview", "--format", "json"])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "--preview goes with the table only" in refused.stderr
