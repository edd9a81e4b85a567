"""Captioned pictures, read from every format that their users have them in."""

from export.data.dataset import SPLITS, CaptionDataset, CaptionedImage, Report, Skipped
from export.data.own import read_json_lines
from export.data.recognise import read_captions

__all__ = [
    "SPLITS",
    "CaptionDataset",
    "CaptionedImage",
    "Report",
    "Skipped",
    "read_captions",
    "read_json_lines",
]
