"""What comes from elsewhere, changed at random: a target takes bytes, and fails where they cost more than a line.

Each target is a module with `seeds`, inputs to begin with, and `run`, which raises for a fault. `test_fuzz.py` runs
seeds, what was found before (`corpus`), and some changes of both; `python -m tests.fuzz --minutes N` goes on.
"""

TARGETS = ("captions", "indexes", "keras", "lines", "manifests", "requests")
