"""What the package promises to those who import it: its names, its version, and that importing is cheap."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

import pytest

import itl_infer
from tests.places import ROOT

HEAVY = ["numpy", "onnxruntime", "nltk", "PIL", "sqlite3", "click"]


def test_public_names() -> None:
    assert itl_infer.__all__ == [
        "__version__",
        "Answer",
        "Bundle",
        "BundleError",
        "CaptionsError",
        "Change",
        "ClusterError",
        "Codes",
        "Duplicates",
        "Evaluation",
        "FolderError",
        "ImageError",
        "ImageMemoryError",
        "Index",
        "IndexStoreError",
        "ItlError",
        "LabelledEvaluation",
        "MissingExtraError",
        "Originals",
        "PreviewError",
        "Publication",
        "PublishError",
        "PublishReport",
        "Query",
        "QueryError",
        "ReaderMissingError",
        "Report",
        "SearchResult",
        "Searcher",
        "SheetError",
        "Store",
        "TeachError",
        "Where",
        "check_published",
        "embed_directory",
        "evaluate_bundle",
        "evaluate_index",
        "evaluate_labelled",
        "find_duplicates",
        "load_bundle",
        "open_store",
        "quantize_rows",
        "rank",
        "teach",
        "verify_bundle",
        "watch",
        "write_sheet",
    ]
    assert dir(itl_infer) == sorted(itl_infer.__all__)
    for name in itl_infer.__all__:
        assert getattr(itl_infer, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = itl_infer.nonsense


def test_version_is_the_projects() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.findall(r'^version = "(.+)"$', project, re.MULTILINE) == [itl_infer.__version__]


@pytest.mark.parametrize(
    ("code", "kept_out"),
    [
        ("import itl_infer", HEAVY),
        ("import itl_infer.cli", [name for name in HEAVY if name != "click"]),
        (
            "from itl_infer.cli import main\nmain(['query', '--help'], standalone_mode=False)",
            [name for name in HEAVY if name != "click"],
        ),
        ("import itl_infer.distributed", ["ray", "pyarrow", "onnxruntime", "nltk", "PIL", "click"]),
        ("from itl_infer import load_bundle, rank, Index, embed_directory", ["onnxruntime", "nltk", "PIL"]),
    ],
)
def test_importing_is_cheap(code: str, kept_out: list[str]) -> None:
    check = f"{code}\nimport sys\nprint([name for name in {kept_out} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"


def test_every_module_says_what_it_does() -> None:
    for path in (ROOT / "itl_infer").rglob("*.py"):
        if path.name == "__main__.py":
            continue  # runs when imported
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
        assert module.__doc__, path
