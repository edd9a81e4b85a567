"""The house: rooms in one order, from which imports point to earlier rooms only, and nowhere in a circle."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.places import ROOT

# Each line may import from itself and the lines above it. docs/contributing.md draws them.
ROOMS = {
    "itl_infer": """
        errors lazy arguments children ahead cgroups cpus memory files progress vectors system_files telemetry
        where
        text
        image
        encoder
        bundle
        ranking teaching
        store
        walk parquet
        index
        ingest
        captions
        search evaluation
        distributed
        milvus
        opening
        show web
        publish
        __init__
        cli
        __main__
    """,
    "export": """
        __init__ errors limited report allocator schedule layers loop
        data
        trunk
        graphs
        features
        distil
        branches
        bundle
        from_keras
        runs
        starter
        cli
        __main__
    """,
}


def modules_of(package: str) -> dict[str, Path]:
    """The name of each module of a package with its file."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(module: str, path: Path, modules: set[str]) -> Iterator[str]:
    """The modules that it imports, wherever it does: in functions and for type checkers as well."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            whole = importlib.util.resolve_name(base, package) if node.level else base
            # `from a import b` imports the module a.b where there is one, else a.
            names = [
                f"{whole}.{alias.name}" if f"{whole}.{alias.name}" in modules else whole
                for alias in node.names
            ]
        else:
            continue
        yield from names


def room_of(module: str) -> str:
    """The part of a module's name that says where it is: bundle of itl_infer.bundle.manifest."""
    return [*module.split("."), "__init__"][1]


def arrows(package: str) -> dict[str, set[str]]:
    """What each module imports of its own package."""
    modules = modules_of(package)
    return {
        # The package itself names what is in its rooms, and costs nothing: all may ask it for its version.
        module: {name for name in imports_of(module, path, set(modules)) if name in modules}
        - {module, package}
        for module, path in modules.items()
    }


@pytest.mark.parametrize("package", ROOMS)
def test_every_room_has_its_place(package: str) -> None:
    assert {room_of(module) for module in modules_of(package)} == set(ROOMS[package].split())


@pytest.mark.parametrize("package", ROOMS)
def test_imports_point_to_earlier_rooms(package: str) -> None:
    floors = [line.split() for line in ROOMS[package].splitlines()]
    floor_of = {room: number for number, rooms in enumerate(floors) for room in rooms}
    upward = [
        f"{module} imports {name}"
        for module, imported in arrows(package).items()
        for name in imported
        if floor_of[room_of(name)] > floor_of[room_of(module)]
    ]
    assert upward == []


@pytest.mark.parametrize("package", ROOMS)
def test_nothing_is_imported_in_a_circle(package: str) -> None:
    """Neither between modules nor between rooms."""
    modules = arrows(package)
    rooms: dict[str, set[str]] = {}
    for module, imported in modules.items():
        rooms.setdefault(room_of(module), set()).update(
            {room_of(name) for name in imported} - {room_of(module)}
        )
    for graph in (modules, rooms):
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            pytest.fail(" -> ".join(error.args[1]))


def test_the_runtime_does_not_know_the_training_side() -> None:
    foreign = {"export", "torch", "torchvision", "onnx", "tests"}
    for module, path in modules_of("itl_infer").items():
        known = {name.split(".")[0] for name in imports_of(module, path, set())}
        assert not known & foreign, module
