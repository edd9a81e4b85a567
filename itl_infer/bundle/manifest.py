"""bundle.json: what a bundle's manifest must say, how it is read and checked, and how it is written."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from itl_infer.bundle.files import RESTORE as RESTORE
from itl_infer.bundle.files import read_plain_file
from itl_infer.encoder import LONGEST_GRAPH
from itl_infer.errors import BundleError, reason_of
from itl_infer.files import replacing
from itl_infer.image import ImageRules
from itl_infer.text import TextRules

FORMAT_VERSION = 2
MANIFEST = "bundle.json"
IMAGE_GRAPH = "image_encoder.onnx"
TEXT_GRAPH = "text_encoder.onnx"
VOCABULARY = "vocabulary.txt"
FORMS = "forms.txt"
WORDS = "words.txt"
CARRIED = "carried.tsv"
CARD = "CARD.md"
GOLDEN = "golden.npz"
GALLERY = "gallery"
GALLERY_INDEX = "index"  # of the gallery

_FILES = (IMAGE_GRAPH, TEXT_GRAPH, VOCABULARY, GOLDEN)
_FOR_PEOPLE = (WORDS, CARD)  # optional; they decide no embedding
# Optional too: it decides what words outside the vocabulary are read as, but no picture's embedding, nor that of a text
# whose words are known. An index remembers what its pictures were embedded with, and stays good.
_FOR_UNKNOWN_WORDS = (CARRIED,)
_OPTIONAL = (FORMS, *_FOR_PEOPLE, *_FOR_UNKNOWN_WORDS)
_NOT_DECISIVE = frozenset((*_FOR_PEOPLE, *_FOR_UNKNOWN_WORDS))
# Mean and std of pixels, from 0 to 255, by the names that manifests had for them.
_PIXEL_SCALINGS = {"inception": (127.5, 127.5), "unit": (0.0, 255.0)}
# Bytes, at most, by the name of a file; and how many files there may be.
_LONGEST_MANIFEST = 2**24
_LONGEST_TEXT = 2**23
_LONGEST = {
    IMAGE_GRAPH: LONGEST_GRAPH,
    TEXT_GRAPH: LONGEST_GRAPH,
    VOCABULARY: _LONGEST_TEXT,
    FORMS: _LONGEST_TEXT,
    WORDS: _LONGEST_TEXT,
    CARRIED: 2**25,
    CARD: 2**20,
    GOLDEN: 2**28,
}
_LONGEST_PICTURE = 2**26
_MOST_FILES = 10_000
_LARGEST_WIDTH = 2**14  # of an embedding
_LONGEST_NAME = 1000  # characters, of whatever is a name
_LARGEST_NUMBER = 2**63  # more is no size of anything
_HALF_A_PAIR = re.compile("[\ud800-\udfff]")
_NO_WAY_DOWN = re.compile(r"[\\:\x00-\x1f]")
_IN_WORDS = {str: "a text", int: "a whole number", float: "a number", dict: "an object", list: "a list"}

T = TypeVar("T", str, int, float, dict[str, Any], list[Any])


@dataclass(frozen=True)
class FileRecord:
    """What a manifest says about one file."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """The part of a manifest that decides how to embed, checked; `content` is all that it says."""

    content: dict[str, Any]
    name: str
    domain: str
    embed_dim: int
    image_rules: ImageRules
    text_rules: TextRules  # without the table of forms
    has_forms: bool  # whether there is one, in a file
    image_min_cosine: float  # to the golden embeddings, demanded by `bundle verify`
    text_min_cosine: float
    files: dict[str, FileRecord]  # by name relative to the folder, with "/"
    gallery_files: dict[str, FileRecord] | None  # None: there is no gallery
    fingerprint: str


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a bundle. Raises BundleError."""
    path = folder / MANIFEST
    try:
        content = read_plain_file(folder, MANIFEST, _LONGEST_MANIFEST)
    except BundleError as error:
        if not isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError)):
            raise
        raise BundleError(
            f"{folder}: no bundle there (no {MANIFEST}): name the folder of one, or make it with"
            " `python -m export starter`"
        ) from error.__cause__
    return _check(_parse(content, str(path)), str(path))


def write_manifest(folder: str | os.PathLike[str], content: Mapping[str, Any]) -> Manifest:
    """Write the manifest of the files in `folder`, all at once; a `gallery/` in it is listed too.

    `content` is everything but the hashes, which are added here; where it names no format version, this is of the
    newest. Raises BundleError, and writes nothing, where the result could not be read back.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    complete = {
        "format_version": FORMAT_VERSION,
        **content,
        "files": {
            name: _record_of(folder / name)
            for name in (*_FILES, *_OPTIONAL)
            if name in _FILES or (folder / name).exists()
        },
    }
    if (folder / GALLERY).is_dir():
        names = sorted(f"{GALLERY}/{picture.name}" for picture in (folder / GALLERY).iterdir())
        complete["gallery"] = {
            **content.get("gallery", {}),
            "pictures": len(names),
            "files": {name: _record_of(folder / name) for name in names},
        }
    text = json.dumps(complete, indent=1, ensure_ascii=False) + "\n"
    manifest = _check(_parse(text, str(path)), str(path))
    with replacing(path) as file:
        file.write(text.encode())
    return manifest


def describe_text(rules: TextRules) -> dict[str, Any]:
    """What a manifest says of text rules; their table of forms is a file of the bundle."""
    return {
        "tokenizer": rules.tokenizer,
        "stop_words": list(rules.stop_words),
        "stemmer": rules.stemmer,
        "forms": {"file": FORMS, "sha256": rules.forms.sha256} if rules.forms else None,
    }


def compute_fingerprint(content: Mapping[str, Any]) -> str:
    """sha256 over all that decides embeddings: the width, the rules, and the hashes of the files.

    Not of words.txt, which only says how to show a stem, nor of CARD.md, nor of carried.tsv, on which no picture's
    embedding depends.
    """
    decisive = {
        "embed_dim": content["embed_dim"],
        "files": {
            name: record["sha256"] for name, record in content["files"].items() if name not in _NOT_DECISIVE
        },
        "image": content["image"],
        "text": content["text"],
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _parse(text: str | bytes, where: str) -> Any:
    """JSON. Raises BundleError, also for what could not be printed, or is no size of anything, wherever it stands."""

    def number(digits: str) -> int | float:
        value = float(digits) if set(digits) & set(".eE") else int(digits)
        if not -_LARGEST_NUMBER < value < _LARGEST_NUMBER:
            raise BundleError(f"{where}: a number in it is beyond all sizes, {digits[:40]}; {RESTORE}")
        return value

    try:
        content = json.loads(text, parse_int=number, parse_float=number, parse_constant=_no_number)
        half = _HALF_A_PAIR.search(
            json.dumps(content, ensure_ascii=False)
        )  # in one go, as there are thousands
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where}: not JSON ({reason_of(error)}); {RESTORE}") from error
    if half:
        raise BundleError(f"{where}: half a character in it ({half[0]!a}); {RESTORE}")
    return content


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _check(content: Any, where: str) -> Manifest:
    if type(content) is not dict:
        raise BundleError(f"{where}: not a JSON object; {RESTORE}")
    version = _field(content, "format_version", int, where)
    if version > FORMAT_VERSION:
        raise BundleError(
            f"{where}: format {version}, this itl-infer reads up to {FORMAT_VERSION}:"
            " update it with `pip install --upgrade itl-infer`"
        )
    if version < 1:
        raise BundleError(f"{where}: format {version}, expected 1 to {FORMAT_VERSION}; {RESTORE}")
    image = _field(content, "image", dict, where)
    text = _field(content, "text", dict, where)
    golden = _field(content, "golden", dict, where)
    try:
        image_rules = ImageRules(
            side=_field(image, "side", int, where),
            resize=_field(image, "resize", str, where),
            **_pixel_scaling(image, where),
        )
        text_rules = TextRules(
            tokenizer=_field(text, "tokenizer", str, where),
            stop_words=_texts(text, "stop_words", where),
            stemmer=_field(text, "stemmer", str, where),
        )
    except ValueError as error:
        raise BundleError(f"{where}: {reason_of(error)}; update itl-infer, or {RESTORE}") from error
    files = _file_records(content, where)
    for name in _FILES:
        if name not in files:
            raise BundleError(f"{where}: 'files' does not list {name}; {RESTORE}")
    has_forms = version > 1 and text.get("forms", 0) is not None
    if has_forms:
        forms = _field(text, "forms", dict, where)
        if FORMS not in files or (forms.get("file"), forms.get("sha256")) != (FORMS, files[FORMS].sha256):
            raise BundleError(f"{where}: 'forms' of 'text' is not the {FORMS} of 'files'; {RESTORE}")
    has_gallery = "gallery" in content
    return Manifest(
        content=content,
        name=_name(content, "name", where),
        domain=_name(content, "domain", where),
        embed_dim=_whole_number(content, "embed_dim", 1, _LARGEST_WIDTH, where),
        image_rules=image_rules,
        text_rules=text_rules,
        has_forms=has_forms,
        image_min_cosine=_cosine(golden, "image_min_cosine", where),
        text_min_cosine=_cosine(golden, "text_min_cosine", where),
        files=files,
        gallery_files=_file_records(_field(content, "gallery", dict, where), where) if has_gallery else None,
        fingerprint=compute_fingerprint(content),
    )


def _pixel_scaling(image: Mapping[str, Any], where: str) -> dict[str, tuple[float, float, float]]:
    """Mean and std of the pixels; in manifests from before they were written down, by what they were called."""
    if "pixel_scaling" not in image:
        return {name: tuple(_field(image, name, list, where)) for name in ("mean", "std")}
    name = _field(image, "pixel_scaling", str, where)
    if name not in _PIXEL_SCALINGS:
        raise ValueError(f"unknown pixel scaling {name!r}, expected one of {list(_PIXEL_SCALINGS)}")
    mean, std = _PIXEL_SCALINGS[name]
    return {"mean": (mean, mean, mean), "std": (std, std, std)}


def _field(table: Mapping[str, Any], name: str, kind: type[T], where: str) -> T:
    value = table.get(name)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        found = "missing" if name not in table else f"{json.dumps(value)[:40]}"
        raise BundleError(f"{where}: {name!r} is {found}, expected {_IN_WORDS[kind]}; {RESTORE}")
    return value


def _whole_number(table: Mapping[str, Any], name: str, least: int, most: int, where: str) -> int:
    value = _field(table, name, int, where)
    if not least <= value <= most:
        raise BundleError(f"{where}: {name!r} is {value}, expected {least} to {most}; {RESTORE}")
    return value


def _cosine(table: Mapping[str, Any], name: str, where: str) -> float:
    value = _field(table, name, float, where)
    if not -1 <= value <= 1:
        raise BundleError(f"{where}: {name!r} is {value:g}, expected -1 to 1; {RESTORE}")
    return value


def _name(table: Mapping[str, Any], name: str, where: str) -> str:
    value = _field(table, name, str, where)
    if len(value) > _LONGEST_NAME:
        raise BundleError(f"{where}: {name!r} is longer than {_LONGEST_NAME} characters; {RESTORE}")
    return value


def _texts(table: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    values = _field(table, name, list, where)
    if not all(isinstance(value, str) for value in values):
        raise BundleError(f"{where}: {name!r} holds what is no text; {RESTORE}")
    return tuple(values)


def _file_records(table: Mapping[str, Any], where: str) -> dict[str, FileRecord]:
    records = {}
    names = _field(table, "files", dict, where)
    if len(names) > _MOST_FILES:
        raise BundleError(
            f"{where}: {len(names)} files are listed, expected {_MOST_FILES} at most; {RESTORE}"
        )
    for name in names:
        if _leaves_folder(name):
            raise BundleError(f"{where}: the file name {name[:200]!r} leaves the bundle's folder: refused")
        record = _field(table["files"], name, dict, where)
        sha256 = _field(record, "sha256", str, where)
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise BundleError(
                f"{where}: 'sha256' of {name} is {sha256[:70]!r}, expected 64 digits; {RESTORE}"
            )
        most = _LONGEST.get(name, _LONGEST_PICTURE)
        records[name] = FileRecord(sha256, _whole_number(record, "bytes", 0, most, f"{where}: {name}"))
    return records


def _leaves_folder(name: str) -> bool:
    """Whether a name is anything but a plain way down from the folder, on any system."""
    parts = {*name.split("/")}
    return name.startswith("/") or ".." in parts or parts <= {"", "."} or bool(_NO_WAY_DOWN.search(name))


def _record_of(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {reason_of(error)}") from error
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
