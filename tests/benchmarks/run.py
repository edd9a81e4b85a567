"""What docs/speed.md says: python tests/benchmarks/run.py

Prints tables, medians with quartiles; every ratio is of figures taken in turns in this one run. Needs the extra
`bench`, about 4 GB of memory, 2 GB in the folder for temporary files, and a machine that has nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.benchmarks.report import Aim

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # where this is run as a file

PARTS = ("graph", "folder", "peer", "text", "start", "footprint", "scaling")  # ten minutes
MORE_PARTS = ("ranking", "index", "prepare", "cluster", "milvus", "at_scale")  # half an hour more
_PACKAGES = (
    *("itl-infer", "numpy", "onnxruntime", "pillow", "torch", "openvino", "faiss-cpu"),
    *("ray", "pymilvus", "milvus-lite"),
)
_VECTOR_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"of {', '.join(PARTS + MORE_PARTS)} (default: {', '.join(PARTS)})",
    )
    parser.add_argument(
        "--photos",
        type=Path,
        help="folder of real photographs (default: ../shared/photos, or the starter's gallery)",
    )
    parser.add_argument(
        "--sides", type=int, nargs="+", metavar="N", help="pixels for the part graph (default: 256 299)"
    )
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--plot", type=Path, help="draw the part `scaling` into this .svg")
    options = parser.parse_args()
    if unknown := set(options.parts) - {*PARTS, *MORE_PARTS}:
        parser.error(f"unknown part {min(unknown)}")
    from tests.benchmarks.ground import Ground, find_photos
    from tests.benchmarks.report import table_of_aims

    shared = ROOT.parent / "shared" / "photos"
    folder = options.photos or (shared if shared.is_dir() else ROOT / "artifacts" / "starter" / "gallery")
    if not (photos := find_photos(folder)):
        parser.error(f"no pictures in {folder}")
    result: dict[str, Any] = {"machine": _machine(), "photographs": len(photos), "parts": {}}
    print("; ".join(f"{key} {value}" for key, value in result["machine"].items()) + "\n")
    start = time.perf_counter()
    aims: list[Aim] = []
    for name in options.parts or PARTS:
        part = import_module(f"tests.benchmarks.{name}")
        tables = []
        with tempfile.TemporaryDirectory() as work:  # a part leaves nothing in the way of the next
            ground = Ground(Path(work), photos, *([tuple(options.sides)] if options.sides else []))
            for table in part.tables(ground):
                print(table.markdown() + "\n", flush=True)
                tables.append(table)
                aims += table.aims
        result["parts"][name] = [table.to_json() for table in tables]
        if name == "scaling" and options.plot:
            part.plot(tables, options.plot)
    if aims:
        print(table_of_aims(aims).markdown() + "\n")
    result["aims"] = [asdict(aim) | {"is_met": aim.is_met} for aim in aims]
    result["minutes"] = round((time.perf_counter() - start) / 60, 1)
    print(f"{result['minutes']} minutes")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _machine() -> dict[str, str]:
    found = {"python": platform.python_version(), "system": platform.system(), "cpu": platform.processor()}
    try:
        lines = dict(
            line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line
        )
        lines = {key.strip(): value.strip() for key, value in lines.items()}
        flags = lines.get("flags", lines.get("Features", "")).split()
        found["cpu"] = f"{lines.get('model name', '')} ({' '.join(f for f in _VECTOR_FLAGS if f in flags)})"
    except OSError:
        pass
    from tests.benchmarks.ground import CORES

    found["cores"] = str(CORES)
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
