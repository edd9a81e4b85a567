"""A Ray cluster to work on: the one at an address, or this machine alone."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from itl_infer import __version__
from itl_infer.cpus import usable_cpus
from itl_infer.errors import ClusterError, MissingExtraError, reason_of

_HOST_AND_PORT = re.compile(r"\[?([^/\s\]]+)\]?:(\d+)")
_SECONDS_TO_ANSWER = 10
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(
    (0, 0, 0, 4, 0, 0, 0, 0, 0)
)  # RFC 9113, 3.4: and no settings
_SETTINGS = 4  # the type of the frame that an HTTP/2 server begins with
_ATTEMPTS = 5  # at the same number: that so many workers die over it is no accident
_ON_EVERY_NODE = "pip install 'itl-infer[ray]' on every node, in the version that is used here"

T = TypeVar("T")


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Inside, Ray is connected to `address`: HOST:PORT, or "auto" for the cluster that this machine is part of.

    None: RAY_ADDRESS if it is set, else a Ray of this machine's own, as long as this lasts. A connection that the
    program has already is used, and kept. Raises ClusterError.
    """
    require_cluster(address)
    import ray

    if ray.is_initialized():
        yield
        return
    address = _meant(address)
    own: dict[str, Any] = (
        {"num_cpus": usable_cpus(), "include_dashboard": False} if address == "local" else {}
    )
    try:
        ray.init(address=address, log_to_driver=False, **own)
    except Exception as error:  # Ray raises ConnectionError, ValueError, RuntimeError and types of its own
        raise ClusterError(f"Ray at {address}: {reason_of(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()


def require_cluster(address: str | None) -> None:
    """Find out soon whether there is something to connect to: Ray itself would try for many minutes.

    Raises ClusterError.
    """
    try:
        import pyarrow  # noqa: F401
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("working on a cluster", "Ray", "ray") from error
    if not ray.is_initialized():
        _require_answer(_meant(address))


def _meant(address: str | None) -> str:
    return address or os.environ.get("RAY_ADDRESS") or "local"


def _require_answer(address: str) -> None:
    """Raise ClusterError unless something at the address answers as Ray does."""
    if address.startswith("ray://"):
        raise ClusterError(
            f"{address}: Ray Data does not work through Ray Client: give HOST:PORT of the head node on a machine of"
            " the cluster, or submit the command to it: `ray job submit -- itl-infer ...`"
        )
    found = address
    if address == "auto":
        with contextlib.suppress(ImportError, AttributeError):  # it is Ray's own affair, and may move
            from ray._private.utils import read_ray_address

            found = read_ray_address() or "auto"
    where = _HOST_AND_PORT.fullmatch(found)
    if where is None:
        return
    try:
        with socket.create_connection((where[1], int(where[2])), _SECONDS_TO_ANSWER) as connection:
            connection.settimeout(_SECONDS_TO_ANSWER)
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return
            connection.sendall(_GREETING)
            answer = connection.recv(4)
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"Ray at {address}: no answer ({reason_of(error)}): is it running, and is this its address?"
            " `ray status` on the head node says so"
        ) from error
    if answer[3:] != bytes([_SETTINGS]):
        raise ClusterError(
            f"Ray at {address}: something else answers there: give the port of the head node, mostly 6379"
        )


def map_numbers(
    worker: Callable[..., Callable[[int], T]], settings: dict[str, Any], numbers: list[int], cpus: float
) -> Iterator[T]:
    """What `worker(**settings)`, in an actor for each share of `cpus` CPUs, makes of the numbers, as it comes.

    Numbers that stand first are begun first. An actor that dies is started again, and does again what it had not
    given yet. Nodes that join are used. Raises ClusterError where the worker does, or fails.
    """
    import ray

    now = max(1, min(len(numbers), int(ray.cluster_resources().get("CPU", 1) // cpus)))
    data = ray.data.from_items(numbers, override_num_blocks=len(numbers))
    stored = {name: ray.put(value) for name, value in settings.items()}  # once, however many actors there are
    attempts = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Attempts).remote()
    data = data.map_batches(
        _Actor,
        fn_constructor_args=(worker, stored, attempts, __version__),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=now, max_size=len(numbers)),
        num_cpus=cpus,
    )
    data.context.enable_progress_bars = False
    try:
        for row in data.iter_rows():
            if row["failure"]:
                raise ClusterError(row["failure"])
            yield pickle.loads(row["made"])
    except ray.exceptions.RayError as error:
        reason = _last_line(error)
        mend = _ON_EVERY_NODE if "No module named" in reason else "run again to go on"
        raise ClusterError(
            f"the cluster could not go on: {reason}: {mend}; what is finished stays"
        ) from error


class _Attempts:
    """Counts how often each number was begun; an actor of its own, as those that work may die."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        self._counts[number] += 1
        return self._counts[number]


class _Actor:
    """`worker(**settings)` on a node of the cluster. Whatever it raises is given back, as text."""

    def __init__(
        self, worker: Callable[..., Callable[[int], Any]], stored: dict[str, Any], attempts: Any, version: str
    ) -> None:
        import ray

        self._node = socket.gethostname()
        self._attempts = attempts
        self._work: Callable[[int], Any] | None = None
        self._failure = ""
        if version != __version__:
            self._failure = f"node {self._node} has itl-infer {__version__}, not {version}: {_ON_EVERY_NODE}"
            return
        try:
            self._work = worker(**{name: ray.get(value) for name, value in stored.items()})
        except Exception as error:
            self._failure = self._describe(error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        made, failure = None, self._failure
        if self._work is not None:
            try:
                made = self._work(self._begin(int(batch["item"][0])))
            except Exception as error:
                failure = self._describe(error)
        return {"made": [pickle.dumps(made)], "failure": [failure]}

    def _begin(self, number: int) -> int:
        import ray

        if ray.get(self._attempts.begin.remote(number)) > _ATTEMPTS:
            raise ClusterError(
                f"the cluster could not go on: {_ATTEMPTS} workers died over shard {number}, the last on node"
                f" {self._node}: out of memory, or a picture that ends them? What is finished stays"
            )
        return number

    def _describe(self, error: Exception) -> str:
        if isinstance(error, ClusterError):
            return str(error)
        return f"node {self._node}: {type(error).__name__}: {reason_of(error)}; what is finished stays"


def _last_line(error: Exception) -> str:
    """Ray's errors are tracebacks within texts; what went wrong stands last."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip(" ^") for line in str(error).splitlines()]
    return next((line for line in reversed(lines) if line), type(error).__name__)[:500]
