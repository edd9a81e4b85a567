"""A Ray cluster to work on: the one at an address, or this machine alone."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

from itl_infer.cpus import usable_cpus
from itl_infer.distributed.files import one_line
from itl_infer.errors import ClusterError

INSTALL = "pip install 'itl-infer[ray]'"
_HOST_AND_PORT = re.compile(r"(?:ray://)?\[?([^/\s\]]+)\]?:(\d+)")
_SECONDS_TO_ANSWER = 10
_BLOCKS = 1000  # of a data set: enough that workers end together, few enough for Ray to keep count of


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Inside, Ray is connected to `address` ("auto" for the one that this machine is part of); None: a new one, here.

    A connection that the program has already is used, and kept. Raises ClusterError.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it warns of how Ray Data uses Ray
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ClusterError(f"working on a cluster needs Ray: {INSTALL}") from error
    if ray.is_initialized():
        yield
        return
    if address is not None and (where := _HOST_AND_PORT.fullmatch(address)):
        _require_answer(address, where[1], int(where[2]))  # Ray itself would try for minutes
    options: dict[str, Any] = {"num_cpus": usable_cpus()} if address is None else {"address": address}
    try:
        ray.init(**options, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except Exception as error:  # Ray raises ConnectionError, ValueError, RuntimeError and types of its own
        raise ClusterError(f"Ray at {address or 'this machine'}: {one_line(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _require_answer(address: str, host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=_SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise ClusterError(
            f"Ray at {address}: no answer ({error.strerror or error}): is it running? `ray status --address {address}`"
        ) from error


def map_numbers(
    worker: Callable[..., Any], settings: dict[str, Any], numbers: list[int], cpus: float, at_once: int = 1
) -> Iterator[dict[str, Any]]:
    """What `worker(**settings)`, an actor for each share of `cpus` CPUs, makes of the numbers, as it comes.

    It gets arrays of up to `at_once` numbers, {"number": ...}, and gives columns. An actor that dies is started again,
    and does again what it had not given yet. Raises ClusterError where one raises.
    """
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    most = max(1, int(ray.cluster_resources().get("CPU", 1) // cpus))
    blocks = min(_BLOCKS, len(numbers))
    data = ray.data.from_items([{"number": number} for number in numbers], override_num_blocks=blocks)
    data = data.map_batches(
        _Worker,
        fn_constructor_args=(worker, {name: ray.put(value) for name, value in settings.items()}),
        batch_size=at_once,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most, initial_size=min(most, blocks)),
        num_cpus=cpus,
    )
    try:
        with _quiet():
            yield from data.iter_rows()
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        raise ClusterError(
            f"the cluster could not go on: {one_line(cause)[:500]}; what is finished stays"
        ) from error


class _Worker:
    """`worker(**settings)` in an actor, with settings that Ray has stored: they may be large."""

    def __init__(self, worker: Callable[..., Any], stored: dict[str, Any]) -> None:
        import ray

        self._worker = worker(**{name: ray.get(value) for name, value in stored.items()})

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = self._worker(batch)
        return made


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep from stderr what Ray Data says of each run; errors are raised as well."""
    with contextlib.suppress(ImportError):  # it is Ray's own affair, and may move
        from ray.data._internal.logging import configure_logging

        configure_logging()  # now, as it would be on the way, and undo this
    logger = logging.getLogger("ray.data")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
