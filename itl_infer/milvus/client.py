"""A connection to Milvus: every call with a limit of time, tried again where that helps, its failures as one line."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from itl_infer.errors import ClusterError, MissingExtraError, reason_of
from itl_infer.milvus.address import Address

SECONDS = 10.0  # that an answer may take, and that an unreachable cluster is tried again
_SECONDS_OF_LITE = 3600.0
_CONNECT_SECONDS = 5.0  # the same before the first answer: what is away is said soon
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # between attempts
_TOKEN = "MILVUS_TOKEN"

_lites: Counter[Path] = Counter()  # open ones of this process: pymilvus keeps one server for each
_lites_lock = threading.Lock()


class Connection:
    """Calls of `pymilvus.MilvusClient` at one address. Raises ClusterError. To be closed."""

    def __init__(self, address: Address, *, seconds: float = SECONDS, create: bool = False) -> None:
        """Connect. `create` makes the file of a Milvus Lite that is not there yet."""
        lite = address.lite
        # Milvus Lite works in this process, and builds an index while it is asked to: it cannot be away.
        self.address, self.seconds = address, seconds if lite is None else _SECONDS_OF_LITE
        self._pymilvus = _import_pymilvus()
        if lite is not None:
            _check_lite(lite, create)
        self._client = self._connect(lite)
        if lite is not None:
            with _lites_lock:
                _lites[lite.absolute()] += 1

    def _connect(self, lite: Path | None) -> Any:
        token = "" if self.address.has_credentials else os.environ.get(_TOKEN, "")
        until = time.monotonic() + min(self.seconds, _CONNECT_SECONDS)
        with _failure_of_lite() as reasons:
            try:
                return self._until(
                    until,
                    lambda: self._pymilvus.MilvusClient(
                        self.address.uri if lite is None else str(lite),
                        token=token,
                        dedicated=True,
                        timeout=max(0.1, until - time.monotonic()),
                    ),
                )
            except ClusterError:
                if reasons:
                    raise _lite_error(self.address, reasons[0]) from reasons[0]
                raise

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """What `MilvusClient.method` gives; safe to be done twice, as is all that this package calls."""
        return self._until(
            time.monotonic() + self.seconds,
            lambda: getattr(self._client, method)(*args, timeout=self.seconds, **kwargs),
        )

    def read_all(self, fields: list[str], batch_rows: int) -> Iterator[list[dict[str, Any]]]:
        """These fields of every row of the collection, in order of key."""
        rows = self.call(
            "query_iterator",
            self.address.name,
            batch_size=batch_rows,
            output_fields=fields,
            consistency_level="Strong",
        )
        try:
            while batch := self._until(time.monotonic() + self.seconds, rows.next):
                yield list(batch)
        finally:
            rows.close()

    @property
    def types(self) -> Any:
        """The module pymilvus, for its types."""
        return self._pymilvus

    def _until(self, deadline: float, work: Any) -> Any:
        """Do it, with ever longer pauses as long as nobody is there to answer."""
        pause = _FIRST_PAUSE
        while True:
            try:
                return work()
            except Exception as error:  # MilvusException, grpc.RpcError, and what they let through
                if not self._is_away(error) or time.monotonic() + pause > deadline:
                    raise self._failure(error) from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _is_away(self, error: Exception) -> bool:
        from pymilvus.client.types import Status

        code = getattr(error, "code", None)
        code = code() if callable(code) else code
        return code == Status.CONNECT_FAILED or "UNAVAILABLE" in str(code)

    def _failure(self, error: Exception) -> ClusterError:
        text = " ".join(str(getattr(error, "message", "") or error).split()) or type(error).__name__
        place = self.address.place
        if self._is_away(error):
            return ClusterError(
                f"{place}: no answer from Milvus: is it running, and is this where it speaks gRPC (port 19530 unless"
                " changed)?"
            )
        if "DEADLINE_EXCEEDED" in text or isinstance(error, TimeoutError):
            return ClusterError(f"{place}: Milvus gave no answer within {self.seconds:g} s: try again later")
        if any(word in text.lower() for word in ("unauthenticated", "auth check", "permission")):
            return ClusterError(
                f"{place}: Milvus refuses who asks: set {_TOKEN} to a token, or USER:PASSWORD ({text[:200]})"
            )
        if "No space left" in text or "File too large" in text or "Disk quota" in text:
            return ClusterError(f"{place}: {text[:300]}: free some space and run again")
        return ClusterError(f"{place}: Milvus says: {text[:500]}")

    def close(self) -> None:
        """End it; the last one to a Milvus Lite writes down what is pending, and lets other processes in."""
        self._client.close()
        if self.address.lite is None:
            return
        path = self.address.lite.absolute()
        with _lites_lock:
            _lites[path] -= 1
            if _lites[path] == 0:
                from milvus_lite import server_manager_instance

                server_manager_instance.release_server(str(path))


def _import_pymilvus() -> Any:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it writes to stderr what it raises too
    try:
        import pymilvus
    except ImportError as error:
        raise MissingExtraError("a collection", error.name or "pymilvus", "milvus") from error
    for name in ("pymilvus", "milvus_lite"):  # the same
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return pymilvus


def _check_lite(path: Path, create: bool) -> None:
    """ClusterError for what Milvus Lite would not say a word of, or take for its own."""
    try:
        import milvus_lite  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"{path}: a file of Milvus Lite", error.name or "milvus_lite", "milvus"
        ) from error
    if not path.exists():
        if not create:
            raise ClusterError(f"{path}: no such file: itl-infer push makes it")
        if not path.parent.is_dir():
            raise ClusterError(f"{path.parent}: no such folder: make it first")
        path = path.parent
    elif not path.is_dir() or (any(path.iterdir()) and not (path / "collections").is_dir()):
        raise ClusterError(f"{path}: no Milvus Lite (of version 3, which is a folder): name another file")
    if not os.access(path, os.W_OK):
        raise ClusterError(
            f"{path}: cannot be written, and Milvus Lite must even to read: copy it to where it can"
        )


@contextlib.contextmanager
def _failure_of_lite() -> Iterator[list[BaseException]]:
    """Why Milvus Lite could not be started, which it tells its log only."""
    reasons: list[BaseException] = []

    class _Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1]:
                reasons.append(record.exc_info[1])

    logger, handler = logging.getLogger("milvus_lite.server_manager"), _Keep()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        yield reasons
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _lite_error(address: Address, reason: BaseException) -> ClusterError:
    if type(reason).__name__ == "DataDirLockedError":
        return ClusterError(
            f"{address.place}: in use by another process, and Milvus Lite serves one at a time: wait for it to end"
        )
    return ClusterError(f"{address.place}: Milvus Lite cannot open it: {reason_of(reason)}")
