"""Folder to index: walk, compare, embed what is new, drop what is gone."""

from itl_infer.ingest.report import Failure, Report
from itl_infer.ingest.run import embed_again, embed_directory
from itl_infer.progress import Progress

__all__ = ["Failure", "Progress", "Report", "embed_again", "embed_directory"]
