"""What a run leaves in the index of the folders that it walked: how they were, and what of a system's was in them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from itl_infer.index.remembered import remember_places, remember_system_files
from itl_infer.index.roots import Root, stored_path
from itl_infer.ingest.target import Target
from itl_infer.walk import Entered

if TYPE_CHECKING:
    from itl_infer.index import Writer

RootOf = Callable[[Path], Root | None]


def remember_folders(
    writer: Writer, targets: Sequence[Target], with_pictures: Iterable[str], root_of: RootOf
) -> None:
    """Note how the folders with pictures in or below them are now, up to the targets."""
    entered: dict[str, Entered] = {}
    for target in targets:
        entered |= target.walk.entered if target.walk is not None else {}
    places: dict[int, dict[bytes, Entered]] = {}
    noted: set[str] = set()
    for folder in with_pictures:
        while folder in entered and folder not in noted:
            noted.add(folder)
            if (root := root_of(Path(folder))) is not None:
                places.setdefault(root.id, {})[stored_path(Path(folder), root)] = entered[folder]
            folder = os.path.dirname(folder)  # noqa: PTH120 (names here are plain strings)
    for number, of_root in places.items():
        remember_places(writer, number, of_root)


def count_system_files(targets: Sequence[Target]) -> Counter[str]:
    """What was left out as a system's own; of targets in targets, once."""
    counts: Counter[str] = Counter()
    for target in _outer_folders(targets):
        if target.walk is not None:
            counts.update(target.walk.system)
    return counts


def remember_system(writer: Writer, targets: Sequence[Target], roots: Iterable[Root]) -> None:
    """Note what was left out of roots that were walked whole, for `status`."""
    known = list(roots)
    for target in _outer_folders(targets):
        for root in known:
            if target.walk is not None and root.folder.is_relative_to(target.real):
                is_top = root.folder == target.real
                remember_system_files(writer, root.id, target.walk.system if is_top else {})


def _outer_folders(targets: Sequence[Target]) -> Iterator[Target]:
    folders = {target.real: target for target in targets if target.walk is not None}
    for folder, target in folders.items():
        if not any(parent in folders for parent in folder.parents):
            yield target
