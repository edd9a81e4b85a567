"""Which index of Milvus suits how many rows, and with which parameters it is built and searched."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from itl_infer.errors import ClusterError

INDEX_TYPES = (
    *("FLAT", "IVF_FLAT", "IVF_SQ8", "IVF_PQ", "HNSW", "HNSW_SQ", "HNSW_PQ"),
    *("SCANN", "DISKANN", "AUTOINDEX"),
)
_BUILD_PARAMS = ("M", "efConstruction", "nlist", "m", "nbits")
_OF_LITE = (
    "FLAT",
    "IVF_FLAT",
    "IVF_SQ8",
    "HNSW",
    "HNSW_SQ",
    "AUTOINDEX",
)  # it finds out about others too late
METRIC = "COSINE"
MOST_ROWS = 16384  # that Milvus gives for one query

# A scan of 100,000 rows of 128 numbers takes a few milliseconds, and misses nothing.
_FLAT_ROWS = 100_000
# Some 700 bytes a row at 128 numbers, so 14 GB; beyond, a quarter of that matters more than the last per cent.
_HNSW_ROWS = 20_000_000
_MOST_LISTS = 65536  # that Milvus takes
_QUANTIZED = ("SQ", "PQ", "SCANN", "DISKANN")


@dataclass(frozen=True)
class Engine:
    """An index type of Milvus with its parameters of building."""

    index_type: str
    params: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def for_rows(
        cls,
        rows: int,
        index_type: str | None = None,
        params: Mapping[str, float] | None = None,
        *,
        of_lite: bool = False,
    ) -> Engine:
        """What is built for so many rows; what is given counts, the rest is chosen. Raises ClusterError."""
        index_type = (index_type or _type_for(rows)).upper()
        if index_type not in (known := _OF_LITE if of_lite else INDEX_TYPES):
            where = "Milvus Lite" if of_lite else "Milvus"
            raise ClusterError(
                f"{index_type}: no index of {where} for embeddings: give one of {', '.join(known)}"
            )
        return cls(index_type, {**_params_for(index_type, rows), **(params or {})})

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Engine:
        """As `describe_index` gives it: the parameters beside the type, or in an object or a text of their own."""
        nested = description.get("params") or {}
        nested = json.loads(nested) if isinstance(nested, str) else nested
        given = {**nested, **description}
        params = {name: int(given[name]) for name in _BUILD_PARAMS if name in given}
        return cls(str(description.get("index_type", "FLAT")), params)

    def differs_from(self, index_type: str | None, params: Mapping[str, float]) -> bool:
        """Whether what is asked for is another one."""
        return (index_type or self.index_type).upper() != self.index_type or any(
            self.params.get(name) != value for name, value in params.items()
        )

    @property
    def is_quantized(self) -> bool:
        """Whether it ranks by rounded embeddings, so that more rows than are wanted have to be asked for."""
        return any(part in self.index_type for part in _QUANTIZED)

    def search_params(self, rows: int, given: Mapping[str, float]) -> dict[str, float]:
        """How `rows` are searched for; what is given counts."""
        params: dict[str, float] = {}
        if self.index_type.startswith("HNSW"):
            params = {"ef": max(128, 2 * rows)}
        elif self.index_type.startswith(("IVF", "SCANN")):
            params = {"nprobe": max(16, round(self.params.get("nlist", 128) / 16))}
        elif self.index_type == "DISKANN":
            params = {"search_list": max(100, 2 * rows)}
        params.update(given)
        for name in ("ef", "search_list"):
            if name in params:  # Milvus refuses less
                params[name] = max(params[name], rows)
        return params

    def __str__(self) -> str:
        params = ", ".join(f"{name} {value:g}" for name, value in self.params.items())
        return f"{self.index_type} ({params})" if params else self.index_type


def _type_for(rows: int) -> str:
    if rows <= _FLAT_ROWS:
        return "FLAT"
    return "HNSW" if rows <= _HNSW_ROWS else "IVF_SQ8"


def _params_for(index_type: str, rows: int) -> dict[str, float]:
    if index_type.startswith("HNSW"):
        return {"M": 16, "efConstruction": 200}
    if index_type.startswith(("IVF", "SCANN")):
        # Milvus' own advice is four times the root of the rows; FAISS wants 39 of them for each list.
        return {"nlist": max(1, min(_MOST_LISTS, round(4 * math.sqrt(rows)), rows // 39))}
    return {}
