"""Runs a program whose stderr is a terminal."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from tests.places import ROOT


def run_with_terminal(command: Sequence[str]) -> tuple[bytes, bytes]:
    """What it wrote to stdout, and what it drew on the terminal."""
    import pty  # not on Windows

    ours, theirs = pty.openpty()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs) as shown:
        stdout, _ = shown.communicate(timeout=60)
    os.close(theirs)
    drawn = os.read(ours, 10_000)
    os.close(ours)
    return stdout, drawn
