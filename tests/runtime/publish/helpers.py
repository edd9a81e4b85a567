"""The page's JavaScript under Python: one node process for each folder of data, asked a line at a time."""

from __future__ import annotations

import contextlib
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from functools import partial
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


_PAGE = """<!doctype html>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'">
<script type="module" src="open.js"></script>
"""
_OPEN = """
import { openEngine } from "./engine.js";

const startWorker = () => new Worker("worker.js", { type: "module" });

globalThis.open = (folder = "", createWorker = startWorker) => {
  const fetchBytes = async (name) => {
    const response = await fetch(folder + name);
    if (!response.ok) throw new Error(`${name}: ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  };
  return openEngine({ fetchBytes, createWorker });
};
"""


@contextlib.contextmanager
def serving_engine(folder: Path) -> Iterator[str]:
    """The address of a page over the data in a folder, from the server that comes with Python."""
    for path in BROWSER.iterdir():
        shutil.copy(path, folder / path.name)
    (folder / "index.html").write_text(_PAGE)
    (folder / "open.js").write_text(_OPEN)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
