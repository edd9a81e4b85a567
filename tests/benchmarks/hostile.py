"""What pictures that mean harm take: python tests/benchmarks/hostile.py

Each is embedded by a command of its own, with the default workers and limits. Printed are the most memory that the
command and the processes that it started had together, the seconds that the command itself computed, and what was
said. Linux only.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # where this is run as a file

from tests.runtime.image.test_hostile_pictures import chunk, grey_tiff, jpeg_of_empty_scans, png, segment

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_SIDE = 9900  # nearly the limit of 100 megapixels


def pictures() -> dict[str, bytes]:
    """By what each is called."""
    jpeg, small = saved("JPEG", (64, 64)), io.BytesIO()
    Image.new("P", (64, 64)).save(small, "GIF")
    gif = small.getvalue()
    at = gif.index(b"\x2c")
    return {
        "narrow.png": png(1, 99_000_000),
        "narrow-within-the-limit.png": png(1, 9_900_000),
        "private-notes.png": png(64, 64, chunk(b"prVt", bytes(300_000_000))),
        "transparent.png": saved("PNG", (_SIDE, _SIDE), "RGBA"),
        "deep-grey.png": saved("PNG", (_SIDE, _SIDE), "I;16"),
        "tile.tif": grey_tiff(16, 16, (322, 4, 1, 40000), (323, 4, 1, 40000)),
        "scans.jpg": jpeg_of_empty_scans(65500, 1500, 5000),
        "fewer-scans.jpg": jpeg_of_empty_scans(65500, 1500, 1000),
        "profiles.jpg": jpeg[:2] + segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(65000)) * 3000 + jpeg[2:],
        "comments.jpg": jpeg[:2] + segment(0xFE, b"") * 4_500_000 + jpeg[2:],
        "progressive.jpg": saved("JPEG", (_SIDE, _SIDE), progressive=True),
        "lossless.webp": saved("WEBP", (6000, 6000), "RGBA", lossless=True, method=0),
        "comments.gif": gif[:at] + b"\x21\xfe\x01a\0" * 3_000_000 + gif[at:],
        "large.avif": saved("AVIF", (6000, 6000), speed=10),
        "large.jp2": saved("JPEG2000", (_SIDE, _SIDE)),
        "bytes.png": b"\x89PNG\r\n\x1a\n" + zlib.compress(bytes(10**8)),
    }


def saved(kind: str, size: tuple[int, int], mode: str = "RGB", **options: object) -> bytes:
    content = io.BytesIO()
    Image.new(mode, size).save(content, kind, **options)
    return content.getvalue()


def measure(path: Path, wrapper: Sequence[str] = ()) -> tuple[float, float, str]:
    """Megabytes, seconds, and the first thing that was said; by a command that a `wrapper` starts."""
    command = [*wrapper, sys.executable, "-m", "itl_infer", "embed-images", str(path), "-d", f"{path}.itl"]
    before = os.times()
    most = 0
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None:
            most = max(most, memory_of_all(process.pid))
            time.sleep(0.02)
        output, errors = process.communicate()
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    said = (errors or output).strip().partition("\n")[0].removeprefix(f"{path}: ")
    return most / 1e6, seconds, said


def memory_of_all(first: int) -> int:
    """Bytes that a process and those that it started have in memory."""
    parents: dict[int, list[int]] = {}
    pages: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                words = (folder / "stat").read_text().rpartition(")")[2].split()
                pages[int(folder.name)] = int((folder / "statm").read_text().split()[1])
            except (OSError, IndexError):  # it has just ended
                continue
            parents.setdefault(int(words[1]), []).append(int(folder.name))
    family = [first]
    for member in family:
        family += parents.get(member, [])
    return sum(pages.get(member, 0) for member in family) * _PAGE


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print("| picture | MB | s | it says |\n|---|---:|---:|---|")
        for name, content in pictures().items():
            path = Path(folder) / name
            path.write_bytes(content)
            megabytes, seconds, said = measure(path)
            print(f"| {name} | {megabytes:.0f} | {seconds:.1f} | {said.partition(':')[0][:70]} |", flush=True)


if __name__ == "__main__":
    main()
