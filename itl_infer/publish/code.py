"""The JavaScript of a published page: the modules of the page and of the engine, in a folder or as one script."""

from __future__ import annotations

import re
from pathlib import Path

from itl_infer.web.page import STATIC

_BROWSER = Path(__file__).parent / "browser"
_OF_A_SERVER = ("serve.js", "server.js")
FOLDER_ENTRY, FILE_ENTRY, WORKER_ENTRY = "folder.js", "file.js", "worker.js"

_IMPORT = re.compile(r'^import\s+\{([^}]*)\}\s+from\s+"\./([\w.-]+)";[^\S\n]*$', re.M)
_EXPORT = re.compile(r"^export\s+((?:async\s+)?(?:function\*?|class|const|let)\s+([\w$]+))", re.M)


def page_files() -> dict[str, bytes]:
    """By its name, every file beside the page: scripts, style, icon. They name each other as in one folder."""
    files = [path for path in STATIC.iterdir() if path.suffix in (".js", ".css", ".svg")]
    files += [path for path in _BROWSER.iterdir() if path.suffix == ".js"]
    return {path.name: path.read_bytes() for path in sorted(files) if path.name not in _OF_A_SERVER}


def as_one_script(entry: str) -> str:
    """The module `entry` and all that it imports as one script without imports.

    Knows what our modules are made of: imports and exports by name, each at the beginning of a line, in no circle.
    """
    files = page_files()
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        for _, imported in _IMPORT.findall(files[name].decode()):
            visit(imported)
        order.append(name)

    visit(entry)
    return "".join(
        [
            '"use strict";\n',
            "const modules = {};\n",
            *(_as_function(name, files[name].decode()) for name in order),
        ]
    )


def _as_function(name: str, source: str) -> str:
    exported = ", ".join(found for _, found in _EXPORT.findall(source))
    body = _IMPORT.sub(
        lambda found: f'const {{{found[1].replace(" as ", ": ")}}} = modules["{found[2]}"];', source
    )
    body = _EXPORT.sub(r"\1", body)
    if re.search(r"^(import|export)\b", body, re.M):
        raise ValueError(f"{name}: an import or export that cannot be put into one script")
    return f'modules["{name}"] = (() => {{\n{body}return {{ {exported} }};\n}})();\n'
