"""A file of captions, of any format: captions, or one line."""

from __future__ import annotations

from collections.abc import Iterator

from itl_infer.captions import PictureNames, match_captions
from itl_infer.errors import CaptionsError
from tests.fuzz.helpers import require_line, scratch

_SEEDS = (
    "1.jpg#0\tA dog .\n1.jpg#1\tA cat .\n2.jpg#0\tA wave .\n",
    "image_name| comment_number| comment\n1.jpg| 0| A dog .\n2.jpg| 1| A cat | and\n",
    'image,caption\n1.jpg,A dog\n2.jpg,"A cat, and"\n',
    '{"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [{"image_id": 1, "caption": "A dog"}]}',
    '{"images": [{"filename": "1.jpg", "split": "train", "sentences": [{"raw": "A dog"}]}]}',
    '{"image": "1.jpg", "captions": ["A dog"]}\n{"image": "2.jpg", "captions": ["A cat"], "split": "val"}\n',
    "1.jpg\tA dog\n2.jpg\tA cat\n",
    '[{"image": "1.jpg", "caption": "A dog"}]',
)


def seeds() -> Iterator[bytes]:
    """A file of each format."""
    for text in _SEEDS:
        yield text.encode()
        yield text.encode("utf-16")
        yield text.replace("1.jpg", "../1.jpg").encode()


def run(data: bytes) -> None:
    """Read captions of three pictures."""
    path = scratch() / "captions.txt"
    path.write_bytes(data)
    try:
        match_captions(path, PictureNames(scratch(), ("1.jpg", "2.jpg", "a/3.jpg")))
    except CaptionsError as error:
        require_line(error)
