"""A served page."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.places import ROOT


@contextmanager
def serving(index: Path, bundle: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`itl-infer serve` on a free port: its address and process."""
    command = [sys.executable, "-m", "itl_infer", "serve", "-d", str(index), "-m", str(bundle), "--port", "0"]
    with subprocess.Popen([*command, *options], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            line = process.stderr.readline()
            [url] = re.findall(r"http://\S+", line) or [line]
            yield url, process
        finally:
            if process.poll() is None:
                process.terminate()
