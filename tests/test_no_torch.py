"""The runtime in an environment without torch, torchvision and onnx: importing one of them fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.tiny_bundle import save_colours

# Python runs a module of this name at start-up.
SITECUSTOMIZE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "onnx"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


@pytest.fixture
def environment(tmp_path: Path, tiny_bundle: Path) -> dict[str, str]:
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "sitecustomize.py").write_text(SITECUSTOMIZE)
    python_path = os.pathsep.join([str(tmp_path / "absent"), str(ROOT)])
    return {**os.environ, "PYTHONPATH": python_path, "ITL_BUNDLE": str(tiny_bundle)}


def itl_infer(environment: dict[str, str], *args: str | Path, stdin: str = "") -> str:
    command = [sys.executable, "-m", "itl_infer", *map(str, args)]
    result = subprocess.run(
        command, env=environment, input=stdin, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize("name", ["torch", "torchvision", "onnx"])
def test_the_environment_is_without(environment: dict[str, str], name: str) -> None:
    code = f"try:\n import {name}\nexcept ModuleNotFoundError:\n print('absent')"
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert result.stdout.split() == [b"absent"]


def test_the_commands_run(environment: dict[str, str], tmp_path: Path) -> None:
    save_colours(tmp_path / "pictures", ["red", "blue"])
    index = tmp_path / "photos.itl"
    assert "Usage: itl-infer" in itl_infer(environment, "--help")
    report = json.loads(
        itl_infer(environment, "embed-images", tmp_path / "pictures", "-d", index, "--format", "json")
    )
    assert report["embedded"] == 2
    answer = json.loads(itl_infer(environment, "query", "a red wave", "-d", index, "--format", "json"))
    assert len(answer["results"]) == 2
    assert json.loads(itl_infer(environment, "batch", "-", "-d", index, stdin="a red wave\n")) == answer
    captions = tmp_path / "captions.jsonl"
    captions.write_text(
        '{"image": "red.png", "captions": ["red"]}\n{"image": "blue.png", "captions": ["a blue wave"]}\n'
    )
    measured = itl_infer(
        environment, "evaluate", "--captions", captions, "-d", index, "--split", "all", "--format", "json"
    )
    assert json.loads(measured)["rsum"] == 600
    assert ": ok" in itl_infer(environment, "bundle", "verify")
