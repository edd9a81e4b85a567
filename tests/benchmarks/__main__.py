"""python -m tests.benchmarks: what the README says of speed, as medians with quartiles, in milliseconds.

Needs the extra `bench` (faiss-cpu), about 3 GB of memory, 1 GB in the folder for temporary files, 10 minutes,
and a machine that has nothing else to do.
"""

from __future__ import annotations

import os

import faiss
import numpy as np

from tests.benchmarks import index, ranking

print(
    f"{os.cpu_count()} cores, numpy {np.__version__}, faiss {faiss.__version__}; milliseconds, median (quartiles)\n"
)
ranking.main()
print()
index.main()
