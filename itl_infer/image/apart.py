"""Decode a picture in a process of its own, which has a limit of memory and of time: `child` is the other end.

What comes back is numbers and texts, and never code: whoever has taken over that process has nothing of this one.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeVar

from itl_infer.errors import ImageError, ImageMemoryError, ReaderMissingError, reason_of
from itl_infer.image.admission import SHORT, Turns
from itl_infer.image.clock import Allowance
from itl_infer.image.wanted import Wanted

_MOST = (
    2  # at a time: what each may take together with this process is the limit that docs/security.md promises
)
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from itl_infer.image.child import main; main()"
)
_ERRORS = {kind.__name__: kind for kind in (ImageError, ImageMemoryError, ReaderMissingError)}
_LENGTHS = struct.Struct("<IQ")  # of a head in JSON, and of the bytes behind it
_LONGEST_HEAD = 2**24
_LONGEST_ANSWER = 2**27  # bytes: pixels of one picture, scaled
_SMALLER = 3  # times less memory for the first try
_TOO_MUCH = "TooMuch"  # what a child says that had too little memory for a picture

T = TypeVar("T")


def identity_of(file: BinaryIO) -> list[int]:
    """Of an open file, whoever opens it."""
    status = os.fstat(file.fileno())
    return [status.st_dev, status.st_ino, status.st_size]


def address_space() -> int:
    """Bytes of addresses that this process has; 0 where that is not to be had."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def send(pipe: IO[bytes], head: dict[str, Any], body: bytes | memoryview = b"") -> None:
    packed = json.dumps(head).encode()
    pipe.write(_LENGTHS.pack(len(packed), len(body)))
    pipe.write(packed)
    pipe.write(body)
    pipe.flush()


def receive(pipe: IO[bytes], most: int) -> tuple[dict[str, Any], bytes] | None:
    """None where the other end is gone, or says what cannot be."""
    start = pipe.read(_LENGTHS.size)
    if len(start) < _LENGTHS.size:
        return None
    head_length, length = _LENGTHS.unpack(start)
    if head_length > _LONGEST_HEAD or length > most:
        return None
    head, body = pipe.read(head_length), pipe.read(length)
    if len(head) < head_length or len(body) < length:
        return None
    answer: dict[str, Any] = json.loads(head)
    return answer, body


class _Child:
    def __init__(self) -> None:
        # Of the system's own thread, not of one that may end before this does: the child ends with it.
        self.process = _starter.submit(self._start).result()

    @staticmethod
    def _start() -> subprocess.Popen[bytes]:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        return subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-c",
                _PROGRAM,
                json.dumps([str(Path(path).absolute()) for path in sys.path]),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **threads, "MALLOC_ARENA_MAX": "2"},
        )

    def ask(
        self, head: dict[str, Any], body: bytes | memoryview, most: int, seconds: float
    ) -> tuple[dict[str, Any], bytes] | None:
        """Its answer, or None where it died of the question."""
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(seconds, process.kill)
        timer.daemon = True
        timer.start()
        try:
            send(process.stdin, head, body)
            return receive(process.stdout, most)
        except (OSError, ValueError):  # it is gone
            return None
        finally:
            timer.cancel()

    def end(self) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # what was not read there is not wanted any more
                assert pipe is not None
                pipe.close()
        self.process.wait()


class _Children:
    def __init__(self) -> None:
        self._free = threading.Semaphore(_MOST)
        self._lock = threading.Lock()
        self._idle: list[_Child] = []

    def ask(
        self, head: dict[str, Any], body: bytes | memoryview, most: int, seconds: float
    ) -> tuple[dict[str, Any], bytes] | int:
        """The answer; or the exit status of who died of it. Raises OSError where no process can be started."""
        with self._free:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is not None and child.process.poll() is not None:
                child.end()
                child = None
            if child is None:
                child = _Child()
            is_good = False
            try:
                answer = child.ask(head, body, most, seconds)
                is_good = answer is not None and not answer[0].get("is_last")
            finally:  # an interrupt leaves it in the middle of its work
                if is_good:
                    with self._lock:
                        self._idle.append(child)
                else:
                    child.end()
            return child.process.returncode if answer is None else answer

    def end(self) -> None:
        with self._lock:
            for child in self._idle:
                child.end()
            self._idle.clear()


_children = _Children()
_starter = ThreadPoolExecutor(1, thread_name_prefix="itl-apart")


@atexit.register
def _end_all() -> None:
    _children.end()


def _begin_again() -> None:
    """In a process that was forked: two would talk with one child."""
    global _children, _starter
    _children, _starter = _Children(), ThreadPoolExecutor(1, thread_name_prefix="itl-apart")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)


def decode(
    file: BinaryIO, name: str, wanted: Wanted[T], allowance: Allowance, notes: list[str] | None, turns: Turns
) -> T:
    """What is wanted of the picture in an open file. Raises ImageError.

    First with as little memory as two at a time may have; where that is too little, once more, alone.
    """
    head = {
        "name": name,
        "wanted": wanted.request,
        "max_megapixels": allowance.max_megapixels,
        "seconds": allowance.seconds,
        "path": None,
        "room": _room(),
    }
    body: bytes | memoryview = b""
    if path := _path_of(file):
        head.update(path=path, identity=identity_of(file))
    else:
        file.seek(0)
        body = file.read()
    for memory, turn in ((allowance.memory // _SMALLER, turns.together), (allowance.memory, turns.alone)):
        with turn():
            given, content = _ask({**head, "memory": memory}, body, allowance)
        if given.get("error") != _TOO_MUCH:
            break
    if "error" in given:
        kind = _ERRORS.get(given["error"])
        raise kind(*given["args"]) if kind else allowance.too_much(name)
    if notes is not None:
        notes += map(str, given["notes"])
    try:
        return wanted.unpack(given, content)
    except (KeyError, TypeError, ValueError) as error:
        raise ImageError(name, "truncated or damaged: its decoder made no picture of it") from error


def _ask(
    head: dict[str, Any], body: bytes | memoryview, allowance: Allowance
) -> tuple[dict[str, Any], bytes]:
    started = time.monotonic()
    try:
        answer = _children.ask(head, body, _LONGEST_ANSWER, allowance.wall_seconds)
    except (OSError, RuntimeError) as error:  # no process, or no thread
        raise ImageMemoryError(head["name"], f"{SHORT} to start a process: {reason_of(error)}") from error
    if not isinstance(answer, int):
        return answer
    if answer == -getattr(signal, "SIGXCPU", -1):
        raise allowance.too_long(head["name"])
    if time.monotonic() - started >= allowance.wall_seconds:
        raise allowance.not_in_time(head["name"])
    raise ImageError(head["name"], f"truncated or damaged: its decoder broke down (status {answer})")


def _path_of(file: BinaryIO) -> str | None:
    """Of a file of this machine that can be opened again; else its content is sent."""
    raw = getattr(file, "raw", None)
    if (
        isinstance(file, io.BufferedReader)
        and isinstance(raw, io.FileIO)
        and isinstance(raw.name, (str, bytes))
    ):
        return os.path.abspath(os.fsdecode(raw.name))  # noqa: PTH100 (a name need not be text)
    return None


def _room() -> int | None:
    """Bytes that this process may have by limits of its own; None without such limits."""
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        return None if limit == resource.RLIM_INFINITY else max(0, limit - address_space())
    except (ImportError, OSError):
        return None


def is_possible() -> bool:
    """Whether this program can start Python."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)
