"""Captioned pictures, read from every format that their users have them in."""

from itl_infer.captions.dataset import (
    SPLITS,
    CaptionDataset,
    CaptionedImage,
    Skipped,
    describe_faults,
    join_datasets,
)
from itl_infer.captions.dataset import CaptionsReport as Report
from itl_infer.captions.own import read_json_lines
from itl_infer.captions.pictures import PictureNames
from itl_infer.captions.recognise import match_captions, read_captions

__all__ = [
    "SPLITS",
    "CaptionDataset",
    "CaptionedImage",
    "PictureNames",
    "Report",
    "Skipped",
    "describe_faults",
    "join_datasets",
    "match_captions",
    "read_captions",
    "read_json_lines",
]
