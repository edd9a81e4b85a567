"""The page's JavaScript under Python: one node process for each folder of data, asked a line at a time."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import itl_infer.publish
from tests.places import TESTS

BROWSER = Path(itl_infer.publish.__file__).parent / "browser"
NODE = shutil.which("node")


class Node:
    """The modules of the page, over the data in one folder."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, what: str, given: Any = None) -> Any:
        """The answer of `ask.mjs` to one question."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([what, given]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"node ended at {what}"
        return json.loads(answer)

    def ask_of_each(self, what: str, given: Sequence[Any], step: int = 2000) -> list[Any]:
        """The answers for each of many, some at a time."""
        return [
            one for start in range(0, len(given), step) for one in self.ask(what, given[start : start + step])
        ]


@contextlib.contextmanager
def running_node(folder: Path, data: Path) -> Iterator[Node]:
    """Node with the modules, which it takes for modules by what is in `folder`."""
    assert NODE is not None
    modules = folder / "modules"
    if not modules.exists():
        shutil.copytree(BROWSER, modules)
        (modules / "package.json").write_text('{"type": "module"}')
    command = [NODE, str(TESTS / "runtime" / "publish" / "ask.mjs"), str(modules), str(data)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        yield Node(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0
