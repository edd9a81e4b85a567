"""Folder to index: walk, compare, embed what is new, drop what is gone.

    walk        the files under the folders: path, size, time        itl_infer/walk.py
      |  FoundFile
    compare     with what the index has, in SQLite: what is new,     survey.py
      |         changed, gone, left out now, or failed before;       away.py
      |         what may come back is kept
      |  Item
    read        in threads, ahead: hash, and decode what has         reading.py
      |         content that the index does not know; leave
      |         out what is read by a package that is not there
      |  Reading
    commit      embed in batches; add, move, drop; every 512         run.py
                pictures or 5 seconds it is on the disk

Only `commit` changes the index, in one thread. Reading goes on while a batch is embedded.
"""

from itl_infer.ingest.report import Change, Failure, Kept, LeftOut, Note, Report
from itl_infer.ingest.run import embed_again, embed_directory
from itl_infer.ingest.watching import watch
from itl_infer.progress import Progress

__all__ = [
    "Change",
    "Failure",
    "Kept",
    "LeftOut",
    "Note",
    "Progress",
    "Report",
    "embed_again",
    "embed_directory",
    "watch",
]
